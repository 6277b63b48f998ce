"""What a peer could push against: connections, idleness, descriptors."""

import contextlib
import os
import signal
import socket
import time

from daemon import (ANSWER, SANITIZER, RiposteTest, await_true, limit_descriptors, receive_all,
                    receive_exactly)


class Limits(RiposteTest):
    def refused(self, address, source=None):
        """Whether the daemon ends a new connection at once, without a word."""
        client = self.connect(address, source=source)
        try:
            client.send(b"x")
            return client.recv(10) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True
        finally:
            client.close()

    def established(self, address, source=None):
        client = self.connect(address, source=source)
        client.send(b"a")
        self.assertEqual(receive_exactly(client, 1), b"a")
        return client

    def test_of_too_many_connections_the_newest_is_refused_and_the_others_go_on(self):
        _, address = self.serve("echo", config="[limits]\nconnections = 5\n")
        clients = [self.established(address) for _ in range(5)]
        for _ in range(3):
            self.assertTrue(self.refused(address))
        for client in clients:
            client.send(b"still")
            self.assertEqual(receive_exactly(client, 5), b"still")

    def open_connections(self, daemon):
        count = len(daemon.lines("statistics: ")) + 1
        daemon.signal(signal.SIGUSR1)
        return int(daemon.wait_log(r"statistics: connections (\d+) open", count)[1])

    def test_when_a_connection_ends_there_is_room_for_another(self):
        daemon, address = self.serve("echo", config="[limits]\nconnections = 3\n")
        for _ in range(10):
            clients = [self.established(address) for _ in range(3)]
            self.assertTrue(self.refused(address))
            for client in clients:
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_all(client), b"")
                client.close()
            # The daemon may be through with the last of them a moment later than we are.
            await_true(lambda: self.open_connections(daemon) == 0, "there is room again")

    def test_one_source_may_not_take_every_connection(self):
        _, address = self.serve("echo", config="[limits]\nconnections_per_source = 4\n")
        for _ in range(4):
            self.established(address, source="127.0.0.1")
        self.assertTrue(self.refused(address, source="127.0.0.1"))
        other = self.established(address, source="127.0.0.2")
        other.send(b"b")
        self.assertEqual(receive_exactly(other, 1), b"b")

    def test_with_two_workers_the_limit_is_the_processs(self):
        _, address = self.serve("echo", "--workers", "2", config="[limits]\nconnections = 6\n")
        clients = []
        for _ in range(40):
            client = self.connect(address)
            try:
                client.send(b"a")
                if client.recv(1) == b"a":
                    clients.append(client)
            except ConnectionError:
                pass
        self.assertLessEqual(len(clients), 6)
        self.assertGreaterEqual(len(clients), 1)

    def test_a_silent_client_meets_the_idle_timeout(self):
        daemon, address = self.serve("hello", config="[limits]\nidle_timeout = '300ms'\n")
        before = daemon.fds()
        start = time.monotonic()
        client = self.connect(address)
        try:
            self.assertIn(client.recv(100), (b"", ANSWER))
        except ConnectionResetError:
            pass
        self.assertGreater(time.monotonic() - start, 0.2)
        await_true(lambda: daemon.fds() <= before, "its descriptor is closed")

    def test_who_talks_is_not_idle(self):
        _, address = self.serve("echo", config="[limits]\nidle_timeout = '1s'\n")

        def talk():
            client = self.connect(address)
            for _ in range(15):
                client.send(b"a")
                self.assertEqual(receive_exactly(client, 1), b"a")
                self.in_time()
                time.sleep(0.15)
        self.while_in_time(1, talk)

    def test_an_echo_client_that_falls_silent_meets_the_idle_timeout(self):
        daemon, address = self.serve("echo", config="[limits]\nidle_timeout = '300ms'\n")
        before = daemon.fds()
        clients = [self.established(address) for _ in range(20)]
        await_true(lambda: daemon.fds() <= before, "their descriptors are closed")
        for client in clients:
            client.close()

    def test_a_client_that_never_finishes_is_not_waited_for_for_ever(self):
        """hello is done, the client got its answer and keeps its side open."""
        daemon, address = self.serve("hello")
        before = daemon.fds()
        client = self.connect(address)
        client.send(b"x")
        self.assertEqual(receive_all(client), ANSWER)
        await_true(lambda: daemon.fds() <= before, "its descriptor is closed", timeout=30)

    def test_a_client_that_writes_for_ever_after_the_answer_is_cut_off(self):
        daemon, address = self.serve("hello")
        before = daemon.fds()
        client = self.connect(address)
        client.send(b"x")
        self.assertEqual(receive_all(client), ANSWER)
        deadline = time.monotonic() + 30
        try:
            while time.monotonic() < deadline:
                client.send(b"x" * 1000)
                time.sleep(0.01)
            self.fail("it is still listened to")
        except (ConnectionError, TimeoutError):
            pass
        await_true(lambda: daemon.fds() <= before, "its descriptor is closed")


class Descriptors(RiposteTest):
    """No descriptors left (EMFILE): no spinning, no flood of log lines, and recovery."""

    LIMIT = 40 if SANITIZER == "none" else 60

    def exhaust(self, *arguments):
        daemon, address = self.serve("echo", *arguments, in_child=limit_descriptors(self.LIMIT))
        clients = [self.connect(address) for _ in range(self.LIMIT + 20)]
        for client in clients:
            client.send(b"a")
        await_true(lambda: daemon.fds() >= self.LIMIT - 3, f"{daemon.fds()} of its descriptors are used")
        time.sleep(0.5)
        return daemon, address, clients

    def test_it_does_not_spin_while_there_is_no_descriptor(self):
        daemon, _, _ = self.exhaust()
        ticks = daemon.cpu_ticks()
        time.sleep(2)
        used = (daemon.cpu_ticks() - ticks) / os.sysconf("SC_CLK_TCK")
        self.assertLess(used, 0.5, "seconds of CPU within 2 s")

    def test_it_logs_a_few_lines_and_not_a_flood(self):
        daemon, _, _ = self.exhaust()
        daemon.wait_log(r"(?i)too many open files|EMFILE")
        time.sleep(2)
        lines = daemon.lines(r"(?i)too many open files|EMFILE")
        self.assertLessEqual(len(lines), 10)
        self.assertLessEqual(len(daemon.log().split("\n")), 40)

    def recovers(self, *arguments):
        daemon, address, clients = self.exhaust(*arguments)
        waiting = []
        for client in clients:
            client.settimeout(0.02)
            try:
                self.assertEqual(client.recv(1), b"a")
                client.close()
            except TimeoutError:
                waiting.append(client)

        def served():  # those who waited are now, in whichever order
            for client in waiting[:]:
                with contextlib.suppress(TimeoutError):
                    self.assertEqual(client.recv(1), b"a")
                    client.close()
                    waiting.remove(client)
            return not waiting
        await_true(served, "those who waited are served")
        client = self.connect(address)
        client.send(b"b")
        self.assertEqual(receive_exactly(client, 1), b"b")
        self.assertIsNone(daemon.poll())

    def test_when_descriptors_are_freed_those_who_waited_are_served(self):
        self.recovers()

    def test_two_workers_recover_too(self):
        self.recovers("--workers", "2")

    def test_without_a_descriptor_it_still_stops_cleanly(self):
        daemon, _, clients = self.exhaust()
        for client in clients:
            client.close()
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
