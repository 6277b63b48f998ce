"""Storms, other attacks and the simulator for a number of minutes, with a table at the end.

    soak.py --build DIRECTORY [--minutes M] [--json FILE]

Each round runs, on every backend of the build, every storm of test_storms.py and those integration tests
that attack in other ways (ATTACKS), and then the simulator with seeds that no run before it had, for a
fifth of the round's time. The first failure ends it, and is shown
as it was; so does Ctrl-C, and what was measured until then is printed all the same.
"""

import argparse
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
#: Debian's own has pytest, whichever Python runs this.
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
#: Forged loops, sources and floods, amplification; lists; no descriptors; sizes of datagrams; the
#: environment of inherited sockets; memory and readers that do not read; the kernel's filter.
ATTACKS = ("test_reflection", "test_access", "test_limits", "test_datagrams", "test_listeners",
           "test_memory", "test_backpressure", "test_sandbox")
COLUMNS = "{:<24} {:<8} {:>13} {:>8} {:>13} {:>8}"


def parse():
    parser = argparse.ArgumentParser(description="storms and simulated faults, for a while")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--json", type=pathlib.Path, help="write what was measured to this file")
    return parser.parse_args()


def backends(build):
    version = subprocess.run([build / "daemon" / "riposted", "--version"], stdout=subprocess.PIPE,
                             check=True, text=True).stdout
    return ["epoll", "io_uring"] if "io_uring" in version else ["epoll"]


def cases(build, backend, report, seconds, modules):
    """Returns the number of cases, and their failures."""
    environment = {**os.environ, "RIPOSTE_STORMS": "full", "RIPOSTE_SOAK_REPORT": str(report),
                   "RIPOSTE_SOAK_SECONDS": str(seconds), "PYTHONDONTWRITEBYTECODE": "1"}
    results = report.with_name("results")
    results.write_text("")
    done = subprocess.run(
        [PYTHON, "-m", "pytest", f"--build={build}", f"--backends={backend}",
         f"--results={results}", *(f"integration/{module}.py" for module in modules)],
        cwd=TESTS, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    lines = [line.split("\t") for line in results.read_text(encoding="utf-8").splitlines()]
    for result, name, reason, _ in lines:
        if result == "skipped":
            print(f"    {backend}: {name}: skipped: {reason}")
    return len(lines), "" if done.returncode == 0 else done.stdout


def simulate(build, first_seed, seconds):
    """Returns the number of seeds, and the failure."""
    done = subprocess.run(
        [build / "tests" / "sim" / "simulate", "--from", str(first_seed), "--seconds", str(seconds)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(r"sim: (\d+) seeds", done.stdout)
    return int(found[1]) if found else 0, "" if done.returncode == 0 else done.stdout


def read(report):
    return [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]


def table(records):
    """The worst of all rounds for each storm and backend."""
    by_storm = {}
    for record in records:
        by_storm.setdefault((record["scenario"], record["backend"]), []).append(record)
    lines = [COLUMNS.format("storm", "backend", "honest", "p99", "memory", "left"),
             COLUMNS.format("", "", "asked/lost", "ms", "peak/bound", "open")]
    for (scenario, backend), runs in by_storm.items():
        honest = [each for run in runs for each in run["honest"].values()]
        asked = sum(each["sent"] for each in honest)
        lost = sum(each["sent"] - each["answered"] for each in honest)
        peak = max((run["peak_mib"] or 0 for run in runs), default=0)
        bound = runs[-1]["bound_mib"]
        lines.append(COLUMNS.format(
            scenario, backend,
            f"{asked}/{lost}" if honest else "-",
            f"{max(each['p99_ms'] for each in honest):.1f}" if honest else "-",
            f"{peak:.0f}/{bound or '-'} MiB" if peak else "-",
            max(run["fds_left"] for run in runs)))
    return "\n".join(line.rstrip() for line in lines)


def main():
    arguments = parse()
    build = arguments.build.resolve()
    end = time.monotonic() + 60 * arguments.minutes
    seed = random.SystemRandom().randrange(1 << 40)
    seeds = rounds = total = 0
    failure = ""
    with tempfile.TemporaryDirectory(prefix="riposte-soak-") as directory:
        report = pathlib.Path(directory) / "report"
        report.touch()
        try:
            while not failure and (rounds == 0 or time.monotonic() < end):
                began = time.monotonic()
                for backend in backends(build):
                    for modules in (["test_storms"], ATTACKS):
                        if not failure:
                            count, failure = cases(
                                build, backend, report, min(3 + rounds, 30), modules)
                            total += count
                if not failure:
                    count, failure = simulate(
                        build, seed + seeds, max(10, int((time.monotonic() - began) / 4)))
                    seeds += count
                rounds += 1
                print(f"round {rounds}: {time.monotonic() - began:.0f} s, {total} cases, {seeds} seeds"
                      f"{', FAILED' if failure else ''}", flush=True)
        except KeyboardInterrupt:
            print("interrupted")
        records = read(report)
    print(table(records))
    print(f"soak: {rounds} rounds, {len(records)} storms, {total - len(records)} other cases, "
          f"{seeds} seeds from {seed}: "
          f"{'FAILED' if failure else 'all held'}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"rounds": rounds, "first_seed": seed, "seeds": seeds, "cases": total,
                        "storms": records,
                        "held": not failure}, indent=1) + "\n", encoding="utf-8")
    if failure:
        print(failure)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
