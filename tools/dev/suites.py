"""Runs the tests of a build tree: Meson runs the C++ programs, pytest the Python modules.

Both write one row for each test. A test that failed beside others may be run again, alone: if it then passes it
is `retried`, which the summary counts and names (results.py).
"""

import os
import pathlib
import sys

from tools.dev import process, results
from tools.dev.console import say
from tools.dev.trees import ROOM, TOP

#: Tests mostly wait, so more of them than processors run at once.
PROGRAMS_AT_ONCE = 4
MODULES_AT_ONCE = 6
#: The lines that are shown of the output of a failed test.
LINES_SHOWN = 80


def run_programs(found, stage, tree, suites=(), names=(), environment=None, patience=1.0, prefix=(),
                 at_once=PROGRAMS_AT_ONCE):
    """`meson test` of these suites or names; `found` is the Results to add to."""
    _meson_test(stage, tree, [word for suite in suites for word in ("--suite", suite)] + list(names),
                environment, patience, prefix, at_once)
    programs = results.of_meson(tree.path / "meson-logs/testlog.json")
    if not programs:
        found.add("failed", stage, "meson test", f"no test ran, see {ROOM}/{stage}.programs.log")
        return
    failed = {name for name, (tests, _) in programs.items()
              if any(outcome == "failed" for outcome, *_ in tests)}
    again = {}
    if 0 < len(failed) <= results.RETRIED_MAX:
        _meson_test(stage, tree, sorted(failed), environment, patience, prefix, 1)
        again = results.of_meson(tree.path / "meson-logs/testlog.json")
    for name, (tests, seconds) in programs.items():
        _add_program(found, stage, tests, seconds, again.get(name, ((), 0))[0])


def _meson_test(stage, tree, arguments, environment, patience, prefix, at_once):
    log = tree.path / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    patience *= float(os.environ.get("RIPOSTE_TEST_PATIENCE", "1"))
    process.run([*prefix, "meson", "test", "-C", tree.path, "--no-rebuild", "--num-processes", at_once,
                 "--timeout-multiplier", max(1, round(patience * 2)), *arguments],
                log=ROOM / f"{stage}.programs.log",
                env={**(environment or {}), "RIPOSTE_TEST_PATIENCE": patience})


def _add_program(found, stage, tests, seconds, again):
    """Adds the rows of one program; a failed test that passed in `again` is `retried`."""
    passed_alone = {name for outcome, name, *_ in again if outcome == "passed"}
    whole = again and all(outcome != "failed" for outcome, *_ in again)
    for outcome, name, reason, comments in tests:
        for line in comments[-LINES_SHOWN:]:
            say(line)
        if outcome == "failed" and whole and (name in passed_alone or name not in
                                              {each for _, each, *_ in again}):
            outcome = "retried"
        # Meson measures the program's time, not that of its tests.
        found.add(outcome, stage, name, reason, seconds / max(1, len(tests)))


def pytest_command(arguments):
    return [sys.executable, "-B", "-m", "pytest", *arguments]


def run_python(found, stage, paths, tree=None, arguments=(), environment=None, prefix=(),
               at_once=MODULES_AT_ONCE, name="python", tools=None):
    """Runs pytest on these files or directories, and adds its rows; `tools`: the client's tree, if not `tree`."""
    rows = ROOM / f"{stage}.{name}.tsv"
    log = ROOM / f"{stage}.{name}.log"
    rows.unlink(missing_ok=True)
    rows.parent.mkdir(exist_ok=True)
    command = [f"--results={rows}", *([f"--build={tree.path}"] if tree else []),
               *([f"--tools={tools.path}"] if tools else []), *arguments, *paths]
    done = process.run([*prefix, *pytest_command([*_parallel(at_once), *command])], log=log,
                       env=environment, cwd=TOP)
    count = _collect_rows(found, stage, rows)
    if not done.ok:
        _show_failures(log)
    if not count or (not done.ok and all(row.outcome != "failed" for row in found.of(stage))):
        say("\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]))
        found.add("failed", stage, f"pytest {name}", f"exit status {done.status}, see {log}")


def _parallel(at_once):
    return ["-n", at_once] if at_once > 1 else []


def _collect_rows(found, stage, path):
    """Adds the lines that pytest's runs wrote; returns how many there were."""
    rows = results.of_pytest(path)
    for row in rows:
        found.add(row.outcome, stage, row.name, row.reason, row.seconds)
    return len(rows)


def _show_failures(log):
    """Prints only the failures of pytest's output."""
    lines = pathlib.Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    begin = next((n for n, line in enumerate(lines) if "= FAILURES =" in line or "= ERRORS =" in line),
                 max(0, len(lines) - LINES_SHOWN))
    for line in lines[begin:begin + 4 * LINES_SHOWN]:
        say(line)
