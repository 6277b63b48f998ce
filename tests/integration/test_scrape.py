"""Metrics, health and status over HTTP, from outside: the replies to a scraper over TCP, a unix socket and
inherited sockets, during a reload and a drain; and the effect of hostile scrapers: the daemon bounds the
connections and memory of each kind, meanwhile answers an honest scraper, and an honest echo client loses
nothing. The times of its replies are reported and not judged.
"""

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import stat
import tempfile
import threading
import time
import unittest

import pytest

import client as riposte
from cost import assert_sleeps, cost_of
from daemon import (SANITIZER, WAIT, RiposteTest, await_true, free_port,
                    limit_descriptors, listen_section, needs_systemd, receive_all, receive_exactly)
from honest import Honest

pytestmark = pytest.mark.backends

CONNECTIONS_MAX = 32
METRICS_TCP = "[metrics]\nlisten = 'tcp://127.0.0.1:0'\n"
ECHO = "[[listen]]\nservice = 'echo'\naddress = 'tcp://127.0.0.1:0'\n"


class Connection(http.client.HTTPConnection):
    """A connection to a TCP address or, given as text, to the path of a unix socket."""

    def __init__(self, address, timeout=WAIT):
        super().__init__("localhost", timeout=timeout)
        self.address = address

    def connect(self):
        if isinstance(self.address, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.address)


def ask(address, path="/metrics", method="GET", accept=None, timeout=WAIT):
    """(status, headers, text)."""
    connection = Connection(address, timeout)
    with contextlib.closing(connection):
        connection.request(method, path, headers={"Accept": accept} if accept else {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def metric(text, name):
    """The value of one series, by its full name."""
    for line in text.split("\n"):
        if line.startswith(name + " "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no {name}")


def listening(family=socket.AF_INET, address=("127.0.0.1", 0)):
    server = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address)
    server.listen(128)
    return server


class ScrapeTest(RiposteTest):
    def serve_metrics(self, *arguments, config=ECHO + METRICS_TCP, **options):
        daemon = self.daemon(*arguments, config=config, **options)
        return daemon, ("127.0.0.1", daemon.port("metrics", "tcp"))

    def talk(self, daemon):
        client = self.connect(("127.0.0.1", daemon.port("echo", "tcp")))
        client.sendall(b"x" * 1000)
        self.assertEqual(receive_exactly(client, 1000), b"x" * 1000)
        return client


class Answers(ScrapeTest):
    def test_metrics_are_text_openmetrics_or_json_by_the_accept_header(self):
        daemon, address = self.serve_metrics()
        self.talk(daemon)
        text_type = "text/plain; version=0.0.4; charset=utf-8"
        for accept, wanted in (
                (None, text_type), ("*/*", text_type), ("text/html", text_type),
                ("application/json;q=0.1, text/plain", text_type),
                ("application/openmetrics-text; version=1.0.0",
                 "application/openmetrics-text; version=1.0.0; charset=utf-8"),
                ("application/json", "application/json")):
            status, headers, text = ask(address, accept=accept)
            self.assertEqual((status, headers["Content-Type"]), (200, wanted))
            self.assertEqual(int(headers["Content-Length"]), len(text.encode()))
            self.assertEqual((headers["Connection"], headers["Vary"], headers["Cache-Control"]),
                             ("close", "Accept", "no-store"))
            if wanted == "application/json":
                document = json.loads(text)
                self.assertEqual((document["schema"], document["state"], document["pid"]),
                                 ("riposte/status/1", "running", daemon.pid))
            else:
                self.assertEqual(text.endswith("# EOF\n"), "openmetrics" in wanted)
                self.assertEqual(
                    metric(text, f'riposte_build_info{{version="0.2.0",backend="{self.backend}"}}'), 1)

    def test_the_next_scrape_shows_what_the_service_did(self):
        daemon, address = self.serve_metrics()
        client = self.talk(daemon)
        accepted = 'riposte_connections_accepted_total{service="echo"}'
        open_now = 'riposte_connections{service="echo"}'
        await_true(lambda: metric(ask(address)[2], accepted) == 1, "the connection is counted")
        self.assertEqual(metric(ask(address)[2], open_now), 1)
        client.close()
        await_true(lambda: metric(ask(address)[2], open_now) == 0, "its end is counted")
        self.assertGreater(metric(ask(address)[2], 'riposte_scrapes_total{code="200"}'), 2)

    def test_methods_and_paths(self):
        _, address = self.serve_metrics()
        status, headers, text = ask(address, "/metrics?name=x", "HEAD")
        self.assertEqual((status, text), (200, ""))
        self.assertGreater(int(headers["Content-Length"]), 1000)
        status, headers, text = ask(address, "/healthz")
        self.assertEqual((status, text), (200, "ok\n"))
        self.assertRegex(headers["Content-Type"], "^text/plain")
        for path in ("/", "/metric", "/metrics/", "/healthz/x"):
            self.assertEqual(ask(address, path)[0], 404)
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, headers, _ = ask(address, "/metrics", method)
            self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))

    def raw(self, address, data):
        """The status line of the reply to these bytes."""
        client = self.connect(address)
        client.sendall(data)
        return receive_all(client).split(b"\r\n")[0].decode()

    def test_invalid_requests_are_refused_with_the_proper_status(self):
        _, address = self.serve_metrics()
        for data, status in (
                (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400), (b"nonsense\r\n", 400),
                (b"GET /metrics HTTP/1.1\r\n\r\n", 400), (b"GET /metrics\r\n", 400),
                (b"GET /metrics HTTP/1.0\r\n a: b\r\n\r\n", 400),
                (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
                (b"GET / HTTP/1.0\r\nA: " + b"x" * 8192, 431),
                (b"\r\nGET /metrics HTTP/1.0\r\n\r\nGET /metrics HTTP/1.0\r\n\r\n", 200)):
            self.assertRegex(self.raw(address, data), rf"^HTTP/1\.1 {status} ")

    def test_a_unix_socket_is_open_to_all_users_and_is_removed_with_the_daemon(self):
        directory = self.enterContext(tempfile.TemporaryDirectory(prefix="riposte-"))
        path = directory + "/metrics.sock"
        config = ECHO + f"[metrics]\nlisten = ['unix:{path}']\n"
        with listening(socket.AF_UNIX, path):  # as a killed daemon leaves it
            pass
        daemon = self.daemon(config=config)
        daemon.wait_log(f"listening: metrics on unix:{path}$")
        self.assertEqual(os.stat(path).st_mode, stat.S_IFSOCK | 0o666)
        self.assertEqual(ask(path)[0], 200)
        second = self.daemon(config=config, ready=False)
        self.assertRegex(second.fails(71), "another process answers there")
        self.assertEqual(ask(path, "/healthz")[2], "ok\n")
        daemon.stop()
        self.assertFalse(os.path.exists(path))

    def test_without_configuration_no_socket_serves_metrics(self):
        daemon = self.daemon(config=ECHO)
        self.assertEqual(daemon.addresses("metrics"), [])
        self.assertEqual(daemon.lines("metrics"), [])


@needs_systemd
class Status(ScrapeTest):
    """riposte status and the daemon together; test_status.py and unit tests cover each alone."""

    def test_the_client_shows_what_the_daemon_did(self):
        path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "m.sock")
        config = ECHO + f"[metrics]\nlisten = ['tcp://127.0.0.1:0', 'unix:{path}']\n"
        daemon, address = self.serve_metrics(config=config)
        daemon.wait_log(f"listening: metrics on unix:{path}$")
        self.talk(daemon)
        await_true(lambda: metric(ask(address)[2], 'riposte_answer_latency_seconds_count'
                                  '{service="echo",transport="tcp"}') == 1, "the reply is timed")
        done = riposte.run_json("status", "-j", f"127.0.0.1:{address[1]}")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        riposte.validate(done.json)
        self.assertEqual((done.json["pid"], done.json["backend"]["name"], done.json["workers"]),
                         (daemon.pid, self.backend, 1))
        echo, = done.json["listeners"]
        self.assertEqual((echo["connections"], echo["accepted"], echo["received_bytes"],
                          echo["sent_bytes"]), (1, 1, 1000, 1000))

        text = self.shown("unix:" + path)
        self.assertTrue(text.startswith("riposted 0.2.0, running for "), text)
        self.assertIn(f", pid {daemon.pid}\n  backend  {self.backend}", text)
        self.assertIn("\n  sandbox  ", text)
        for limit in ("connections", "buffer_memory", "descriptors", "memory"):
            self.assertRegex(text, rf"(?m)^{limit} +\d.*\d%$")
        # One connection is open, one was accepted, and none is waiting.
        self.assertRegex(
            text, rf"(?m)^echo tcp://127\.0\.0\.1:{daemon.port('echo', 'tcp')} +1 +1 +0 +0 +0 +0$")
        self.assertRegex(text, r"(?m)^echo tcp +(\d\S* [mu]?s +){4}1$")
        self.assertNotIn("! ", text)

        daemon.write_config("[[listen]]\nservice = 'ecko'\n")
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("reload failed, the running configuration stays")
        text = " ".join(self.shown(f"tcp://127.0.0.1:{address[1]}").split())
        self.assertIn("! reload failed ", text)
        self.assertIn("ecko", text)

    def test_a_stopped_or_missing_daemon_is_reported(self):
        daemon, address = self.serve_metrics()
        endpoint = f"127.0.0.1:{address[1]}"
        daemon.signal(signal.SIGSTOP)
        await_true(daemon.is_stopped, "every thread stands still")
        try:
            done = riposte.run("status", "-W", "200ms", endpoint)
        finally:
            daemon.signal(signal.SIGCONT)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn(f"{endpoint}: no answer after 200ms", done.stderr)
        self.assertEqual(riposte.run("status", endpoint).returncode, 0)
        daemon.stop()
        done = riposte.run("status", endpoint)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn(endpoint, done.stderr)

    def shown(self, endpoint):
        done = riposte.run("status", endpoint)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80, done)
        return done.stdout


class Inherited(ScrapeTest):
    def test_inherited_metrics_sockets_alone_keep_the_configured_listeners(self):
        server = self.keep(listening())
        daemon = self.daemon(sockets=[(server, "metrics")], config=ECHO)
        self.assertEqual(ask(server.getsockname())[0], 200)
        self.talk(daemon)

    def test_inherited_sockets_serve_metrics_or_a_service_by_their_name(self):
        echo, metrics, again = (self.keep(listening()) for _ in range(3))
        daemon = self.daemon(
            sockets=[(metrics, "metrics"), (echo, "echo"), (again, "riposted-metrics.socket")],
            config=ECHO + METRICS_TCP)
        self.assertEqual([service for service, *_ in daemon.addresses()], ["echo", "metrics", "metrics"])
        self.assertEqual(len(daemon.lines(r"'\[metrics\] listen' is not used")), 1)
        for server in metrics, again:
            self.assertEqual(ask(server.getsockname(), "/healthz")[2], "ok\n")
        client = self.connect(echo.getsockname())
        client.send(b"x")
        self.assertEqual(receive_exactly(client, 1), b"x")

    def test_a_unix_socket_stays_for_the_next_process(self):
        directory = self.enterContext(tempfile.TemporaryDirectory(prefix="riposte-"))
        path = directory + "/metrics.sock"
        server = self.keep(listening(socket.AF_UNIX, path))
        for _ in range(2):
            daemon = self.daemon(sockets=[(server, "metrics")], config=ECHO)
            self.assertEqual(ask(path)[0], 200)
            daemon.stop()
        self.assertTrue(os.path.exists(path))

    def test_a_socket_that_cannot_serve_metrics_is_refused(self):
        datagram = self.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagram.bind(("127.0.0.1", 0))
        daemon = self.daemon(sockets=[(datagram, "metrics")], ready=False)
        self.assertRegex(daemon.fails(78), "inherited socket 3 'metrics': not a stream")


class Life(ScrapeTest):
    def test_metrics_show_a_reload_and_the_sockets_stay(self):
        port = free_port()
        first = listen_section("echo", f"127.0.0.1:{port}")
        daemon, address = self.serve_metrics(config=first + METRICS_TCP)
        daemon.write_config("nonsense")
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("reload failed")
        text = ask(address)[2]
        self.assertEqual(metric(text, "riposte_config_last_reload_successful"), 0)
        self.assertEqual(metric(text, "riposte_config_reloads_total"), 1)
        self.assertIn("riposted.toml:1:", json.loads(ask(address, accept="application/json")[2])
                      ["reload"]["error"])
        self.assertEqual(daemon.lines("changes only with a restart"), [])
        daemon.write_config(first)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("^riposted: reloaded: ")
        self.assertEqual(len(daemon.lines(
            r"warning: reload: '\[metrics\] listen' changes only with a restart$")), 1)
        self.assertEqual(metric(ask(address)[2], "riposte_config_last_reload_successful"), 1)

    def test_metrics_show_a_drain_until_its_end(self):
        daemon, address = self.serve_metrics(
            config="drain_timeout = '1h'\n" + ECHO + METRICS_TCP +
            "[limits]\nwrite_stall_timeout = '1h'\nwrite_rate_min = 0\n")
        client = self.connect(("127.0.0.1", daemon.port("echo", "tcp")), receive_buffer=4096)
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while client.send(b"x" * 65536):
                pass
        await_true(lambda: metric(ask(address)[2], 'riposte_connections{service="echo"}') == 1,
                   "the connection is open")
        daemon.signal(signal.SIGTERM)
        daemon.wait_log("draining: 1 connection")
        status, _, text = ask(address, "/healthz")
        self.assertEqual((status, text), (503, "draining\n"))
        status, _, text = ask(address)
        self.assertEqual((status, metric(text, "riposte_draining")), (200, 1))
        self.assertEqual(json.loads(ask(address, accept="application/json")[2])["state"], "draining")
        daemon.signal(signal.SIGTERM)
        daemon.wait()

    def test_without_a_descriptor_it_waits_and_does_not_spin(self):
        daemon, address = self.serve_metrics(in_child=limit_descriptors(40))
        yardstick = cost_of(daemon, lambda: [self.talk(daemon).close() for _ in range(100)])
        began = time.monotonic()
        clients = []
        echo = ("127.0.0.1", daemon.port("echo", "tcp"))
        await_true(lambda: clients.append(self.connect(echo)) or daemon.fds() >= 40,
                   "every descriptor is taken")
        scraper = self.connect(address)
        scraper.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert_sleeps(self, daemon, times=4, yardstick=yardstick)
        for client in clients:
            client.close()
        self.assertTrue(receive_all(scraper).endswith(b"ok\n"))
        tries = metric(ask(address)[2], 'riposte_scrapes_rejected_total{reason="accept_error"}')
        self.assertGreater(tries, 0)
        # It pauses for 250 ms after each.
        self.assertLessEqual(tries, 1 + (time.monotonic() - began) / 0.25)


class Hostile(ScrapeTest):
    """One kind of hostile scraper per test."""

    def setUp(self):
        super().setUp()
        self.subject, self.address = self.serve_metrics()
        self.echo = ("tcp", "127.0.0.1", self.subject.port("echo", "tcp"))
        self.ending = threading.Event()
        self.threads = []
        self.addCleanup(self.end_threads)

    def end_threads(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def repeat(self, action):
        """Repeats the action in a thread until the test ends, also when the daemon closes its connection."""
        def run():
            while not self.ending.is_set():
                with contextlib.suppress(OSError):
                    action()
        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def open(self, receive_buffer=None):
        client = socket.socket()
        client.settimeout(1)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(self.address)
        return client

    def ask_until_answered(self):
        """Scrapes until it gets a reply, as Prometheus does, and returns the text."""
        def answered():
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, _, text = ask(self.address, timeout=WAIT)
                return status == 200 and text
            return None
        return await_true(answered, "an honest scraper gets a reply", 3 * WAIT)

    def calm(self):
        honest = self.keep(Honest(self.echo))
        honest.await_answers(20)
        return honest.end()[0]["tcp"]["p99_ms"]

    def under(self, name, begin, until=lambda text: True):
        """Checks the daemon while hostile scrapers are active, until they did enough (`text` is the last reply
        to a scraper), and after they have stopped."""
        descriptors = self.subject.fds()
        calm_ms = self.calm()
        size = self.subject.rss_kib()
        honest = self.keep(Honest(self.echo))
        honest.await_answers(1)
        begin()
        scrapes, most, text = 0, 0, ""
        deadline = time.monotonic() + 3 * WAIT
        while scrapes < 3 or not until(text):
            text = self.ask_until_answered()
            scrapes += 1
            most = max(most, self.subject.fds())
            self.assertLess(time.monotonic(), deadline, "hostile scrapers do too little")
        honest.await_answers(10)
        found, faults = honest.end()
        print(f"# {name}: {scrapes} scrapes, {found['tcp']['answered']} echoes, "
              f"p99 {found['tcp']['p99_ms']:.3f} ms, {calm_ms:.3f} ms when it is calm", flush=True)
        self.assertEqual(faults, [])
        # One is the echo's client; an io_uring may still be closing others.
        self.assertLessEqual(most, descriptors + CONNECTIONS_MAX + 4)
        if SANITIZER == "none":
            self.assertLess(self.subject.rss_kib(), size + 8 * 1024, "KiB of memory")
        self.end_threads()
        await_true(lambda: self.subject.fds() <= descriptors, "every descriptor is closed")
        self.assertEqual(ask(self.address)[0], 200)

    def test_a_byte_a_second(self):
        def trickle():
            with self.open() as client:
                for byte in b"GET /metrics HTTP/1.1\r\n":
                    client.send(bytes([byte]))
                    if self.ending.wait(1):
                        return
        self.under("a byte a second", lambda: [self.repeat(trickle) for _ in range(40)],
                   until=lambda text: metric(
                       text, 'riposte_scrapes_rejected_total{reason="crowded"}') >= 40)

    def test_a_scraper_that_never_ends_its_request_is_closed(self):
        """While its place is not needed, its time limit ends it, however it trickles."""
        client = self.connect(self.address)
        with contextlib.suppress(ConnectionError):
            for byte in b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 1000:
                client.send(bytes([byte]))
                if select.select([client], [], [], 0.25)[0]:
                    break
        with contextlib.suppress(ConnectionError):
            receive_all(client)
        self.assertEqual(
            metric(ask(self.address)[2], 'riposte_scrapes_rejected_total{reason="timeout"}'), 1)

    def test_a_scraper_that_never_reads(self):
        asked = []

        def ask_and_sleep():
            with self.open(receive_buffer=4096) as client:
                client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                asked.append(client)
                while not self.ending.wait(0.05):
                    client.sendall(b"more")
        self.under("never reads", lambda: [self.repeat(ask_and_sleep) for _ in range(40)],
                   until=lambda _: len(asked) >= 120)

    def test_a_thousand_at_once(self):
        clients = []

        def crowd():
            for _ in range(1000):
                client = self.keep(socket.socket())
                client.setblocking(False)
                client.connect_ex(self.address)
                clients.append(client)
        self.under("1,000 at once", crowd)
        for client in clients:
            client.close()

    def test_a_head_of_a_mebibyte(self):
        statuses = []

        def shout():
            with self.open() as client:
                client.settimeout(WAIT)
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nA: " + b"x" * (1 << 20))
                statuses.append(client.recv(100).split(b"\r\n")[0])
        refused = b"HTTP/1.1 431 Request Header Fields Too Large"
        self.under("a head of 1 MiB", lambda: [self.repeat(shout) for _ in range(8)],
                   until=lambda _: statuses.count(refused) >= 80)

    def test_garbage(self):
        statuses = []
        seeds = iter(range(1 << 30))

        def babble():
            data = bytes([next(seeds) % 32]) + os.urandom(1000)
            with self.open() as client:
                client.settimeout(WAIT)
                client.sendall(data)
                statuses.append(client.recv(100).split(b"\r\n")[0])
        self.under("garbage", lambda: [self.repeat(babble) for _ in range(8)],
                   until=lambda _: statuses.count(b"HTTP/1.1 400 Bad Request") >= 120)


if __name__ == "__main__":
    unittest.main()
