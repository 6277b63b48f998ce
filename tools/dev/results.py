"""The results of the tests: one row for each, and their summary.

A row is (outcome, stage, name, reason, seconds). Outcomes: passed, failed, skipped, and retried: failed
beside other tests, and passed when it was run again, alone. A retried test counts as passed, and the report
names it; more than RETRIED_MAX of them fail the run.

Rows are also written to a file of tab-separated values, one a line, so that the results of a run in another
root can be added to this one.
"""

import json
import pathlib
import re
import threading
from typing import NamedTuple

from tools.dev.console import say

#: The run fails if more tests than this passed only when they were run again, alone.
RETRIED_MAX = 2

_TAP_LINE = re.compile(r"^(?P<not>not )?ok\b\s*\d*\s*(?:- )?(?P<name>(?:\\#|[^#])*)"
                       r"(?:# SKIP\S*\s*(?P<reason>.*))?")


class Row(NamedTuple):
    outcome: str
    stage: str
    name: str
    reason: str = ""
    seconds: float = 0.0


class Results:
    """The rows of one run, in memory and in a file. Threads may add at the same time."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("", encoding="utf-8")
        self.rows = []
        self._lock = threading.Lock()

    def add(self, outcome, stage, name, reason="", seconds=0.0):
        row = Row(outcome, stage, *(" ".join(text.split()) for text in (name, reason)), seconds)
        with self._lock:
            self.rows.append(row)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("\t".join((*row[:4], f"{row.seconds:.3f}")) + "\n")
        if outcome == "failed":
            say(f"FAILED: {stage}: {name}{': ' + reason if reason else ''}")
        elif outcome == "skipped":
            say(f"SKIPPED: {stage}: {name}: {reason}")
        elif outcome == "retried":
            say(f"RETRIED: {stage}: {name}: failed among others, passed alone")
        return row

    def add_file(self, path, stage, prefix=""):
        """The rows of another file, under another stage."""
        for row in read(path):
            self.add(row.outcome, stage, prefix + row.name, row.reason, row.seconds)

    def of(self, stage):
        with self._lock:
            return [row for row in self.rows if row.stage == stage]


def read(path):
    rows = []
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        outcome, stage, name, reason, seconds = (line.split("\t") + [""] * 4)[:5]
        rows.append(Row(outcome, stage, name, reason, float(seconds or 0)))
    return rows


def of_pytest(path):
    """The rows that tests/support/runner/results.py wrote: outcome, name, reason, seconds; no stage."""
    path = pathlib.Path(path)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    fields = [(line.split("\t") + [""] * 3)[:4] for line in lines]
    return [Row(outcome, "", name, reason, float(seconds or 0)) for outcome, name, reason, seconds in fields]


def tap_results(program, text):
    """(outcome, name, reason, the comment lines before it) of each test in a TAP stream."""
    comments = []
    for line in text.splitlines():
        if line.startswith("#"):
            comments.append(line)
            continue
        found = _TAP_LINE.match(line)
        if not found:
            continue
        name = f"{program}: {found['name'].strip()}"
        if found["not"]:
            yield "failed", name, "", comments
        elif found["reason"] is not None:
            yield "skipped", name, found["reason"].strip() or "no reason given", []
        else:
            yield "passed", name, "", []
        comments = []


def of_program(program, ended_well, how, stdout, stderr=""):
    """The results in a program's TAP. A program that crashed, hung or lost its plan has failed even if each
    line that it printed is ok."""
    tests = list(tap_results(program, stdout))
    if not tests:
        tests = [("failed", program, "no test ran" if ended_well else how,
                  stdout.splitlines()[-20:])]
    elif not ended_well and all(outcome != "failed" for outcome, *_ in tests):
        tests.append(("failed", program, how, []))
    if stderr and any(outcome == "failed" for outcome, *_ in tests):
        tests[-1][3].extend("# " + line for line in stderr.splitlines()[-40:])
    return tests


def of_meson(path):
    """program -> (its tests, seconds), from Meson's testlog.json."""
    found = {}
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for entry in (json.loads(line) for line in lines if line.strip()):
        program = entry["name"].rpartition(" / ")[2].split(":")[-1].strip()
        how = f"{entry['result']}, exit code {entry.get('returncode')}"
        found[program] = (of_program(program, entry["result"] in ("OK", "SKIP"), how,
                                     entry.get("stdout") or "", entry.get("stderr") or ""),
                          entry.get("duration", 0.0))
    return found


def summary(rows):
    counts = [sum(row.outcome in outcomes for row in rows)
              for outcomes in (("passed", "retried"), ("failed",), ("skipped",))]
    return "{} passed, {} failed, {} skipped".format(*counts)


def report(rows, slowest=10):
    """Prints the slowest, skipped, retried and failed tests; the last line is the summary. Returns the status."""
    rows = list(rows)
    retried = [row for row in rows if row.outcome == "retried"]
    if len(retried) > RETRIED_MAX:
        rows.append(Row("failed", "all", "tests that pass only alone",
                        f"{len(retried)} of them, at most {RETRIED_MAX} are permitted"))
    if slowest:
        say("\n==> The slowest tests")
        for row in sorted(rows, key=lambda row: -row.seconds)[:slowest]:
            say(f"    {row.seconds:6.1f} s  {row.stage}: {row.name}")
    for outcome, title in (("skipped", "Skipped"), ("retried", "Failed among others, passed alone"),
                           ("failed", "Failed")):
        chosen = [row for row in rows if row.outcome == outcome]
        if chosen:
            say(f"\n==> {title}: {len(chosen)}")
        for row in chosen:
            say(f"    {row.stage}: {row.name}{': ' + row.reason if row.reason else ''}")
    say("\n" + summary(rows))
    passed = any(row.outcome in ("passed", "retried") for row in rows)
    return 0 if passed and all(row.outcome != "failed" for row in rows) else 1
