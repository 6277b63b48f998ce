"""Plants faults, and checks that the tests find them: `./dev mutate [NAME...] [--list|--page]`.

Model. mutants.py reads the patches of tests/mutants, each with a fault and the tests that must find it.
The developer's own tree is not changed. Each stage has a copy of it below build-dev/mutate/, which is
brought up to date first, so that only changes are built again. There each named test runs once without
any fault, and must pass; then, for each mutant, its patch is applied, the named test is built and run,
and the patch is reverted. A mutant is caught if the named test fails: not if it does not compile, and
not if only another test fails.

An implementation of `Stages` builds and runs the tests; plain_stages.py has one.
"""

import argparse
import concurrent.futures
import dataclasses
import filecmp
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import typing

from tools.dev.mutants import BadMutant, Mutant, Test, page, print_list, read_mutants, stages

TOP = pathlib.Path(__file__).resolve().parents[2]

# The limit of a test without a fault. With a fault, a test that takes ten times as long as without, and
# at least SECONDS_MIN, counts as hanging.
SECONDS_MAX = 300
SECONDS_MIN = 20

CAUGHT = "caught"
SURVIVED = "SURVIVED"
ELSEWHERE = "another test failed"
NO_COMPILE = "does not compile"
NO_APPLY = "does not apply"
NOT_RUN = "the test did not run"
FAILS_ALWAYS = "fails without the fault"


@dataclasses.dataclass
class Outcome:
    """The result of a run of tests: the names of those that ran, and of those of them that failed."""
    ran: list
    failed: list
    output: str = ""
    seconds: float = 0.0


class Stages(typing.Protocol):
    """`tree` is a stage's copy of the tree; builds go to its directories "build*"."""

    def build(self, stage: str, tests: list, tree: pathlib.Path) -> str:
        """Builds only what these tests need. Returns the errors; empty if there are none."""

    def run(self, stage: str, words: tuple, tree: pathlib.Path, seconds: float) -> Outcome:
        """Runs the tests that the words name, and possibly others. A test that crashes or exceeds
        `seconds` has failed. A name begins with its program: "test_echo: Stream: a late reader"."""

    def end_all(self):
        """Ends every build and test that runs now; called from another thread."""


# --- A copy of the tree ---------------------------------------------------------------------------


def files_of(top):
    """The files of a tree, without build directories and git's files."""
    for directory, directories, files in os.walk(top):
        here = pathlib.Path(directory).relative_to(top)
        directories[:] = [name for name in directories if name not in (".git", "__pycache__")
                          and not (here == pathlib.Path(".") and name.startswith("build"))]
        for name in files:
            if name != ".git":
                yield here / name


class Tree:
    """A copy of `top`. Only files that differ are written, so that only they are built again."""

    def __init__(self, top, path):
        self.top, self.path, self.before = top, path, {}

    def sync(self):
        wanted = set(files_of(self.top))
        for name in wanted:
            source, copy = self.top / name, self.path / name
            if not copy.is_file() or not filecmp.cmp(source, copy, shallow=False):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, copy)
        for name in set(files_of(self.path)) - wanted:
            (self.path / name).unlink()

    def git_apply(self, patch, *options):
        # git must not find the repository that the copy lies in.
        return subprocess.run(
            ["git", "apply", *options, patch.resolve()], cwd=self.path, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(self.path.parent)})

    def apply(self, patch):
        """git's message if the patch does not apply; empty if it was applied."""
        done = self.git_apply(patch, "--numstat")
        if done.returncode == 0:
            names = [line.split("\t", 2)[2] for line in done.stdout.splitlines()]
            self.before = {name: (self.path / name).read_bytes()
                           if (self.path / name).exists() else None for name in names}
            done = self.git_apply(patch)
        if done.returncode != 0:
            self.before = {}
        return done.stdout if done.returncode != 0 else ""

    def revert(self):
        for name, content in self.before.items():
            if content is None:
                (self.path / name).unlink(missing_ok=True)
            else:
                (self.path / name).write_bytes(content)
        self.before = {}


# --- Planting -------------------------------------------------------------------------------------


@dataclasses.dataclass
class Verdict:
    mutant: Mutant
    test: Test
    verdict: str
    seconds: float = 0.0
    output: str = ""


def judge(test, outcome):
    if any(test.is_named(name) for name in outcome.failed):
        return CAUGHT
    if outcome.failed:
        return ELSEWHERE
    return SURVIVED if any(test.is_named(name) for name in outcome.ran) else NOT_RUN


def run_test(test, builder, tree, seconds):
    started = time.monotonic()
    outcome = builder.run(test.stage, test.words, tree.path, seconds)
    outcome.seconds = time.monotonic() - started
    return outcome


def plant(mutant, test, builder, tree, seconds):
    started = time.monotonic()
    refused = tree.apply(mutant.path)
    if refused:
        return Verdict(mutant, test, NO_APPLY, 0.0, refused)
    try:
        errors = builder.build(test.stage, [test], tree.path)
        if errors:
            verdict, output = NO_COMPILE, errors
        else:
            outcome = run_test(test, builder, tree, seconds)
            verdict, output = judge(test, outcome), outcome.output
    finally:
        tree.revert()
    return Verdict(mutant, test, verdict, time.monotonic() - started, output)


def make_room(top):
    """The directory of the copies, with the mark of ./dev, which writes only to directories that have it."""
    room = top / "build-dev/mutate"
    for directory in (room.parent, room):
        if not directory.exists():
            directory.mkdir()
            (directory / ".made-by-dev").touch()
    return room


def run_stage(stage, pairs, builder, tree, report):
    """The verdicts on (mutant, test) of one stage; `report` raises Interrupted if the command was interrupted."""
    tree.sync()
    tests = sorted({test for _, test in pairs}, key=str)
    errors = builder.build(stage, tests, tree.path)
    if errors:
        reasons = itertools.chain(["without the fault:\n" + errors], itertools.repeat("as the others of its stage"))
        return [report(Verdict(mutant, test, NO_COMPILE, 0.0, reason))
                for (mutant, test), reason in zip(pairs, reasons)]
    sound = {test: run_test(test, builder, tree, SECONDS_MAX) for test in tests}
    verdicts = []
    for mutant, test in pairs:
        without = judge(test, sound[test])
        if without == SURVIVED:
            hangs_after = max(SECONDS_MIN, 10 * sound[test].seconds)
            verdicts.append(report(plant(mutant, test, builder, tree, hangs_after)))
        else:
            verdict = NOT_RUN if without == NOT_RUN else FAILS_ALWAYS
            verdicts.append(report(Verdict(mutant, test, verdict, 0.0, sound[test].output)))
    return verdicts


def run_all(mutants, builder, top, directory, report):
    """The verdicts of all stages. As many stages run side by side as there are processors: tests mostly wait. Stages
    that differ only behind a dash share a copy of the tree and its build."""
    copies = dict.fromkeys(stage.partition("-")[0] for stage in stages)
    pairs = {copy: [(mutant, test) for mutant in mutants for test in mutant.tests
                    if test.stage.partition("-")[0] == copy] for copy in copies}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = [pool.submit(run_stage, stage, pairs[stage], builder,
                               Tree(top, directory / stage), report)
                   for stage in copies if pairs[stage]]
        try:
            return [verdict for future in futures for verdict in future.result()]
        except BaseException:
            report.interrupted = True
            end_stages(futures, builder)
            raise


def end_stages(futures, builder):
    """Ends what the threads of the stages run, until they have ended: a thread may start one command more before it
    asks whether it shall end."""
    for future in futures:
        future.cancel()
    while not all(future.done() for future in futures):
        builder.end_all()
        concurrent.futures.wait(futures, timeout=0.1)


# --- Reporting ------------------------------------------------------------------------------------


def advice(verdict):
    path = f"tests/mutants/{verdict.mutant.name}.patch"
    if verdict.verdict == NO_APPLY:
        return (f"The source that {path} patches has changed. Plant its fault again by hand, and replace "
                f"its diff by the output of `git diff -U1`; then `git checkout` the source.")
    if verdict.verdict == SURVIVED:
        return ("The test passes with the fault in place: it no longer tests what it is for, or "
                "Caught-by names the wrong test.")
    if verdict.verdict == ELSEWHERE:
        return "Caught-by does not name the test that fails; if that test is the better one, name it."
    if verdict.verdict == NOT_RUN:
        return "No test of that name ran, or it was skipped: has it been renamed?"
    return ""


class Interrupted(Exception):
    pass


class Reporter:
    """Prints each verdict as it comes, from several threads, and all of them at the end. An interrupted test has
    none."""

    def __init__(self, out):
        self.out, self.lock, self.interrupted = out, threading.Lock(), False

    def __call__(self, verdict):
        with self.lock:
            if self.interrupted:
                raise Interrupted
            print(f"{verdict.verdict:<24}{verdict.seconds:6.1f} s  {verdict.mutant.name}: "
                  f"{verdict.test}", file=self.out, flush=True)
        return verdict

    def end(self, verdicts):
        missed = [verdict for verdict in verdicts if verdict.verdict != CAUGHT]
        for verdict in missed:
            print(f"\n{verdict.mutant.name}: {verdict.verdict}: {verdict.test}\n"
                  f"    {verdict.mutant.fault}\n    {advice(verdict)}".rstrip(), file=self.out)
            for line in verdict.output.splitlines()[-30:]:
                print("    | " + line, file=self.out)
        width = max(len(verdict.mutant.name) for verdict in verdicts)
        print(f"\n{'fault':<{width}}  {'verdict':<24}  seconds  caught by", file=self.out)
        for verdict in sorted(verdicts, key=lambda each: each.mutant.name):
            print(f"{verdict.mutant.name:<{width}}  {verdict.verdict:<24}  {verdict.seconds:7.1f}  "
                  f"{verdict.test}", file=self.out)
        print(f"{len(verdicts) - len(missed)} of {len(verdicts)} caught", file=self.out)
        return 1 if missed else 0


def main(arguments, builder=None, top=TOP, out=sys.stdout):
    parser = argparse.ArgumentParser(prog="./dev mutate", description="Plants the faults of "
                                     "tests/mutants, and checks that the tests find each.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these faults")
    parser.add_argument("--list", action="store_true", help="only print the faults and their tests")
    parser.add_argument("--page", action="store_true", help="only print docs/planted-faults.md")
    options = parser.parse_args(arguments)
    try:
        mutants = read_mutants(top / "tests/mutants", options.names)
    except BadMutant as bad:
        print(f"./dev mutate: {bad}", file=sys.stderr)
        return 2
    if options.list:
        print_list(mutants, out)
        return 0
    if options.page:
        out.write(page(mutants))
        return 0
    if builder is None:
        from tools.dev.plain_stages import PlainStages
        builder = PlainStages()
    reporter = Reporter(out)
    return reporter.end(run_all(mutants, builder, top, make_room(top), reporter))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
