"""An idle daemon makes no system call but the watchdog's, and uses no CPU."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time

from daemon import (SANITIZER, RiposteTest, await_true, needs_program, needs_systemd,
                    receive_exactly)

SECONDS = 3


@needs_program("strace")
class Idle(RiposteTest):
    def setUp(self):
        super().setUp()
        if SANITIZER != "none":
            self.skipTest("the sanitizer's own thread makes system calls")

    def calls(self, daemon):
        """The names of the calls that its threads make within SECONDS.

        A thread's first one is not counted: it is the wait that strace found it in."""
        trace = subprocess.Popen(
            [shutil.which("strace"), "-f", "-qq", "-e", "signal=none", "-o", daemon.directory + "/trace",
             "-p", str(daemon.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        self.addCleanup(trace.stderr.close)
        self.addCleanup(trace.wait)
        self.addCleanup(trace.kill)
        await_true(lambda: trace.poll() is not None or self.is_traced(daemon), "strace has attached")
        if trace.poll() is not None:
            self.skipTest("strace can not attach: " + trace.stderr.read().strip())
        time.sleep(SECONDS)
        trace.send_signal(signal.SIGINT)
        trace.wait(20)
        with open(daemon.directory + "/trace", encoding="utf-8") as file:
            calls = [found.groups() for line in file
                     if (found := re.match(r"(\d+)\s+(\w+)\(", line))]
        waiting = set()
        return [name for task, name in calls if task in waiting or waiting.add(task)]

    @staticmethod
    def is_traced(daemon):
        """Each thread, and not only the first."""
        for task in os.listdir(f"/proc/{daemon.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                with open(f"/proc/{daemon.pid}/task/{task}/status", encoding="ascii") as file:
                    if "TracerPid:\t0\n" in file.read():
                        return False
        return True

    def test_without_connections_it_makes_none(self):
        daemon = self.daemon("--listen", "hello=127.0.0.1:0", "--workers", "2")
        self.assertEqual(self.calls(daemon), [])

    def test_with_silent_connections_it_makes_none(self):
        daemon, address = self.serve("echo", config="[limits]\nwrite_stall_timeout = '200ms'\n")
        clients = [self.connect(address) for _ in range(20)]
        for client in clients:
            client.send(b"x")
            receive_exactly(client, 1)
        time.sleep(1)  # a deadline that nobody needs any more may still wake it once
        self.assertEqual(self.calls(daemon), [])

    def test_with_busy_poll_it_makes_none_and_uses_no_cpu(self):
        """A look that does not end would show in one or the other: io_uring's makes no call."""
        daemon, address = self.serve("echo", config="busy_poll = '10ms'\n")
        clients = [self.connect(address) for _ in range(5)]
        for client in clients:
            client.send(b"x")
            receive_exactly(client, 1)
        time.sleep(1)
        before = daemon.cpu_ticks()
        time.sleep(SECONDS)
        # A hundred a second if it looked all the time; what was begun before may end now, and on a
        # busy machine a tick that it was seen at counts as a whole one.
        self.assertLess(daemon.cpu_ticks() - before, 10 * SECONDS)
        self.assertEqual(self.calls(daemon), [])
        for client in clients:
            client.send(b"y")
            self.assertEqual(receive_exactly(client, 1), b"y")

    @needs_systemd
    def test_with_a_watchdog_it_makes_the_watchdogs_only(self):
        daemon = self.daemon("--listen", "hello=127.0.0.1:0", notify=True,
                             environment={"WATCHDOG_USEC": "2000000"})
        calls = self.calls(daemon)
        self.assertGreater(len(calls), 0)
        # Petting every half of the interval, a handful of calls each time, the wake-ups included.
        self.assertLessEqual(len(calls), 100, calls)
