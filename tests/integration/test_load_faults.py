"""`riposte load` against faulty peers: the counts, exact to the request, and the exit code. Each peer
decides what to do by the number of the request, never by chance or time.
"""

import re
import socket
import threading
import time
import unittest
from signal import SIGINT, SIGQUIT

from client import parse_json, run
from load_case import SIZE, LoadCase, Requests, after_first, after_first_socket, echo_one
from peers import (TcpPeer, bound, echo_stream, read_exactly, reset, send_last, spelled,
                   wait_until)


def flipped(data):
    """The data with one wrong bit in its payload."""
    return data[:50] + bytes([data[50] ^ 0x80]) + data[51:]


class Case(LoadCase):
    def damaging(self, faults):
        """An echo; `faults`: index of a request -> function that damages its reply."""
        def answer(connection, request, index):
            fault = faults.get(index)
            connection.sendall(fault(request) if fault else request)
        return self.requests(answer)


class Faults(Case):
    def test_a_damaged_byte_is_detected(self):
        _, endpoint = self.damaging({10: flipped})
        found = self.load("-n", 50, "-c", 1, endpoint, code=1)
        self.assert_counts(found, sent=50, answered=49, corrupted=1, errors=1, connections=1)
        self.assertEqual(found["loss_percent"], 0)

    def test_a_damaged_byte_among_many_requests(self):
        _, endpoint = self.damaging({10: flipped, 11: flipped, 40: flipped})
        found = self.load("-n", 80, "-c", 1, "--depth", 8, endpoint, code=1)
        self.assert_counts(found, sent=80, answered=77, corrupted=3, errors=3, connections=1)

    def test_a_damaged_byte_with_a_connection_for_each_request(self):
        _, endpoint = self.damaging({10: flipped})
        found = self.load("-n", 50, "-c", 1, "--reconnect", endpoint, code=1)
        self.assert_counts(found, sent=50, answered=49, corrupted=1, errors=1, connections=50)

    def test_a_damaged_byte_is_not_detected_without_verification(self):
        for extra in ((), ("--reconnect",)):
            with self.subTest(extra=extra):
                _, endpoint = self.damaging({10: flipped})
                found = self.load("-n", 50, "-c", 1, "--no-verify", *extra, endpoint)
                self.assert_counts(found, sent=50, answered=50)
                self.assertFalse(found["mode"]["verify"])
        self.assertIn("answers were not verified (--no-verify)\n",
                      self.text("-n", 10, "--no-verify", self.echo()))

    def test_garbage_counts_as_corrupted_and_ends_the_connection(self):
        _, endpoint = self.damaging({10: lambda request: bytes(byte ^ 0xFF for byte in request)})
        found = self.load("-n", 50, "-c", 1, endpoint, code=1)
        self.assert_counts(found, sent=50, answered=49, corrupted=1, errors=1, connections=2)

    def test_a_reply_to_another_request_counts_as_corrupted(self):
        last = []

        def answer(connection, request, index):
            connection.sendall(last[-1] if index == 10 else request)
            last.append(request)

        _, endpoint = self.requests(answer)
        found = self.load("-n", 50, "-c", 1, endpoint, code=1)
        self.assert_counts(found, sent=50, answered=49, corrupted=1, errors=1, connections=2)

    def test_a_reply_that_is_too_long(self):
        _, endpoint = self.damaging({10: lambda request: request + b"!"})
        found = self.load("-n", 50, "-c", 1, endpoint, code=1)
        self.assert_counts(found, sent=50, answered=49, wrong_size=1, errors=1, connections=2)

    def test_a_connection_that_ends_in_the_middle_of_a_reply(self):
        def answer(connection, request, index):
            connection.sendall(request[:30] if index == 5 else request)
            return index != 5

        _, endpoint = self.requests(answer)
        found = self.load("-n", 20, "-c", 1, endpoint, code=1)
        self.assert_counts(found, sent=20, answered=19, wrong_size=1, errors=1, connections=2)

    def test_connections_that_end_before_a_reply(self):
        for end in (lambda connection: None, reset):
            with self.subTest(end=end):
                def answer(connection, request, index):
                    if index % 5 == 4:
                        end(connection)
                        return False
                    connection.sendall(request)
                    return True

                _, endpoint = self.requests(answer)
                found = self.load("-n", 20, "-c", 1, endpoint, code=1)
                # The last connection is not replaced: nothing is left to send.
                self.assertIn(found["counts"]["connections"], (4, 5))
                self.assert_counts(found, sent=20, answered=16, closed=4, errors=4)
                self.assertEqual(found["loss_percent"], 20)

    def test_connections_that_end_with_many_requests_in_flight(self):
        # The fifth of eight requests is not answered, nor are those after it. (Closing with unread
        # data would reset the connection, and replies already sent could get lost.)
        def serve(connection):
            for _ in range(4):
                connection.sendall(read_exactly(connection, SIZE))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass

        found = self.load("-n", 24, "-c", 1, "--depth", 8, self.tcp(after_first(serve)), code=1)
        counts = found["counts"]
        self.assertEqual(counts["sent"], 24)
        self.assertEqual(counts["answered"] + counts["closed"], 24)
        # The last connection may have had fewer than four left to answer.
        self.assertLessEqual(counts["answered"], 4 * counts["connections"])
        self.assertGreater(counts["answered"], 4 * (counts["connections"] - 1))

    def test_a_request_without_a_reply_is_lost_after_the_timeout(self):
        def answer(connection, request, index):
            if index != 7:
                connection.sendall(request)

        _, endpoint = self.requests(answer)
        began = time.monotonic()
        found = self.load("-n", 20, "-c", 1, "-W", "3s", endpoint, code=1)
        self.assertGreaterEqual(time.monotonic() - began, 3)
        self.assert_counts(found, sent=20, answered=19, lost=1, errors=1, connections=2)

    def test_a_server_that_goes_away_and_comes_back(self):
        # The port refuses connections until the client has met that often enough, and the run
        # continues until it has been served again.
        listener = self.reusable(0)
        # Bound as well, and not listening: no other process, nor the client, gets the port meanwhile.
        keeper = self.keep(self.reusable(listener.getsockname()[1]))
        first = TcpPeer(echo_stream, listener=listener)
        process = self.start("-j", "-c", 4, "-d", 0, "--warmup", 0, first.endpoint)
        try:
            wait_until(lambda: len(first.connections) == 5, "4 connections, and one before")
            self.await_answers(process)
        finally:
            first.close()
        wait_until(lambda: self.errors_so_far(process) >= 20, "20 errors")
        handler = Requests(SIZE, echo_one)
        self.tcp(handler, listener=keeper)
        wait_until(lambda: handler.seen >= 100, "a hundred requests after its return")
        process.signal(SIGINT)
        found = parse_json(process.finish()).json
        self.assert_consistent(found, 1)
        counts = found["counts"]
        # Each connection lost what was in flight when it ended; the other requests were refused.
        self.assertLessEqual(counts["closed"], 4)
        self.assertGreaterEqual(counts["refused"], 16)
        self.assertEqual(counts["errors"], counts["closed"] + counts["refused"])
        self.assertGreaterEqual(counts["answered"], 100)
        # The last of them may be read from the queue only now.
        wait_until(lambda: handler.connections >= counts["connections"] - 4, "all connections")
        self.assertEqual(counts["connections"], 4 + handler.connections)

    @staticmethod
    def errors_so_far(process):
        process.signal(SIGQUIT)
        line = process.error_line()
        found = re.search(r", (\d+) errors?$", line)
        return int(found[1]) if found else 0

    @staticmethod
    def reusable(port):
        """A socket whose port may be bound again while connections to it linger."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return listener

    def test_a_udp_service_that_stops_is_counted_as_refusing(self):
        server = self.keep(bound(socket.SOCK_DGRAM))
        endpoint = spelled("udp", server.getsockname())

        def serve():
            for _ in range(50):
                data, client = server.recvfrom(1 << 16)
                server.sendto(data, client)
            server.connect(("127.0.0.1", 9))  # as if closed, but no other process gets the port

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        found = self.load("-n", 60, "-c", 1, "-W", "10s", endpoint, code=1)
        thread.join(60)
        counts = found["counts"]
        # One may have arrived before the socket was connected elsewhere.
        self.assertLessEqual(counts["lost"], 1)
        self.assertGreater(counts["refused"], 0)
        self.assertGreater(counts["answered"], 0)
        self.assertEqual(counts["answered"] + counts["lost"] + counts["refused"], 60)


class Datagrams(Case):
    """A path that treats each datagram by its number, in the order of arrival."""

    KINDS_OF = ("dropped", "doubled", "held", "clean", "flipped", "cut", "extended", "header", "clean",
                "clean", "clean", "clean", "clean", "clean", "clean", "clean", "clean", "clean",
                "clean", "clean")

    def impaired(self, kinds):
        """A handler; a held reply is sent right after the next datagram's."""
        held = []
        arrived = []

        def handler(server, data, client):
            kind = kinds[len(arrived)] if len(arrived) < len(kinds) else "clean"
            arrived.append(kind)
            if kind == "held":
                held.append(data)
                return
            answers = {"dropped": [], "doubled": [data, data], "flipped": [flipped(data)],
                       "cut": [data[:40]], "extended": [data + b"!"],
                       "header": [bytes([data[0] ^ 0x55]) + data[1:]]}.get(kind, [data])
            for answer in answers + held:
                server.sendto(answer, client)
            held.clear()
        return arrived, self.udp(after_first_socket(handler))

    def expected(self, kinds):
        count = kinds.count
        return {"sent": len(kinds), "lost": count("dropped"), "duplicated": count("doubled"),
                "reordered": count("held"), "corrupted": count("flipped") + count("header"),
                "wrong_size": count("cut") + count("extended"),
                "answered": count("clean") + count("doubled") + count("held"),
                "errors": len(kinds) - count("clean") - count("doubled") - count("held")}

    def test_every_count_is_exact(self):
        kinds = list(self.KINDS_OF) * 10
        arrived, endpoint = self.impaired(kinds)
        found = self.load("-n", len(kinds), "-c", 1, "--depth", 16, "-W", "3s", endpoint, code=1)
        self.assert_counts(found, **self.expected(kinds))
        self.assertEqual(arrived, kinds)
        self.assertAlmostEqual(found["loss_percent"], 5)

    def test_every_count_is_exact_in_an_open_loop(self):
        kinds = list(self.KINDS_OF) * 10
        arrived, endpoint = self.impaired(kinds)
        found = self.load("-n", len(kinds), "-c", 1, "-r", 500, "-W", "3s", endpoint, code=1)
        self.assert_counts(found, **self.expected(kinds))
        self.assertEqual(arrived, kinds)

    def test_one_at_a_time(self):
        kinds = ["clean", "dropped", "flipped", "doubled", "cut", "clean", "extended", "clean"]
        _, endpoint = self.impaired(kinds)
        found = self.load("-n", len(kinds), "-c", 1, "-W", "3s", endpoint, code=1)
        self.assert_counts(found, **self.expected(kinds))

    def test_without_verification_wrong_sizes_are_detected_and_damage_is_not(self):
        kinds = ["clean", "flipped", "cut", "clean", "extended", "clean"]
        _, endpoint = self.impaired(kinds)
        found = self.load("-n", len(kinds), "-c", 1, "--no-verify", endpoint, code=1)
        self.assert_counts(found, sent=6, answered=4, wrong_size=2, errors=2)

    def test_duplicates_and_reordering_do_not_fail_a_run(self):
        kinds = ["clean", "doubled", "held", "clean"] * 5
        _, endpoint = self.impaired(kinds)
        found = self.load("-n", len(kinds), "-c", 1, "--depth", 8, endpoint)
        self.assert_counts(found, **self.expected(kinds))

    def test_a_datagram_that_answers_no_request_is_stray(self):
        def handler(server, data, client):
            server.sendto(b"\x5a" * 64, client)
            server.sendto(data, client)

        found = self.load("-n", 10, "-c", 1, self.udp(after_first_socket(handler)))
        self.assert_counts(found, sent=10, answered=10, stray=10)

    def test_a_late_reply_counts_as_late_and_a_second_one_as_a_duplicate(self):
        # Before the first reply, a request is given up after 3 s, which is the timeout here.
        held = []

        def handler(server, data, client):
            held.append(data)
            if len(held) == 1:
                return
            if len(held) == 2:
                for answer in (held[0], held[0], held[0]):
                    server.sendto(answer, client)
            server.sendto(data, client)

        found = self.load("-n", 10, "-c", 1, "-W", "3s", self.udp(after_first_socket(handler)), code=1)
        self.assert_counts(found, sent=10, answered=9, lost=1, late=1, duplicated=2, errors=1)
        self.assertGreaterEqual(found["generator"]["loss_time"], 3)


class OtherAnswers(Case):
    SAID = (": not an echo service (its answer: {}): the length of answers is checked, their "
            "bytes are not\n")

    def said(self, endpoint, size):
        return f"riposte: {endpoint}" + self.SAID.format(size)

    def test_a_service_with_other_replies_is_measured_and_reported_once(self):
        def answer(connection, _request, index):
            connection.sendall(b"%09d\n" % index)

        handler = Requests(SIZE, answer)
        endpoint = self.tcp(handler)
        found = self.load("-n", 50, "-c", 2, endpoint, stderr=self.said(endpoint, "10 bytes"))
        self.assert_counts(found, sent=50, answered=50, bytes_received=500)
        self.assertEqual(found["service"], "other")
        text = self.text("-n", 50, "-c", 2, endpoint, stderr=self.said(endpoint, "10 bytes"))
        self.assertEqual(text.count("not an echo service: the lengths of answers were checked, not "
                                    "their bytes\n"), 1)

    def test_its_replies_must_keep_their_length(self):
        def answer(connection, _request, index):
            connection.sendall(b"0123456789+" if index == 10 else b"0123456789")

        def first(connection):
            Requests(SIZE, answer)(connection)

        handler = Requests(SIZE, answer)
        endpoint = self.tcp(after_first(handler, first))
        found = self.load("-n", 50, "-c", 1, endpoint, code=1,
                          stderr=self.said(endpoint, "10 bytes"))
        self.assert_counts(found, sent=50, answered=49, wrong_size=1, errors=1, connections=2)

    def test_datagrams_of_another_service(self):
        endpoint = self.udp(lambda server, data, client: server.sendto(b"pong", client))
        found = self.load("-n", 50, "-c", 2, endpoint, stderr=self.said(endpoint, "4 bytes"))
        self.assert_counts(found, sent=50, answered=50, bytes_received=200)

    def test_an_echo_of_one_request_per_connection(self):
        def serve(connection):
            send_last(connection, read_exactly(connection, SIZE))

        endpoint = self.tcp(serve)
        found = self.load("-n", 50, "-c", 2, endpoint, stderr=(
            f"riposte: {endpoint}: closes after an answer: a connection for each request\n"))
        self.assert_counts(found, sent=50, answered=50, connections=50)
        self.assertEqual((found["service"], found["mode"]["closes"]), ("echo", True))


class FailIf(Case):
    def test_a_condition_that_is_not_met_passes(self):
        found = self.load("-n", 100, "--fail-if", "p99>10m,rate<0.001,errors>0,loss>0%,sent<100",
                          self.echo())
        self.assertEqual([check["condition"] for check in found["fail_if"]],
                         ["p99>10m", "rate<0.001", "errors>0", "loss>0%", "sent<100"])
        self.assertEqual([check["met"] for check in found["fail_if"]], [False] * 5)
        self.assertEqual(found["fail_if"][4]["value"], 100)

    def test_a_condition_that_is_met_fails(self):
        endpoint = self.echo()
        done = run("load", "-n", 100, "--fail-if", "answered<200, p50 > 0us", endpoint)
        self.assertEqual(done.returncode, 1, str(done))
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 2, str(done))
        self.assertIn("answered is 100 (--fail-if answered<200)", lines[0])
        self.assertRegex(lines[1], r"p50 is \S+ \S+ \(--fail-if p50 ?> ?0us\)$")

    def test_loss_may_be_tolerated(self):
        def answer(connection, request, index):
            if index == 7:
                return False
            connection.sendall(request)
            return True

        for conditions, code in (("loss>10%", 0), ("loss>1%", 1), ("p99>10m", 1)):
            with self.subTest(conditions=conditions):
                _, endpoint = self.requests(answer)
                found = self.load("-n", 20, "-c", 1, "--fail-if", conditions, endpoint, code=code,
                                  stderr=None)
                self.assert_counts(found, sent=20, answered=19, closed=1, errors=1)

    def test_a_fault_that_no_condition_covers_still_fails(self):
        _, endpoint = self.damaging({3: flipped})
        self.load("-n", 20, "-c", 1, "--fail-if", "loss>10%", endpoint, code=1)
        _, endpoint = self.damaging({3: flipped})
        self.load("-n", 20, "-c", 1, "--fail-if", "corrupted>1", endpoint)

    def test_an_invalid_condition_is_reported_with_its_column(self):
        line = self.refuses("-n", 10, "--fail-if", "p99>2ms,lossy>1%", self.echo(), code=2)
        self.assertIn("--fail-if", line)
        self.assertIn("column 9", line)

    def test_a_figure_that_load_does_not_measure_is_reported(self):
        self.assertIn("is measured by riposte ping only",
                      self.refuses("-n", 10, "--fail-if", "jitter>1ms", self.echo(), code=2))


if __name__ == "__main__":
    unittest.main()
