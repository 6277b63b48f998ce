"""`riposte load` against peers that are other programs, dead, or stalling: figures, messages and exit
code. Each peer decides what to do by the number of the request, never by chance or time.
"""

import select
import socket
import threading
import time
import unittest
from signal import SIGCONT, SIGSTOP

from client import parse_json, run
from load_case import NO_ANSWER, SIZE, LoadCase, after_first, after_first_socket, echo_one
from peers import (Backlog, Socat, bound, closed_port, has_ipv6, read_exactly, reset, spelled,
                   wait_until)

KINDS = (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM))


def swallow(connection):
    while connection.recv(1 << 16):
        pass


class Stalls(LoadCase):
    """A server that alternates between serving for 500 ms and stalling for 500 ms. However busy the
    machine is, no stall is shorter than that."""

    SERVE, STALL = 0.5, 0.5

    def stalling(self):
        """One thread serves all connections: while it sleeps, none is served."""
        listener = self.keep(bound(socket.SOCK_STREAM))
        listener.listen(16)
        waker, end = socket.socketpair()
        stalls = []

        def serve():
            open_sockets = []
            served = time.monotonic()
            while True:
                ready = select.select([listener, waker, *open_sockets], [], [], 0.02)[0]
                if waker in ready:
                    break
                for each in ready:
                    if each is listener:
                        connection, _ = listener.accept()
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        open_sockets.append(connection)
                    elif data := each.recv(1 << 16):
                        each.sendall(data)
                    else:
                        open_sockets.remove(each)
                        each.close()
                if time.monotonic() >= served + self.SERVE:
                    time.sleep(self.STALL)
                    served = time.monotonic()
                    stalls.append(served)
            for each in open_sockets:
                each.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()

        def close():
            end.send(b"x")
            thread.join(60)
            waker.close()
            end.close()
        self.addCleanup(close)
        return spelled("tcp", listener.getsockname()), stalls

    def test_p99_shows_the_stall_in_an_open_loop(self):
        # 200 requests a second, about a hundred of them due in each stall. A request due x seconds
        # before the end of a stall waits at least x: two fifths of those in a stall wait for 0.3 s. With
        # three stalls that is a fifth of all requests, twenty times what p99 leaves out; with one, if a
        # busy machine allowed no more, a fifteenth.
        endpoint, stalls = self.stalling()
        found = self.load("-c", 4, "-r", 200, "-d", "3s", "--warmup", 0, "-W", "30s", endpoint)
        self.assertGreaterEqual(len(stalls), 1)
        self.assert_counts(found, sent=600, answered=600)
        self.assertGreaterEqual(found["latency"]["p99"], 0.3)
        self.assertGreaterEqual(found["latency"]["p95"], 0.3)
        self.assertGreaterEqual(found["latency"]["max"], 0.4)
        # Any number may be outstanding: they left on schedule, stall or not.
        self.assertEqual(found["generator"]["late_blocked"], 0)

    def test_only_the_intended_time_shows_the_stall_when_requests_have_to_wait(self):
        # Two connections with one request each: in a stall two requests are in flight, and all that
        # become due meanwhile wait in the client. Measured from sending, only those two saw the stall:
        # at most one reply that takes 0.3 s fits into 0.3 s of each connection, however busy the
        # machine is. Coordinated omission hides the others.
        endpoint, _ = self.stalling()
        done = run("load", "-j", "-c", 2, "--depth", 1, "-r", 400, "-d", "4s", "--warmup", 0,
                   "-W", "30s", endpoint)
        found = parse_json(done).json
        # The run may end in a stall: requests that are due then and not sent have no latency.
        self.assert_consistent(found, done.returncode)
        counts = found["counts"]
        self.assertEqual(counts["sent"] + counts["unsent"], 1600)
        intended, sent = found["latency"], found["latency_from_send"]
        self.assertGreaterEqual(intended["p99"], 0.3)
        self.assertGreaterEqual(intended["p95"], 0.3)
        self.assertGreater(intended["p99"], sent["p99"])
        self.assertLess(self.slower(sent, 0.3), 2 * (found["elapsed"] + 1) / 0.3)
        self.assertGreater(self.slower(intended, 0.3), 10 * self.slower(sent, 0.3))
        self.assertGreater(intended["p95"], sent["p95"])
        self.assertGreater(found["generator"]["late_blocked"], 16)
        self.assertGreaterEqual(found["wait"]["p95"], 0.3)
        self.assertTrue(any("waited for a free connection" in note
                            for note in found["generator"]["notes"]))

    @staticmethod
    def slower(distribution, seconds):
        return sum(count for low, _, count in distribution["histogram"] if low >= seconds)

    def test_a_stall_of_the_generator_is_attributed_to_the_generator(self):
        # The server stops the client for as long as two hundred requests take.
        process = None

        def answer(connection, request, index):
            if index == 20:
                process.signal(SIGSTOP)
                time.sleep(1)
                process.signal(SIGCONT)
            connection.sendall(request)

        _, endpoint = self.requests(answer)
        process = self.start("-j", "-c", 1, "--depth", 300, "-r", 200, "-n", 300, "-W", "30s", endpoint)
        found = parse_json(process.finish()).json
        self.assert_consistent(found, 0)
        self.assert_counts(found, sent=300, answered=300)
        generator = found["generator"]
        self.assertGreaterEqual(generator["late_by_generator"], 180)
        self.assertEqual(generator["late_blocked"], 0)
        self.assertTrue(generator["bottleneck"])
        self.assertTrue(any("this machine was busy" in note for note in generator["notes"]))
        self.assertGreaterEqual(found["latency"]["p95"], 0.3)
        self.assertGreaterEqual(found["lateness"]["p95"], 0.3)
        self.assertEqual(found["wait"]["max"], 0)

    def test_a_generator_without_spare_cpu_says_so(self):
        # A busy machine may or may not give it a whole core: in both cases what it says must agree
        # with the CPU time that it had.
        endpoint = self.echo()
        shares = []
        for _ in range(3):
            found, _ = self.load_for(500, "-c", 50, "--depth", 16, "--warmup", "100ms", "-s", 1024,
                                     endpoint)
            generator = found["generator"]
            limited = generator["cpu_share"] >= 0.95
            self.assertEqual(generator["bottleneck"], limited)
            self.assertEqual(len(generator["notes"]), int(limited))
            shares.append(generator["cpu_share"])
        self.assertTrue(all(0 < share < 1.2 for share in shares), shares)


class CountsOfTheServer(LoadCase):
    def test_requests_and_bytes_are_those_that_the_server_saw(self):
        handler, endpoint = self.requests(echo_one, size=100)
        found = self.load("-n", 500, "-c", 5, "-s", 100, endpoint)
        self.assert_counts(found, sent=500, answered=500, connections=5, bytes_sent=50_000,
                           bytes_received=50_000)
        self.assertEqual((handler.seen, handler.connections), (500, 5))

    def test_the_warm_up_is_left_out(self):
        for seconds in (0.3, 1.2, 4.8):  # longer, if a busy machine let none be sent in the first
            handler, endpoint = self.requests(echo_one)
            found = self.load("-n", 100, "-c", 2, "--warmup", f"{1000 * seconds:.0f}ms", endpoint)
            self.assert_counts(found, sent=100, answered=100, connections=2)
            self.assertEqual(found["warmup"], seconds)
            if handler.seen > 100:
                break
        self.assertGreater(handler.seen, 100)

    def test_the_warm_up_of_an_open_loop_is_left_out(self):
        for factor in (1, 2, 4, 8):  # requests that a busy machine did not send in the warm-up are not made up for
            handler, endpoint = self.requests(echo_one)
            found = self.load("-n", 50, "-r", 100 / factor, "--warmup", f"{500 * factor}ms", "--depth", 1024,
                              endpoint)
            self.assert_counts(found, sent=50, answered=50)
            self.assertLessEqual(handler.seen, 100)
            if handler.seen == 100:
                break
        self.assertEqual(handler.seen, 100)

    def test_requests_begun_in_a_slow_warm_up_do_not_count(self):
        # Requests of the warm-up that are answered in the measured time do not count.
        for warm_up in (0.05, 0.2, 0.8):  # longer, if the machine was too slow to send four in the first
            def answer(connection, request, index, pause=10 * warm_up):
                if index < 4:
                    time.sleep(pause)
                connection.sendall(request)

            handler, endpoint = self.requests(answer)
            found = self.load("-n", 20, "-c", 4, "--warmup", f"{1000 * warm_up:.0f}ms", "-W", "60s",
                              endpoint)
            self.assert_counts(found, sent=20, answered=20)
            self.assertLessEqual(handler.seen, 24)
            if handler.seen == 24:
                break
        self.assertEqual(handler.seen, 24)

    def test_at_most_depth_requests_are_in_flight(self):
        extra = []

        def serve(connection):
            while len(requests := read_exactly(connection, 8 * SIZE)) == 8 * SIZE:
                # Eight are pending; a ninth must not follow.
                extra.extend(select.select([connection], [], [], 0.02)[0])
                connection.sendall(requests)

        found = self.load("-n", 160, "-c", 2, "--depth", 8, self.tcp(after_first(serve)))
        self.assert_counts(found, sent=160, answered=160)
        self.assertEqual(extra, [])

    def test_each_request_has_a_connection_with_reconnect(self):
        handler, endpoint = self.requests(echo_one)
        found = self.load("-n", 50, "-c", 5, "--reconnect", endpoint)
        self.assert_counts(found, sent=50, answered=50, connections=50)
        self.assertEqual((handler.seen, handler.connections), (50, 50))

    def test_bytes_that_come_one_by_one(self):
        def answer(connection, request, _index):
            for byte in request:
                connection.sendall(bytes([byte]))

        _, endpoint = self.requests(answer, size=20)
        for depth in (1, 5):
            with self.subTest(depth=depth):
                found = self.load("-n", 50, "-c", 2, "-s", 20, "--depth", depth, endpoint)
                self.assert_counts(found, sent=50, answered=50, bytes_received=1000)


class Echoes(LoadCase):
    def socat(self, scheme, listening, other="PIPE"):
        return self.keep(Socat(scheme, listening, other)).endpoint

    def test_socat_over_tcp(self):
        endpoint = self.socat("tcp", "TCP4-LISTEN:0,bind=127.0.0.1,fork,backlog=128")
        for arguments in (("-c", 1), ("-c", 8), ("-c", 4, "--depth", 8)):
            with self.subTest(arguments=arguments):
                found = self.load("-n", 400, *arguments, endpoint)
                self.assert_counts(found, sent=400, answered=400)
                self.assertEqual(found["service"], "echo")

    def test_socat_with_a_connection_for_each_request(self):
        endpoint = self.socat("tcp", "TCP4-LISTEN:0,bind=127.0.0.1,fork,backlog=128")
        found = self.load("-n", 40, "-c", 4, "--reconnect", endpoint)
        self.assert_counts(found, sent=40, answered=40, connections=40)

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_socat_over_ipv6(self):
        found = self.load("-n", 100, "-c", 2, self.socat("tcp", "TCP6-LISTEN:0,bind=[::1],fork"))
        self.assert_counts(found, sent=100, answered=100)
        self.assertRegex(found["address"], r"^\[::1\]:\d+$")

    def test_socat_over_udp(self):
        # socat forks a child for each client address. Between two of them the port is closed for a
        # moment, which the warm-up absorbs.
        endpoint = self.socat("udp", "UDP4-LISTEN:0,bind=127.0.0.1,fork,reuseaddr")
        found = self.load("-n", 200, "-c", 1, "--warmup", "2s", "-W", "3s", endpoint)
        self.assert_counts(found, sent=200, answered=200)

    def test_an_echo_of_the_test(self):
        for transport in ("tcp", "udp"):
            with self.subTest(transport=transport):
                found = self.load("-n", 300, "-c", 3, self.echo(transport))
                self.assert_counts(found, sent=300, answered=300)


class Unavailable(LoadCase):
    def test_a_closed_port_refuses(self):
        for scheme, kind in KINDS:
            with self.subTest(scheme=scheme):
                endpoint = spelled(scheme, self.keep(closed_port(kind)).getsockname())
                self.assertRegex(
                    self.refuses("-n", 10, endpoint),
                    rf"^riposte: {endpoint}: (connection refused|port unreachable .*) in \d+\.\d+ ms; "
                    r"is riposted running there\?\n$")

    def test_with_json_a_failed_run_still_prints_a_document(self):
        for scheme, kind in KINDS:
            closed = spelled(scheme, self.keep(closed_port(kind)).getsockname())
            hole = self.hole() if scheme == "udp" else self.tcp(swallow)
            for endpoint, outcome in ((closed, "refused"), (hole, "lost")):
                with self.subTest(scheme=scheme, outcome=outcome):
                    found = self.refuses_in_json("-n", 10, "-W", "300ms", "--fail-if", "p99>1s", endpoint)
                    self.assert_counts(found, sent=1, errors=1, **{outcome: 1})
                    self.assertEqual((found["name"], found["address"]),
                                     (endpoint, endpoint.partition("//")[2]))
                    self.assertTrue(found["error"].startswith(f"{endpoint}: "), found["error"])
                    self.assertEqual(found["fail_if"], [{"condition": "p99>1s", "met": True}])
                    self.assertEqual(found["loss_percent"], 100)
        endpoint = self.tcp(lambda connection: read_exactly(connection, SIZE))
        self.assert_counts(self.refuses_in_json("-n", 10, endpoint), sent=1, closed=1, errors=1)

    def test_a_black_hole(self):
        for scheme in ("tcp", "udp"):
            with self.subTest(scheme=scheme):
                endpoint = self.hole() if scheme == "udp" else self.tcp(swallow)
                self.assertRegex(
                    self.refuses("-n", 10, "-W", "300ms", endpoint),
                    rf"^riposte: {endpoint}: {NO_ANSWER[scheme]} -W waits longer\n$")

    def test_a_full_accept_queue(self):
        endpoint = self.keep(Backlog()).endpoint
        self.assertEqual(
            self.refuses("-n", 10, "-W", "300ms", endpoint),
            f"riposte: {endpoint}: no connection after 300ms; is the address right, or does a "
            "firewall drop it? -W waits longer\n")

    def test_a_service_that_falls_silent(self):
        endpoint = self.tcp(after_first(swallow))
        found = self.load("-n", 4, "-c", 2, "-W", "2s", endpoint, code=1)
        self.assert_counts(found, sent=4, lost=4, errors=4)
        self.assertEqual(found["loss_percent"], 100)
        self.assertNotIn("latency", found)
        text = self.text("-n", 4, "-c", 2, "-W", "2s", self.tcp(after_first(swallow)), code=1)
        self.assertIn("4 lost (100%)", text)
        self.assertIn("\nthe port accepts connections, but nothing answers: is this the right service?\n", text)

    def test_datagrams_that_fall_silent(self):
        endpoint = self.udp(after_first_socket(lambda *_: None))
        found = self.load("-n", 4, "-c", 2, "-W", "2s", endpoint, code=1)
        self.assert_counts(found, sent=4, lost=4, errors=4)

    def test_a_server_that_never_stops_sending(self):
        # Slowly, so that the limit of bytes is never reached. If a busy machine delays it for 100 ms, load
        # takes that for the end of a reply, and sends another request.
        ended = threading.Event()
        self.addCleanup(ended.set)

        def serve(connection):
            read_exactly(connection, SIZE)
            while not ended.wait(0.01):
                connection.sendall(b"x")

        endpoint = self.tcp(serve)
        line = f"riposte: {endpoint}: answers without end; load needs an answer to each request\n"
        wait_until(lambda: run("load", "-n", 10, "-W", "500ms", endpoint).stderr == line, line)

    def test_a_server_that_closes_at_once(self):
        endpoint = self.tcp(lambda connection: None)
        self.assertRegex(
            self.refuses("-n", 10, endpoint),
            r": (closed without an answer|connection reset by peer before an answer); is it the "
            r"service that you meant\?\n$")

    def test_a_server_that_reads_and_closes(self):
        endpoint = self.tcp(lambda connection: read_exactly(connection, SIZE))
        self.assertEqual(
            self.refuses("-n", 10, endpoint),
            f"riposte: {endpoint}: closed without an answer; is it the service that you meant?\n")

    def test_a_server_that_reads_and_resets(self):
        def serve(connection):
            read_exactly(connection, SIZE)
            reset(connection)

        endpoint = self.tcp(serve)
        self.assertEqual(
            self.refuses("-n", 10, endpoint),
            f"riposte: {endpoint}: connection reset by peer before an answer; is it the service "
            "that you meant?\n")

    def test_an_impossible_name_is_reported(self):
        # A label longer than 63 bytes is refused before any name server is asked.
        name = "x" * 64 + ".invalid"
        self.assertIn(name, self.refuses("-n", 10, f"tcp://{name}:7001", code=2))

    def test_a_source_address_of_another_host_is_reported(self):
        # 192.0.2.0/24 is for documentation (RFC 5737): bind(2) refuses, nothing is sent.
        self.assertEqual(
            self.refuses("-n", 10, "--source", "192.0.2.1", self.echo(), code=2),
            "riposte: --source 192.0.2.1: cannot assign requested address; it is not an address of "
            "this machine: `ip address` lists those\n")


if __name__ == "__main__":
    unittest.main()
