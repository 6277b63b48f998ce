"""The programs that the benchmark compares with work: each serves streams, greetings and datagrams, and
those that count as correct peers stay correct when a client reads late.

The limits (bare loops) need not pass the last test: they are unsafe on purpose.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from daemon import ANSWER, GREETING, WAIT, await_true, free_port, receive_all, receive_exactly

PEERS = os.environ.get("RIPOSTE_BENCH_PEERS")
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench/peers")
LATE_BYTES = 24 << 20
LATE_SECONDS = 0.5
STALL_SECONDS = 1.0
STARTS_MAX = 5
UDP_SEGMENT = 103
# Does not divide any buffer's size, so that misplaced bytes are wrong bytes.
PATTERN = bytes((i * 7 + i // 251) % 256 for i in range(65_521))


def pattern(size):
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def kernel_bytes_max():
    """The most that the buffers of a connection's four ends may hold together."""
    total = 0
    for name in ("tcp_rmem", "tcp_wmem"):
        with open(f"/proc/sys/net/ipv4/{name}", encoding="ascii") as file:
            total += 2 * int(file.read().split()[2])
    return total


class Program:
    """A program of tests/bench/peers, as a mixin; `program` names it."""
    program = ""

    def setUp(self):
        if not PEERS:
            self.skipTest("built without -Dbench=true")

    def command(self):
        if self.program.endswith(".js"):
            node = shutil.which("node")
            if not node:
                self.skipTest("the program node is not installed")
            return [node, os.path.join(SOURCES, self.program)]
        path = os.path.join(PEERS, self.program)
        if not os.path.exists(path):
            self.skipTest(f"built without {self.program}: what it needs is not installed")
        return [path]

    def serve(self, mode):
        """Starts it and returns the address. It runs until the end of the test and must then end on SIGTERM."""
        for _ in range(STARTS_MAX):
            port = free_port()
            if self.start(mode, port):
                return ("127.0.0.1", port)
        self.fail(f"it did not start: {self.complaint()}")

    def start(self, mode, port):
        """False if it ended at once: another process took the port."""
        self.errors = tempfile.TemporaryFile()
        self.addCleanup(self.errors.close)
        process = subprocess.Popen([*self.command(), mode, str(port)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=self.errors)
        self.addCleanup(process.stdout.close)
        self.addCleanup(self.end, process)
        self.assertTrue(select.select([process.stdout], [], [], WAIT)[0], "it prints nothing")
        line = process.stdout.readline()
        self.process = process
        if not line:
            process.wait(WAIT)
            return False
        self.assertEqual(line, b"ready\n")
        return True

    def complaint(self):
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "backslashreplace")

    def end(self, process):
        if process.poll() is not None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            status = process.wait(WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(WAIT)
            raise AssertionError("it runs on after SIGTERM") from None
        if status not in (0, -signal.SIGTERM):
            raise AssertionError(f"it ended with {status} on SIGTERM")

    def client(self, kind, address):
        client = socket.socket(socket.AF_INET, kind)
        self.addCleanup(client.close)
        client.settimeout(WAIT)
        client.connect(address)
        return client

    def refused(self, *arguments):
        done = subprocess.run([*self.command(), *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=WAIT, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        return done.stderr


class Datagrams(Program):
    def test_each_datagram_goes_back_to_its_sender(self):
        address = self.serve("udp")
        clients = [self.client(socket.SOCK_DGRAM, address) for _ in range(2)]
        for size in (0, 1, 64, 1200, 9000, 65_507):
            for number, client in enumerate(clients):
                sent = bytes([number]) * min(size, 1) + pattern(size)[1:]
                client.send(sent)
                self.assertEqual(client.recv(1 << 16), sent)

    def check_crowd(self, mode):
        """Datagrams of several senders and sizes that are pending together come back one by one."""
        address = self.serve(mode)
        clients = [self.client(socket.SOCK_DGRAM, address) for _ in range(2)]
        sizes = (100, 100, 100, 50, 100, 0, 100, 200, 200, 1, 100, 100)
        os.kill(self.process.pid, signal.SIGSTOP)
        sent = [[], []]
        for turn, client in ((0, 0), (1, 1), (2, 0), (3, 0)):
            for i, size in enumerate(sizes):
                sent[client].append((bytes([turn, i]) * size)[:size])
                clients[client].send(sent[client][-1])
        os.kill(self.process.pid, signal.SIGCONT)
        for client, expected in zip(clients, sent):
            found = [client.recv(1 << 16) for _ in expected]
            self.assertEqual(sorted(found), sorted(expected))

    def test_pending_datagrams_come_back_one_by_one(self):
        self.check_crowd("udp")

    def check_train(self, mode):
        address = self.serve(mode)
        client = self.client(socket.SOCK_DGRAM, address)
        train = pattern(32 * 1200 + 7)
        for _ in range(3):
            try:
                client.sendmsg([train], [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("H", 1200))])
            except OSError as problem:
                self.skipTest(f"no segmentation of datagrams here: {problem.strerror}")
            found = [client.recv(1 << 16) for _ in range(33)]
            expected = [train[at:at + 1200] for at in range(0, len(train), 1200)]
            self.assertEqual(sorted(found), sorted(expected))

    def test_a_segmented_train_comes_back_datagram_by_datagram(self):
        self.check_train("udp")

    def test_an_unsupported_mode_is_refused(self):
        self.assertIn("there is no mode chargen here", self.refused("chargen", "7001"))
        self.assertIn("usage: ", self.refused("udp"))


class Streams(Program):
    def echo_once(self, client, message):
        client.sendall(message)
        self.assertEqual(receive_exactly(client, len(message)), message)

    def test_a_stream_comes_back(self):
        address = self.serve("echo")
        clients = [self.client(socket.SOCK_STREAM, address) for _ in range(3)]
        for size in (1, 64, 16_384):
            for number, client in enumerate(clients):
                self.echo_once(client, bytes([number]) + pattern(size)[1:])
        for client in clients:
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(1), b"")

    def test_a_first_message_is_greeted_and_the_stream_is_finished(self):
        address = self.serve("hello")
        for _ in range(3):
            client = self.client(socket.SOCK_STREAM, address)
            client.sendall(GREETING)
            self.assertEqual(receive_all(client), ANSWER)

    def test_a_greeted_connection_is_read_to_its_end_and_then_closed(self):
        address = self.serve("hello")

        def greet():
            client = self.client(socket.SOCK_STREAM, address)
            client.sendall(GREETING)
            self.assertEqual(receive_all(client), ANSWER)
            for _ in range(3):  # writing to a socket that is already closed would be an error
                client.sendall(pattern(10_000))
            client.close()

        def open_files():
            return len(os.listdir(f"/proc/{self.process.pid}/fd"))

        greet()  # a runtime may open descriptors of its own for the first one
        await_true(lambda: self.is_settled(address[1]), "the first connection is gone")
        before = open_files()
        for _ in range(20):
            greet()
        await_true(lambda: open_files() <= before, "the descriptors of 20 connections are closed")

    @staticmethod
    def is_settled(port):
        """Whether the server owns no connection of this port any more."""
        with open("/proc/net/tcp", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
        left = [row for row in rows
                if row[1].endswith(f":{port:04X}") and row[3] != "0A" and row[9] != "0"]
        return not left


class Backpressure(Streams):
    def test_a_late_reader_gets_every_byte_and_stalls_no_other_client(self):
        address = self.serve("echo")
        late = self.client(socket.SOCK_STREAM, address)
        other = self.client(socket.SOCK_STREAM, address)
        sent = pattern(LATE_BYTES)
        problems = []

        def write():
            try:
                late.sendall(sent)
                late.shutdown(socket.SHUT_WR)
            except OSError as problem:
                problems.append(problem)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        time.sleep(LATE_SECONDS)
        for number in range(100):
            self.echo_once(other, pattern(64)[number % 64:] + bytes([number]))
        found = receive_all(late)
        writer.join(WAIT)
        self.assertEqual(problems, [])
        self.assertEqual(len(found), len(sent))
        self.assertTrue(found == sent, "other bytes came back")  # assertEqual would print them

    def test_reading_stops_while_the_peer_does_not_read(self):
        client = self.client(socket.SOCK_STREAM, self.serve("echo"))
        client.setblocking(False)
        chunk = bytes(1 << 20)
        sent, limit = 0, kernel_bytes_max() + (4 << 20)
        while select.select([], [client], [], STALL_SECONDS)[1]:
            with contextlib.suppress(BlockingIOError):
                sent += client.send(chunk)
            self.assertLess(sent, limit, "it keeps reading and stores what the peer does not read")
        self.assertGreater(sent, 0)


class Asio(Backpressure, Datagrams, unittest.TestCase):
    program = "asio"


class Libuv(Backpressure, Datagrams, unittest.TestCase):
    program = "libuv"


class Libevent(Backpressure, Datagrams, unittest.TestCase):
    program = "libevent"


class Go(Backpressure, Datagrams, unittest.TestCase):
    program = "go"


class Tokio(Backpressure, Datagrams, unittest.TestCase):
    program = "tokio"


class Node(Backpressure, Datagrams, unittest.TestCase):
    program = "node.js"


class BareEpoll(Streams, Datagrams, unittest.TestCase):
    program = "bare_epoll"


class BareUring(Streams, Datagrams, unittest.TestCase):
    program = "bare_uring"


class BareMmsg(Datagrams, unittest.TestCase):
    program = "bare_mmsg"

    def test_pending_datagrams_come_back_one_by_one_without_segmentation(self):
        self.check_crowd("udp-plain")

    def test_a_segmented_train_comes_back_datagram_by_datagram_without_segmentation(self):
        self.check_train("udp-plain")

    def test_streams_are_refused(self):
        self.assertIn("there is no mode echo here", self.refused("echo", "7001"))


if __name__ == "__main__":
    unittest.main()
