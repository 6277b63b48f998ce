"""Runs one module of unittest tests and speaks TAP version 13.

    tap.py MODULE.py [WORDS...]     only the tests whose name contains one of WORDS

One line a test; what failed stands in `# ` lines before it, with the daemon's log; a skipped test says
why. A run without a test, or a module that can not be imported, has failed. Each test has a time limit
of its own, so that one that hangs is named and the rest still run.
"""

import importlib.util
import os
import signal
import sys
import traceback
import unittest

TEST_SECONDS_MAX = int(os.environ.get("RIPOSTE_TEST_SECONDS_MAX", "150"))


class TookTooLong(BaseException):
    """Not an Exception: no `except Exception` of a test may swallow it. unittest reports it."""


class TapResult(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out
        self.number = 0
        self.problems = []
        self.skip_reason = None

    def comment(self, text):
        for line in text.rstrip("\n").splitlines():
            self.line("# " + line)

    def line(self, text):
        self.out.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
        self.out.flush()

    def startTest(self, test):
        super().startTest(test)
        self.problems = []
        self.skip_reason = None
        signal.alarm(TEST_SECONDS_MAX)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)
        self.number += 1
        for problem in self.problems:
            self.comment(problem)
        verdict = "not ok" if self.problems else "ok"
        line = f"{verdict} {self.number} - {name_of(test)}"
        if self.skip_reason is not None and not self.problems:
            line += f" # SKIP {self.skip_reason}"
        self.line(line)

    def problem(self, error):
        kind, value, trace = error
        while trace and "__unittest" in trace.tb_frame.f_globals:
            trace = trace.tb_next
        self.problems.append("".join(traceback.format_exception(kind, value, trace)))

    def addError(self, test, err):
        super().addError(test, err)
        self.problem(err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.problem(err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.problems.append(f"in {subtest}")
            self.problem(err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.skip_reason = " ".join(reason.split()).replace("#", "\\#")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.problems.append("passed although it was expected to fail")


def name_of(test):
    """test_a_late_reader of class Stream reads as "Stream: a late reader"."""
    method = test._testMethodName.removeprefix("test_").replace("_", " ")
    return f"{type(test).__name__}: {method}".replace("#", "\\#")


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def load(path):
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return unittest.TestLoader().loadTestsFromModule(module)


def on_alarm(_signum, _frame):
    raise TookTooLong(f"the test took longer than {TEST_SECONDS_MAX} seconds")


def main(arguments):
    out = sys.stdout
    result = TapResult(out)
    result.line("TAP version 13")
    if not arguments:
        result.line("Bail out! usage: tap.py MODULE.py [WORDS...]")
        return 2
    path, words = arguments[0], [word.replace("_", " ") for word in arguments[1:]]
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    try:
        tests = list(flatten(load(path)))
    except Exception:
        result.comment(traceback.format_exc())
        result.line(f"Bail out! {path} can not be imported")
        return 1
    if words:
        tests = [test for test in tests if any(word in name_of(test) for word in words)]
    if not tests:
        result.line("Bail out! no test was run: none matches")
        return 1
    signal.signal(signal.SIGALRM, on_alarm)
    for test in tests:
        test(result)
    result.line(f"1..{result.number}")
    return 0 if result.wasSuccessful() and result.number > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
