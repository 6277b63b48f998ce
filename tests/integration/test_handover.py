"""Connections that outlive a restart: handed over through the service manager's descriptor store, which
the test plays itself, and adopted by the next process."""

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

#: What the test itself does in its time must not be cut short.
PATIENT = "drain_timeout = '10m'\n[limits]\nwrite_stall_timeout = '10m'\nlinger_timeout = '10m'\n"


def talk(client, data=b"ping"):
    client.sendall(data)
    received = receive_exactly(client, len(data))
    if received != data:
        raise AssertionError(f"{received[:60]!r} came back")


def has_ended(connection):
    """Has the kernel done with it, by both FINs or a reset? It is looked at, and stays as it is."""
    tcp_close = 7  # linux/tcp_states.h; struct tcp_info begins with the state
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == tcp_close


@needs_systemd
class Handover(RiposteTest):
    def clients(self, manager, count, service="echo"):
        """That many, connected and answered once."""
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

    def test_twenty_conversations_go_on_across_five_restarts(self):
        self.converse(Manager(self), 5)

    def test_with_two_workers_they_go_on_too(self):
        self.converse(Manager(self, arguments=["--workers", "2"]), 3)

    def test_one_backend_goes_on_with_what_the_other_began(self):
        if "io_uring" not in FEATURES:
            self.skipTest("built without io_uring")
        if io_uring_refusal():
            self.skipTest(io_uring_refusal())
        other = "epoll" if self.backend == "io_uring" else "io_uring"
        self.converse(Manager(self), 4, count=8, backends=[self.backend, other])

    def test_sockets_of_its_own_are_bound_again_under_the_connections(self):
        manager = Manager(self, services=())
        first = manager.start("--listen", "echo=tcp://127.0.0.1:0")
        port = first.port("echo", "tcp")
        client = self.connect(("127.0.0.1", port))
        talk(client)
        manager.stop()
        manager.start("--listen", f"echo=tcp://127.0.0.1:{port}")
        talk(client)

    def test_what_comes_while_nobody_runs_is_answered_by_the_next(self):
        manager = Manager(self)
        manager.start()
        client, finished = self.clients(manager, 2)
        manager.stop()
        data = self.random.randbytes(30_000)
        client.sendall(data)
        finished.sendall(b"last words")
        finished.shutdown(socket.SHUT_WR)
        self.assert_silent(client, seconds=0.01)  # and nobody is there who could say something
        manager.start()
        self.assertEqual(receive_exactly(client, len(data)), data)
        self.assertEqual(receive_all(finished), b"last words")

    def test_a_slow_reader_gets_what_is_owed_and_the_rest_from_the_next(self):
        manager = Manager(self)
        first = manager.start(config=PATIENT)
        client = self.connect(manager.address(), timeout=3 * WAIT)
        data = self.random.randbytes(24 << 20)  # far more than all buffers hold
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        self.addCleanup(sender.join)
        self.addCleanup(client.close)
        await_true(lambda: self.owes_all(first, client), "it owes all that it may")
        first.signal(signal.SIGTERM)
        first.wait_log("draining: 1 connection")
        got = bytearray()
        client.settimeout(0.05)

        def ended():  # it reads no more: when all that is owed has gone, it goes too
            with contextlib.suppress(TimeoutError):
                while first.poll() is None:
                    got.extend(client.recv(65536))
            return first.poll() is not None
        await_true(ended, "what is owed has gone", 3 * WAIT)
        self.assertEqual(first.wait(), 0)
        self.assertRegex(first.log(), r"handed over 1 connection\b")
        self.assertLess(len(got), len(data))
        client.settimeout(3 * WAIT)
        manager.start()
        got += receive_exactly(client, len(data) - len(got))
        self.assertTrue(got == data, "all came back, in order")
        sender.join()
        talk(client)

    def owes_all(self, daemon, client):
        """Whether it reads no more from a client that writes and never reads: it owes, and sleeps over what
        has come besides."""
        received, sent = self.bytes(daemon)
        return received > sent and daemon.reads_no_more(client)

    def bytes(self, daemon):
        """Received and sent."""
        found = re.search(r"bytes (\d+) received, (\d+) sent", self.statistics(daemon))
        return int(found[1]), int(found[2])

    def test_one_that_has_finished_gets_its_answer_and_its_end_from_the_same_process(self):
        manager = Manager(self)
        # Less than it may owe: what it has read, the kernel does not take all at once.
        manager.listeners["echo"].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        first = manager.start(config=PATIENT)
        client = self.connect(manager.address(), timeout=3 * WAIT, receive_buffer=65536)
        data = self.random.randbytes(4 << 20)

        sender = threading.Thread(target=client.sendall, args=[data])
        sender.start()
        received = receive_exactly(client, 1 << 20)
        while self.bytes(first)[0] < len(data):  # it reads no more than it may owe
            received += receive_exactly(client, 65536)
        sender.join()
        client.shutdown(socket.SHUT_WR)  # only now: a FIN that came with data is read with it
        while not first.has_read_all(client):  # that it has read the FIN counts; mostly it still owes
            received += client.recv(min(4096, len(data) - len(received)))
        first.signal(signal.SIGTERM)
        first.wait_log("draining: ")
        received += receive_all(client)
        self.assertTrue(received == data)
        client.close()
        self.assertEqual(first.wait(), 0)
        self.assertNotIn("handed over", first.log())
        self.assertEqual(manager.stored, [])

    def test_over_the_bound_is_finished_not_reset(self):
        manager = Manager(self, store=3)
        manager.start(config=PATIENT)
        clients = self.clients(manager, 5)
        manager.daemons[-1].signal(signal.SIGTERM)
        finished = []

        def look():
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
        await_true(look, "two are finished")
        for client in finished:
            client.close()
        self.assertEqual(manager.daemons[-1].wait(), 0)
        self.assertEqual(len(manager.stored), 3)
        manager.start()
        for client in clients:
            if client not in finished:
                client.settimeout(WAIT)
                talk(client)

    def test_more_than_one_message_carries(self):
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

    def test_hello_goes_on_until_it_was_spoken_to_and_discard_always(self):
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

    def test_the_store_has_let_go_before_readiness_and_a_close_reaches_the_peer(self):
        manager = Manager(self)
        manager.start()
        client, = self.clients(manager, 1)
        manager.restart(config="[limits]\nidle_timeout = '300ms'\n")
        keys = manager.keys()
        self.assertLess(keys.index("FDSTOREREMOVE"), keys.index("BARRIER"))
        self.assertLess(keys.index("BARRIER"), keys.index("READY"))
        self.assertEqual(receive_all(client), b"")

    def test_a_stop_asks_for_the_time_that_it_may_take(self):
        manager = Manager(self)
        manager.start(config="drain_timeout = '100s'\n")
        manager.stop()
        await_true(lambda: "STOPPING" in manager.keys(), "STOPPING=1")
        stopping, = [message for message in manager.messages if "STOPPING" in message]
        self.assertGreater(int(stopping["EXTEND_TIMEOUT_USEC"]), 100_000_000)

    def test_a_peer_that_has_gone_meanwhile_is_nobody(self):
        manager = Manager(self)
        manager.start()
        gone, client = self.clients(manager, 2)
        manager.stop()
        reset(gone)
        await_true(lambda: any(has_ended(stored) for _, stored in manager.stored), "it is reset")
        manager.start().wait_log(r"adopted 1 connection, 1 had ended$")
        talk(client)

    def test_a_second_sigterm_resets_who_is_owed_and_stores_who_has_left(self):
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
        await_true(lambda: self.owes_all(first, reader), "it owes all that it may")
        first.signal(signal.SIGTERM)
        first.wait_log("draining: 2 connections")
        await_true(lambda: "1 handed over" in self.statistics(first), "one has left")
        first.signal(signal.SIGTERM)
        self.assertEqual(first.wait(), 0)
        attempt(receive_all, reader)
        sender.join()
        # Told once, to whichever of both asks first.
        self.assertIn(ConnectionResetError, [type(error) for error in errors])
        manager.start()
        talk(idle)


@needs_systemd
class Without(RiposteTest):
    """Where nothing can be handed over, or not everything."""

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

    def test_if_the_manager_can_not_be_told_connections_are_finished(self):
        manager = Manager(self)
        first = manager.start()
        clients = self.clients(manager, 3)
        manager.hang_up()
        first.signal(signal.SIGTERM)
        for client in clients:
            self.assertEqual(receive_all(client), b"")
            client.close()
        self.assertEqual(first.wait(), 0)
        self.assertRegex(first.log(), "3 connections can not go on in the next process: the service "
                                      "manager was not told: ")

    def test_over_a_limit_they_are_finished_and_the_log_says_why(self):
        manager = Manager(self)
        manager.start()
        clients = self.clients(manager, 5)
        for client in clients:
            client.sendall(b"unanswered")  # by either of them
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

    def test_a_limit_on_all_connections_counts_them(self):
        manager = Manager(self)
        manager.start()
        clients = self.clients(manager, 5)
        second = manager.restart(config="[limits]\nconnections = 3\nlinger_timeout = '300ms'\n")
        second.wait_log(r"finished an adopted connection from .*: the limit 'connections' is reached")
        await_true(lambda: "connections 3 open" in self.statistics(second), "three are left")
        del clients

    def test_a_service_that_is_gone_finishes_them(self):
        manager = Manager(self, services=("echo", "discard"))
        manager.start()
        client, = self.clients(manager, 1)
        second = manager.restart(services=["discard"])
        self.assertEqual(receive_all(client), b"")
        second.wait_log(r"finished an adopted connection from .*: its service is no longer there$")

    def test_what_is_no_connection_is_closed_with_a_warning(self):
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
