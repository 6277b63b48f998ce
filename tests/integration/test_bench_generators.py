"""The benchmark's generators count what happened: against riposted, and against servers that reply
wrongly, late, twice or never. No figure of speed is judged. A run that must observe something is repeated
with more time until it has, since a busy machine may show nothing for a while.
"""

import itertools
import json
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

import pytest

from daemon import ANSWER, RiposteTest, await_true
from patience import RUN as SECONDS_MAX
from peers import (TcpPeer, UdpPeer, closed_port, echo_datagram, echo_stream, read_exactly, reset,
                   swallow)

pytestmark = pytest.mark.backends

GENERATORS = os.environ.get("RIPOSTE_BENCH_GENERATORS", "build/tests/bench")
KINDS = ("refused", "reset", "wrong", "timeout", "other")


def port_of(peer):
    return (peer.listener if isinstance(peer, TcpPeer) else peer.socket).getsockname()[1]


def flipped(data):
    """The data with one wrong bit after the sequence number."""
    return data[:20] + bytes([data[20] ^ 1]) + data[21:]


def flip_stream(connection):
    while len(data := read_exactly(connection, 64)) == 64:
        connection.sendall(flipped(data))


def flip_datagram(server, data, client):
    server.sendto(flipped(data), client)


def hold_one_back():
    """Answers each datagram when the next one of the same client arrives. Per client, because another run of a
    generator numbers from the start again, and would take a reply to the previous run for its own."""
    held = {}

    def answer(server, data, client):
        if client in held:
            server.sendto(held[client], client)
        held[client] = data
    return answer


def answering(*parts, ends=True):
    """Sends hello's reply in these parts, then closes the connection or resets it."""
    def serve(connection):
        if connection.recv(100):
            for part in parts:
                connection.sendall(part)
                if len(parts) > 1:
                    time.sleep(0.001)  # so that most parts are read separately
            if not ends:
                reset(connection)
    return serve


class Case(RiposteTest):
    def run_it(self, name, port, *arguments, code=0):
        done = subprocess.run(
            [os.path.join(GENERATORS, name), "-p", str(port), *map(str, arguments)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
        self.assertEqual(done.returncode, code, done)
        return done

    def once(self, name, port, *arguments, code=0):
        """Its output: exactly one line of JSON."""
        done = self.run_it(name, port, *arguments, code=code)
        self.assertEqual((done.stderr, done.stdout.count("\n")), ("", 1))
        return json.loads(done.stdout)

    def until(self, seen, name, port, *arguments):
        """Runs it without a warm-up until `seen` accepts its result."""
        for seconds in (0.1, 0.3, 1, 4, 16):
            found = self.once(name, port, "-w", 0, "-d", seconds, *arguments)
            self.assertGreaterEqual(found["seconds"], seconds)
            if seen(found):
                return found
        self.fail(f"not seen: {found}")

    def peer(self, kind, handler):
        return self.keep(kind(handler))

    def await_statistics(self, daemon, pattern, right):
        """Takes snapshots until right(*numbers): the daemon counts a reply shortly after sending it."""
        def found():
            count = len(daemon.lines("statistics: ")) + 1
            daemon.signal(signal.SIGUSR1)
            return right(*map(int, daemon.wait_log(pattern, count).groups()))

        await_true(found, f"{pattern} with the expected numbers")

    def assert_rising(self, found, *names):
        values = [found[name] for name in names]
        self.assertEqual(values, sorted(values))
        self.assertGreater(values[0], 0)


class DatagramTrains(Case):
    def assert_accounted(self, found, at_once):
        """Everything sent is answered, corrupted, lost or in flight. (A corrupted reply that arrives after the
        timeout counts as lost and as corrupted.)"""
        self.assertGreaterEqual(found["sent"], found["answered"] + found["corrupted"])
        self.assertGreaterEqual(found["sent"], found["answered"] + found["lost"])
        self.assertLessEqual(found["sent"], found["answered"] + found["corrupted"] + found["lost"] + at_once)
        self.assertLessEqual(found["late"], found["lost"])

    def trains(self, seen, port, *arguments, flows=2, train=8):
        found = self.until(
            lambda found: found[seen] > 0, "datagram_trains", port, "-f", flows, "-t", train, *arguments)
        self.assert_accounted(found, flows * train)
        return found

    def test_an_echo_answers_every_datagram_once(self):
        for arguments in ([], ["-g"], ["-s", 8], ["-g", "-s", 4000], ["-b", 3]):
            with self.subTest(arguments=arguments):
                daemon, (_, port) = self.serve("echo", transport="udp")
                found = self.trains("trains", port, *arguments)
                self.assertEqual((found["corrupted"], found["duplicated"]), (0, 0))
                self.assertEqual(found["segmentation"], "-g" in arguments)
                self.assertGreaterEqual(found["answered"], found["trains"] * 8)
                self.assert_rising(found, "p50_us", "p99_us", "p99_9_us", "max_us")
                least = found["answered"]
                self.await_statistics(daemon, r"statistics: .*datagrams \d+ received, (\d+) answered",
                                      lambda answered, least=least: answered >= least)

    def test_trains_of_one_datagram(self):
        # The largest ones one at a time: several overflow the buffer of a server's socket.
        for arguments, flows in ((["-s", 64], 50), (["-g", "-s", 64], 50), (["-s", 65507], 1)):
            with self.subTest(arguments=arguments):
                _, (_, port) = self.serve("echo", transport="udp")
                found = self.trains("answered", port, *arguments, flows=flows, train=1)
                self.assertEqual(found["answered"], found["trains"])
                self.assertEqual((found["corrupted"], found["duplicated"]), (0, 0))
                self.assertFalse(found["segmentation"])

    def test_trains_of_several_segmented_sends(self):
        peer = self.peer(UdpPeer, echo_datagram)
        found = self.trains("trains", port_of(peer), "-g", "-s", 100, flows=1, train=150)
        self.assertEqual((found["corrupted"], found["duplicated"]), (0, 0))
        self.assertTrue(found["segmentation"])

    def test_the_warm_up_is_not_counted(self):
        peer = self.peer(UdpPeer, hold_one_back())
        found = self.once("datagram_trains", port_of(peer), "-f", 1, "-t", 1, "-w", 0.5, "-d", 0.01)
        # One that was in flight, and one or two that followed.
        self.assertLessEqual(found["lost"], found["sent"])
        self.assertLessEqual(found["sent"], 2 + found["seconds"] / 0.2)

    def test_wrong_replies_count_as_corrupted(self):
        wrong = {"a bit": flip_datagram,
                 "longer": lambda server, data, client: server.sendto(data + b"!", client),
                 "shorter": lambda server, data, client: server.sendto(data[:-1], client)}
        for name, handler in wrong.items():
            for arguments in ([], ["-g"]):
                with self.subTest(name, arguments=arguments):
                    peer = self.peer(UdpPeer, handler)
                    found = self.trains("corrupted", port_of(peer), *arguments)
                    self.assertEqual((found["answered"], found["duplicated"]), (0, 0))

    def test_replies_without_a_valid_number_count_as_corrupted_and_their_datagrams_as_lost(self):
        for name, answer in {"empty": b"", "short": b"Hello", "long": b"Hello, who are you?"}.items():
            for arguments in ([], ["-g"]):
                with self.subTest(name, arguments=arguments):
                    peer = self.peer(
                        UdpPeer, lambda server, _, client, answer=answer: server.sendto(answer, client))
                    found = self.until(
                        lambda found: found["lost"] > 0 and found["corrupted"] > 0, "datagram_trains",
                        port_of(peer), "-f", 1, "-t", 4, *arguments)
                    self.assertEqual(found["answered"], 0)

    def test_a_reply_to_another_flow_counts_as_corrupted(self):
        clients = []  # the most recent last: another run has other flows

        def cross(server, data, client):
            if client in clients:
                clients.remove(client)
            if clients:
                server.sendto(data, clients[-1])
            clients.append(client)

        found = self.until(lambda found: found["corrupted"] > 0, "datagram_trains",
                           port_of(self.peer(UdpPeer, cross)), "-f", 2, "-t", 1)
        self.assertEqual(found["answered"], 0)

    def test_a_datagram_without_a_reply_counts_as_lost(self):
        numbers = itertools.count()

        def every_other(server, data, client):
            if next(numbers) % 2:
                server.sendto(data, client)

        peer = self.peer(UdpPeer, every_other)
        found = self.trains("lost", port_of(peer))
        self.assertEqual((found["corrupted"], found["duplicated"]), (0, 0))

    def test_a_reply_after_its_train_counts_as_late_and_not_for_the_next_train(self):
        found = self.trains("late", port_of(self.peer(UdpPeer, hold_one_back())), flows=1, train=1)
        self.assertEqual((found["answered"], found["corrupted"], found["duplicated"]), (0, 0, 0))

    def test_a_second_reply_counts_as_a_duplicate(self):
        def twice(server, data, client):
            server.sendto(data, client)
            server.sendto(data, client)

        for train in (1, 8):
            with self.subTest(train=train):
                found = self.trains("duplicated", port_of(self.peer(UdpPeer, twice)), train=train)
                self.assertEqual(found["corrupted"], 0)
                self.assertGreaterEqual(found["answered"], 1)

    def test_a_closed_port_is_a_fault(self):
        closed = self.keep(closed_port(socket.SOCK_DGRAM))
        done = self.run_it("datagram_trains", closed.getsockname()[1], "-d", 10, code=1)
        self.assertEqual(done.stdout, "")
        self.assertIn("Connection refused", done.stderr)


class RoundTrip(Case):
    def test_every_request_over_tcp_is_answered(self):
        for arguments in ([], ["-S"], ["-i", 500], ["-S", "-i", 500], ["-s", 65507], ["-s", 8]):
            with self.subTest(arguments=arguments):
                daemon, (_, port) = self.serve("echo")
                size = int(arguments[-1]) if "-s" in arguments else 64
                runs = []
                found = self.until(lambda found, runs=runs: runs.append(found) or found["requests"] > 0,
                                   "round_trip", port, *arguments)
                self.assertEqual((found["corrupted"], found["lost"], found["late"]), (0, 0, 0))
                self.assert_rising(found, "p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns")
                served = sum(run["requests"] for run in runs) * size
                self.await_statistics(
                    daemon, r"statistics: .*bytes (\d+) received, (\d+) sent",
                    lambda received, sent, served=served: received == sent == served)

    def test_every_request_over_udp_is_answered(self):
        for arguments in ([], ["-S"], ["-i", 500], ["-s", 65507]):
            with self.subTest(arguments=arguments):
                _, (_, port) = self.serve("echo", transport="udp")
                found = self.until(
                    lambda found: found["requests"] > 0, "round_trip", port, "-u", *arguments)
                self.assertEqual(found["corrupted"], 0)
                self.assertLessEqual(found["late"], found["lost"])
                self.assert_rising(found, "p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns")

    def test_the_requested_rate_is_an_upper_bound(self):
        _, (_, port) = self.serve("echo")
        found = self.until(lambda found: found["requests"] > 0, "round_trip", port, "-i", 50_000)
        self.assertLessEqual(found["requests"], found["seconds"] / 0.05 + 1)

    def test_a_wrong_reply_counts_as_corrupted(self):
        for arguments in (["-u"], ["-u", "-S"], [], ["-S"]):
            with self.subTest(arguments=arguments):
                kind, handler = ((UdpPeer, flip_datagram) if "-u" in arguments
                                 else (TcpPeer, flip_stream))
                found = self.until(lambda found: found["corrupted"] > 0, "round_trip",
                                   port_of(self.peer(kind, handler)), *arguments)
                self.assertEqual(found["requests"], 0)
                self.assertLessEqual(found["late"], found["lost"])
                if "-u" not in arguments:  # The reply to a datagram may arrive after the timeout.
                    self.assertEqual(found["lost"], 0)

    def test_a_datagram_of_another_length_counts_as_corrupted(self):
        for change in (lambda data: data + b"!", lambda data: data[:-1], lambda data: b""):
            peer = self.peer(
                UdpPeer, lambda server, data, client, to=change: server.sendto(to(data), client))
            found = self.until(
                lambda found: found["corrupted"] > 0, "round_trip", port_of(peer), "-u")
            self.assertEqual(found["requests"], 0)

    def test_a_late_reply_is_not_taken_for_the_next_one(self):
        for arguments in ([], ["-S"]):
            with self.subTest(arguments=arguments):
                found = self.until(lambda found: found["late"] > 0, "round_trip",
                                   port_of(self.peer(UdpPeer, hold_one_back())), "-u", *arguments)
                self.assertEqual((found["requests"], found["corrupted"]), (0, 0))
                self.assertLessEqual(found["late"], found["lost"])

    def test_a_stream_that_ends_is_a_fault(self):
        peer = self.peer(TcpPeer, lambda connection: connection.recv(64))
        for arguments in ([], ["-S"]):
            done = self.run_it("round_trip", port_of(peer), "-d", 10, *arguments, code=1)
            self.assertEqual(done.stdout, "")
            self.assertIn("the server ended the connection", done.stderr)

    def test_a_closed_port_is_a_fault(self):
        for kind, arguments in ((socket.SOCK_STREAM, []), (socket.SOCK_DGRAM, ["-u"])):
            closed = self.keep(closed_port(kind))
            done = self.run_it("round_trip", closed.getsockname()[1], "-d", 10, *arguments, code=1)
            self.assertEqual(done.stdout, "")
            self.assertIn("Connection refused", done.stderr)


class Connects(Case):
    def connects(self, seen, port, *arguments):
        def count(found):
            return found["connections"] if seen == "connections" else found["failed_by_kind"][seen]

        found = self.until(lambda found: count(found) > 0, "connects", port, "-c", 4, "-T", 60, *arguments)
        self.assertEqual(tuple(found["failed_by_kind"]), KINDS)
        self.assertEqual(sum(found["failed_by_kind"].values()), found["failed"])
        return found

    def assert_all_failed(self, kind, port, *arguments):
        found = self.connects(kind, port, *arguments)
        self.assertEqual((found["connections"], found["failed"]), (0, found["failed_by_kind"][kind]))

    def test_every_conversation_with_hello_is_correct(self):
        for arguments in ([], ["-r", 0], ["-r", 100], ["-c", 1], ["-c", 100]):
            with self.subTest(arguments=arguments):
                daemon, (_, port) = self.serve("hello")
                runs = []
                found = self.until(
                    lambda found, runs=runs: runs.append(found) or found["connections"] > 0,
                    "connects", port, "-c", 4, "-T", 60, *arguments)
                self.assertEqual(sum(run["failed"] for run in runs), 0)
                self.assert_rising(found, "p50_us", "p99_us", "p99_9_us", "max_us")
                # Each run may end in the middle of a batch of a hundred.
                least = sum(run["connections"] for run in runs)
                most = least + 100 * len(runs)
                self.await_statistics(
                    daemon, r"statistics: connections (\d+) open, (\d+) accepted",
                    lambda still_open, accepted, least=least, most=most:
                    still_open == 0 and least <= accepted <= most)

    def test_a_reply_in_pieces_is_correct(self):
        peer = self.peer(TcpPeer, answering(ANSWER[:5], ANSWER[5:17], ANSWER[17:]))
        found = self.connects("connections", port_of(peer))
        self.assertEqual(found["failed"], 0)

    def test_a_wrong_reply_is_detected(self):
        for name, parts in {"a byte": [ANSWER[:-1] + b"?"], "short": [ANSWER[:-1]], "none": [],
                            "long": [ANSWER + b"!"], "twice": [ANSWER, ANSWER], "late": [ANSWER, b"!"],
                            "very long": [ANSWER + bytes(500)]}.items():
            with self.subTest(name):
                self.assert_all_failed("wrong", port_of(self.peer(TcpPeer, answering(*parts))))

    def test_a_reset_is_detected(self):
        self.assert_all_failed("reset", port_of(self.peer(TcpPeer, answering(ends=False))))

    def test_a_refusal_is_detected(self):
        closed = self.keep(closed_port(socket.SOCK_STREAM))
        self.assert_all_failed("refused", closed.getsockname()[1])

    def test_a_silent_server_is_abandoned(self):
        self.assert_all_failed("timeout", port_of(self.peer(TcpPeer, swallow)), "-T", 0.05)


class HoldConnections(Case):
    def hold(self, port, *arguments):
        process = subprocess.Popen(
            [os.path.join(GENERATORS, "hold_connections"), "-p", str(port), *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        return process

    def release(self, process, code=0):
        """Closes its standard input; returns what it wrote to standard error."""
        out, error = process.communicate("", timeout=SECONDS_MAX)
        self.assertEqual((process.returncode, out), (code, ""), error)
        return error

    def await_open(self, daemon, count):
        self.await_statistics(daemon, r"statistics: connections (\d+) open",
                              lambda found: found == count)

    def test_many_connections_are_held_until_standard_input_ends(self):
        # More than the default limit per source.
        for count, arguments in ((1100, []), (20, ["-s", 0]), (20, ["-s", 65536])):
            with self.subTest(count=count, arguments=arguments):
                daemon, (_, port) = self.serve("echo")
                process = self.hold(port, "-c", count, *arguments)
                self.assertEqual(json.loads(process.stdout.readline()), {"held": count})
                self.await_open(daemon, count)
                self.assertEqual(self.release(process), "")
                self.await_open(daemon, 0)

    def test_a_wrong_reply_is_a_fault(self):
        done = self.run_it("hold_connections", port_of(self.peer(TcpPeer, flip_stream)), "-c", 3, code=1)
        self.assertEqual((done.stdout, done.stderr), ("", "hold_connections: an answer is wrong\n"))

    def test_a_close_before_the_reply_is_a_fault(self):
        peer = self.peer(TcpPeer, lambda connection: connection.recv(1 << 16))
        done = self.run_it("hold_connections", port_of(peer), "-c", 3, code=1)
        self.assertEqual(done.stdout, "")
        self.assertIn("the server ended a connection before it had answered", done.stderr)

    def test_connections_that_the_server_closed_are_reported(self):
        peer = self.peer(TcpPeer, echo_stream)
        process = self.hold(port_of(peer), "-c", 5)
        self.assertEqual(json.loads(process.stdout.readline()), {"held": 5})
        for connection in peer.connections[:2]:
            connection.shutdown(socket.SHUT_RDWR)
        self.assertEqual(self.release(process, code=1), "hold_connections: 2 were not held\n")


class LateReader(Case):
    def late(self, handler, *arguments, code=1):
        """`handler` serves the connection that reads late; the other one gets a plain echo."""
        def serve(connection):
            (handler if connection is peer.connections[0] else echo_stream)(connection)

        peer = self.peer(TcpPeer, serve)
        return self.once("late_reader", port_of(peer), "-b", 1, "-l", 10, *arguments, code=code)

    def assert_wrong(self, found, offset):
        self.assertFalse(found["exact"])
        self.assertEqual((found["bytes"], found["first_wrong_offset"]), (offset, offset))

    @staticmethod
    def changing(change):
        """Replies with change(data) once all data has arrived."""
        def serve(connection):
            data = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            connection.sendall(change(data))
        return serve

    def test_an_echo_is_exact(self):
        _, (_, port) = self.serve("echo")
        for arguments, size in (([], 24 << 20), (["-b", 2, "-l", 0], 2 << 20)):
            with self.subTest(arguments=arguments):
                found = self.once("late_reader", port, *arguments)
                self.assertTrue(found["exact"])
                self.assertEqual((found["bytes"], found["first_wrong_offset"]), (size, None))
                self.assertGreater(found["others"], 0)
                self.assertFalse(found["others_failed"])
                self.assertGreater(found["others_longest_ms"], 0)

    def test_nothing_is_read_before_the_set_time(self):
        _, (_, port) = self.serve("echo")
        found = self.once("late_reader", port, "-b", 1, "-l", 300)
        self.assertGreaterEqual(found["seconds"], 0.3)

    def test_a_missing_byte_is_detected(self):
        for at in (0, 1, 65535, 777_777):
            found = self.late(self.changing(lambda data, at=at: data[:at] + data[at + 1:]))
            self.assertFalse(found["exact"])
            # The byte after the missing one may happen to be equal.
            self.assertIn(found["first_wrong_offset"], range(at, at + 8))

    def test_a_wrong_bit_is_detected(self):
        for at in (0, 500_001, (1 << 20) - 1):
            self.assert_wrong(self.late(self.changing(
                lambda data, at=at: data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:])), at)

    def test_swapped_pieces_are_detected(self):
        def swap(data):
            return data[:65536] + data[131072:196608] + data[65536:131072] + data[196608:]

        found = self.late(self.changing(swap))
        self.assertFalse(found["exact"])
        self.assertIn(found["first_wrong_offset"], range(65536, 65544))

    def test_an_early_end_is_detected(self):
        self.assert_wrong(self.late(self.changing(lambda data: data[:-1])), (1 << 20) - 1)
        self.assert_wrong(self.late(self.changing(lambda data: b"")), 0)

    def test_an_extra_byte_is_detected(self):
        self.assert_wrong(self.late(self.changing(lambda data: data + b"!")), 1 << 20)

    def test_a_missing_end_is_detected(self):
        ended = threading.Event()

        def swallow_and_stay(connection):
            swallow(connection)
            ended.wait(SECONDS_MAX)

        try:
            found = self.late(swallow_and_stay, "-T", 0.5)
        finally:
            ended.set()
        self.assert_wrong(found, 0)
        self.assertGreaterEqual(found["seconds"], 0.5)

    def test_the_other_connection_must_be_answered(self):
        for name, handler in {"ends": lambda connection: None, "wrong": flip_stream}.items():
            with self.subTest(name):
                def serve(connection, handler=handler):
                    (echo_stream if connection is peer.connections[0] else handler)(connection)

                peer = self.peer(TcpPeer, serve)
                found = self.once("late_reader", port_of(peer), "-b", 1, "-l", 10, code=1)
                self.assertTrue(found["exact"])
                self.assertEqual((found["others"], found["others_failed"]), (0, True))


class Usage(Case):
    def test_wrong_usage_is_reported(self):
        wrong = {"datagram_trains": [["-f", "0"], ["-s", "7"], ["-s", "65508"], ["-t", "x"], ["-d"]],
                 "round_trip": [["-i", "-1"], ["-s", "7"], ["-d", "0"], ["word"]],
                 "connects": [["-c", "0"], ["-r", "1.5"], ["-w", "-1"], ["-q"]],
                 "hold_connections": [["-c", "0"], ["-c"], ["-c", "1", "-s", "70000"]],
                 "late_reader": [["-b", "0"], ["-l", ""], ["--late"]]}
        for name, lines in wrong.items():
            for line in lines:
                with self.subTest(name, line=line):
                    done = self.run_it(name, 7, *line, code=2)
                    self.assertEqual(done.stdout, "")
                    self.assertTrue(done.stderr.startswith(f"usage: {name} -p PORT "), done.stderr)

    def test_a_port_is_required(self):
        for name in ("datagram_trains", "round_trip", "connects", "hold_connections", "late_reader"):
            done = subprocess.run([os.path.join(GENERATORS, name)], stdin=subprocess.DEVNULL, check=False,
                                  capture_output=True, text=True, timeout=SECONDS_MAX)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(f"usage: {name} -p PORT", done.stderr)


if __name__ == "__main__":
    unittest.main()
