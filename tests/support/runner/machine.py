"""Use of the machine: a test marked `alone` runs while no other does, and --load keeps the machine busy.

The workers of pytest-xdist get tests a few at a time, in order. Each test holds a lock on one file of the
run, shared, or exclusive if it must run alone; these come last, so that the workers finish the others first,
and then take turns. The time spent waiting for the lock does not count against the test.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import tempfile

import pytest

PR_SET_PDEATHSIG = 1

#: A worker runs a test only once it knows the next one: so it has that, the running one, and as many more as
#: it may run on a busy machine before further ones arrive.
AT_HAND = 4


def add_options(group):
    group.addoption("--load", metavar="N", type=int, default=0,
                    help="keep the machine busy with N spinning processes meanwhile")


def configure(config):
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Turns(config.workerinput["turns"]), "riposte-turns")
    else:
        config.pluginmanager.register(Machine(config), "riposte-machine")


class Machine:
    """The state that exists once per run, however many workers it has."""

    def __init__(self, config):
        self.config = config
        self.spinning = []
        self.turns = tempfile.NamedTemporaryFile(prefix="riposte-turns-")

    def pytest_sessionstart(self):
        for _ in range(self.config.option.load):
            self.spinning.append(subprocess.Popen(
                [sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL,
                start_new_session=True, preexec_fn=end_with_its_parent))

    def pytest_unconfigure(self):
        for process in self.spinning:
            process.kill()
        for process in self.spinning:
            process.wait()
        self.spinning = []
        self.turns.close()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node):
        node.workerinput["turns"] = self.turns.name

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config, log):
        from xdist.scheduler import LoadScheduling

        class FewAtATime(LoadScheduling):
            """A worker has AT_HAND tests instead of a batch, because their durations differ too much."""

            def check_schedule(self, node, duration=0):
                if not node.shutting_down:
                    if self.pending:
                        self._send_tests(node, AT_HAND)
                    else:
                        node.shutdown()

            def _send_tests(self, node, num):
                super()._send_tests(node, min(num, max(0, AT_HAND - len(self.node2pending[node]))))

        return FewAtATime(config, log) if config.getoption("dist") == "load" else None


def auto_workers():
    """The number of workers for -n auto."""
    return 3 * len(os.sched_getaffinity(0))  # tests mostly wait


def end_with_its_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Turns:
    """A worker's part in the locking."""

    def __init__(self, path):
        self.path = path

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        with open(self.path, encoding="ascii") as lock:
            alone = item.get_closest_marker("alone") is not None
            fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield
