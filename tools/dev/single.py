"""`./dev test WORD...`: the tests that the words name, in the tree `dev`; and --list, --repeat, --load."""

import contextlib
import subprocess

from tools.dev import find, packages, results, suites
from tools.dev.console import Failure, header, say
from tools.dev.trees import ROOM


def run(words, options):
    """Runs them; returns the exit status."""
    tests, lost = find.matching(words) if words else (find.every_test(), [])
    if options.k:
        tests = [test for test in tests if find.plain(options.k) in find.plain(str(test))]
    for word in lost:
        if stage := find.stage_of(word):
            raise Failure(f"{word} runs only in its stage: ./dev test --stage {stage}")
    if lost or not tests:
        raise Failure(f"no test is named {', '.join(lost or [options.k])}; ./dev test --list shows all")
    if options.list:
        for test in tests:
            say(str(test))
        return 0
    packages.need(find.packages_for(tests))
    if not find.TREE.configure():
        raise Failure(f"meson could not configure {find.TREE.path}, see {find.TREE.log}")
    found = results.Results(ROOM / "results.tsv")
    with spinning(options.load):
        for _ in range(options.repeat):
            run_cpp(found, [test for test in tests if test.cpp])
            run_python(found, [test for test in tests if not test.cpp], options)
    return results.report(found.rows, options.durations)


def run_cpp(found, tests):
    """Runs each program once; a filter chooses the cases unless whole sources are wanted."""
    if not tests:
        return
    table = find.programs_of(find.TREE)
    chosen = {}
    for test in tests:
        for program in table.get(test.path, ()):
            chosen.setdefault(program[:3] + tuple(program[3]), []).append(test)
    if not chosen:
        raise Failure(f"no test program is built from {tests[0].path}")
    header("Building " + " ".join(sorted(program[2] for program in chosen)))
    if not find.TREE.compile(*sorted({program[2] for program in chosen})):
        raise Failure(f"the build failed, see {find.TREE.log}")
    for (name, program, _, *arguments), cases in chosen.items():
        if not arguments:
            arguments = ["-tc=" + ",".join("*" + _pattern(test.case) + "*" for test in cases)]
        done = subprocess.run([program, *arguments], capture_output=True, text=True, errors="replace",
                              check=False)
        for outcome, case, reason, comments in results.of_program(
                name, done.returncode == 0, f"exit code {done.returncode}", done.stdout, done.stderr):
            for line in comments:
                say(line)
            if outcome == "passed":
                say(f"ok: {case}")
            found.add(outcome, "dev", case, reason)


def _pattern(case):
    """A case as a filter of doctest, which knows * and ?, and splits at commas."""
    return case.replace(",", "?")


def run_python(found, tests, options):
    if not tests:
        return
    header("Building the programs of the integration tests")
    if not find.TREE.compile("integration_programs"):
        raise Failure(f"the build failed, see {find.TREE.log}")
    whole = {test.path for test in tests}
    names = sorted({test.case for test in tests})
    everything = {test.case for test in find.every_test() if test.path in whole}
    chosen = ["-k", " or ".join(names)] if set(names) != everything else []
    before = len(found.rows)
    suites.run_python(found, "dev", sorted(whole), find.TREE, arguments=[*chosen, "-v"],
                      at_once=suites.MODULES_AT_ONCE if len(tests) > 3 else 1)
    for row in found.rows[before:]:
        if row.outcome == "passed":
            say(f"ok: {row.name} ({row.seconds:.1f} s)")


@contextlib.contextmanager
def spinning(count):
    """Runs `count` busy loops beside the tests."""
    spinners = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(count)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
