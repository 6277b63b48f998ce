"""The bound of the process's memory: printed in advance, and kept under attack. The tests measure the daemon's
own memory, which other processes do not affect.

    RIPOSTE_STORMS   small or full [small]: only the full form has 10,000 attackers. The kernel's memory
                     for so many is then not available to other TCP connections, so that form runs alone.
"""

import contextlib
import os
import re
import resource
import signal
import socket
import tempfile
import threading
import time

import pytest

from client import comment
from daemon import (SANITIZER, WAIT, RiposteTest, await_true, receive_exactly, run_riposted)
from patience import RUN

LINE = r"at most (\d+) MiB with this configuration$"

FULL = os.environ.get("RIPOSTE_STORMS", "small") == "full"
pytestmark = [pytest.mark.backends] + [pytest.mark.alone] * FULL

#: For a reply while every buffer is taken: each one has to be recovered from a stalled client.
PATIENCE = RUN

#: No timeout ends a connection, and only descriptors limit their number.
PATIENT = """[limits]
connections = {}
connections_per_source = 20000
idle_timeout = "1h"
write_stall_timeout = "1h"
write_rate_min = 0
"""


def bound_mib(daemon):
    return int(re.search(LINE, daemon.lines("memory: ")[-1])[1])


class Announced(RiposteTest):
    def check(self, config, *arguments):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(config)
            file.flush()
            done = run_riposted("-c", file.name, "--check", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, rf"\A{LINE}\Z".replace("$", "\n"))
        return int(re.match(LINE, done.stdout, re.M)[1])

    def test_the_check_and_the_start_print_the_same_bound(self):
        config = "[limits]\nbuffer_memory = '32MiB'\n"
        for workers in ("1", "3"):
            daemon = self.daemon("--workers", workers, "--listen", "echo=127.0.0.1:0", config=config)
            said = self.check(config, "--workers", workers, "--listen", "echo=127.0.0.1:0",
                              "--backend", daemon.argv[daemon.argv.index("--backend") + 1])
            self.assertEqual(said, bound_mib(daemon))
            daemon.stop()

    def test_higher_limits_raise_the_bound(self):
        least = self.check("[limits]\nbuffer_memory = '1MiB'\nconnections = 1\n")
        self.assertLess(least, 48)
        self.assertAlmostEqual(self.check("[limits]\nbuffer_memory = '65MiB'\nconnections = 1\n"),
                               least + 64, delta=1)
        self.assertGreater(self.check("[limits]\nbuffer_memory = '1MiB'\nconnections = 100000\n"),
                           least + 20)

    def test_a_reload_with_higher_limits_prints_the_new_bound_and_keeps_the_buffers(self):
        small = "[limits]\nconnections = 100\nbuffer_memory = '2MiB'\n"
        daemon = self.daemon("--listen", "echo=tcp://127.0.0.1:0", config=small)
        before = bound_mib(daemon)
        for number, text in enumerate((small.replace("100", "100000"), small,
                                       small.replace("2MiB", "20MiB")), start=1):
            daemon.write_config(text)
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("^riposted: reloaded: ", count=number)
        self.assertEqual(len(daemon.lines(LINE)), 2)
        self.assertGreater(bound_mib(daemon), before + 20)
        self.assertEqual(len(daemon.lines("'buffer_memory' changes only with a restart")), 1)


class Honest(threading.Thread):
    """A client that sends a request, reads the reply, and repeats."""

    BLOCK = b"honest!\n" * 125

    def __init__(self, connection):
        super().__init__(daemon=True)
        self.connection = connection
        self.took = []  # seconds, of each reply
        self.fault = None
        self.ending = False
        self.start()

    def run(self):
        try:
            while not self.ending:
                begun = time.monotonic()
                self.connection.sendall(self.BLOCK)
                if receive_exactly(self.connection, len(self.BLOCK)) != self.BLOCK:
                    raise AssertionError("a wrong answer")
                self.took.append(time.monotonic() - begun)
                time.sleep(0.01)
        except (OSError, AssertionError) as error:
            self.fault = error

    def end(self):
        self.ending = True
        self.join()


class Attack(RiposteTest):
    """As many peers as fit send and never read, so that every buffer is full."""

    def setUp(self):
        super().setUp()
        if SANITIZER != "none":
            self.skipTest("a sanitizer's own memory is not the daemon's")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.most = min(10_000, hard - 200)

    def slow_readers(self, address, count):
        """With small segments and buffers, or the kernel would hold megabytes for each."""
        clients = []
        for number in range(count):
            client = self.keep(socket.socket())
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            client.settimeout(WAIT)
            # A source has 28,000 ports, of which others may hold some.
            client.bind((f"127.0.{number // 5000}.1", 0))
            client.connect(address)
            client.setblocking(False)
            clients.append(client)
        return clients

    @staticmethod
    def push(clients, full):
        """Sends until no connection accepts more, and full() is true."""
        block = bytes(range(256)) * 256
        quiet = 0

        def done():
            nonlocal quiet
            sent = 0
            for client in clients:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    sent += client.send(block)
            quiet = 0 if sent else quiet + 1
            return quiet >= 5 and full()
        await_true(done, "every buffer is full", PATIENCE)

    def flood(self, address):
        """Sends the largest datagrams and reads no reply."""
        askers = [self.datagram_socket() for _ in range(4)]
        for number in range(400):
            askers[number % 4].sendto(bytes(65_507), address)

    def relieved(self, daemon):
        daemon.signal(signal.SIGUSR1)
        found = re.search(r"(\d+) reset for their buffers(;|$)", daemon.wait_log("statistics: .*")[0])
        return int(found[1]) if found else 0

    def attack(self, count, buffers_mib, *arguments):
        daemon = self.daemon("--listen", "echo=127.0.0.1:0", *arguments,
                             config=PATIENT.format(count + 100) + f'buffer_memory = "{buffers_mib}MiB"\n')
        tcp = ("127.0.0.1", daemon.port("echo", "tcp"))
        udp = ("127.0.0.1", daemon.port("echo", "udp"))
        honest = Honest(self.connect(tcp, timeout=PATIENCE))
        clients = self.slow_readers(tcp, count)
        self.push(clients, lambda: daemon.peak_rss_kib() / 1024 > buffers_mib * 0.9)
        self.flood(udp)
        # No timeout frees a buffer: only resetting peers that read nothing does.
        answered = len(honest.took)
        await_true(lambda: honest.fault or len(honest.took) >= answered + 5,
                   "an honest client gets replies while others read nothing", PATIENCE)
        honest.end()
        self.assertIsNone(honest.fault)
        self.assertGreater(self.relieved(daemon), 0)
        bound = bound_mib(daemon)
        peak = daemon.peak_rss_kib() / 1024
        comment(f"{' '.join(daemon.argv[1:3])} {' '.join(arguments)}: {count} slow readers, "
                f"buffers of {buffers_mib} MiB: peak {peak:.1f} MiB, bound {bound} MiB; an honest "
                f"client: {len(honest.took)} answers, the slowest in {max(honest.took):.3f} s")
        self.assertLess(peak, bound)
        for client in clients:
            client.close()
        honest = self.connect(tcp)
        honest.sendall(b"x" * 100_000)
        self.assertEqual(receive_exactly(honest, 100_000), b"x" * 100_000)
        await_true(lambda: daemon.rss_kib() / 1024 < buffers_mib * 0.7 + 16,
                   "unused buffers are released")

    def test_slow_readers(self):
        """More of them than buffers."""
        if FULL:
            self.attack(self.most, 128)
        else:
            self.attack(1000, 32)

    def test_few_buffers_and_two_workers(self):
        self.attack(2000 if FULL else 800, 16, "--workers", "2")
