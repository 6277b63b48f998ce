"""How pytest runs the tests of this tree. The tests themselves are unittest's classes.

    /usr/bin/python3 -m pytest -n 6 --build=build tests/integration
    /usr/bin/python3 -m pytest --build=build -k late_reader tests/integration/test_echo.py

What pytest has not by itself is in support/runner, a module each:

    build       what is tested: Meson leaves it in the build tree
    variants    a class of a module marked `backends` once for each backend; --repeat; the order
    limits      the time that a test may take; what hangs in spite of it; subTest
    machine     tests that run alone; --load
    results     a line a test in a file; what failed once more, alone
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
def pytest_xdist_auto_num_workers():  # asked before anything is configured
    return machine.auto_workers()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # A shell's background jobs ignore it, and so would each program of a test, which some interrupt.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for module in MODULES:
        module.configure(config)
