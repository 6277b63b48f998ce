"""SIGHUP applies all settings that can change, loses no connection, and a bad file changes nothing."""

import os
import signal
import socket
import threading
import time

import pytest

from daemon import (ANSWER, RiposteTest, await_true, free_port, receive_all,
                    receive_exactly)
from daemon import listen_section as listen

pytestmark = pytest.mark.backends


class Reload(RiposteTest):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.reloads = 0

    def start(self, config, *arguments):
        self.subject = self.daemon(*arguments, config=config)
        return self.subject

    def reload(self, config, failed=False):
        self.subject.write_config(config)
        self.subject.signal(signal.SIGHUP)
        if failed:
            return self.subject.wait_log("^riposted: error: reload failed, the running configuration stays: (.*)$")
        self.reloads += 1
        return self.subject.wait_log("^riposted: reloaded: ", count=self.reloads)

    def ask(self, port):
        client = self.connect(("127.0.0.1", port))
        client.send(b"x")
        answer = receive_all(client)
        client.close()
        return answer

    def test_a_changed_message_applies_to_new_connections(self):
        address = f"tcp://127.0.0.1:{self.port}"
        self.start(listen("hello", address, message="before"))
        waiting = self.connect(("127.0.0.1", self.port))
        self.assertEqual(self.ask(self.port), b"before")
        for message in ("after", "later"):
            self.reload(listen("hello", address, message=message))
            self.assertEqual(self.ask(self.port), message.encode())
        waiting.send(b"x")
        self.assertIn(receive_all(waiting), (b"before", b"later"))

    def test_an_empty_file_closes_no_port(self):
        address = f"tcp://127.0.0.1:{self.port}"
        self.start(listen("hello", address, message="before"))
        for text in ("", "# nothing\n", "[limits]\nconnections = 5\n"):
            with self.subTest(text=text):
                self.subject.write_config(text)
                failures = len(self.subject.lines("reload failed"))
                self.subject.signal(signal.SIGHUP)
                line = self.subject.wait_log("^riposted: error: reload failed, .*$", count=failures + 1)[0]
                self.assertIn("names no listener any more", line)
                self.assertIn("write a [[listen]] section and reload, or restart", line)
                self.assertEqual(self.ask(self.port), b"before")
        self.reload(listen("hello", address, message="after"))
        self.assertEqual(self.ask(self.port), b"after")

    def test_an_empty_file_keeps_the_lists_of_inherited_sockets(self):
        listener = self.keep(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        self.subject = self.daemon(config=listen("hello", "tcp://127.0.0.1:1", message="kept"),
                                   sockets=[(listener, "hello")])
        self.reload("", failed=True)
        self.assertEqual(self.ask(port), b"kept")

    def test_a_file_that_is_being_written_closes_no_port(self):
        ports = [free_port(), free_port()]
        sections = [listen("hello", f"tcp://127.0.0.1:{port}") for port in ports]
        self.start("".join(sections), "--log-level", "debug")
        self.subject.write_config(sections[0])  # the rest follows later
        ahead = time.time() + 1.9               # a file server's clock may be ahead; this gives a slow test enough time
        os.utime(self.subject.config_path, (ahead, ahead))
        self.subject.signal(signal.SIGHUP)
        self.subject.wait_log("^riposted: reload: .* was just written; it is read again$")
        self.subject.write_config("".join(sections))
        self.subject.wait_log("^riposted: reloaded: 2 listeners$")
        for port in ports:
            self.assertEqual(self.ask(port), ANSWER)
        self.assertEqual(self.subject.lines("no longer listening"), [])

    def test_a_file_that_was_written_earlier_is_applied_at_once(self):
        ports = [free_port(), free_port()]
        sections = [listen("hello", f"tcp://127.0.0.1:{port}") for port in ports]
        self.start("".join(sections))
        self.reload(sections[0])
        self.await_refused(ports[1])
        self.assertEqual(self.ask(ports[0]), ANSWER)

    def test_a_path_that_is_no_regular_file_is_refused_unread(self):
        self.start(listen("hello", f"tcp://127.0.0.1:{self.port}"))
        os.unlink(self.subject.config_path)
        os.mkfifo(self.subject.config_path)
        self.subject.signal(signal.SIGHUP)
        line = self.subject.wait_log("^riposted: error: reload failed, .*$")[0]
        self.assertIn("not a regular file", line)
        self.assertEqual(self.ask(self.port), ANSWER)

    def test_listeners_are_added_and_removed_while_an_established_connection_continues(self):
        echo, other = free_port(), free_port()
        first = listen("echo", f"tcp://127.0.0.1:{echo}")
        second = listen("hello", f"tcp://127.0.0.1:{other}")
        for workers in ("1", "2"):
            self.reloads = 0
            self.start(first, "--workers", workers)
            client = self.connect(("127.0.0.1", echo))
            self.talk(client)
            self.reload(first + second)
            self.talk(client)
            self.assertEqual(self.ask(other), ANSWER)
            self.reload(first)
            self.talk(client)
            self.await_refused(other)
            self.reload(second)  # even when its own listener is removed
            self.talk(client)
            self.await_refused(echo)
            self.assertEqual(self.ask(other), ANSWER)
            self.reload(first + second)
            self.talk(client)
            newcomer = self.connect(("127.0.0.1", echo))
            self.talk(newcomer)
            newcomer.close()
            client.close()
            self.subject.stop()

    def test_datagram_listeners_are_added_and_removed(self):
        one, two = free_port(), free_port()
        first, second = (listen("echo", f"udp://127.0.0.1:{port}") for port in (one, two))
        self.start(first)
        client = self.datagram_socket()
        for config, there in ((first + second, (one, two)), (second, (two,)), (first, (one,)),
                              (first + second, (one, two))):
            self.reload(config)
            for port in there:
                client.sendto(b"x", ("127.0.0.1", port))
                self.assertEqual(client.recvfrom(10), (b"x", ("127.0.0.1", port)))

    def test_a_listener_that_stays_loses_no_incoming_connection(self):
        """Clients keep connecting while other listeners are added and removed."""
        stays, goes = free_port(), free_port()
        first = listen("hello", f"tcp://127.0.0.1:{stays}")
        second = listen("hello", f"tcp://127.0.0.1:{goes}")
        self.start(first)
        problems, answered, done = [], [0], threading.Event()

        def ask_on():
            while not answered[0] or not done.is_set():
                try:
                    with socket.create_connection(("127.0.0.1", stays), timeout=20) as client:
                        client.send(b"x")
                        if receive_all(client) == ANSWER:
                            answered[0] += 1
                        else:
                            problems.append("a short answer")
                except OSError as problem:
                    problems.append(str(problem))
                    return
        asker = threading.Thread(target=ask_on)
        asker.start()
        try:
            for index in range(10):
                self.reload(first + (second if index % 2 == 0 else ""))
        finally:
            done.set()
            asker.join()
        self.assertEqual(problems, [])
        self.assertGreater(answered[0], 0)

    def test_the_service_of_an_address_can_change(self):
        address = f"tcp://127.0.0.1:{self.port}"
        self.start(listen("hello", address))
        self.assertEqual(self.ask(self.port), ANSWER)
        self.reload(listen("echo", address))
        client = self.connect(("127.0.0.1", self.port))
        self.talk(client)

    def test_the_log_level_changes(self):
        config = listen("hello", f"tcp://127.0.0.1:{self.port}")
        self.start("log_level = 'info'\n" + config)
        self.ask(self.port)
        self.assertEqual(self.subject.lines("connection from"), [])
        self.reload("log_level = 'debug'\n" + config)
        self.ask(self.port)
        self.subject.wait_log(r"^riposted: connection from 127\.0\.0\.1:\d+ \(hello on tcp://")

    def test_limits_change(self):
        config = listen("echo", f"tcp://127.0.0.1:{self.port}")
        self.start("[limits]\nconnections = 1\n" + config)
        first = self.connect(("127.0.0.1", self.port))
        self.talk(first)
        self.assertTrue(self.is_turned_away())
        self.reload("[limits]\nconnections = 3\n" + config)
        second, third = self.connect(("127.0.0.1", self.port)), self.connect(("127.0.0.1", self.port))
        for client in (first, second, third):
            self.talk(client)
        self.assertTrue(self.is_turned_away())
        self.reload("[limits]\nconnections = 1\n" + config)  # no connection is closed
        for client in (first, second, third):
            self.talk(client)
        self.assertTrue(self.is_turned_away())

    def test_busy_poll_changes(self):
        """Judged by the CPU time of single requests: spinning uses 10 ms of it, or what other processes
        leave. A round that others disturbed is repeated."""
        config = listen("echo", f"tcp://127.0.0.1:{self.port}")
        self.start(config)
        client = self.connect(("127.0.0.1", self.port))

        def cost():
            before = self.subject.cpu_seconds()
            for _ in range(20):
                self.talk(client)
                time.sleep(0.02)
            return self.subject.cpu_seconds() - before

        asleep = min(cost() for _ in range(3))
        self.reload("busy_poll = '10ms'\n" + config)
        await_true(lambda: cost() > 3 * asleep + 0.01, "a worker spins before it sleeps", 60)
        self.reload(config)
        await_true(lambda: cost() < 2 * asleep + 0.005, "workers sleep at once again", 60)

    def test_a_shorter_idle_timeout_applies_to_existing_connections(self):
        config = listen("echo", f"tcp://127.0.0.1:{self.port}")
        self.start("[limits]\nidle_timeout = '10m'\n" + config)
        client = self.connect(("127.0.0.1", self.port))
        self.talk(client)
        self.reload("[limits]\nidle_timeout = '300ms'\n" + config)
        began = time.monotonic()
        self.talk(client)
        try:
            self.assertEqual(client.recv(10), b"")
        except ConnectionResetError:
            pass
        self.assertGreater(time.monotonic() - began, 0.2)

    def test_an_invalid_file_changes_nothing_and_is_logged_with_line_and_column(self):
        config = listen("hello", f"tcp://127.0.0.1:{self.port}", message="good")
        self.start(config)
        found = self.reload(config + "\n[limits]\nconections = 3\n", failed=True)
        self.assertRegex(found[1], r"riposted\.toml:\d+:1: .*conections.*connections")
        self.assertEqual(self.ask(self.port), b"good")
        self.reload(config.replace("good", "better"))
        self.assertEqual(self.ask(self.port), b"better")

    def test_a_missing_file_changes_nothing(self):
        self.start(listen("hello", f"tcp://127.0.0.1:{self.port}"))
        os.unlink(self.subject.config_path)
        self.subject.signal(signal.SIGHUP)
        self.subject.wait_log("reload failed, the running configuration stays: ")
        self.assertEqual(self.ask(self.port), ANSWER)

    def test_an_address_that_cannot_be_bound_changes_nothing(self):
        config = listen("hello", f"tcp://127.0.0.1:{self.port}")
        self.start(config)
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]
            found = self.reload(listen("echo", f"tcp://127.0.0.1:{taken}"), failed=True)
            self.assertRegex(found[1], f"{taken}.*in use")
        self.assertEqual(self.ask(self.port), ANSWER)

    def test_many_reloads_leave_no_descriptor_behind(self):
        first = listen("hello", f"tcp://127.0.0.1:{self.port}")
        second = listen("hello", f"udp://127.0.0.1:{self.port}")
        self.start(first)
        before = self.subject.fds()
        for _ in range(15):
            self.reload(first + second)
            self.reload(first)
        await_true(lambda: self.subject.fds() <= before, f"{self.subject.fds()} become {before}")

    def test_signals_faster_than_reloads_do_no_harm(self):
        config = listen("hello", f"tcp://127.0.0.1:{self.port}")
        self.start(config)
        for _ in range(50):
            self.subject.signal(signal.SIGHUP)
        self.subject.wait_log("reloaded: ")
        self.assertEqual(self.ask(self.port), ANSWER)

    def talk(self, client):
        client.send(b"still there?")
        self.assertEqual(receive_exactly(client, 12), b"still there?")

    def is_turned_away(self):
        client = self.connect(("127.0.0.1", self.port))
        try:
            client.send(b"x")
            return client.recv(1) == b""
        except ConnectionError:
            return True

    def await_refused(self, port):
        def refused():
            with socket.socket() as client:
                client.settimeout(5)
                return client.connect_ex(("127.0.0.1", port)) != 0
        await_true(refused, f"nothing listens on port {port}")
