"""`riposte ping` against peers that are other programs, not an echo, or faulty: figures, messages and exit
code. Each case over TCP and UDP where both make sense.
"""

import random
import re
import socket
import time
import unittest
from signal import SIGINT

import pytest

from client import Running, run, run_json
from daemon import RiposteTest
from peers import (Backlog, Socat, TcpPeer, UdpPeer, closed_port, echo_datagram, echo_stream,
                   has_ipv6, opened_port, read_exactly, reset, send_last, spelled, swallow)

pytestmark = pytest.mark.backends

SIZE = 56
KINDS = (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM))


def random_bytes(size, seed=7001):
    return random.Random(seed).randbytes(size)


class Case(RiposteTest):
    maxDiff = None

    def ping(self, *arguments, count=3, interval="20ms", code=0, **keywords):
        """The document's entries of the endpoints. The exit code must be `code`; None: 0 or 1."""
        done = run_json("ping", "-j", "-c", count, "-i", interval, *arguments, **keywords)
        self.assertEqual(done.stderr, "")
        self.assertIn(done.returncode, (0, 1) if code is None else (code,), str(done))
        self.assertEqual(done.json["exit"], done.returncode)
        return done.json["endpoints"]

    def text(self, *arguments, count=3, interval="20ms", code=0, stderr="", **keywords):
        done = run("ping", "-c", count, "-i", interval, *arguments, **keywords)
        self.assertEqual((done.returncode, done.stderr), (code, stderr), str(done))
        return done.stdout

    def assert_counts(self, endpoint, **expected):
        """Checks these counts, and zero for all others. (Servers with a thread per connection may
        answer connections in another order than that of the probes.)"""
        counts = {key: count for key, count in endpoint["counts"].items() if count}
        if endpoint.get("connections", 0) > 1:
            counts.pop("reordered", None)
        self.assertEqual(counts, expected)

    def tcp(self, handler, **options):
        peer = TcpPeer(handler, **options)
        self.addCleanup(peer.close)
        return peer.endpoint

    def udp(self, handler, **options):
        peer = UdpPeer(handler, **options)
        self.addCleanup(peer.close)
        return peer.endpoint

    def echo(self, transport, **options):
        if transport == "tcp":
            return self.tcp(echo_stream, **options)
        return self.udp(echo_datagram, **options)

    def probes(self, answer):
        """A handler that calls answer(connection, probe) for each probe."""
        def serve(connection):
            while len(probe := read_exactly(connection, SIZE)) == SIZE:
                answer(connection, probe)
        return serve


class Echoes(Case):
    def socat(self, scheme, listening, other):
        return self.keep(Socat(scheme, listening, other)).endpoint

    def answers_all(self, endpoint, *arguments, **expected):
        found = self.ping(*arguments, endpoint, count=10)[0]
        self.assert_counts(found, sent=10, answered=10)
        self.assertEqual(found["service"], "echo")
        self.assertEqual(found["rtt"]["count"], 10)
        for key, value in expected.items():
            self.assertEqual(found[key], value, key)
        return found

    def test_socat_over_tcp(self):
        found = self.answers_all(
            self.socat("tcp", "TCP4-LISTEN:0,bind=127.0.0.1,fork,reuseaddr", "EXEC:cat"),
            connections=1, transport="tcp")
        self.assertEqual(found["connect"]["count"], 1)

    def test_socat_over_udp(self):
        # Its pipe does not keep datagrams apart: a socat that is late returns two as one, which ping
        # reports. The test then repeats with a new socat and fewer probes a second.
        for interval in ("20ms", "100ms", "500ms", "1s", "2s"):
            endpoint = self.socat("udp", "UDP4-LISTEN:0,bind=127.0.0.1,fork,reuseaddr", "PIPE")
            found = self.ping(endpoint, "-W", "10s", count=10, interval=interval, code=None)[0]
            if found["counts"]["wrong_size"] == 0:
                break
        self.assert_counts(found, sent=10, answered=10)
        self.assertEqual((found["service"], found["transport"]), ("echo", "udp"))
        self.assertNotIn("connect", found)
        self.assertNotIn("connections", found)

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_socat_over_ipv6(self):
        endpoint = self.socat("tcp", "TCP6-LISTEN:0,bind=[::1],fork,reuseaddr", "EXEC:cat")
        endpoint = "tcp://[::1]:" + endpoint.rpartition(":")[2]  # socat spells out all the zeros
        found = self.answers_all(endpoint)
        self.assertEqual(found["address"], endpoint.removeprefix("tcp://"))

    def test_a_connection_for_each_probe(self):
        endpoint = self.socat("tcp", "TCP4-LISTEN:0,bind=127.0.0.1,fork,reuseaddr", "EXEC:cat")
        # Each connection is a process of socat and one of cat, for which a busy machine may take longer than ping
        # waits at its end: four times the longest round trip. Then fewer are started at once.
        for interval in ("20ms", "200ms", "1s", "3s"):
            found = self.ping("-W", "10s", "--reconnect", endpoint, count=10, interval=interval, code=None)[0]
            if found["counts"]["answered"] == 10:
                break
        self.assert_counts(found, sent=10, answered=10)
        self.assertEqual((found["connections"], found["connect"]["count"]), (10, 10))

    def test_the_echo_of_riposted(self):
        for transport, _ in KINDS:
            for host in ("127.0.0.1", *(["[::1]"] if has_ipv6() else [])):
                with self.subTest(transport=transport, host=host):
                    _, address = self.serve("echo", transport=transport, host=host)
                    self.answers_all(spelled(transport, address))

    def test_all_sizes_come_back(self):
        for transport, _ in KINDS:
            endpoint = self.echo(transport)
            for size in (24, 1472, 9000, 65507):
                with self.subTest(transport=transport, size=size):
                    found = self.ping("-s", size, endpoint)[0]
                    self.assert_counts(found, sent=3, answered=3)
                    self.assertEqual(found["payload_bytes"], size)

    def test_bytes_that_come_one_by_one(self):
        def answer(connection, probe):
            for byte in probe:
                connection.sendall(bytes([byte]))

        found = self.ping(self.tcp(self.probes(answer)))[0]
        self.assert_counts(found, sent=3, answered=3)

    def test_the_source_of_arrival_times_is_shown(self):
        # UDP on loopback has the kernel's time stamps; either way ping must say which.
        found = self.ping(self.echo("udp"))[0]
        self.assertIn(found["clock"], ("kernel", "user_space", "mixed"))
        text = self.text(self.echo("udp"))
        self.assertRegex(text, r"times of arrival: (kernel|user space) clock")

    def test_the_source_is_what_the_server_sees(self):
        clients = []

        def answer(server, data, client):
            clients.append(client[0])
            server.sendto(data, client)

        self.ping("--source", "127.0.0.3", self.udp(answer))
        self.assertEqual(clients, ["127.0.0.3"] * 3)


class NoReply(Case):
    def test_a_closed_port_refuses(self):
        for transport, kind in KINDS:
            with self.subTest(transport=transport):
                endpoint = spelled(transport, self.keep(closed_port(kind)).getsockname())
                found = self.ping(endpoint, code=1)[0]
                self.assert_counts(found, sent=3, refused=3)
                self.assertEqual(found["loss_percent"], 100)
                self.assertNotIn("rtt", found)
                text = self.text(endpoint, code=1)
                for sequence in (1, 2, 3):
                    self.assertRegex(text, rf"(?m)^seq={sequence} refused in \d+\.\d+ ms\b.* 127\.0\.0\.1\)?$")
                self.assertIn("3 refused (100%)", text)
                self.assertIn("0 lost", text)

    def test_a_bound_socket_that_never_answers(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
            hole.bind(("127.0.0.1", 0))
            self.black_hole(spelled("udp", hole.getsockname()))

    def test_a_connection_that_is_never_answered(self):
        self.black_hole(self.tcp(swallow))

    def test_a_full_accept_queue(self):
        self.black_hole(self.keep(Backlog()).endpoint)

    def black_hole(self, endpoint):
        found = self.ping("-W", "300ms", endpoint, code=1)[0]
        self.assert_counts(found, sent=3, lost=3)
        self.assertEqual(found["loss_percent"], 100)
        text = self.text("-W", "300ms", endpoint, code=1)
        for sequence in (1, 2, 3):
            self.assertRegex(
                text, rf"(?m)^(connected in .* ms, )?no (answer to|connection for) seq={sequence} within 300ms$")
        self.assertIn("3 lost (100%)", text)
        self.assertRegex(text, "(?m)^(no answer came: |the port accepts connections, but nothing answers: )")

    def test_an_endpoint_that_starts_to_serve(self):
        # First refused, then answered: each probe tries by itself, and one connection serves once there is a
        # listener.
        for transport, kind in KINDS:
            with self.subTest(transport=transport):
                self.revive(transport, kind)

    def revive(self, transport, kind):
        closed = self.keep(closed_port(kind))
        with Running("ping", "-i", "10ms", spelled(transport, closed.getsockname())) as client:
            for _ in range(3):
                while "refused" not in client.line():
                    pass
            if transport == "tcp":
                self.tcp(echo_stream, listener=closed)
            else:
                self.udp(echo_datagram, listener=opened_port(closed))
            while "time=" not in client.line():
                pass
            client.signal(SIGINT)
            done = client.finish()
        self.assertEqual(done.returncode, 1, str(done))
        self.assertRegex(done.stdout, r"[1-9]\d* answered")
        self.assertRegex(done.stdout, r"[1-9]\d* refused")


class FaultyPeers(Case):
    """Streams that end or are cut, and damaged datagrams."""

    def test_a_server_that_closes_at_once(self):
        found = self.ping(self.tcp(lambda connection: None), code=1)[0]
        self.assert_counts(found, sent=3, closed=3)
        found = self.ping("--reconnect", self.tcp(lambda connection: None), code=1)[0]
        self.assert_counts(found, sent=3, closed=3)
        self.assertEqual(found["connections"], 3)

    def test_a_server_that_resets_at_once(self):
        found = self.ping(self.tcp(reset), code=1)[0]
        self.assert_counts(found, sent=3, closed=3)

    def test_a_server_that_reads_and_closes(self):
        found = self.ping(self.tcp(lambda connection: read_exactly(connection, SIZE)), code=1)[0]
        self.assert_counts(found, sent=3, closed=3)
        # On a slow machine a second probe could be unread when the server closes, which causes a reset.
        text = self.text(self.tcp(lambda connection: read_exactly(connection, SIZE)), count=1, code=1)
        self.assertIn("seq=1 closed: the connection ended before the answer\n", text)

    def test_a_server_that_reads_and_resets(self):
        def serve(connection):
            read_exactly(connection, SIZE)
            reset(connection)

        found = self.ping(self.tcp(serve), code=1)[0]
        self.assert_counts(found, sent=3, closed=3)

    def test_an_echo_that_closes_after_each_probe(self):
        found = self.ping(
            self.tcp(lambda connection: send_last(connection, read_exactly(connection, SIZE))),
            count=10, interval="100ms")[0]
        self.assert_counts(found, sent=10, answered=10)
        self.assertEqual(found["connections"], 10)

    def test_probes_that_wait_behind_the_only_reply_of_a_connection_are_sent_again(self):
        def serve(connection):
            reply = answer(read_exactly(connection, SIZE))
            time.sleep(0.05)  # several probes are due meanwhile
            send_last(connection, reply)

        for answer in (lambda probe: probe, lambda probe: b"Hello, i'm server!"):
            found = self.ping(self.tcp(serve), count=20, interval="10ms")[0]
            self.assert_counts(found, sent=20, answered=20)
            self.assertGreaterEqual(found["rtt"]["min"], 0.05)
            self.assertGreaterEqual(found["connections"], 20)

    def test_a_server_that_replies_short_and_closes(self):
        endpoint = self.tcp(
            lambda connection: send_last(connection, read_exactly(connection, SIZE)[:20]))
        found = self.ping("--reconnect", endpoint, code=1)[0]
        self.assert_counts(found, sent=3, wrong_size=3)
        # On successive connections: a probe sent on one that is about to end is `closed`.
        counts = self.ping(endpoint, code=1, interval="100ms")[0]["counts"]
        self.assertGreaterEqual(counts["wrong_size"], 1)
        self.assertEqual(counts["wrong_size"] + counts["closed"], 3)

    def test_a_server_that_replies_short_and_stays(self):
        def serve(connection):
            connection.sendall(read_exactly(connection, SIZE)[:40])
            swallow(connection)

        # With a connection each: each is given up after its timeout, with the size that had arrived.
        found = self.ping("-W", "4s", "--reconnect", self.tcp(serve), code=1)[0]
        self.assert_counts(found, sent=3, wrong_size=3)
        # With a shared one: the timeout of the first gives up the connection of the others.
        found = self.ping("-W", "4s", self.tcp(serve), code=1)[0]
        counts = found["counts"]
        self.assertGreaterEqual(counts["wrong_size"], 1)
        self.assertEqual(counts["wrong_size"] + counts["closed"] + counts["lost"], 3)

    def test_a_stream_with_replies_that_are_too_long(self):
        endpoint = self.tcp(
            self.probes(lambda connection, probe: connection.sendall(probe + b"more")))
        found = self.ping("--reconnect", endpoint, count=10, code=1)[0]
        self.assert_counts(found, sent=10, wrong_size=10)
        # On a shared connection the surplus of one reply precedes the next, if that one is due.
        counts = self.ping(endpoint, count=10, code=1)[0]["counts"]
        self.assertGreaterEqual(counts["wrong_size"], 1)
        self.assertEqual(counts["wrong_size"] + counts["answered"], 10)

    def test_datagrams_cut_and_extended(self):
        for change in (lambda data: data[:30], lambda data: data + b"more"):
            endpoint = self.udp(lambda s, data, client, f=change: s.sendto(f(data), client))
            found = self.ping(endpoint, code=1)[0]
            self.assert_counts(found, sent=3, wrong_size=3)

    def test_datagrams_damaged(self):
        endpoint = self.udp(
            lambda server, data, client: server.sendto(data[:-1] + bytes([data[-1] ^ 1]), client))
        found = self.ping(endpoint, code=1)[0]
        self.assert_counts(found, sent=3, corrupted=3)
        self.assertIn("corrupted at byte 55", self.text(endpoint, code=1))

    def test_each_datagram_twice(self):
        def twice(server, data, client):
            server.sendto(data, client)
            server.sendto(data, client)

        # The copy of the last one may arrive after the end.
        found = self.ping(self.udp(twice), count=10)[0]
        self.assertIn(found["counts"].pop("duplicated"), (9, 10))
        self.assert_counts(found, sent=10, answered=10)
        self.assertIn("(duplicate)", self.text(self.udp(twice), count=10))


class OtherServices(Case):
    """A service that is not an echo is still measured, which ping says once."""

    SAID = "not an echo service: answers are timed but not verified\n"

    def measured(self, endpoint, *arguments):
        found = self.ping(*arguments, endpoint)[0]
        self.assertEqual(found["service"], "other")
        self.assert_counts(found, sent=3, answered=3)
        text = self.text(*arguments, endpoint)
        self.assertEqual(text.count(self.SAID), 1, text)
        # (A server that sends first may have replied before the probe was sent: in zero time.)
        sequences = re.findall(r"(?m)^\d+ bytes from \S+: seq=(\d+)", text)
        self.assertEqual(sorted(sequences), ["1", "2", "3"])
        return found

    def closing(self, service):
        """A service of riposted that closes each connection after its reply."""
        _, address = self.serve(service)
        endpoint = spelled("tcp", address)
        self.assertEqual(self.measured(endpoint, "--reconnect")["connections"], 3)
        # It reconnects without an option, as in FaultyPeers.
        found = self.ping(endpoint, count=20, interval="1ms")[0]
        self.assertEqual(found["service"], "other")
        self.assert_counts(found, sent=20, answered=20)

    def test_hello_over_tcp(self):
        self.closing("hello")

    def test_hello_over_udp_is_an_echo(self):
        _, address = self.serve("hello", transport="udp")
        found = self.ping(spelled("udp", address))[0]
        self.assertEqual(found["service"], "echo")
        self.assert_counts(found, sent=3, answered=3)

    def test_daytime(self):
        self.closing("daytime")
        _, address = self.serve("daytime", transport="udp")
        self.measured(spelled("udp", address))

    def test_time(self):
        self.closing("time")
        _, address = self.serve("time", transport="udp")
        self.measured(spelled("udp", address))

    def test_chargen(self):
        _, address = self.serve("chargen")
        found = self.ping(spelled("tcp", address))[0]
        self.assertEqual((found["service"], found["counts"]["answered"]), ("other", 3))

    def test_discard(self):
        for transport, _ in KINDS:
            with self.subTest(transport=transport):
                _, address = self.serve("discard", transport=transport)
                found = self.ping("-W", "300ms", spelled(transport, address), code=1)[0]
                self.assert_counts(found, sent=3, lost=3)

    # Over TCP with a connection each: on a shared one, two replies read at once look like one.

    def test_garbage_of_the_same_size(self):
        self.measured(self.garbage("udp", SIZE))
        self.measured(self.garbage("tcp", SIZE), "--reconnect")

    def test_garbage_of_another_size(self):
        for size in (7, 700):
            with self.subTest(size=size):
                self.measured(self.garbage("udp", size))
                self.measured(self.garbage("tcp", size), "--reconnect")

    def garbage(self, transport, size):
        data = random_bytes(size)
        if transport == "udp":
            return self.udp(lambda server, _, client: server.sendto(data, client))
        return self.tcp(self.probes(lambda connection, _: connection.sendall(data)))


class Several(Case):
    def test_each_endpoint_is_measured_by_itself_and_compared(self):
        endpoints = [self.echo("tcp"), self.echo("udp")]
        found = self.ping(*endpoints, count=5)
        self.assertEqual([endpoint["name"] for endpoint in found], endpoints)
        for endpoint in found:
            self.assert_counts(endpoint, sent=5, answered=5)
        text = self.text(*endpoints, count=5)
        for endpoint in endpoints:
            self.assertEqual(len(re.findall(
                rf"^{re.escape(endpoint)}: 56 bytes from \S+: seq=\d+ (?:ttl=\d+ )?time=", text, re.M)), 5, text)
            self.assertIn(f"--- {endpoint} ping statistics ---\n", text)
        table = re.split(r"(?m)^in ms\s+loss\s+min\s+median\s+p95\s+p99\s+max\s+ipdv$", text)[1]
        for endpoint in endpoints:
            self.assertRegex(table, rf"(?m)^{re.escape(endpoint)}\s+0%(\s+([\d.]+( *\*)?|-)){{6}}$")

    def test_an_endpoint_that_refuses_does_not_affect_the_other(self):
        for transport, kind in KINDS:
            with self.subTest(transport=transport):
                dead = spelled(transport, self.keep(closed_port(kind)).getsockname())
                alive = self.echo(transport)
                found = self.ping(dead, alive, count=5, code=1)
                self.assert_counts(found[0], sent=5, refused=5)
                self.assert_counts(found[1], sent=5, answered=5)
                text = self.text(dead, alive, count=5, code=1)
                self.assertRegex(text, rf"(?m)^{re.escape(dead)}\s+100%$")
                self.assertRegex(text, rf"(?m)^{re.escape(alive)}\s+0%(\s+([\d.]+|-))+$")

    def test_an_endpoint_that_never_answers_does_not_delay_the_other(self):
        # Connecting to the first never ends; the second's probes are sent on their own schedule.
        hole = self.keep(Backlog()).endpoint
        found = self.ping("-W", "3s", hole, self.echo("tcp"), count=5, code=1)
        self.assert_counts(found[0], sent=5, lost=5)
        self.assert_counts(found[1], sent=5, answered=5)

    def test_the_same_endpoint_twice(self):
        endpoint = self.echo("udp")
        for found in self.ping(endpoint, endpoint, count=5):
            self.assert_counts(found, sent=5, answered=5)


class Names(Case):
    def refused(self, *arguments, message):
        done = run("ping", "-q", "-c", "1", *arguments)
        self.assertEqual(done.returncode, 2, str(done))
        self.assertNotIn("statistics", done.stdout)
        self.assertRegex(done.stderr, message)

    def test_an_impossible_name_is_reported(self):
        # A label longer than 63 bytes is refused before any name server is asked.
        name = "x" * 64 + ".invalid"
        for scheme, _ in KINDS:
            self.refused(f"{scheme}://{name}:7001", message=rf"^riposte: .*{name}.*\n$")

    def test_one_impossible_name_of_several_stops_all_before_anything_is_sent(self):
        questions = []
        endpoint = self.udp(lambda server, data, client: questions.append(data))
        self.refused(endpoint, "udp://" + "x" * 64 + ".invalid", message=r"^riposte: .*xxx")
        self.assertEqual(questions, [])

    def test_localhost(self):
        _, address = self.serve("echo")
        found = self.ping(f"localhost:{address[1]}")[0]
        self.assertEqual(found["name"], f"tcp://localhost:{address[1]}")
        self.assertEqual(found["address"], f"127.0.0.1:{address[1]}")
        self.assert_counts(found, sent=3, answered=3)

    def test_a_source_address_of_another_host_is_reported(self):
        for scheme, _ in KINDS:
            self.refused("--source", "192.0.2.1", f"{scheme}://127.0.0.1:9",
                         message=r"^riposte: --source 192\.0\.2\.1: cannot assign requested address")


if __name__ == "__main__":
    unittest.main()
