"""The limits that a peer can run into: connections, idle time, rates, descriptors."""

import contextlib
import re
import select
import signal
import socket
import time

import pytest

from cost import assert_sleeps, cost_of
from daemon import (ANSWER, SANITIZER, WAIT, RiposteTest, await_true, free_port, limit_descriptors,
                    listen_section, needs_ipv6, needs_systemd, receive_all, receive_exactly)

pytestmark = pytest.mark.backends


class LimitsTest(RiposteTest):
    def refused(self, address, source=None):
        """Whether the daemon closes a new connection at once, without sending anything."""
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

    def open_connections(self, daemon):
        count = len(daemon.lines("statistics: ")) + 1
        daemon.signal(signal.SIGUSR1)
        return int(daemon.wait_log(r"statistics: connections (\d+) open", count)[1])

    def counted(self, daemon, what):
        """The number before `what` in the line of statistics; 0 if the line lacks it."""
        count = len(daemon.lines("statistics: ")) + 1
        daemon.signal(signal.SIGUSR1)
        found = re.search(rf"(\d+) {what}(;|$)", daemon.wait_log("statistics: .*", count)[0])
        return int(found[1]) if found else 0

    def assert_still(self, client):
        client.send(b"still")
        self.assertEqual(receive_exactly(client, 5), b"still")

    def assert_logged_now_and_then(self, daemon, pattern, began):
        """At least one line, and at most one per ten seconds since `began`."""
        found = len(daemon.lines(pattern))
        self.assertGreater(found, 0)
        self.assertLessEqual(found, 1 + (time.monotonic() - began) / 10)

    @staticmethod
    def is_over(client):
        """Whether the daemon has closed a connection on which no data is expected."""
        return bool(select.select([client], [], [], 0)[0])


class Limits(LimitsTest):
    def test_at_the_limit_the_newest_connection_is_refused_and_the_others_continue(self):
        _, address = self.serve("echo", config="[limits]\nconnections = 5\n")
        clients = [self.established(address) for _ in range(5)]
        for _ in range(3):
            self.assertTrue(self.refused(address))
        for client in clients:
            client.send(b"still")
            self.assertEqual(receive_exactly(client, 5), b"still")

    def test_when_a_connection_ends_there_is_room_for_another(self):
        daemon, address = self.serve("echo", config="[limits]\nconnections = 3\n")
        for _ in range(10):
            clients = [self.established(address) for _ in range(3)]
            self.assertTrue(self.refused(address))
            for client in clients:
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_all(client), b"")
                client.close()
            # The daemon may finish with the last of them a moment after the client does.
            await_true(lambda: self.open_connections(daemon) == 0, "there is room again")

    def test_one_source_cannot_take_every_connection(self):
        _, address = self.serve("echo", config="[limits]\nconnections_per_source = 4\n")
        for _ in range(4):
            self.established(address, source="127.0.0.1")
        self.assertTrue(self.refused(address, source="127.0.0.1"))
        other = self.established(address, source="127.0.0.2")
        other.send(b"b")
        self.assertEqual(receive_exactly(other, 1), b"b")

    def test_addresses_of_one_prefix_count_as_one_source(self):
        daemon, address = self.serve(
            "echo", config="[limits]\nconnections_per_source = 2\nsource_prefix_ipv4 = 24\n")
        first = self.established(address, source="127.0.0.1")
        self.established(address, source="127.0.0.200")
        self.assertTrue(self.refused(address, source="127.0.0.3"))
        self.established(address, source="127.0.1.1")
        self.assertEqual(self.counted(daemon, "refused over their source's limit"), 1)
        self.assertEqual(self.counted(daemon, "refused"), 0)
        first.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(first), b"")
        await_true(lambda: self.open_connections(daemon) == 2, "there is room again")
        self.established(address, source="127.0.0.3")

    @needs_ipv6
    def test_on_a_dual_stack_socket_ipv4_has_its_own_prefix(self):
        """Such a socket shows both as IPv6 addresses, whose first 64 bits are the same."""
        daemon = self.daemon("--listen", "echo=tcp://*:0", config="[limits]\nconnections_per_source = 1\n")
        port = daemon.port("echo", "tcp")
        for source in ("127.0.0.1", "127.0.0.2"):
            self.established(("127.0.0.1", port), source=source)
        self.established(("::1", port))
        for host in ("127.0.0.1", "::1"):
            self.assertTrue(self.refused((host, port)))

    def test_a_reload_changes_the_source_prefix_and_closes_no_connection(self):
        config = "[limits]\nconnections_per_source = 3\nsource_prefix_ipv4 = {}\n"
        daemon, address = self.serve("echo", config=config.format(32))
        clients = [self.established(address, source=f"127.0.0.{i}") for i in (1, 1, 2, 2, 3)]
        daemon.write_config(config.format(24))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("reloaded")
        self.assertTrue(self.refused(address, source="127.0.0.4"))
        for client in clients:  # a connection that ends is subtracted from the new count
            client.send(b"b")
            self.assertEqual(receive_exactly(client, 1), b"b")
            client.close()
        await_true(lambda: self.open_connections(daemon) == 0, "there is room again")
        for i in (1, 2, 3):
            self.established(address, source=f"127.0.0.{i}")
        self.assertTrue(self.refused(address, source="127.0.0.4"))

    #: How long the daemon waits for the peer's FIN.
    SHORT_LINGER = "[limits]\nlinger_timeout = '500ms'\n"

    def listening(self, limit, *arguments, more="", **options):
        """Starts a daemon with two echo listeners, the first of which is limited; returns it and their addresses."""
        ports = [free_port(), free_port()]
        config = (f"[[listen]]\nservice = 'echo'\naddress = ['127.0.0.1:{ports[0]}']\n"
                  f"connections = {limit}\n" + listen_section("echo", f"tcp://127.0.0.1:{ports[1]}") + more)
        return self.daemon(*arguments, config=config, **options), [("127.0.0.1", port) for port in ports]

    def test_a_listener_has_at_most_its_limit_of_connections(self):
        daemon, (limited, free) = self.listening(2)
        began = time.monotonic()
        for _ in range(3):
            clients = [self.established(limited) for _ in range(2)]
            self.assertTrue(self.refused(limited))
            self.established(free).close()
            for client in clients:
                client.send(b"still")
                self.assertEqual(receive_exactly(client, 5), b"still")
                client.close()
            await_true(lambda: self.open_connections(daemon) == 0, "there is room again")
        self.assertEqual(self.counted(daemon, "refused over their listener's limit"), 3)
        self.assert_logged_now_and_then(
            daemon, "refused a connection from .*its listener has reached", began)

    def test_a_listeners_limit_is_the_same_with_many_workers(self):
        """The limit is exact: what one worker does not use, another may."""
        daemon, (limited, _) = self.listening(5, "--workers", "4")
        for _ in range(3):
            clients = [self.established(limited) for _ in range(5)]
            for _ in range(10):
                self.assertTrue(self.refused(limited))
            for client in clients:
                client.close()
            await_true(lambda: self.open_connections(daemon) == 0, "there is room again")

    def test_a_reload_changes_a_listeners_limit_and_closes_no_connection(self):
        daemon, (limited, _) = self.listening(2)
        clients = [self.established(limited) for _ in range(2)]
        with open(daemon.config_path, encoding="utf-8") as file:
            config = file.read()
        for count, (limit, more) in enumerate([(4, 2), (1, 0)], 1):
            daemon.write_config(config.replace("connections = 2", f"connections = {limit}"))
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("reloaded", count)
            clients += [self.established(limited) for _ in range(more)]
            self.assertTrue(self.refused(limited))
        for client in clients:
            client.send(b"still")
            self.assertEqual(receive_exactly(client, 5), b"still")

    @needs_systemd
    def test_an_inherited_socket_has_the_limit_of_its_services_first_section(self):
        listener = self.keep(socket.create_server(("127.0.0.1", 0)))
        self.listening(2, "--workers", "2", sockets=[(listener, "echo")])
        for _ in range(2):
            self.established(listener.getsockname())
        self.assertTrue(self.refused(listener.getsockname()))

    def test_with_two_workers_the_limit_holds_for_the_whole_process(self):
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

    def test_a_silent_client_is_closed_after_the_idle_timeout(self):
        daemon, address = self.serve("hello", config=self.SHORT_LINGER + "idle_timeout = '300ms'\n")
        before = daemon.fds()
        start = time.monotonic()
        client = self.connect(address)
        try:
            self.assertIn(client.recv(100), (b"", ANSWER))
        except ConnectionResetError:
            pass
        self.assertGreater(time.monotonic() - start, 0.2)
        await_true(lambda: daemon.fds() <= before, "its descriptor is closed")

    def test_a_client_that_never_sends_is_closed_after_the_first_byte_timeout(self):
        config = "[limits]\nfirst_byte_timeout = '{}'\n"
        daemon, address = self.serve("echo", config=config.format("10m"))
        talker = self.established(address)
        daemon.write_config(config.format("300ms"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("reloaded")
        start = time.monotonic()
        self.assertEqual(receive_all(self.connect(address)), b"")
        self.assertGreater(time.monotonic() - start, 0.2)
        talker.send(b"still")  # after its first byte a client may be silent for as long as idle_timeout permits
        self.assertEqual(receive_exactly(talker, 5), b"still")
        self.assertEqual(self.counted(daemon, "first-byte timeouts"), 1)
        self.assertEqual(self.counted(daemon, "idle timeouts"), 0)

    def test_the_first_byte_timeout_does_not_apply_to_services_that_send_first(self):
        daemon = self.daemon("--listen", "chargen=tcp://127.0.0.1:0", "--listen", "echo=tcp://127.0.0.1:0",
                             config="[limits]\nfirst_byte_timeout = '200ms'\n")
        client = self.connect(("127.0.0.1", daemon.port("chargen", "tcp")))
        receive_exactly(client, 1)
        silent = self.connect(("127.0.0.1", daemon.port("echo", "tcp")))
        while not self.is_over(silent):
            receive_exactly(client, 100_000)
        receive_exactly(client, 10_000_000)
        self.assertEqual(self.counted(daemon, "first-byte timeouts"), 1)

    def test_the_shorter_of_first_byte_and_idle_timeout_applies(self):
        daemon, address = self.serve(
            "echo", config="[limits]\nfirst_byte_timeout = '1m'\nidle_timeout = '200ms'\n")
        self.assertEqual(receive_all(self.connect(address)), b"")
        self.assertEqual(self.counted(daemon, "first-byte timeouts"), 0)
        self.assertEqual(self.counted(daemon, "idle timeouts"), 1)

    def test_a_client_that_sends_is_not_idle(self):
        def talk(timeout):
            _, address = self.serve("echo", config=f"[limits]\nidle_timeout = '{1000 * timeout:.0f}ms'\n")
            client = self.connect(address)
            for _ in range(15):
                client.send(b"a")
                self.assertEqual(receive_exactly(client, 1), b"a")
                self.in_time()
                time.sleep(0.15 * timeout)
        self.never_timed_out(talk)

    def test_an_echo_client_that_falls_silent_is_closed_after_the_idle_timeout(self):
        daemon, address = self.serve("echo", config=self.SHORT_LINGER + "idle_timeout = '300ms'\n")
        before = daemon.fds()
        clients = [self.established(address) for _ in range(20)]
        await_true(lambda: daemon.fds() <= before, "their descriptors are closed")
        for client in clients:
            client.close()

    def test_a_client_that_never_closes_is_closed_in_the_end(self):
        """hello has replied, and the client keeps its side open."""
        daemon, address = self.serve("hello", config=self.SHORT_LINGER)
        before = daemon.fds()
        client = self.connect(address)
        client.send(b"x")
        self.assertEqual(receive_all(client), ANSWER)
        await_true(lambda: daemon.fds() <= before, "its descriptor is closed")
        self.assertEqual(self.counted(daemon, "linger timeouts"), 1)

    def test_a_client_that_keeps_writing_after_the_reply_is_closed(self):
        daemon, address = self.serve("hello", config=self.SHORT_LINGER)
        before = daemon.fds()
        client = self.connect(address)
        client.send(b"x")
        self.assertEqual(receive_all(client), ANSWER)

        def cut_off():
            try:
                client.send(b"x" * 1000)
            except ConnectionError:
                return True
            return False
        await_true(cut_off, "the connection is closed")
        await_true(lambda: daemon.fds() <= before, "its descriptor is closed")


class Full(LimitsTest):
    """when_full = "close_idle"."""

    CLOSE_IDLE = "[limits]\nconnections = {}\nwhen_full = 'close_idle'\n"

    def one_after_the_other(self, address, count):
        """Connections that are established far enough apart for the daemon's clock to advance between them."""
        clients = []
        for _ in range(count):
            clients.append(self.established(address))
            time.sleep(0.02)
        return clients

    def test_at_the_limit_the_connection_idle_longest_is_evicted(self):
        daemon, address = self.serve("echo", config=self.CLOSE_IDLE.format(3))
        began = time.monotonic()
        first, second, third = self.one_after_the_other(address, 3)
        self.assert_still(first)
        time.sleep(0.02)
        fourth = self.established(address)
        self.assertEqual(receive_all(second), b"")  # a close, not a reset
        for client in (first, third, fourth):
            self.assert_still(client)
            time.sleep(0.02)
        fifth = self.established(address)
        self.assertEqual(receive_all(first), b"")
        for client in (third, fourth, fifth):
            self.assert_still(client)
        self.assertEqual(self.counted(daemon, "closed for new connections"), 2)
        self.assertEqual(self.counted(daemon, "refused"), 0)
        self.assert_logged_now_and_then(
            daemon, "closed an idle connection from 127.0.0.1:.*'connections'", began)

    def test_a_connection_with_a_pending_reply_is_not_evicted(self):
        daemon, address = self.serve("chargen", config=self.CLOSE_IDLE.format(2))
        clients = [self.connect(address, receive_buffer=4096) for _ in range(2)]
        for client in clients:
            receive_exactly(client, 10)
        self.assertTrue(self.refused(address))
        for client in clients:
            receive_exactly(client, 100_000)
        self.assertEqual(self.counted(daemon, "refused"), 1)
        self.assertEqual(self.counted(daemon, "closed for new connections"), 0)

    def test_a_connection_that_has_its_reply_and_stays_open_is_evicted(self):
        daemon, address = self.serve(
            "hello", config=self.CLOSE_IDLE.format(2) + "linger_timeout = '10m'\n")
        for _ in range(20):
            client = self.connect(address)
            client.send(b"x")
            self.assertEqual(receive_all(client), ANSWER)
        self.assertEqual(self.counted(daemon, "closed for new connections"), 18)
        self.assertEqual(self.counted(daemon, "refused"), 0)

    def test_nothing_is_evicted_for_a_connection_that_another_limit_refuses(self):
        daemon, address = self.serve(
            "echo", config=self.CLOSE_IDLE.format(2) + "connections_per_source = 1\n")
        clients = [self.established(address, source=f"127.0.0.{i}") for i in (1, 2)]
        for _ in range(50):
            self.assertTrue(self.refused(address, source="127.0.0.1"))
        for client in clients:
            self.assert_still(client)
        self.assertEqual(self.counted(daemon, "closed for new connections"), 0)
        self.assertEqual(self.counted(daemon, "refused over their source's limit"), 50)

    def test_a_storm_of_connections_is_all_accepted_and_none_is_left_open(self):
        daemon, address = self.serve("echo", config=self.CLOSE_IDLE.format(20))
        before = daemon.fds()
        for _ in range(1000):
            client = self.established(address)
            self.assertLessEqual(daemon.fds(), before + 41)
        self.assertEqual(self.counted(daemon, "closed for new connections"), 980)
        self.assertEqual(self.open_connections(daemon), 20)
        self.assert_still(client)

    def test_a_reload_changes_what_happens_at_the_limit(self):
        daemon, address = self.serve("echo", config=self.CLOSE_IDLE.format(2))
        clients = self.one_after_the_other(address, 3)
        self.assertEqual(receive_all(clients[0]), b"")
        daemon.write_config("[limits]\nconnections = 2\n")
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("reloaded")
        await_true(lambda: self.open_connections(daemon) == 2, "the first one is closed")
        self.assertTrue(self.refused(address))
        for client in clients[1:]:
            self.assert_still(client)
        daemon.write_config(self.CLOSE_IDLE.format(2))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("reloaded", 2)
        self.assert_still(self.established(address))


class Rates(LimitsTest):
    """rate_min and write_rate_min: peers that send or read very slowly."""

    def is_closed_on(self, client):
        """Sends a byte and reads the reply; returns whether the daemon has closed the connection instead."""
        try:
            client.send(b"x")
            return client.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True

    def test_a_connection_below_rate_min_is_closed_and_one_above_it_is_not(self):
        daemon, address = self.serve(
            "echo", config="[limits]\nrate_min = 1000\nrate_window = '300ms'\n")
        slow_sender, sender = self.connect(address), self.connect(address)

        def slow_sender_is_closed():
            sender.sendall(b"x" * 50_000)
            self.assertEqual(len(receive_exactly(sender, 50_000)), 50_000)
            return self.is_closed_on(slow_sender)
        await_true(slow_sender_is_closed, "the connection that sends too slowly is closed")
        self.assert_still(sender)
        self.assertEqual(self.counted(daemon, "slow senders"), 1)

    def test_the_default_rate_allows_a_person_to_type(self):
        daemon, address = self.serve("echo", config="[limits]\nrate_window = '100ms'\n")
        client = self.connect(address)
        for _ in range(6):
            self.assertFalse(self.is_closed_on(client))
            time.sleep(0.12)  # a window
        self.assertEqual(self.counted(daemon, "slow senders"), 0)

    RATES = "[limits]\nwrite_stall_timeout = '1m'\nrate_window = '{:.0f}ms'\nwrite_rate_min = {}\n"

    def test_a_client_that_reads_below_write_rate_min_is_closed(self):
        """It reads often enough for any write_stall_timeout."""
        daemon, address = self.serve("chargen", config=self.RATES.format(300, 10_000_000))
        client = self.connect(address, receive_buffer=4096)

        def take():
            try:
                receive_exactly(client, 2000)
            except (ConnectionResetError, AssertionError):
                return True
            return False
        await_true(take, "the client that reads too slowly is closed", 3 * WAIT)
        self.assertEqual(self.counted(daemon, "slow readers"), 1)
        self.assertEqual(self.counted(daemon, "write stalls"), 0)

    def test_a_client_that_reads_fast_enough_is_not_closed(self):
        """A client that reads nothing at the same time is closed, by the same rate."""
        def read(window):
            daemon, address = self.serve("chargen", config=self.RATES.format(1000 * window, 1000))
            reader = self.connect(address, receive_buffer=4096)
            self.connect(address, receive_buffer=4096)
            looks = 0
            while looks == 0 or self.counted(daemon, "slow readers") == 0:
                looks += 1
                for _ in range(5):
                    receive_exactly(reader, 20_000)
                    self.in_time()
                    time.sleep(0.01)
            receive_exactly(reader, 20_000)
            self.assertEqual(self.counted(daemon, "slow readers"), 1)
        self.never_timed_out(read, share=0.5)

    def test_without_a_rate_slow_senders_are_not_closed(self):
        daemon, address = self.serve("chargen", config=self.RATES.format(100, 0))
        client = self.connect(address, receive_buffer=4096)
        for _ in range(6):
            receive_exactly(client, 1)
            time.sleep(0.12)  # a window
        receive_exactly(client, 1_000_000)
        self.assertEqual(self.counted(daemon, "slow readers"), 0)

    def test_a_client_without_a_pending_reply_is_not_judged_by_its_rate(self):
        """It sends a request now and then, and each is answered at once."""
        daemon, address = self.serve("echo", config=self.RATES.format(100, 10_000_000))
        client = self.connect(address)
        for _ in range(6):
            self.assertFalse(self.is_closed_on(client))
            time.sleep(0.12)  # a window
        self.assertEqual(self.counted(daemon, "slow readers"), 0)


class Descriptors(LimitsTest):
    """Without free descriptors (EMFILE): no spinning, no flood of log lines, and recovery."""

    LIMIT = 40 if SANITIZER == "none" else 60
    WARNING = r"accepting pauses on .*(?i:too many open files)"

    def exhaust(self, *arguments):
        daemon, address = self.serve("echo", *arguments, in_child=limit_descriptors(self.LIMIT))
        client = self.established(address)
        self.yardstick = cost_of(daemon, lambda: [self.assert_still(client) for _ in range(300)])
        self.began = time.monotonic()
        clients = [client, *(self.connect(address) for _ in range(self.LIMIT + 20))]
        for client in clients:
            client.send(b"a")
        daemon.wait_log(self.WARNING)
        await_true(lambda: daemon.fds() >= self.LIMIT - 3, "its descriptors are used")
        return daemon, address, clients

    def tries(self, daemon):
        return self.counted(daemon, r"accept errors \(EMFILE\)")

    def test_it_does_not_spin_while_there_is_no_descriptor(self):
        daemon, _, _ = self.exhaust()
        assert_sleeps(self, daemon, times=3, yardstick=self.yardstick)
        # It pauses for 500 ms after each.
        tries, elapsed = self.tries(daemon), time.monotonic() - self.began
        self.assertGreater(tries, 0)
        self.assertLessEqual(tries, 1 + elapsed / 0.5)

    def test_it_logs_a_few_lines_and_not_a_flood(self):
        daemon, _, _ = self.exhaust()
        asked = 0

        def tried():
            nonlocal asked
            asked += 1
            return self.tries(daemon) >= 4
        await_true(tried, "it tries again and again")
        self.assert_logged_now_and_then(daemon, self.WARNING, self.began)
        self.assertLessEqual(len(daemon.log().split("\n")), 40 + asked)

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

        def served():  # the clients that waited, in any order
            for client in waiting[:]:
                with contextlib.suppress(TimeoutError):
                    self.assertEqual(client.recv(1), b"a")
                    client.close()
                    waiting.remove(client)
            return not waiting
        await_true(served, "the waiting clients are served")
        client = self.connect(address)
        client.send(b"b")
        self.assertEqual(receive_exactly(client, 1), b"b")
        self.assertIsNone(daemon.poll())

    def test_waiting_clients_are_served_once_descriptors_are_free(self):
        self.recovers()

    def test_two_workers_recover_too(self):
        self.recovers("--workers", "2")

    def test_without_a_descriptor_it_still_stops_cleanly(self):
        daemon, _, clients = self.exhaust()
        for client in clients:
            client.close()
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
