"""The daemon is sealed once it is up: the kernel confirms it for each thread, nothing that the daemon does
is refused, and where sealing is not available one line says why. The unit tests try forbidden calls from inside."""

import contextlib
import errno
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import pytest

from daemon import (FEATURES, SANITIZER, WAIT, RiposteTest, await_true, become_nobody,
                    free_port, listen_section, needs_ipv6, needs_program, needs_root, needs_systemd,
                    receive_all, receive_exactly, refuse_system_calls, reset)
from manager import Manager
from preparation import ARGUMENT_1, IO_URING_REGISTER, refuse_call_with

pytestmark = pytest.mark.backends

SEALED = {"io_uring": r"^riposted: sandbox: seccomp on, io_uring limited to 6 operations$",
          "epoll": r"^riposted: sandbox: seccomp on$"}
SECCOMP = {"x86_64": 317, "aarch64": 277}.get(platform.machine())
REGISTER_RESTRICTIONS, REGISTER_ENABLE_RINGS = 11, 12


def needs_seccomp(test):
    return unittest.skipUnless("seccomp" in FEATURES, "built without libseccomp")(test)


def refuse_register(operation, error):
    return refuse_call_with(IO_URING_REGISTER, ARGUMENT_1, operation, error)


class SandboxTest(RiposteTest):
    def threads(self, daemon):
        """The fields of proc(5) for each thread: (NoNewPrivs, Seccomp)."""
        found = []
        for task in os.listdir(f"/proc/{daemon.pid}/task"):
            with open(f"/proc/{daemon.pid}/task/{task}/status", encoding="ascii") as file:
                text = file.read()
            found.append(tuple(int(re.search(rf"(?m)^{key}:\s+(\d+)$", text)[1])
                               for key in ("NoNewPrivs", "Seccomp")))
        return found

    def assert_sealed(self, daemon, threads):
        self.assertEqual(len(daemon.lines(SEALED[self.backend])), 1, daemon.log())
        found = self.threads(daemon)
        self.assertGreaterEqual(len(found), threads)
        self.assertEqual(set(found), {(1, 2)})

    def assert_answers(self, daemon):
        client = self.connect(("127.0.0.1", daemon.port("echo", "tcp")))
        data = self.random.randbytes(100_000)
        client.sendall(data[:50_000])
        self.assertTrue(receive_exactly(client, 50_000) == data[:50_000])
        datagram = self.datagram_socket()
        datagram.sendto(b"x", ("127.0.0.1", daemon.port("echo", "udp")))
        self.assertEqual(datagram.recv(10), b"x")
        return client


class Sealed(SandboxTest):
    @needs_seccomp
    def test_every_thread_is_sealed_before_readiness_is_reported(self):
        daemon = self.daemon("--listen", "echo=127.0.0.1:0", "--workers", "4")
        self.assert_sealed(daemon, 5)
        self.assertLess(daemon.log().index("sandbox: "), daemon.log().index("ready: "))
        self.assert_answers(daemon).close()
        self.assert_sealed(daemon, 5)
        daemon.stop()

    @needs_seccomp
    @needs_root
    def test_a_daemon_of_an_ordinary_user_is_sealed_too(self):
        daemon = self.daemon("--listen", "echo=127.0.0.1:0", in_child=become_nobody)
        self.assert_sealed(daemon, 2)
        self.assert_answers(daemon)

    @needs_seccomp
    @needs_ipv6
    def test_a_sealed_daemon_reloads(self):
        """Listeners of every kind; a name from /etc/hosts, and one that only a name service could resolve."""
        daemon = self.daemon(config=listen_section("echo", f"127.0.0.1:{free_port()}"))
        self.assert_sealed(daemon, 2)
        old = self.assert_answers(daemon)
        more = "".join(listen_section(service, address.format(free_port())) for service, address in (
            ("echo", "tcp://[::1]:{}"), ("echo", "udp://[::1]:{}"), ("hello", "tcp://localhost:{}"),
            ("discard", "tcp://*:{}"), ("daytime", "udp://*:{}"), ("echo", "127.0.0.1:{}")))
        daemon.write_config(more)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("^riposted: reloaded: ")
        self.assert_answers(daemon)
        old.send(b"still here")
        self.assertEqual(receive_exactly(old, 10), b"still here")
        daemon.write_config(more + listen_section("echo", "tcp://riposte.invalid:7007"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log(r"reload failed.*: cannot resolve 'riposte.invalid': .*; a running riposted "
                        r"does not query name services: write the address, or restart$")
        self.assert_answers(daemon)

    def test_without_seccomp_it_serves_and_warns(self):
        if SECCOMP is None:
            self.skipTest(f"the number of seccomp(2) on {platform.machine()} is not known here")
        for error in (errno.EPERM, errno.ENOSYS):
            daemon = self.daemon("--listen", "echo=127.0.0.1:0",
                                 in_child=refuse_system_calls((SECCOMP,), error))
            found = daemon.lines("sandbox: ")
            self.assertEqual(len(found), 1, daemon.log())
            reason = ".+" if "seccomp" in FEATURES else "this build has no libseccomp"
            self.assertRegex(found[0], rf"^riposted: warning: sandbox: seccomp is off \({reason}\)$")
            self.assert_answers(daemon).close()
            daemon.stop()


@pytest.mark.backends("io_uring")  # the other backend has none
class Ring(SandboxTest):
    def test_if_the_ring_cannot_be_limited_it_serves_and_warns(self):
        daemon = self.daemon(
            "--listen", "echo=127.0.0.1:0",
            in_child=refuse_register(REGISTER_RESTRICTIONS, errno.EINVAL))
        self.assertEqual(daemon.lines("sandbox: io_uring"), [
            "riposted: warning: sandbox: io_uring takes every operation (io_uring_register: "
            "Invalid argument)"])
        if "seccomp" in FEATURES:
            self.assertEqual(len(daemon.lines(r"^riposted: sandbox: seccomp on$")), 1)
        self.assert_answers(daemon)

    def test_a_ring_that_is_limited_in_name_only_is_detected(self):
        """One kernel gave the call another meaning: it succeeds, and every operation is accepted."""
        daemon = self.daemon("--listen", "echo=127.0.0.1:0",
                             in_child=refuse_register(REGISTER_RESTRICTIONS, 0))
        self.assertEqual(daemon.lines("sandbox: io_uring"), [
            "riposted: warning: sandbox: io_uring takes every operation (the kernel accepted the "
            "registration of a personality despite its restrictions)"])
        self.assert_answers(daemon)

    def test_if_the_ring_cannot_be_enabled_auto_uses_epoll(self):
        daemon = self.daemon(
            "--listen", "echo=127.0.0.1:0", backend="auto",
            in_child=refuse_register(REGISTER_ENABLE_RINGS, errno.EPERM))
        self.assertEqual(len(daemon.lines("warning: io_uring is not available")), 1)
        self.assert_answers(daemon)


@needs_seccomp
@needs_program("strace")
class NothingRefused(RiposteTest):
    """A refused call whose result is not checked would go unnoticed, so the test traces a whole run."""

    def setUp(self):
        super().setUp()
        if SANITIZER != "none":
            self.skipTest("the sanitizer's own thread makes system calls")

    def trace(self, daemon):
        path = daemon.directory + "/trace"
        trace = subprocess.Popen(
            [shutil.which("strace"), "-f", "-qq", "-Z", "-o", path, "-p", str(daemon.pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(trace.stderr.close)
        self.addCleanup(trace.wait)
        self.addCleanup(trace.kill)
        await_true(lambda: trace.poll() is not None or self.is_traced(daemon), "strace has attached")
        if trace.poll() is not None:
            self.skipTest("strace cannot attach: " + trace.stderr.read().strip())
        return trace, path

    @staticmethod
    def is_traced(daemon):
        for task in os.listdir(f"/proc/{daemon.pid}/task"):
            with (contextlib.suppress(FileNotFoundError, ProcessLookupError),  # it may have ended meanwhile
                  open(f"/proc/{daemon.pid}/task/{task}/status", encoding="ascii") as file):
                if "TracerPid:\t0\n" in file.read():
                    return False
        return True

    def refused(self, traced):
        """Waits for the end, of which strace learns first, because it traces the daemon until then."""
        trace, path = traced
        trace.wait(60)
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        self.assertIn("EAGAIN", text)  # the trace is not empty
        return [line for line in text.split("\n") if "EPERM" in line or "EACCES" in line]

    def live(self, address, datagrams):
        """Clients that talk, reset, half-close, and close with unread replies."""
        talk = self.connect(address)
        talk.sendall(b"x" * 100_000)
        receive_exactly(talk, 100_000)
        one_way = self.connect(address)
        one_way.sendall(b"x" * 1000)
        one_way.shutdown(1)
        self.assertEqual(len(receive_all(one_way)), 1000)
        rude = self.connect(address)
        rude.sendall(b"x")
        reset(rude)
        stalled = self.connect(address, receive_buffer=4096)
        stalled.setblocking(False)
        try:
            while stalled.send(b"x" * 65536):
                pass
        except BlockingIOError:
            pass
        client = self.datagram_socket()
        for size in (0, 1, 1400, 60_000):
            client.sendto(b"x" * size, datagrams)
            self.assertEqual(len(client.recv(65536)), size)
        return talk, stalled

    def scrape(self, daemon, path):
        """Requests metrics over TCP and the unix socket, in each representation; some are refused."""
        for family, address in ((socket.AF_INET, ("127.0.0.1", daemon.port("metrics", "tcp"))),
                                (socket.AF_UNIX, path)):
            for accept in ("*/*", "application/openmetrics-text", "application/json"):
                with socket.socket(family) as client:
                    client.settimeout(WAIT)
                    client.connect(address)
                    client.sendall(f"GET /metrics HTTP/1.0\r\nAccept: {accept}\r\n\r\n".encode())
                    self.assertIn(b" 200 OK\r\n", receive_all(client))
            with socket.socket(family) as client:
                client.settimeout(WAIT)
                client.connect(address)
                client.sendall(b"\0")
                self.assertIn(b" 400 Bad Request\r\n", receive_all(client))
        left = self.keep(socket.socket())  # which still has no reply at the end
        left.connect(("127.0.0.1", daemon.port("metrics", "tcp")))

    def test_no_call_is_refused_from_ready_to_the_end(self):
        directory = self.enterContext(tempfile.TemporaryDirectory(prefix="riposte-"))
        path = directory + "/metrics.sock"
        config = ("[limits]\nwrite_stall_timeout = '300ms'\nidle_timeout = '10m'\n"
                  f"[metrics]\nlisten = ['tcp://127.0.0.1:0', 'unix:{path}']\n")
        for service in ("hello", "discard", "daytime", "chargen", "time"):
            config += listen_section(service, f"127.0.0.1:{free_port()}")
        first, second = (listen_section("echo", f"127.0.0.1:{free_port()}") for _ in range(2))
        daemon = self.daemon("--workers", "2", config=first + config)
        traced = self.trace(daemon)
        clients = self.live(("127.0.0.1", daemon.port("echo", "tcp")),
                            ("127.0.0.1", daemon.port("echo", "udp")))
        for service in ("hello", "daytime", "time"):
            client = self.connect(("127.0.0.1", daemon.port(service, "tcp")))
            client.send(b"x")
            self.assertNotEqual(receive_all(client), b"")
        self.scrape(daemon, path)
        for turn, text in enumerate((first + second, second, "nonsense"), 1):
            daemon.write_config(text + config)
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("reload failed" if text == "nonsense" else "^riposted: reloaded: ",
                            1 if text == "nonsense" else turn)
        daemon.signal(signal.SIGUSR1)
        daemon.wait_log("statistics: ")
        clients[0].send(b"y")
        receive_exactly(clients[0], 1)
        daemon.signal(signal.SIGTERM)
        daemon.wait_log("draining: ")
        daemon.signal(signal.SIGTERM)
        self.assertEqual(self.refused(traced), [])
        daemon.wait()
        self.assertFalse(os.path.exists(path))

    @needs_systemd
    def test_no_call_is_refused_across_a_restart(self):
        manager = Manager(self)
        before = manager.start(backend=self.backend)
        traced = self.trace(before)
        clients = [self.connect(manager.address()) for _ in range(5)]
        for client in clients:
            client.send(b"x")
            receive_exactly(client, 1)
        before.signal(signal.SIGHUP)
        before.wait_log("^riposted: reloaded: ")
        before.signal(signal.SIGTERM)
        self.assertEqual(self.refused(traced), [])
        before.wait()
        self.assertEqual(len(manager.stored), 5)
        manager.start(backend=self.backend)
        for client in clients:
            client.send(b"x")
            receive_exactly(client, 1)
