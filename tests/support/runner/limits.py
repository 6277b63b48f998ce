"""Every test has a time limit, and a failed subtest is named.

pytest-timeout enforces the limit by an exception in the test that no `except Exception` catches. If even
that does not end it (its clean-up waits for a thread that hangs), the process prints every thread's stack
and ends; pytest-xdist names the test, and continues in another process.

pytest leaves subTest() to a plug-in: by itself it ends the test at the first failure, and does not say in
which subtest that was. Here a test runs all of its subtests, as in unittest.
"""

import faulthandler
import os
import traceback

import pytest
from _pytest.unittest import TestCaseFunction

#: Longer than the longest wait in a test, so that the wait can report its condition.
SECONDS_MAX = 300


def add_options(_group):
    pass


def configure(config):
    TestCaseFunction.addSubTest = add_sub_test
    TestCaseFunction.failfast = False  # unittest reads it after a failed subtest
    config.pluginmanager.register(Limits(), "riposte-limits")


def limit_of(item):
    import patience  # only once the build is known, which may have a sanitizer
    mark = item.get_closest_marker("timeout")
    return patience.seconds(mark.args[0] if mark else SECONDS_MAX)


class Limits:
    def __init__(self):
        self.errors = os.dup(2)  # before pytest captures standard error

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        for item in items:
            item.seconds_max = limit_of(item)
            item.add_marker(pytest.mark.timeout(item.seconds_max))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        faulthandler.dump_traceback_later(3 * item.seconds_max, exit=True, file=self.errors)
        yield
        faulthandler.cancel_dump_traceback_later()


def add_sub_test(item, testcase, part, problem):
    """A method of the result object that pytest gives unittest; `problem` is that of sys.exc_info()."""
    if problem is None:
        return
    item.add_report_section("call", "part", f"{part}\n{''.join(traceback.format_exception(*problem))}")
    if isinstance(problem[1], pytest.fail.Exception):
        raise problem[1]  # the test has timed out: run no further subtest
    if not item._excinfo:
        item.addFailure(testcase, problem)
