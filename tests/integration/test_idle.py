"""An idle daemon makes no system call but the watchdog's, and uses no CPU."""

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
#: What was begun before may end later on a busy machine; what comes again and again is seen each time.
LOOKS = 5
#: For a busy thread it would be a hundred times as much.
CPU_SHARE_MAX = 0.01


class Trace:
    """The names of the calls that a daemon's threads make.

    A thread's first one is not counted: it is the wait that strace found it in."""

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
            test.skipTest("strace can not attach: " + self.process.stderr.read().strip())

    def is_attached(self):
        """To each thread, and not only the first."""
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
        return [name for task, name in calls if task in waiting or waiting.add(task)]


@needs_program("strace")
class Idle(RiposteTest):
    def setUp(self):
        super().setUp()
        if SANITIZER != "none":
            self.skipTest("the sanitizer's own thread makes system calls")

    def spoken_to(self, count, config):
        """A daemon with so many connections that were answered, and are silent now."""
        daemon, address = self.serve("echo", config=config)
        clients = [self.connect(address) for _ in range(count)]
        self.speak(clients)
        return daemon, clients

    def speak(self, clients):
        for client in clients:
            client.send(b"x")
            self.assertEqual(receive_exactly(client, 1), b"x")

    def await_rest(self, daemon):
        """A deadline that nobody needs any more may still wake it once."""
        def rests():
            before = self.switches(daemon)
            time.sleep(0.3)
            return self.switches(daemon) == before
        await_true(rests, "it rests")

    @staticmethod
    def switches(daemon):
        """How often its threads have gone to sleep or were made to wait."""
        found = {}
        for task in os.listdir(f"/proc/{daemon.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{daemon.pid}/task/{task}/status", encoding="ascii") as file:
                    found[task] = re.findall(r"ctxt_switches:\s+(\d+)", file.read())
        return found

    def look(self, daemons):
        """For each, the calls that it makes within SECONDS, and the share of a CPU that it uses."""
        traces = [Trace(self, daemon) for daemon in daemons]
        start = time.monotonic()
        before = [daemon.cpu_seconds() for daemon in daemons]
        time.sleep(SECONDS)
        used = [daemon.cpu_seconds() - cpu for daemon, cpu in zip(daemons, before)]
        seconds = time.monotonic() - start
        return [(trace.end(), cpu / seconds) for trace, cpu in zip(traces, used)]

    def test_without_work_it_makes_no_call_and_uses_no_cpu(self):
        """A look that does not end would show in one or the other: io_uring's makes no call."""
        silent, _ = self.spoken_to(20, "[limits]\nwrite_stall_timeout = '200ms'\n")
        looking, clients = self.spoken_to(5, "busy_poll = '10ms'\n")
        subjects = {"without connections": self.daemon("--listen", "hello=127.0.0.1:0", "--workers", "2"),
                    "with silent connections": silent, "with busy poll": looking}
        for daemon in subjects.values():
            self.await_rest(daemon)
        restless = subjects
        for _ in range(LOOKS):
            seen = dict(zip(restless, self.look(restless.values())))
            restless = {name: subjects[name] for name, (calls, cpu) in seen.items()
                        if calls or cpu > CPU_SHARE_MAX}
            if not restless:
                break
        self.assertEqual(restless, {}, seen)
        self.speak(clients)

    @needs_systemd
    def test_with_a_watchdog_it_makes_the_watchdogs_only(self):
        daemon = self.daemon("--listen", "hello=127.0.0.1:0", notify=True,
                             environment={"WATCHDOG_USEC": "600000"})
        trace = Trace(self, daemon)

        def pets():
            count = 0
            while select.select([daemon.notifications], [], [], 0)[0]:
                count += daemon.notifications.recv(4096) == b"WATCHDOG=1"
            return count
        pets()
        petted = 0
        while petted < 4:
            self.assertTrue(select.select([daemon.notifications], [], [], WAIT)[0], "it is petted")
            petted += pets()
        calls = trace.end()
        petted += pets() + 1  # the last one may be half done
        self.assertGreater(len(calls), 0)
        # A handful of calls each time, the wake-ups included.
        self.assertLessEqual(len(calls), 20 * petted, calls)
