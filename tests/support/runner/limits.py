"""No test takes for ever, and a part of a test that fails is named.

A test's limit is pytest-timeout's, raised in the test as an exception that no `except Exception` takes
for its own. Where not even that ends it (its clean-up waits for a thread that hangs), the process ends
with every thread's stack; pytest-xdist names the test, and goes on in another process.

pytest leaves subTest() to a plug-in: it takes the first failure for the test's end, and does not say
where it was. Here a test goes through all of its parts, as unittest does it.
"""

import faulthandler
import os
import traceback

import pytest
from _pytest.unittest import TestCaseFunction

#: Longer than the longest wait in a test, so that the wait can say what it waited for.
SECONDS_MAX = 300


def add_options(_group):
    pass


def configure(config):
    TestCaseFunction.addSubTest = add_sub_test
    TestCaseFunction.failfast = False  # unittest asks for it, after a part that failed
    config.pluginmanager.register(Limits(), "riposte-limits")


def limit_of(item):
    import patience  # not before the build is known, which may have a sanitizer
    mark = item.get_closest_marker("timeout")
    return patience.seconds(mark.args[0] if mark else SECONDS_MAX)


class Limits:
    def __init__(self):
        self.errors = os.dup(2)  # before pytest takes what is written there

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
    """A method of what pytest gives unittest as the result of a test; `problem` is of sys.exc_info()."""
    if problem is None:
        return
    item.add_report_section("call", "part", f"{part}\n{''.join(traceback.format_exception(*problem))}")
    if isinstance(problem[1], pytest.fail.Exception):
        raise problem[1]  # the test has taken too long: no further part of it
    if not item._excinfo:
        item.addFailure(testcase, problem)
