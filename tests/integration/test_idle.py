"""An idle daemon makes no system calls except for the watchdog's, and uses no CPU."""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from daemon import (SANITIZER, WAIT, RiposteTest, await_true, needs_program, needs_systemd,
                    receive_exactly)

pytestmark = pytest.mark.backends

SECONDS = 3
#: On a busy machine, work from before may finish late; calls that recur are seen in each round.
ROUNDS = 5
#: A busy thread would use a hundred times as much.
CPU_SHARE_MAX = 0.01


#: Where the vDSO has no clock (User Mode Linux), to read one is a system call. It means no work and no wait.
CLOCKS = {"clock_gettime", "gettimeofday", "time"}


class Trace:
    """The names of the system calls that a daemon's threads make, without those of clocks.

    The first one of each thread is not counted: it is the wait in which strace found it."""

    def __init__(self, test, daemon):
        self.daemon = daemon
        self.path = daemon.directory + "/trace"
        self.process = subprocess.Popen(
            [shutil.which("strace"), "-f", "-qq", "-e", "signal=none", "-o", self.path,
             "-p", str(daemon.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        test.addCleanup(self.process.stderr.close)
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)
        await_true(lambda: self.process.poll() is not None or self.is_attached(), "strace has attached")
        if self.process.poll() is not None:
            test.skipTest("strace cannot attach: " + self.process.stderr.read().strip())

    def is_attached(self):
        """Whether it has attached to every thread, not only the first."""
        for task in os.listdir(f"/proc/{self.daemon.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                with open(f"/proc/{self.daemon.pid}/task/{task}/status", encoding="ascii") as file:
                    if "TracerPid:\t0\n" in file.read():
                        return False
        return True

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(WAIT)
        with open(self.path, encoding="utf-8") as file:
            calls = [found.groups() for line in file
                     if (found := re.match(r"(\d+)\s+(\w+)\(", line))]
        waiting = set()
        return [name for task, name in calls
                if name not in CLOCKS and (task in waiting or waiting.add(task))]


@needs_program("strace")
class Idle(RiposteTest):
    def setUp(self):
        super().setUp()
        if SANITIZER != "none":
            self.skipTest("the sanitizer's own thread makes system calls")

    def answered_daemon(self, count, config):
        """A daemon with `count` connections that were answered and are silent now."""
        daemon, address = self.serve("echo", config=config)
        clients = [self.connect(address) for _ in range(count)]
        self.speak(clients)
        return daemon, clients

    def speak(self, clients):
        for client in clients:
            client.send(b"x")
            self.assertEqual(receive_exactly(client, 1), b"x")

    def await_rest(self, daemon):
        """Waits until it is idle: a deadline that no longer matters may still wake it once."""
        def rests():
            before = self.switches(daemon)
            time.sleep(0.3)
            return self.switches(daemon) == before
        await_true(rests, "it rests")

    @staticmethod
    def switches(daemon):
        """How often its threads have gone to sleep or were preempted."""
        found = {}
        for task in os.listdir(f"/proc/{daemon.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{daemon.pid}/task/{task}/status", encoding="ascii") as file:
                    found[task] = re.findall(r"ctxt_switches:\s+(\d+)", file.read())
        return found

    def measure(self, daemons):
        """For each daemon, the calls that it makes within SECONDS and the share of a CPU that it uses."""
        traces = [Trace(self, daemon) for daemon in daemons]
        start = time.monotonic()
        before = [daemon.cpu_seconds() for daemon in daemons]
        time.sleep(SECONDS)
        used = [daemon.cpu_seconds() - cpu for daemon, cpu in zip(daemons, before)]
        seconds = time.monotonic() - start
        return [(trace.end(), cpu / seconds) for trace, cpu in zip(traces, used)]

    def test_without_work_it_makes_no_system_calls_and_uses_no_cpu(self):
        """An endless spin would show in one or the other: that of io_uring makes no call."""
        silent, _ = self.answered_daemon(20, "[limits]\nwrite_stall_timeout = '200ms'\n")
        spinning, clients = self.answered_daemon(5, "busy_poll = '10ms'\n")
        subjects = {"without connections": self.daemon("--listen", "hello=127.0.0.1:0", "--workers", "2"),
                    "with silent connections": silent, "with busy poll": spinning}
        for daemon in subjects.values():
            self.await_rest(daemon)
        active = subjects
        for _ in range(ROUNDS):
            seen = dict(zip(active, self.measure(active.values())))
            active = {name: subjects[name] for name, (calls, cpu) in seen.items()
                        if calls or cpu > CPU_SHARE_MAX}
            if not active:
                break
        self.assertEqual(active, {}, seen)
        self.speak(clients)

    @needs_systemd
    def test_with_a_watchdog_it_makes_only_the_watchdogs_calls(self):
        daemon = self.daemon("--listen", "hello=127.0.0.1:0", notify=True,
                             environment={"WATCHDOG_USEC": "600000"})
        trace = Trace(self, daemon)

        def new_notifications():
            count = 0
            while select.select([daemon.notifications], [], [], 0)[0]:
                count += daemon.notifications.recv(4096) == b"WATCHDOG=1"
            return count
        new_notifications()
        notified = 0
        while notified < 4:
            self.assertTrue(select.select([daemon.notifications], [], [], WAIT)[0], "the watchdog is notified")
            notified += new_notifications()
        calls = trace.end()
        notified += new_notifications() + 1  # the last one may be incomplete
        self.assertGreater(len(calls), 0)
        # A few calls each time, including the wake-ups.
        self.assertLessEqual(len(calls), 20 * notified, calls)
