"""The environment that the daemon may inherit: closed descriptors, limits, signals, variables."""

import contextlib
import itertools
import os
import resource
import signal
import socket
import subprocess
import threading
import unittest

import pytest

from daemon import (ANSWER, GREETING, RIPOSTED, SANITIZER, WAIT, RiposteTest, await_true, free_port, listen_section,
                    needs_root, needs_systemd, receive_all, receive_exactly)
from names import NameServer

pytestmark = pytest.mark.backends


class Notified(RiposteTest):
    """The daemon's log may be unusable here, so it reports readiness to its service manager."""

    def start(self, *arguments, **options):
        daemon = self.daemon(*arguments, ready=False, notify=True, **options)
        self.await_ready(daemon)
        return daemon

    @staticmethod
    def await_ready(daemon):
        def is_ready():
            if daemon.poll() is not None:
                raise AssertionError(f"riposted ended with {daemon.status}")
            with contextlib.suppress(BlockingIOError):
                return b"READY=1" in daemon.notifications.recv(4096, socket.MSG_DONTWAIT).split(b"\n")
            return False
        await_true(is_ready, "the daemon is ready")


@needs_systemd
class Descriptors(Notified):
    SETS = [numbers for count in (1, 2, 3) for numbers in itertools.combinations((0, 1, 2), count)]

    @staticmethod
    def closing(numbers):
        return lambda: [os.close(number) for number in numbers]

    def assert_reserved(self, daemon, numbers):
        found = daemon.descriptors()
        for number in numbers:
            self.assertEqual(found.get(number), "/dev/null", found)

    def test_a_closed_standard_descriptor_never_becomes_a_socket(self):
        for numbers in self.SETS:
            with self.subTest(closed=numbers):
                port = free_port()
                daemon = self.start("--listen", f"echo=127.0.0.1:{port}", in_child=self.closing(numbers))
                self.assert_reserved(daemon, numbers)
                client = self.connect(("127.0.0.1", port))
                client.send(b"x")
                self.assertEqual(receive_exactly(client, 1), b"x")
                client.close()
                daemon.stop()

    def test_a_closed_standard_descriptor_with_inherited_sockets(self):
        for numbers in self.SETS:
            with self.subTest(closed=numbers):
                listener = self.keep(socket.create_server(("127.0.0.1", 0)))
                daemon = self.start(sockets=[(listener, "echo")], in_child=self.closing(numbers))
                self.assert_reserved(daemon, numbers)
                client = self.connect(listener.getsockname())
                client.send(b"x")
                self.assertEqual(receive_exactly(client, 1), b"x")
                client.close()
                daemon.stop()

    def test_the_log_is_never_sent_to_a_peer(self):
        ports = [free_port(), free_port()]
        sections = [listen_section("echo", f"tcp://127.0.0.1:{port}") for port in ports]
        daemon = self.start("--log-level", "debug", config="".join(sections),
                            in_child=self.closing((2,)))
        daemon.write_config(sections[1])
        daemon.signal(signal.SIGHUP)
        self.await_ready(daemon)
        clients = [self.connect(("127.0.0.1", ports[1])) for _ in range(4)]
        for client in clients:
            client.send(b"secret")
            self.assertEqual(receive_exactly(client, 6), b"secret")
        for client in clients:
            self.assert_silent(client, daemon)


class FullLog(RiposteTest):
    LIMIT = 4096

    def test_a_log_that_may_not_grow_drops_lines_and_counts_them(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.LIMIT, resource.RLIM_INFINITY))
        daemon, address = self.serve("hello", "--log-level", "debug", in_child=limit)

        def talk():
            client = self.connect(address)
            client.send(GREETING)
            self.assertEqual(receive_all(client), ANSWER)
            client.close()

        def is_full():
            talk()
            return os.path.getsize(daemon.log_path) == self.LIMIT
        await_true(is_full, "the log is full")
        for _ in range(10):
            talk()
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        talk()
        daemon.wait_log(r"^riposted: warning: \d+ lines of the log were lost")
        daemon.stop()


@needs_systemd
class EarlySignals(Notified):
    def test_a_log_without_reader_does_not_prevent_the_start(self):
        """Its first line is a warning of too few descriptors."""
        def close_the_readers_end():
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
            read, write = os.pipe()
            os.dup2(write, 2)
            os.close(read)
            os.close(write)
        port = free_port()
        daemon = self.start("--listen", f"hello=127.0.0.1:{port}", in_child=close_the_readers_end)
        client = self.connect(("127.0.0.1", port))
        client.send(GREETING)
        self.assertEqual(receive_all(client), ANSWER)
        client.close()
        daemon.stop()

    @needs_root
    def test_a_reload_during_lookups_happens_after_the_start(self):
        server = NameServer(self)
        port = free_port()
        daemon = self.daemon(config=listen_section("hello", f"tcp://name.test:{port}"),
                             in_child=server.enter, ready=False)
        server.question()
        self.assertIsNone(daemon.poll())
        daemon.signal(signal.SIGHUP)
        daemon.signal(signal.SIGUSR1)
        answering = threading.Event()

        def answer():
            server.server.settimeout(0.05)
            while not answering.is_set():
                server.answer_all()
                with contextlib.suppress(TimeoutError):
                    server.server.settimeout(0.05)
                    server.question()
        thread = threading.Thread(target=answer)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(answering.set)
        daemon.wait_log("^riposted: ready: ")
        daemon.wait_log("^riposted: statistics: ")
        daemon.wait_log("^riposted: reloaded: ")

    @needs_root
    def test_a_start_that_waits_for_lookups_can_be_stopped(self):
        server = NameServer(self)
        daemon = self.daemon("--listen", f"hello=tcp://name.test:{free_port()}", in_child=server.enter,
                             ready=False)
        server.question()
        daemon.signal(signal.SIGTERM)
        daemon.fails(-signal.SIGTERM)


@needs_systemd
class UnresponsiveManager(Notified):
    """A service manager that does not read its notifications."""

    def fill_queue(self, daemon):
        """Fills the queue of the socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            with self.assertRaises(BlockingIOError):
                for _ in range(100_000):
                    filler.sendto(b"FILL=1", daemon.notifications.getsockname())

    def queued_messages(self, daemon):
        """The messages that are in the queue now, without those that filled it."""
        daemon.notifications.setblocking(False)
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(daemon.notifications.recv(4096))
        return [message for message in messages if message != b"FILL=1"]

    def test_reloads_scrapes_and_the_stop_do_not_wait_for_the_manager(self):
        port, metrics = free_port(), free_port()
        config = listen_section("hello", f"tcp://127.0.0.1:{port}")
        daemon = self.start(config=f"[metrics]\nlisten = ['tcp://127.0.0.1:{metrics}']\n{config}",
                            environment={"WATCHDOG_USEC": "30000"})
        self.fill_queue(daemon)
        for count in (1, 2):
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("^riposted: reloaded: ", count=count)
        client = self.connect(("127.0.0.1", metrics))
        client.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.assertIn(b" 200 ", receive_all(client))
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)

    def test_the_manager_gets_the_current_state_once_it_reads(self):
        daemon = self.start(config=listen_section("hello", f"tcp://127.0.0.1:{free_port()}"))
        self.fill_queue(daemon)
        for count in range(1, 6):
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("^riposted: reloaded: ", count=count)
        messages = self.queued_messages(daemon)

        def ready():
            messages.extend(self.queued_messages(daemon))
            return any(message.startswith(b"READY=1") for message in messages)
        await_true(ready, "the manager is notified")
        self.assertEqual([message.partition(b"=")[0] for message in messages], [b"RELOADING", b"READY"])

    def test_connections_that_the_manager_does_not_store_are_finished(self):
        daemon = self.start("--listen", f"echo=127.0.0.1:{(port := free_port())}",
                            environment={"FDSTORE": "100"})
        client = self.connect(("127.0.0.1", port))
        client.send(b"x")
        self.assertEqual(receive_exactly(client, 1), b"x")
        self.fill_queue(daemon)
        daemon.signal(signal.SIGTERM)
        daemon.wait_log("^riposted: draining")
        await_true(lambda: daemon.threads() == 1, "the workers have ended")
        daemon.signal(signal.SIGTERM)  # which ends the wait
        self.assertEqual(receive_all(client), b"")
        client.close()
        self.assertEqual(daemon.wait(), 0)
        daemon.wait_log("cannot continue in the next process: the service manager did not take them: ")


@unittest.skipIf(SANITIZER != "none", "a sanitizer's own memory has no such bound")
class LittleMemory(RiposteTest):
    MANY = "[limits]\nconnections = 1000000\n"
    SPARE = 64 << 20

    def test_a_start_without_memory_is_reported(self):
        for workers in ("1", "2"):
            with self.subTest(workers=workers):
                daemon = self.daemon(
                    "--listen", "echo=127.0.0.1:0", "--workers", workers, ready=False,
                    config=f"{self.MANY}buffer_memory = '16MiB'\n",
                    in_child=lambda: resource.setrlimit(resource.RLIMIT_AS, (220 << 20, 220 << 20)))
                log = daemon.fails(71)
                # After its last successful allocation, any later one may fail.
                self.assertRegex(log, "(?m)^riposted: error: (not enough memory for .*: raise the limit|"
                                      "cannot reserve memory for .*|"
                                      "worker . got no thread: Resource temporarily unavailable)")
                self.assertNotIn("terminate", log)

    def test_a_reload_without_memory_is_refused_and_changes_nothing(self):
        for workers in ("1", "2"):
            with self.subTest(workers=workers):
                port, other = free_port(), free_port()
                listen = listen_section("echo", f"tcp://127.0.0.1:{port}")
                daemon = self.daemon("--workers", workers, config=listen)
                clients = [self.connect(("127.0.0.1", port)) for _ in range(8)]
                limit = daemon.status_kib("VmSize") * 1024 + self.SPARE
                resource.prlimit(daemon.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
                for count in (1, 2):
                    daemon.write_config(self.MANY + listen + listen_section("hello", f"tcp://127.0.0.1:{other}"))
                    daemon.signal(signal.SIGHUP)
                    line = daemon.wait_log("^riposted: error: reload failed, .*$", count=count)[0]
                    self.assertIn("not enough memory for 1000000 connections: raise the limit", line)
                    for client in clients:
                        client.send(b"still")
                        self.assertEqual(receive_exactly(client, 5), b"still")
                    with socket.socket() as refused:
                        self.assertNotEqual(refused.connect_ex(("127.0.0.1", other)), 0)
                resource.prlimit(daemon.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
                daemon.write_config("[limits]\nconnections = 20000\n" + listen)
                daemon.signal(signal.SIGHUP)
                daemon.wait_log("^riposted: reloaded: 1 listener$")
                for client in clients:
                    client.send(b"still")
                    self.assertEqual(receive_exactly(client, 5), b"still")
                    client.close()
                daemon.stop()


class Printed(RiposteTest):
    """Output of options that print and exit."""
    ASKED = (["--version"], ["--help"], ["--check"], ["--print-config"])

    def test_a_full_standard_output_is_reported(self):
        for arguments in self.ASKED:
            with self.subTest(asked=arguments), open("/dev/full", "wb") as full:
                done = subprocess.run([os.path.abspath(RIPOSTED), *arguments], stdin=subprocess.DEVNULL,
                                      stdout=full, stderr=subprocess.PIPE, text=True, timeout=WAIT, check=False)
                self.assertEqual(done.returncode, 71)
                self.assertEqual(done.stderr, "riposted: error: standard output: No space left on device\n")

    def test_a_closed_standard_output_is_reported(self):
        for arguments in self.ASKED:
            with self.subTest(asked=arguments):
                done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", os.path.abspath(RIPOSTED), *arguments],
                                      stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                      timeout=WAIT, check=False)
                self.assertEqual(done.returncode, 71)
                self.assertEqual(done.stderr, "riposted: error: standard output: Bad file descriptor\n")

    def test_a_reader_that_closes_the_pipe_is_no_error(self):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([os.path.abspath(RIPOSTED), "--help"], stdin=subprocess.DEVNULL, stdout=write,
                              stderr=subprocess.PIPE, text=True, timeout=WAIT, check=False)
        os.close(write)
        self.assertEqual((done.returncode, done.stderr), (-signal.SIGPIPE, ""))
