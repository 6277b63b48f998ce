"""riposte status against a stand-in for the daemon: its output, and every way in which the other
side can be wrong. test_scrape.py tests what the daemon itself sends.
"""

import contextlib
import errno
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import tempfile
import termios
import threading
import time
import unittest

import client
from peers import Backlog, TcpPeer, has_ipv6

DOCUMENT = {
    "schema": "riposte/status/1", "version": "0.2.0", "pid": 4711, "time": 1000.5,
    "start_time": 100.5, "state": "running",
    "backend": {"name": "epoll", "reason": "io_uring_setup: Operation not permitted"},
    "workers": 1, "sandbox": "seccomp on",
    "reload": {"count": 0, "ok": True, "time": 100.5, "error": ""},
    "limits": [{"name": "connections", "used": 12, "max": 8192, "unit": ""}],
    "listeners": [{
        "service": "hello", "address": "tcp://127.0.0.1:7001", "inherited": False,
        "connections": 3, "accepted": 17, "received": 0, "answered": 0, "received_bytes": 123,
        "sent_bytes": 456, "refused": 2}],
    "listeners_omitted": 0, "services": [], "refused": [], "accept_errors": [],
    "scrapes": {"answered": 5, "rejected": 0},
}


def answer_of(document):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class StandIn:
    """Calls `act` for each connection; `requests` has the received requests."""

    def __init__(self, act, path=None):
        self.act = act
        self.requests = []
        if path is None:
            self.socket = socket.create_server(("127.0.0.1", 0))
            self.endpoint = "127.0.0.1:%d" % self.socket.getsockname()[1]
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(path)
            self.socket.listen()
            self.endpoint = "unix:" + path
        self.socket.settimeout(0.05)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        while not self.ended.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self.socket.accept()
                connection.settimeout(client.WAIT)
                with connection, contextlib.suppress(OSError):
                    request = b""
                    while not request.endswith(b"\r\n\r\n"):
                        request += connection.recv(4096) or b"\r\n\r\n"
                    self.requests.append(request.decode())
                    self.act(connection)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(client.WAIT)
        self.socket.close()


def sends(data):
    return lambda connection: connection.sendall(data)


class Growing:
    """A daemon that accepts ten connections between two requests, which are a second apart."""

    def __init__(self):
        self.looks = 0

    def __call__(self, connection):
        document = json.loads(json.dumps(DOCUMENT))
        document["time"] += self.looks
        document["listeners"][0]["accepted"] += 10 * self.looks
        self.looks += 1
        connection.sendall(answer_of(document))


class Shown(unittest.TestCase):
    def test_two_requests_give_a_report_with_rates(self):
        with StandIn(Growing()) as server:
            done = client.run("status", server.endpoint)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(done.stderr, "")
        self.assertIn("riposted 0.2.0, running for 15m 01s, pid 4711\n", done.stdout)
        self.assertIn("epoll (io_uring_setup: Operation not permitted), 1 worker", done.stdout)
        self.assertRegex(done.stdout, r"hello tcp://127.0.0.1:7001 +3 +27 +10 ")
        self.assertEqual(len(server.requests), 2)
        self.assertIn("GET /metrics HTTP/1.1\r\n", server.requests[0])
        self.assertIn("\r\nAccept: application/json\r\n", server.requests[0])
        self.assertIn("\r\nConnection: close\r\n", server.requests[0])
        for line in done.stdout.splitlines():
            self.assertLessEqual(len(line), 80)

    def test_q_prints_only_what_needs_attention_from_one_request(self):
        with StandIn(sends(answer_of(DOCUMENT))) as server:
            done = client.run("status", "-q", server.endpoint)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(len(server.requests), 1)
        limits = [{"name": "connections", "used": 8000, "max": 8192, "unit": ""}]
        with StandIn(sends(answer_of({**DOCUMENT, "limits": limits, "state": "draining"}))) as server:
            done = client.run("status", "-q", server.endpoint)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, "! stopping: no new connections are accepted, pending replies are sent\n"
                                      "! connections at 97.7% of its limit\n")

    def test_json_is_the_document_of_one_request(self):
        with StandIn(sends(answer_of(DOCUMENT))) as server:
            done = client.run_json("status", "-j", server.endpoint)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(done.json, DOCUMENT)
        self.assertEqual(len(server.requests), 1)
        client.validate(done.json)

    def test_json_is_one_line_without_terminal_sequences(self):
        document = {**DOCUMENT, "sandbox": "on \x9b2J"}
        body = json.dumps(document, indent=2, ensure_ascii=False).encode()
        with StandIn(sends(answer_of(body))) as server:
            done = client.run("status", "-j", server.endpoint)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(done.stdout.count("\n"), 1)
        self.assertTrue(done.stdout.isascii())
        self.assertEqual(json.loads(done.stdout), document)

    def test_a_unix_socket_works_like_any_other(self):
        with tempfile.TemporaryDirectory() as directory:
            with StandIn(sends(answer_of(DOCUMENT)), directory + "/m.sock") as server:
                done = client.run("status", "-j", server.endpoint)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(json.loads(done.stdout), DOCUMENT)

    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_the_zone_of_an_address_is_not_sent(self):
        heads = []

        def answer(connection):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            heads.append(head.decode())
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        with TcpPeer(answer, host="::1") as peer:
            port = peer.listener.getsockname()[1]
            for endpoint in (f"[::1]:{port}", f"[::1%1]:{port}"):
                done = client.run("status", "-j", endpoint)
                self.assertIn("404", done.stderr)
                self.assertIn(f"tcp://{endpoint}", done.stderr)  # messages show the endpoint as it was written
            self.assertEqual([re.search(r"(?m)^Host: (.*)\r$", head)[1] for head in heads],
                             [f"[::1]:{port}"] * 2)

    def test_a_reply_in_single_bytes_is_read(self):
        def dribble(connection):
            for byte in answer_of(DOCUMENT):
                connection.sendall(bytes([byte]))
        with StandIn(dribble) as server:
            self.assertEqual(client.run("status", "-j", server.endpoint).returncode, 0)


class Faults(unittest.TestCase):
    def fails(self, act, *words, timeout="20s"):
        with StandIn(act) as server:
            done = client.run("status", "-W", timeout, server.endpoint)
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1, done)
        self.assertIn(server.endpoint, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertTrue(all(" " <= char <= "~" or char == "\n" for char in done.stderr), done)

    def test_a_refusal_is_reported_with_its_reason(self):
        self.fails(sends(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), "503 Service Unavailable")

    def test_a_peer_without_http_is_reported(self):
        self.fails(sends(b"SSH-2.0-OpenSSH\x1b[2J\r\n"), r"it does not speak HTTP", r"\x1b[2J")
        self.fails(sends(b"HTTP/1.\n\r\n\r\n"), "it does not speak HTTP")

    def test_a_peer_that_closes_is_reported(self):
        self.fails(lambda connection: None, "closed without an answer")
        self.fails(sends(answer_of(DOCUMENT)[:200]), "closed after")

    def test_a_silent_peer_is_reported(self):
        self.fails(lambda connection: connection.recv(1), "no answer after 300ms", timeout="300ms")

    def test_an_endless_reply_is_reported(self):
        def endless(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(64):
                connection.sendall(b" " * 65536)
        self.fails(endless, "longer than 1 MiB")

    def test_a_document_of_another_kind_is_reported(self):
        self.fails(sends(answer_of(b"<html>\x1b]0;x\x07")), "not a status document of riposted", "not JSON")
        self.fails(sends(answer_of({"schema": "riposte/status/2"})), "not riposte/status/1")
        wrong = {**DOCUMENT, "workers": "one"}
        self.fails(sends(answer_of(wrong)), "workers is not a whole number")

    def test_a_missing_peer_is_reported(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        done = client.run("status", f"127.0.0.1:{port}")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("refused", done.stderr)
        done = client.run("status", "unix:/nonexistent/metrics.sock")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("unix:/nonexistent/metrics.sock: no such file", done.stderr)


class Watched(unittest.TestCase):
    def test_without_a_terminal_reports_follow_each_other(self):
        with StandIn(Growing()) as server:
            with client.Running("status", "-w", "-i", "50ms", "-j", server.endpoint) as watch:
                self.await_requests(server, 4)
                watch.signal(signal.SIGINT)
                done = watch.finish()
        self.assertEqual(done.returncode, 0, done)
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertGreaterEqual(len(documents), 3)
        self.assertEqual(documents[2]["time"] - documents[1]["time"], 1)

    def test_a_daemon_that_restarts_is_followed(self):
        answers = [answer_of(DOCUMENT), b"", answer_of(DOCUMENT)]
        turn = iter(range(1_000_000))
        with StandIn(lambda c: c.sendall(answers[min(next(turn), 2)])) as server:
            with client.Running("status", "-w", "-i", "50ms", server.endpoint) as watch:
                self.await_requests(server, 5)
                watch.signal(signal.SIGTERM)
                done = watch.finish()
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(done.stderr.count("closed without an answer"), 1, done)
        self.assertGreaterEqual(done.stdout.count("riposted 0.2.0"), 3)

    def interrupted(self, endpoint):
        """Interrupts it while it waits for a connection, which could take an hour, and checks how it ends."""
        with client.Running("status", "-w", "-W", "1h", endpoint) as status:
            status.await_handlers()
            status.signal(signal.SIGINT)
            done = status.finish()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", ""), done)

    def test_an_interrupt_ends_the_wait_for_a_connection(self):
        with contextlib.closing(Backlog()) as full:
            self.interrupted(full.endpoint.removeprefix("tcp://"))

    def test_an_interrupt_ends_the_wait_for_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(directory + "/m.sock")
            listener.listen(0)
            for _ in range(16):
                filler = stack.enter_context(socket.socket(socket.AF_UNIX))
                filler.setblocking(False)
                if filler.connect_ex(listener.getsockname()) == errno.EAGAIN:
                    break
            self.interrupted("unix:" + directory + "/m.sock")

    def test_an_interrupt_ends_the_wait_for_a_silent_peer(self):
        released = threading.Event()
        looks = iter(range(1_000_000))

        def once_and_no_more(connection):
            if next(looks) == 0:
                connection.sendall(answer_of(DOCUMENT))
            else:
                released.wait(client.WAIT)
        for arguments in (["-w", "-i", "50ms"], []):
            released.clear()
            looks = iter(range(1_000_000))
            with StandIn(once_and_no_more) as server:
                with client.Running("status", *arguments, "-W", "1h", server.endpoint) as status:
                    self.await_requests(server, 2)
                    status.signal(signal.SIGINT)
                    done = status.finish()
                    released.set()
            self.assertEqual((done.returncode, done.stderr), (0, ""), done)
            self.assertEqual(done.stdout.count("riposted 0.2.0"), 1)

    def test_a_terminal_of_24_rows_is_never_scrolled(self):
        document = {**DOCUMENT, "listeners": DOCUMENT["listeners"] * 40}
        with StandIn(sends(answer_of(document))) as server:
            screens = self.screens_of(server, rows=24, columns=80)
        for lines in screens:
            self.assertEqual(len(lines), 23)
            self.assertIn("more lines", lines[-1])

    def test_a_narrow_terminal_is_never_scrolled(self):
        document = {**DOCUMENT, "listeners": DOCUMENT["listeners"] * 40}
        with StandIn(sends(answer_of(document))) as server:
            screens = self.screens_of(server, rows=10, columns=40)
        for lines in screens:
            self.assertEqual(len(lines), 9)
            self.assertEqual(lines[0], "riposted 0.2.0, running for 15m 00s, pid")

    def test_a_terminal_shows_why_there_is_no_report(self):
        with StandIn(sends(b"HTTP/1.1 503 " + b"x" * 500 + b"\r\n\r\n")) as server:
            screens = self.screens_of(server, rows=24, columns=80, exit_code=1)
        for lines in screens:
            self.assertIn(f"riposte: tcp://{server.endpoint}: the answer is", lines[0])

    def screens_of(self, server, rows, columns, exit_code=0):
        """The screens that the terminal receives: the lines of each, none wider than the terminal."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        output = b""
        with client.Running("status", "-w", "-i", "50ms", server.endpoint, stdout=theirs,
                            env={"TERM": "xterm"}) as watch:
            os.close(theirs)
            deadline = time.monotonic() + client.WAIT
            while output.count(b"\033[H") < 4 and time.monotonic() < deadline:
                if select.select([ours], [], [], 0.1)[0]:
                    output += os.read(ours, 65536)
            watch.signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # EIO: the other end is closed
                while more := os.read(ours, 65536):
                    output += more
            done = watch.finish()
        os.close(ours)
        self.assertEqual(done.returncode, exit_code, done)
        first, *screens = output.decode().split("\033[H")
        self.assertEqual(first, "\033[2J")
        self.assertGreater(len(screens), 2)
        shown = []
        for screen in screens:
            self.assertTrue(screen.endswith("\033[J"), screen)
            lines = screen.removesuffix("\033[J").split("\r\n")
            self.assertEqual(lines.pop(), "")
            # The line is erased before it is written: afterwards, that would erase the last column.
            self.assertTrue(all(line.startswith("\033[K") for line in lines), screen)
            shown.append([re.sub(r"\033\[[0-9;]*[mK]", "", line) for line in lines])
            for line in shown[-1]:
                self.assertNotIn("\033", line)
                self.assertLessEqual(len(line), columns)
        return shown

    def await_requests(self, server, count):
        deadline = time.monotonic() + client.WAIT
        while len(server.requests) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertGreaterEqual(len(server.requests), count)


if __name__ == "__main__":
    unittest.main()
