"""One line per test, and a second run for tests that a busy machine may have broken.

    --results FILE      appends  passed|retried|failed|skipped <tab> NAME <tab> REASON <tab> SECONDS
                        as each test ends; a test's name is "echo-io_uring: Stream: a late reader"
    --retry-alone       failed tests run once more at the end, each in a process of its own, with nothing
                        beside it. A test that then passes counts as `retried`, and is named in the last
                        lines; more than RETRIED_MAX of these in one run are still failures

A module that cannot be imported counts as a failed test of that name.
"""

import dataclasses
import os
import re
import subprocess
import sys
import tempfile

import pytest

RETRIED_MAX = 2
NODE = re.compile(r"(?:.*/)?(?:test_)?(?P<module>[^/]+)\.py::"
                  r"(?:(?P<group>[^:\[]+)(?:\[(?P<variant>[^\]]+)\])?::)?(?:test_)?(?P<test>.+)")


def add_options(group):
    group.addoption("--results", metavar="FILE", help="append a line for each test to this file")
    group.addoption("--retry-alone", action="store_true",
                    help="run failed tests once more at the end, alone")


def configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Results(config), "riposte-results")


def name_of(nodeid):
    """tests/integration/test_echo.py::Stream[io_uring]::test_a_late_reader becomes
    "echo-io_uring: Stream: a late reader", and the second of several runs ends with "(2)"."""
    found = NODE.fullmatch(nodeid)
    if not found:
        return re.sub(r"(?:.*/)?(?:test_)?([^/]+)\.py", r"\1", nodeid)
    backend, _, number = (found["variant"] or "").rpartition("-")
    if not number.isdigit():
        backend, number = found["variant"], ""
    parts = [found["module"] + (f"-{backend}" if backend else "")]
    parts += [found["group"]] if found["group"] else []
    parts.append(found["test"].replace("_", " ") + (f" ({number})" if number else ""))
    return ": ".join(parts)


@dataclasses.dataclass
class Entry:
    result: str = "passed"
    reason: str = ""
    seconds: float = 0
    reports: list = dataclasses.field(default_factory=list)  # of failures

    def add(self, report):
        self.seconds += getattr(report, "duration", 0)
        if report.failed:
            self.result = "failed"
            self.reports.append(report)
            self.reason = self.reason or last_line(report.longreprtext)
        elif report.skipped and self.result == "passed" and not hasattr(report, "wasxfail"):
            self.result = "skipped"
            self.reason = (report.longrepr[2] if isinstance(report.longrepr, tuple)
                           else report.longreprtext).removeprefix("Skipped: ") or "no reason given"


def last_line(text):
    errors = re.findall(r"(?m)^E\s+(\S.*)$", text)
    lines = errors[:1] or text.strip().splitlines()[-1:]
    return lines[0][:200] if lines else ""


def text_of(reports):
    """The text that pytest would show for them."""
    parts = []
    for report in reports:
        parts.append(report.longreprtext)
        parts += [f"--- {title}\n{content}" for title, content in report.sections]
    return "\n".join(parts)


class Results:
    def __init__(self, config):
        self.config = config
        self.entries = {}
        self.retried = {}  # address -> Entry of the first time
        self.retry_output = ""
        if config.option.results:
            config.option.results = os.path.abspath(config.option.results)

    def write(self, nodeid, entry):
        if not self.config.option.results:
            return
        fields = entry.result, name_of(nodeid), entry.reason, f"{entry.seconds:.2f}"
        with open(self.config.option.results, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\t".join(" ".join(field.split()) for field in fields) + "\n")

    def pytest_collectreport(self, report):
        if report.failed:
            entry = Entry(result="failed", reason="it cannot be imported")
            self.write(report.nodeid, entry)

    def pytest_runtest_logreport(self, report):
        entry = self.entries.setdefault(report.nodeid, Entry())
        entry.add(report)
        ended = report.when not in ("setup", "call")  # the last phase, or the worker's crash
        if ended and not (entry.result == "failed" and self.config.option.retry_alone):
            self.write(report.nodeid, entry)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session, exitstatus):
        if not self.config.option.retry_alone:
            return
        failed = {nodeid: entry for nodeid, entry in self.entries.items() if entry.result == "failed"}
        again = {}
        if failed and exitstatus == pytest.ExitCode.TESTS_FAILED:
            again = self.run_again(list(failed))
        passed = [nodeid for nodeid in failed if again.get(name_of(nodeid)) == "passed"]
        self.retried = {nodeid: failed[nodeid] for nodeid in passed}
        if len(passed) <= RETRIED_MAX:
            for entry in self.retried.values():
                entry.result = "retried"
            self.take_back(session)
        for nodeid, entry in failed.items():
            self.write(nodeid, entry)

    def run_again(self, addresses):
        """Returns the result of each by its name."""
        config = self.config
        with tempfile.TemporaryDirectory(prefix="riposte-again-") as directory:
            results = os.path.join(directory, "results")
            command = [sys.executable, "-m", "pytest", f"--rootdir={config.rootpath}",
                       f"--repeat={config.option.repeat}", f"--results={results}"]
            command += [f"-c{config.inipath}"] if config.inipath else []
            command += [f"--build={config.option.build}"] if config.option.build else []
            command += [f"--backends={config.option.backends}"] if config.option.backends else []
            command += [f"--only-these={address}" for address in addresses]
            command += sorted({address.partition("::")[0] for address in addresses})
            done = subprocess.run(command, cwd=config.rootpath, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            self.retry_output = done.stdout.decode(errors="replace") if done.returncode else ""
            if not os.path.exists(results):
                return {}
            with open(results, encoding="utf-8") as file:
                lines = [line.split("\t") for line in file]
            return {line[1]: line[0] for line in lines}

    def take_back(self, session):
        """Does not count tests that passed in the end as failures of the run."""
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        left = 0
        for category in ("failed", "error"):
            reports = reporter.stats.get(category, [])
            reports[:] = [report for report in reports if report.nodeid not in self.retried]
            left += len(reports)
        if self.retried:
            reporter.stats["retried"] = list(self.retried)
        if left == 0 and self.retried:
            session.exitstatus = pytest.ExitCode.OK

    def pytest_terminal_summary(self, terminalreporter):
        if self.retry_output:
            terminalreporter.section("failed tests were run again, alone")
            terminalreporter.write_line(self.retry_output)
        if not self.retried:
            return
        too_many = len(self.retried) > RETRIED_MAX
        terminalreporter.section("passed when they were run again, alone")
        if not too_many:  # else it is among the failures
            for entry in self.retried.values():
                terminalreporter.write_line(text_of(entry.reports))
        for nodeid, entry in self.retried.items():
            terminalreporter.write_line(f"retried: {name_of(nodeid)}: {entry.reason}")
        if too_many:
            terminalreporter.write_line(f"{len(self.retried)} is more than {RETRIED_MAX}: they count as "
                                        "failed")
