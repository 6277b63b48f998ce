"""How pytest runs the tests of this tree. The tests themselves are unittest's classes.

    /usr/bin/python3 -m pytest -n 6 --build=build tests/integration
    /usr/bin/python3 -m pytest --build=build -k late_reader tests/integration/test_echo.py

The additions to pytest are in support/runner, one module each:

    build       the programs under test, which Meson describes in the build tree
    variants    runs a class of a module marked `backends` once for each backend; --repeat; the order
    limits      time limits of tests; tests that hang regardless; subTest
    machine     tests that run alone; --load
    results     one line per test in a file; running failed tests once more, alone
"""

import signal
import sys

import pytest

sys.dont_write_bytecode = True

from runner import build, limits, machine, results, variants  # noqa: E402

MODULES = (build, variants, limits, machine, results)


def pytest_addoption(parser):
    group = parser.getgroup("riposte")
    for module in MODULES:
        module.add_options(group)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():  # called before anything is configured
    return machine.auto_workers()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # A shell's background jobs ignore SIGINT, and so would programs that a test starts and interrupts.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for module in MODULES:
        module.configure(config)
