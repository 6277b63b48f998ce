"""Shared code of the tests of `riposte load`: runs, and checks that every document must pass.

A run begins with one request on a connection (UDP: a socket) of its own, which shows whether and how the
endpoint answers; it is not counted. `after_first` is for peers that treat it differently.
"""

import itertools
import math
import socket
import threading
from signal import SIGQUIT

from client import Running, parse_json, run, run_json
from daemon import RiposteTest
from peers import (TcpPeer, UdpPeer, bound, echo_datagram, echo_stream, read_exactly, spelled,
                   wait_until)

SIZE = 64  # of requests, unless -s says otherwise
OUTCOMES = ("answered", "lost", "corrupted", "wrong_size", "refused", "unreachable", "closed", "too_big",
            "local", "undecided")


#: The message about 300 ms of silence, as a regular expression.
NO_ANSWER = {"tcp": r"connected in \d+\.\d+ ms, no answer after 300ms; is it the service that you meant\?",
             "udp": r"no answer after 300ms; is riposted running there\?"}


def after_first(handler, first=echo_stream):
    """A handler of connections: `first` handles the first one, `handler` the others."""
    numbers = itertools.count()

    def serve(connection):
        (handler if next(numbers) else first)(connection)
    return serve


def after_first_socket(handler, first=echo_datagram):
    """The same for datagrams: the first client address is the first request's."""
    clients = []

    def serve(server, data, client):
        if not clients:
            clients.append(client)
        (first if client == clients[0] else handler)(server, data, client)
    return serve


class Requests:
    """A handler of connections that reads requests of `size` and calls answer(connection, request,
    index) for each, counted from 0 over all connections. A return value of False ends the
    connection. `seen` is the number of requests."""

    def __init__(self, size, answer):
        self.size = size
        self.answer = answer
        self.seen = 0
        self.connections = 0
        self.lock = threading.Lock()

    def __call__(self, connection):
        with self.lock:
            self.connections += 1
        while len(request := read_exactly(connection, self.size)) == self.size:
            with self.lock:
                index = self.seen
                self.seen += 1
            if self.answer(connection, request, index) is False:
                return


def echo_one(connection, request, _index):
    connection.sendall(request)


class LoadCase(RiposteTest):
    maxDiff = None

    # Peers

    def tcp(self, handler, **options):
        peer = TcpPeer(handler, **options)
        self.addCleanup(peer.close)
        return peer.endpoint

    def udp(self, handler, **options):
        peer = UdpPeer(handler, **options)
        self.addCleanup(peer.close)
        return peer.endpoint

    def echo(self, transport="tcp", **options):
        if transport == "tcp":
            return self.tcp(echo_stream, **options)
        return self.udp(echo_datagram, **options)

    def requests(self, answer, size=SIZE, first=echo_stream):
        """Starts a peer that calls answer(connection, request, index) for each request except the
        first of the run, which is echoed; returns the handler, which counts them, and the endpoint."""
        handler = Requests(size, answer)
        return handler, self.tcp(after_first(handler, first))

    def hole(self):
        """A socket that receives datagrams and answers none."""
        return spelled("udp", self.keep(bound(socket.SOCK_DGRAM)).getsockname())

    # Runs

    def start(self, *arguments, **keywords):
        return self.enterContext(Running("load", *arguments, **keywords))

    def load(self, *arguments, code=0, stderr="", **keywords):
        """The document of a run with -j; if `stderr` is None, it is not checked."""
        done = run_json("load", "-j", *arguments, **keywords)
        self.assertEqual(done.returncode, code, str(done))
        if stderr is not None:
            self.assertEqual(done.stderr, stderr, str(done))
        self.assert_consistent(done.json, code)
        return done.json

    def load_for(self, milliseconds, *arguments, **keywords):
        """The document of a run of that length, and the length in seconds. The run is repeated with more
        time until something was answered, since a busy machine may prevent that."""
        for factor in (1, 4, 16):
            done = run("load", "-j", "-d", f"{milliseconds * factor}ms", *arguments, **keywords)
            found = parse_json(done).json
            if found["counts"]["answered"] > 0:
                break
        self.assertEqual((done.returncode, done.stderr), (0, ""), str(done))
        self.assert_consistent(found, 0)
        return found, milliseconds * factor / 1000

    def await_answers(self, process):
        """Waits until a run has measured replies, and consumes its reports of that."""
        def answered():
            process.signal(SIGQUIT)
            return "median" in process.error_line()
        wait_until(answered, "the first answer")

    def text(self, *arguments, code=0, stderr="", **keywords):
        """Standard output of a run without -j."""
        done = run("load", *arguments, **keywords)
        self.assertEqual((done.returncode, done.stderr), (code, stderr), str(done))
        return done.stdout

    def refuses(self, *arguments, code=1, **keywords):
        """The line on standard error of a run without -j that measures nothing."""
        done = run("load", *arguments, **keywords)
        self.assertEqual((done.returncode, done.stdout), (code, ""), str(done))
        self.assertRegex(done.stderr, r"^riposte: [^\n]*\n$")
        return done.stderr

    def refuses_in_json(self, *arguments):
        """The same with -j: returns the document, which has the line."""
        done = run_json("load", "-j", *arguments)
        self.assertEqual((done.returncode, done.stderr), (1, f"riposte: {done.json['error']}\n"), str(done))
        self.assert_consistent(done.json, 1)
        self.assertEqual((done.json["elapsed"], done.json["interrupted"]), (0, False))
        return done.json

    # Invariants of every run

    def assert_counts(self, document, **expected):
        """Checks these counts, and zero for all others; connections and bytes only if given."""
        unnamed = {"connections", "bytes_sent", "bytes_received"} - expected.keys()
        counts = {key: count for key, count in document["counts"].items()
                  if (count or key in expected) and key not in unnamed}
        self.assertEqual(counts, expected)

    def assert_consistent(self, document, code):
        counts = document["counts"]
        self.assertEqual(document["exit"], code)
        self.assertEqual(counts["sent"], sum(counts[outcome] for outcome in OUTCOMES))
        # A request that could not be sent has no bytes.
        bytes_max = counts["sent"] * document["payload_bytes"]
        if counts["refused"] + counts["unreachable"] + counts["lost"] + counts["local"] == 0:
            self.assertEqual(counts["bytes_sent"], bytes_max)
        self.assertLessEqual(counts["bytes_sent"], bytes_max)
        for key in ("latency", "latency_from_send"):
            self.assertEqual(document.get(key, {}).get("count", 0), counts["answered"], key)
        # Requests that were due and had no connection are in the schedule, too.
        is_open = document["mode"]["loop"] == "open"
        self.assertEqual(document.get("lateness", {}).get("count", 0), counts["sent"] if is_open else 0)
        waits = is_open and document["transport"] == "tcp"
        self.assertEqual(document.get("wait", {}).get("count", 0), counts["sent"] if waits else 0)
        for key in ("latency", "latency_from_send", "lateness", "wait", "connect"):
            if key in document:
                self.assert_distribution(document[key])
        if document["elapsed"] > 0:
            self.assertTrue(math.isclose(document["rates"]["answers"],
                                         counts["answered"] / document["elapsed"], rel_tol=1e-6))

    def assert_distribution(self, found):
        buckets = found["histogram"]
        self.assertEqual(sum(count for _, _, count in buckets), found["count"])
        lows = [low for low, _, _ in buckets]
        self.assertEqual(lows, sorted(set(lows)))
        order = [found[key] for key in ("min", "median", "p95", "p99", "p99_9", "max") if key in found]
        self.assertEqual(order, sorted(order))
        self.assertTrue(found["min"] <= found["mean"] <= found["max"])
        # By nearest rank, within the width of a bucket.
        for key, share in (("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99_9", 0.999)):
            # With so few values that it would be the maximum, it is absent.
            if share > 0.5 and found["count"] < 1 / (1 - share) - 1e-9:
                self.assertNotIn(key, found)
                continue
            rank = max(1, math.ceil(share * found["count"] - 1e-9))
            for low, high, count in buckets:
                rank -= count
                if rank <= 0:
                    self.assertTrue(low <= found[key] <= high, (key, low, found[key], high))
                    break
