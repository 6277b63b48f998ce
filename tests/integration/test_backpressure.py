"""Peers that read late, slowly or never: every byte is correct, and memory stays bounded. The tests measure the
daemon's own memory, which other processes do not affect.
"""

import hashlib
import re
import signal
import socket
import threading
import time

import pytest

from daemon import (SANITIZER, WAIT, RiposteTest, await_true, receive_all, receive_exactly)

pytestmark = pytest.mark.backends

#: How much one connection may make the daemon grow, however much is pending on it. Sanitizers keep
#: freed memory and shadow each byte.
GROWTH_KIB_MAX = 16 * 1024 if SANITIZER == "none" else 128 * 1024


class Writer(threading.Thread):
    """Writes `size` bytes of a seeded stream from a thread of its own, then FIN."""

    def __init__(self, client, size, random):
        super().__init__()
        self.client, self.size, self.problem = client, size, None
        self.taken = 0
        self.block = random.randbytes(1 << 20)
        self.start()

    def run(self):
        try:
            for _ in range(self.size >> 20):
                rest = memoryview(self.block)
                while rest:
                    sent = self.client.send(rest)
                    self.taken += sent
                    rest = rest[sent:]
            self.client.shutdown(socket.SHUT_WR)
        except OSError as problem:
            self.problem = problem

    def expected(self):
        digest = hashlib.sha256()
        for _ in range(self.size >> 20):
            digest.update(self.block)
        return digest.hexdigest()


class BackpressureTest(RiposteTest):
    def counted(self, daemon, what):
        """The number before `what` in the line of statistics; 0 if the line lacks it."""
        count = len(daemon.lines("statistics: ")) + 1
        daemon.signal(signal.SIGUSR1)
        found = re.search(rf"(\d+) {what}(;|$)", daemon.wait_log("statistics: .*", count)[0])
        return int(found[1]) if found else 0


class LateReader(BackpressureTest):
    SIZE = 64 << 20

    def late(self, *arguments):
        daemon, address = self.serve("echo", *arguments)
        other = self.connect(address)
        other.send(b"warm")
        receive_exactly(other, 4)
        before = daemon.rss_kib()
        client = self.connect(address, timeout=WAIT * 3)
        writer = Writer(client, self.SIZE, self.random)
        # The client does not read yet, so the daemon soon stops reading too. Wait for longer than the daemon's
        # interval for releasing buffers (a second); meanwhile the second connection gets its replies.
        still, taken = time.monotonic(), 0
        while time.monotonic() < still + 1.2:
            if taken != writer.taken:
                still, taken = time.monotonic(), writer.taken
            other.send(b"still there?")
            self.assertEqual(receive_exactly(other, 12), b"still there?")
            time.sleep(0.01)
        self.assertTrue(writer.is_alive(), "the daemon took 64 MiB from a client that does not read")
        self.assertLess(daemon.rss_kib() - before, GROWTH_KIB_MAX)
        digest = hashlib.sha256()
        size = 0
        while part := client.recv(1 << 18):
            digest.update(part)
            size += len(part)
        writer.join()
        self.assertIsNone(writer.problem)
        self.assertEqual(size, self.SIZE)
        self.assertEqual(digest.hexdigest(), writer.expected())
        self.assertLess(daemon.peak_rss_kib() - before, GROWTH_KIB_MAX)

    def test_a_client_that_starts_reading_seconds_late_gets_all_64_mib(self):
        self.late()

    def test_a_late_reader_with_two_workers(self):
        self.late("--workers", "2")

    def test_a_slow_reader_is_not_reset_while_it_reads(self):
        """A client that reads nothing at the same time is."""
        def read(timeout):
            limit = f"'{1000 * timeout:.0f}ms'"
            daemon, address = self.serve(
                "chargen", config=f"[limits]\nwrite_stall_timeout = {limit}\nidle_timeout = {limit}\n")
            client = self.connect(address, receive_buffer=8192)
            self.connect(address, receive_buffer=8192)
            looks = 0
            while looks == 0 or self.counted(daemon, "write stalls") == 0:
                looks += 1
                for _ in range(10):
                    self.assertNotEqual(client.recv(4096), b"")
                    self.in_time()
                    time.sleep(0.02)
            self.assertNotEqual(client.recv(4096), b"")
            self.assertEqual(self.counted(daemon, "write stalls"), 1)
        self.never_timed_out(read, shortest=1.0, share=0.5)  # the TCP window may open only at every other read

    def test_time_in_which_the_daemon_was_stopped_is_not_counted_against_a_reader(self):
        def read(timeout):
            daemon, address = self.serve(
                "chargen", config=f"[limits]\nwrite_stall_timeout = '{1000 * timeout:.0f}ms'\n")
            client = self.connect(address, receive_buffer=8192)
            self.assertNotEqual(client.recv(1), b"")
            # All buffers are full, and the daemon has not yet checked them again.
            await_true(lambda: daemon.waits_for_reader(client), "the daemon waits for its reader")
            daemon.signal(signal.SIGSTOP)
            deadline = time.monotonic() + 1.3 * timeout
            while time.monotonic() < deadline:
                self.assertNotEqual(client.recv(4096), b"")
                self.in_time()
                time.sleep(0.02)
            daemon.signal(signal.SIGCONT)
            # Two new connections in succession: the worker has completed its turns.
            for _ in range(2):
                receive_exactly(self.connect(address), 100)
                self.in_time()
            self.assertNotEqual(client.recv(4096), b"")
            self.in_time()
            self.assertEqual(self.counted(daemon, "write stalls"), 0)
        self.never_timed_out(read, shortest=1.0, share=0.5)


class NeverReads(BackpressureTest):
    """A client that never reads costs a fixed amount of memory, and for a limited time."""

    CONFIG = "[limits]\nwrite_stall_timeout = '1s'\n"

    def test_a_chargen_client_that_never_reads_is_reset(self):
        daemon, address = self.serve("chargen", config=self.CONFIG)
        before = daemon.fds()
        rss = daemon.rss_kib()
        client = self.connect(address, receive_buffer=4096)
        await_true(lambda: self.counted(daemon, "write stalls") == 1, "the connection is cut off")
        await_true(lambda: daemon.fds() <= before, "its descriptor is closed")
        self.assertLess(daemon.rss_kib() - rss, GROWTH_KIB_MAX)
        client.close()

    def test_an_echo_client_that_writes_for_ever_and_never_reads_is_reset(self):
        daemon, address = self.serve("echo", config=self.CONFIG)
        rss = daemon.rss_kib()
        client = self.connect(address, timeout=WAIT)
        written = 0
        with self.assertRaises((ConnectionResetError, BrokenPipeError)):
            while True:
                written += client.send(b"x" * 65536)
                self.assertLess(written, 1 << 30)
        self.assertLess(daemon.rss_kib() - rss, GROWTH_KIB_MAX)

    def test_a_hundred_clients_that_never_read_use_bounded_memory(self):
        daemon, address = self.serve("chargen", config="[limits]\nwrite_stall_timeout = '60s'\n")
        rss = daemon.rss_kib()
        clients = [self.connect(address, receive_buffer=4096) for _ in range(100)]
        await_true(lambda: daemon.rss_kib() - rss > 6 * 1024 and daemon.sleeps(),
                   "each connection holds a buffer")
        self.assertLess(daemon.peak_rss_kib() - rss, 100 * 1024 if SANITIZER == "none" else 400 * 1024)
        # and the pool still has buffers for clients that read
        reader = self.connect(address)
        self.assertEqual(len(receive_exactly(reader, 1 << 20)), 1 << 20)
        for client in clients:
            client.close()

    def test_buffers_are_released_when_the_clients_are_gone(self):
        daemon, address = self.serve("chargen", config="[limits]\nwrite_stall_timeout = '60s'\n")
        before = daemon.rss_kib()
        clients = [self.connect(address, receive_buffer=4096) for _ in range(100)]
        # At least one buffer of 64 KiB for each, all of it written.
        await_true(lambda: daemon.rss_kib() - before > 6 * 1024, "each connection holds a buffer")
        held = daemon.rss_kib() - before
        for client in clients:
            client.close()
        # No client does anything: the daemon wakes up for this by itself.
        await_true(lambda: daemon.rss_kib() - before < held / 2, f"half of {held} KiB is released")
        reader = self.connect(address)
        self.assertEqual(len(receive_exactly(reader, 1 << 20)), 1 << 20)

    def test_stalled_echo_clients_do_not_starve_one_that_reads(self):
        daemon, address = self.serve("echo", config="[limits]\nwrite_stall_timeout = '60s'\n")
        stalled = []
        # Each holds up to 34 buffers of 64 KiB, and there are 128 MiB. Once all are taken, the daemon resets clients
        # that read nothing, which is another test.
        for _ in range(40):
            client = self.connect(address, receive_buffer=4096)
            client.setblocking(False)
            try:
                while True:
                    client.send(b"x" * 65536)
            except BlockingIOError:
                stalled.append(client)
        other = self.connect(address)
        for size in (1, 1000, 100_000):
            data = self.random.randbytes(size)
            writer = threading.Thread(target=other.sendall, args=(data,))
            writer.start()
            self.assertTrue(receive_exactly(other, size) == data)
            writer.join()
        self.assertIsNone(daemon.poll())
        # A stalled client begins to read: it still gets its bytes.
        stalled[0].setblocking(True)
        stalled[0].settimeout(WAIT)
        stalled[0].shutdown(socket.SHUT_WR)
        received = receive_all(stalled[0])
        self.assertEqual(received.count(b"x"), len(received))
        self.assertGreater(len(received), 65536)
