"""Runs the fuzz targets with libFuzzer: all or only the named ones, several at a time.

    run.py --build DIRECTORY [--found DIRECTORY] --seconds N [--runs N] [--jobs N] [--merge] [--tap]
           [TARGET...]

Each target begins with the inputs that it found before (FOUND/corpus/TARGET) and those that are
checked in (tests/fuzz/corpus/TARGET), and adds inputs that reach new code to the former. A target ends
at its first crash; then the input is in FOUND/crashes and the log in FOUND/logs. FOUND is a separate
directory, so that another build does not remove it; without --found it is that of the build.

--runs ends a target earlier, after this number of inputs, which are the same each time.

--merge then writes the fewest inputs that reach every edge (regardless of how often) into
tests/fuzz/corpus/TARGET: every build replays those, which should take seconds. Inputs with a name of
their own there, instead of a hash, are always kept.

Exit: 0; 1 if a target crashed or ran nothing; 2 for a usage error.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
# Longer inputs find little more, and are slow.
LENGTHS_MAX = {"answers": 4096, "config": 2048, "services": 8192, "worker": 2048}
LENGTH_MAX = 512
HANG_SECONDS = 60
MEMORY_MB_MAX = 2048
SYMBOLIZER = "/usr/lib/llvm-19/bin/llvm-symbolizer"

STATUS = re.compile(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/(\S+)", re.MULTILINE)
EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
ADDED = re.compile(r"stat::new_units_added:\s+(\d+)")
KEPT = re.compile(r"Test unit written to (\S+)")
WHY = re.compile(r"^(?:broken: .*|.*runtime error: .*|==\d+==\s*ERROR: .*)$", re.MULTILINE)
HASHED = re.compile(r"[0-9a-f]{12}|[0-9a-f]{40}")


class Target:
    def __init__(self, name, build, found):
        self.name = name
        self.program = build / "tests/fuzz" / f"fuzz_{name}"
        self.work = found / "corpus" / name
        self.checked_in = CORPUS / name
        self.log = found / "logs" / f"{name}.log"
        self.crashes = found / "crashes"

    def options(self):
        options = [f"-max_len={LENGTHS_MAX.get(self.name, LENGTH_MAX)}",
                   f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MB_MAX}",
                   f"-artifact_prefix={self.crashes}/{self.name}-"]
        words = HERE / f"{self.name}.dict"
        return options + ([f"-dict={words}"] if words.exists() else [])

    def call(self, arguments, log):
        environment = {"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=16",
                       "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"} | os.environ
        if os.path.exists(SYMBOLIZER):  # AddressSanitizer accepts no other file name
            environment.setdefault("ASAN_SYMBOLIZER_PATH", SYMBOLIZER)
        with open(log, "w", encoding="utf-8") as out:
            return subprocess.run([self.program, *arguments], stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=subprocess.STDOUT, env=environment, check=False).returncode

    def run(self, seconds, runs):
        for directory in (self.work, self.log.parent, self.crashes):
            directory.mkdir(parents=True, exist_ok=True)
        limits = [f"-max_total_time={seconds}"] + ([f"-runs={runs}", "-seed=1"] if runs else [])
        corpora = [path for path in (self.work, self.checked_in) if path.is_dir()]
        status = self.call([*limits, *self.options(), "-print_final_stats=1", *corpora], self.log)
        return Outcome(self, status, seconds)

    def merge(self):
        """Makes the checked-in corpus anew: named inputs, and the fewest others that reach the rest."""
        self.checked_in.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as new:
            named = [path for path in self.checked_in.iterdir() if not HASHED.fullmatch(path.name)]
            for path in named:
                shutil.copy(path, new)
            log = self.log.with_suffix(".merge")
            merging = ["-set_cover_merge=1", "-use_counters=0", *self.options()]
            if self.call([*merging, new, self.checked_in, self.work], log) != 0:
                raise SystemExit(f"{self.name}: the merge failed, see {log}")
            for path in self.checked_in.iterdir():
                if HASHED.fullmatch(path.name):
                    path.unlink()
            for path in pathlib.Path(new).iterdir():
                if HASHED.fullmatch(path.name):
                    shutil.copy(path, self.checked_in / path.name[:12])
        inputs = list(self.checked_in.iterdir())
        size = sum(path.stat().st_size for path in inputs)
        print(f"    {self.name}: {len(inputs)} inputs of {size} bytes, {len(named)} with a name")


class Outcome:
    def __init__(self, target, status, seconds):
        self.target, self.status = target, status
        log = target.log.read_text(errors="replace")
        last = (STATUS.findall(log) or [("0", "0", "0", "0", "0b")])[-1]
        self.executions = int((EXECUTED.findall(log) or [last[0]])[-1])
        rate = re.findall(r"stat::average_exec_per_sec:\s+(\d+)", log)
        self.rate = int(rate[-1]) if rate else self.executions // seconds
        self.edges, self.features, self.corpus = int(last[1]), int(last[2]), int(last[3])
        self.added = int((ADDED.findall(log) or ["0"])[-1])
        self.input = (KEPT.findall(log) or [""])[-1]
        self.why = (WHY.findall(log) or ["exit status %d" % status])[0].strip()
        self.crashed = status != 0

    def failed(self):
        return self.crashed or self.executions == 0

    def row(self):
        return (f"{self.target.name:<12}{self.executions:>12}{self.rate:>9}{self.edges:>8}"
                f"{self.features:>10}{self.corpus:>8}{self.added:>7}{int(self.crashed):>9}")

    def explanation(self):
        """The failure, and how to reproduce it."""
        if not self.failed():
            return []
        if not self.crashed:
            return [f"{self.target.name}: no input ran, see {self.target.log}"]
        lines = [f"{self.target.name}: {self.why[:200]}", f"    log:    {self.target.log}"]
        if self.input:
            kept = self.target.checked_in.relative_to(HERE.parent.parent)
            lines += [f"    input:  {self.input}", f"    again:  {self.target.program} INPUT",
                      f"    after the fix, keep the input: cp INPUT {kept}/NAME-OF-THE-FAULT"]
        return lines


HEADER = (f"{'target':<12}{'executions':>12}{'exec/s':>9}{'edges':>8}{'features':>10}{'corpus':>8}"
          f"{'new':>7}{'crashes':>9}")


def known_targets():
    return sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.cpp"))


def show_table(outcomes):
    print(HEADER, flush=True)
    failed = []
    for outcome in outcomes:
        print(outcome.row(), flush=True)
        if outcome.failed():
            failed.append(outcome)
    for outcome in failed:
        print("\n" + "\n".join(outcome.explanation()))
    return failed


def show_tap(outcomes):
    print("TAP version 13")
    failed, number = [], 0
    for number, outcome in enumerate(outcomes, 1):
        for line in outcome.explanation():
            print(f"# {line}")
        print(f"{'not ok' if outcome.failed() else 'ok'} {number} - {outcome.target.name}: "
              f"{outcome.executions} inputs, {outcome.edges} edges", flush=True)
        if outcome.failed():
            failed.append(outcome)
    print(f"1..{number}")
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--found", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--tap", action="store_true")
    parser.add_argument("targets", nargs="*")
    options = parser.parse_args()
    known = known_targets()
    for name in options.targets:
        if name not in known:
            parser.error(f"unknown target '{name}'; known are: {', '.join(known)}")
    if options.seconds < 1 or options.jobs < 1:
        parser.error("--seconds and --jobs must be at least 1")
    build = options.build.resolve()
    found = (options.found or options.build).resolve()
    targets = [Target(name, build, found) for name in options.targets or known]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        outcomes = pool.map(lambda target: target.run(options.seconds, options.runs), targets)
        failed = (show_tap if options.tap else show_table)(outcomes)
    if options.merge:
        print("\nMerged into tests/fuzz/corpus:")
        for target in targets:
            target.merge()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
