"""Connections that outlive a restart: the daemon hands them off through the service manager's descriptor store,
whose part the test plays, and the next process adopts them."""

import contextlib
import re
import signal
import socket
import threading

import pytest

from daemon import (ANSWER, FEATURES, WAIT, RiposteTest, await_true,
                    io_uring_refusal, needs_systemd, receive_all, receive_exactly, reset)
from manager import Conversation, Manager

pytestmark = pytest.mark.backends

#: No timeout may interrupt the test, however slow it is.
PATIENT = "drain_timeout = '10m'\n[limits]\nwrite_stall_timeout = '10m'\nlinger_timeout = '10m'\n"


def talk(client, data=b"ping"):
    client.sendall(data)
    received = receive_exactly(client, len(data))
    if received != data:
        raise AssertionError(f"{received[:60]!r} came back")


def has_ended(connection):
    """Whether both FINs or a reset have ended the connection. Looking at it does not change it."""
    tcp_close = 7  # linux/tcp_states.h; struct tcp_info begins with the state
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == tcp_close


@needs_systemd
class Handover(RiposteTest):
    def clients(self, manager, count, service="echo"):
        """That many clients, connected and answered once."""
        clients = [self.connect(manager.address(service)) for _ in range(count)]
        if service == "echo":
            for client in clients:
                talk(client)
        return clients

    def statistics(self, daemon):
        count = len(daemon.lines("statistics: "))
        daemon.signal(signal.SIGUSR1)
        return daemon.wait_log(r"statistics: (.*)$", count + 1)[1]

    def converse(self, manager, restarts, count=20, backends=None):
        manager.start(backend=backends[0] if backends else self.backend, config=PATIENT)
        conversations = [Conversation(self, manager.address(), seed) for seed in range(count)]
        for turn in range(restarts):
            for each in conversations:
                each.await_rounds(2)
            before = manager.stop()
            self.assertRegex(before.log(), rf"(?m)handed over {count} connections$")
            self.assertEqual(len(manager.stored), count)
            after = manager.start(
                backend=backends[(turn + 1) % len(backends)] if backends else self.backend, config=PATIENT)
            after.wait_log(rf"adopted {count} connections$")
            self.assertEqual(len(manager.stored), 0)
        for each in conversations:
            each.await_rounds(2)
        for each in conversations:
            each.finish()
        self.assertRegex(self.statistics(manager.daemons[-1]), rf"; {count} adopted")
        self.assertGreater(sum(each.bytes for each in conversations), 20 * restarts)

    def test_twenty_conversations_continue_across_five_restarts(self):
        self.converse(Manager(self), 5)

    def test_conversations_continue_with_two_workers_too(self):
        self.converse(Manager(self, arguments=["--workers", "2"]), 3)

    def test_one_backend_continues_the_connections_of_the_other(self):
        if "io_uring" not in FEATURES:
            self.skipTest("built without io_uring")
        if io_uring_refusal():
            self.skipTest(io_uring_refusal())
        other = "epoll" if self.backend == "io_uring" else "io_uring"
        self.converse(Manager(self), 4, count=8, backends=[self.backend, other])

    def test_the_daemons_own_listeners_are_bound_again_beside_adopted_connections(self):
        manager = Manager(self, services=())
        first = manager.start("--listen", "echo=tcp://127.0.0.1:0")
        port = first.port("echo", "tcp")
        client = self.connect(("127.0.0.1", port))
        talk(client)
        manager.stop()
        manager.start("--listen", f"echo=tcp://127.0.0.1:{port}")
        talk(client)

    def test_requests_sent_between_two_processes_are_answered_by_the_next(self):
        manager = Manager(self)
        manager.start()
        client, finished = self.clients(manager, 2)
        manager.stop()
        data = self.random.randbytes(30_000)
        client.sendall(data)
        finished.sendall(b"last words")
        finished.shutdown(socket.SHUT_WR)
        self.assert_silent(client, seconds=0.01)  # no process is there that could reply
        manager.start()
        self.assertEqual(receive_exactly(client, len(data)), data)
        self.assertEqual(receive_all(finished), b"last words")

    def test_a_slow_reader_gets_pending_bytes_from_one_process_and_the_rest_from_the_next(self):
        manager = Manager(self)
        first = manager.start(config=PATIENT)
        client = self.connect(manager.address(), timeout=3 * WAIT)
        data = self.random.randbytes(24 << 20)  # far more than all buffers hold
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        self.addCleanup(sender.join)
        self.addCleanup(client.close)
        await_true(lambda: self.buffers_are_full(first, client), "its buffers for the client are full")
        first.signal(signal.SIGTERM)
        first.wait_log("draining: 1 connection")
        got = bytearray()
        client.settimeout(0.05)

        def ended():  # it has stopped reading: once everything pending is sent, it hands off the connection
            with contextlib.suppress(TimeoutError):
                while first.poll() is None:
                    got.extend(client.recv(65536))
            return first.poll() is not None
        await_true(ended, "everything pending is sent", 3 * WAIT)
        self.assertEqual(first.wait(), 0)
        self.assertRegex(first.log(), r"handed over 1 connection\b")
        self.assertLess(len(got), len(data))
        client.settimeout(3 * WAIT)
        manager.start()
        got += receive_exactly(client, len(data) - len(got))
        self.assertTrue(got == data, "everything came back, in order")
        sender.join()
        talk(client)

    def buffers_are_full(self, daemon, client):
        """Whether it has stopped reading from a client that writes and never reads: it has data pending, and sleeps
        although more has arrived."""
        received, sent = self.bytes(daemon)
        return received > sent and daemon.reads_no_more(client)

    def bytes(self, daemon):
        """The bytes received and sent."""
        found = re.search(r"bytes (\d+) received, (\d+) sent", self.statistics(daemon))
        return int(found[1]), int(found[2])

    def test_a_client_that_half_closed_gets_its_reply_and_its_end_from_the_same_process(self):
        manager = Manager(self)
        # Less than it may buffer: the kernel does not accept all of what it has read at once.
        manager.listeners["echo"].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        first = manager.start(config=PATIENT)
        client = self.connect(manager.address(), timeout=3 * WAIT, receive_buffer=65536)
        data = self.random.randbytes(4 << 20)

        sender = threading.Thread(target=client.sendall, args=[data])
        sender.start()
        received = receive_exactly(client, 1 << 20)
        while self.bytes(first)[0] < len(data):  # it reads at most what it may buffer
            received += receive_exactly(client, 65536)
        sender.join()
        client.shutdown(socket.SHUT_WR)  # only now: a FIN that arrives with data is read together with it
        while not first.has_read_all(client):  # it must have read the FIN; usually data is still pending
            received += client.recv(min(4096, len(data) - len(received)))
        first.signal(signal.SIGTERM)
        first.wait_log("draining: ")
        received += receive_all(client)
        self.assertTrue(received == data)
        client.close()
        self.assertEqual(first.wait(), 0)
        self.assertNotIn("handed over", first.log())
        self.assertEqual(manager.stored, [])

    def test_connections_over_the_stores_limit_are_finished_and_not_reset(self):
        manager = Manager(self, store=3)
        manager.start(config=PATIENT)
        clients = self.clients(manager, 5)
        manager.daemons[-1].signal(signal.SIGTERM)
        finished = []

        def two_finished():
            for client in clients:
                if client in finished:
                    continue
                client.settimeout(0.01)
                try:
                    self.assertEqual(client.recv(10), b"")
                except TimeoutError:
                    continue
                finished.append(client)
            return len(finished) == 2
        await_true(two_finished, "two are finished")
        for client in finished:
            client.close()
        self.assertEqual(manager.daemons[-1].wait(), 0)
        self.assertEqual(len(manager.stored), 3)
        manager.start()
        for client in clients:
            if client not in finished:
                client.settimeout(WAIT)
                talk(client)

    def test_more_connections_than_one_message_carries_are_handed_off(self):
        manager = Manager(self, store=1000)
        manager.start()
        clients = self.clients(manager, 300)
        manager.stop()
        counts = [message["fds"] for message in manager.messages if "FDSTORE" in message]
        self.assertEqual(sum(counts), 300)
        self.assertLessEqual(max(counts), 253)
        manager.start().wait_log("adopted 300 connections$")
        for client in clients:
            talk(client)

    def test_hello_connections_are_handed_off_until_their_request_and_discard_ones_always(self):
        manager = Manager(self, services=("hello", "discard", "daytime"))
        first = manager.start()
        silent = self.connect(manager.address("hello"))
        discarded = self.connect(manager.address("discard"))
        discarded.sendall(b"x" * 1000)
        await_true(lambda: "connections 2 open" in self.statistics(first), "both are accepted")
        manager.stop()
        self.assertEqual(sorted(name for name, _ in manager.stored),
                         ["connection-discard", "connection-hello"])
        manager.start()
        silent.send(b"x")
        self.assertEqual(receive_all(silent), ANSWER)
        discarded.sendall(b"x" * 1000)
        discarded.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(discarded), b"")

    def test_the_store_is_empty_before_readiness_and_a_close_reaches_the_peer(self):
        manager = Manager(self)
        manager.start()
        client, = self.clients(manager, 1)
        manager.restart(config="[limits]\nidle_timeout = '300ms'\n")
        keys = manager.keys()
        self.assertLess(keys.index("FDSTOREREMOVE"), keys.index("BARRIER"))
        self.assertLess(keys.index("BARRIER"), keys.index("READY"))
        self.assertEqual(receive_all(client), b"")

    def test_a_stop_asks_the_manager_for_the_time_that_it_may_take(self):
        manager = Manager(self)
        manager.start(config="drain_timeout = '100s'\n")
        manager.stop()
        await_true(lambda: "STOPPING" in manager.keys(), "STOPPING=1")
        stopping, = [message for message in manager.messages if "STOPPING" in message]
        self.assertGreater(int(stopping["EXTEND_TIMEOUT_USEC"]), 100_000_000)

    def test_a_connection_that_ended_while_stored_is_not_adopted(self):
        manager = Manager(self)
        manager.start()
        gone, client = self.clients(manager, 2)
        manager.stop()
        reset(gone)
        await_true(lambda: any(has_ended(stored) for _, stored in manager.stored), "the stored connection is reset")
        manager.start().wait_log(r"adopted 1 connection, 1 had ended$")
        talk(client)

    def test_a_second_sigterm_resets_pending_connections_and_keeps_stored_ones(self):
        manager = Manager(self)
        first = manager.start(config=PATIENT)
        idle, = self.clients(manager, 1)
        reader = self.connect(manager.address(), timeout=3 * WAIT)

        errors = []

        def attempt(action, *arguments):
            try:
                action(*arguments)
            except OSError as error:
                errors.append(error)
        sender = threading.Thread(target=attempt, args=(reader.sendall, bytes(24 << 20)))
        sender.start()
        self.addCleanup(sender.join)
        await_true(lambda: self.buffers_are_full(first, reader), "its buffers for the client are full")
        first.signal(signal.SIGTERM)
        first.wait_log("draining: 2 connections")
        await_true(lambda: "1 handed over" in self.statistics(first), "one is handed off")
        first.signal(signal.SIGTERM)
        self.assertEqual(first.wait(), 0)
        attempt(receive_all, reader)
        sender.join()
        # The socket's error is reported once, to the first of both that reads it.
        self.assertIn(ConnectionResetError, [type(error) for error in errors])
        manager.start()
        talk(idle)


@needs_systemd
class NoHandoff(RiposteTest):
    """Cases in which some or all connections cannot be handed off."""

    clients = Handover.clients
    statistics = Handover.statistics

    def test_without_a_store_connections_are_finished(self):
        for value in ("0", "", "many", "-1"):
            manager = Manager(self)
            first = manager.start(environment={"FDSTORE": value})
            client, = self.clients(manager, 1)
            first.signal(signal.SIGTERM)
            self.assertEqual(receive_all(client), b"")
            client.close()
            self.assertEqual(first.wait(), 0)
            self.assertEqual(manager.stored, [])

    def test_connections_are_finished_if_the_manager_cannot_be_notified(self):
        manager = Manager(self)
        first = manager.start()
        clients = self.clients(manager, 3)
        manager.hang_up()
        first.signal(signal.SIGTERM)
        for client in clients:
            self.assertEqual(receive_all(client), b"")
            client.close()
        self.assertEqual(first.wait(), 0)
        self.assertRegex(first.log(), "3 connections cannot continue in the next process: the service "
                                      "manager did not take them: ")

    def test_adopted_connections_over_a_limit_are_finished_and_the_log_says_why(self):
        manager = Manager(self)
        manager.start()
        clients = self.clients(manager, 5)
        for client in clients:
            client.sendall(b"unanswered")  # by either process
        second = manager.restart(config="[limits]\nconnections_per_source = 2\n")
        second.wait_log(r"finished an adopted connection from 127\.0\.0\.1:\d+: its source has "
                        r"reached 'connections_per_source'")
        going_on = list(clients)

        def three_ended():
            for client in going_on[:]:
                client.settimeout(0.01)
                with contextlib.suppress(TimeoutError):
                    receive_all(client)
                    going_on.remove(client)
            return len(going_on) <= 2
        await_true(three_ended, "three are finished")
        self.assertEqual(len(going_on), 2)
        for client in going_on:
            client.settimeout(WAIT)
            talk(client)

    def test_the_limit_on_all_connections_counts_adopted_ones(self):
        manager = Manager(self)
        manager.start()
        clients = self.clients(manager, 5)
        second = manager.restart(config="[limits]\nconnections = 3\nlinger_timeout = '300ms'\n")
        second.wait_log(r"finished an adopted connection from .*: the limit 'connections' is reached")
        await_true(lambda: "connections 3 open" in self.statistics(second), "three are left")
        del clients

    def test_connections_of_a_removed_service_are_finished(self):
        manager = Manager(self, services=("echo", "discard"))
        manager.start()
        client, = self.clients(manager, 1)
        second = manager.restart(services=["discard"])
        self.assertEqual(receive_all(client), b"")
        second.wait_log(r"finished an adopted connection from .*: its service is no longer there$")

    def test_a_stored_descriptor_that_is_no_connection_is_closed_with_a_warning(self):
        manager = Manager(self)
        manager.start()
        client, = self.clients(manager, 1)
        manager.stop()
        pair = socket.socketpair()
        plain = self.connect(manager.address())
        strangers = [("connection-ecko", plain), ("connection-", pair[0]),
                     ("connection-echo", pair[1]),
                     ("connection-echo", manager.listeners["echo"].dup())]
        manager.stored += [(name, item.dup()) for name, item in strangers]
        second = manager.start()
        second.wait_log("closed 1 inherited descriptor named 'connection-ecko': no such service$")
        second.wait_log("closed 1 inherited descriptor named 'connection-': no such service$")
        second.wait_log("closed 1 inherited descriptor named 'connection-echo': not TCP$")
        second.wait_log(
            "closed 1 inherited descriptor named 'connection-echo': a socket that listens$")
        second.wait_log("adopted 1 connection$")
        self.assertEqual(manager.stored, [])
        talk(client)
        for each in pair:
            each.close()
        strangers[3][1].close()
