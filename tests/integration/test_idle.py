"""An idle daemon makes no system call but the watchdog's."""

import re
import shutil
import signal
import subprocess
import time

from daemon import SANITIZER, RiposteTest, needs_program, needs_systemd, receive_exactly

SECONDS = 3


@needs_program("strace")
class Idle(RiposteTest):
    def setUp(self):
        super().setUp()
        if SANITIZER != "none":
            self.skipTest("the sanitizer's own thread makes system calls")

    def calls(self, daemon):
        """The names of the calls that end within SECONDS; the first of a wait is not counted."""
        trace = subprocess.Popen(
            [shutil.which("strace"), "-f", "-qq", "-e", "signal=none", "-o", daemon.directory + "/trace",
             "-p", str(daemon.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        time.sleep(0.7)  # until it has attached; attaching restarts the wait that each thread is in
        if trace.poll() is not None:
            self.skipTest("strace can not attach: " + trace.stderr.read().strip())
        start = self.trace(daemon)
        time.sleep(SECONDS)
        end = self.trace(daemon)
        trace.send_signal(signal.SIGINT)
        trace.wait(20)
        trace.stderr.close()
        self.assertEqual(end[:len(start)], start)
        return [found[1] for line in end[len(start):]
                if (found := re.match(r"\d+\s+(?:<\.\.\. )?(\w+)", line))]

    @staticmethod
    def trace(daemon):
        with open(daemon.directory + "/trace", encoding="utf-8") as file:
            return file.read().split("\n")[:-1]

    def test_without_connections_it_makes_none(self):
        daemon = self.daemon("--listen", "hello=127.0.0.1:0", "--workers", "2")
        self.assertEqual(self.calls(daemon), [])

    def test_with_silent_connections_it_makes_none(self):
        daemon, address = self.serve("echo")
        clients = [self.connect(address) for _ in range(20)]
        for client in clients:
            client.send(b"x")
            receive_exactly(client, 1)
        self.assertEqual(self.calls(daemon), [])

    @needs_systemd
    def test_with_a_watchdog_it_makes_the_watchdogs_only(self):
        daemon = self.daemon("--listen", "hello=127.0.0.1:0", notify=True,
                             environment={"WATCHDOG_USEC": "2000000"})
        calls = self.calls(daemon)
        self.assertGreater(len(calls), 0)
        # Petting every half of the interval, a handful of calls each time, the wake-ups included.
        self.assertLessEqual(len(calls), 100, calls)
