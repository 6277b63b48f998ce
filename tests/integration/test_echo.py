"""echo over TCP, byte for byte, however it is cut up."""

import contextlib
import random
import selectors
import socket
import threading

import pytest

from daemon import (SANITIZER, WAIT, RiposteTest, await_true, needs_ipv6, receive_all, receive_exactly,
                    reset)

pytestmark = pytest.mark.backends


class Echo(RiposteTest):
    def test_one_byte_at_a_time(self):
        _, address = self.serve("echo")
        client = self.connect(address)
        for value in range(256):
            client.send(bytes([value]))
            self.assertEqual(client.recv(16), bytes([value]))

    def test_one_byte_at_a_time_without_waiting(self):
        _, address = self.serve("echo")
        client = self.connect(address)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = self.random.randbytes(5000)
        for value in data:
            client.send(bytes([value]))
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(client), data)

    def test_urgent_bytes_are_echoed_in_their_place(self):
        """RFC 6093: no other meaning of urgent data is safe."""
        _, address = self.serve("echo")
        for size in (1, 3, 100, 5000):
            client = self.connect(address)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            said = b""
            for _ in range(50):
                data = self.random.randbytes(self.random.randint(1, size))
                client.sendall(data)
                client.send(b"!", socket.MSG_OOB)
                said += data + b"!"
            client.shutdown(socket.SHUT_WR)
            self.assertTrue(receive_all(client) == said)
            client.close()

    def test_a_client_that_half_closes_gets_everything(self):
        _, address = self.serve("echo")
        for size in (0, 1, 1000, 70_000, 1 << 20):
            client = self.connect(address)
            data = self.random.randbytes(size)
            writer = threading.Thread(target=self.write_and_finish, args=(client, data))
            writer.start()
            received = receive_all(client)
            writer.join()
            self.assertTrue(received == data, f"{size} bytes sent, {len(received)} came back")
            client.close()

    def test_busy_poll_serves_single_requests_bulk_and_datagrams(self):
        """Some requests arrive while a worker spins, others, after a pause, while it sleeps."""
        daemon = self.daemon("--listen", "echo=127.0.0.1:0", config="busy_poll = '50us'\n")
        client = self.connect(("127.0.0.1", daemon.port("echo", "tcp")))
        asker = self.datagram_socket()
        asker.connect(("127.0.0.1", daemon.port("echo", "udp")))
        for number in range(200):
            question = self.random.randbytes(1 + number * 10)
            client.sendall(question)
            self.assertTrue(receive_exactly(client, len(question)) == question)
            asker.send(question)
            self.assertTrue(asker.recv(4000) == question)
            if number % 10 == 0:
                await_true(daemon.sleeps, "no worker spins any more")
        data = self.random.randbytes(1 << 20)
        writer = threading.Thread(target=self.write_and_finish, args=(client, data))
        writer.start()
        received = receive_all(client)
        writer.join()
        self.assertTrue(received == data, f"{len(received)} of {len(data)} bytes came back")

    @needs_ipv6
    def test_over_ipv6(self):
        _, address = self.serve("echo", host="[::1]")
        client = self.connect(address)
        data = self.random.randbytes(100_000)
        self.write_and_finish(client, data)
        self.assertTrue(receive_all(client) == data)

    def test_every_size_around_the_powers_of_two(self):
        _, address = self.serve("echo")
        client = self.connect(address)
        for power in range(0, 18):
            for size in ((1 << power) - 1, 1 << power, (1 << power) + 1):
                data = self.random.randbytes(size)
                client.sendall(data)
                self.assertTrue(receive_exactly(client, size) == data, size)

    def test_data_just_before_a_half_close_is_not_lost(self):
        """The peer's FIN arrives in the same turn as the last data."""
        _, address = self.serve("echo")
        for _ in range(200):
            client = self.connect(address)
            client.send(b"last words")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), b"last words")
            client.close()

    @staticmethod
    def write_and_finish(client, data):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)


class Crowd(RiposteTest):
    """500 connections at once; a seeded generator decides what each sends and in which chunks."""

    CONNECTIONS = 500
    BYTES = 20_000 if SANITIZER == "none" else 8_000

    def test_500_connections_at_once_with_random_chunk_sizes(self):
        self.crowd("--workers", "1")

    def test_500_connections_over_two_workers(self):
        self.crowd("--workers", "2")

    def crowd(self, *arguments):
        daemon, address = self.serve("echo", *arguments)
        before = daemon.fds()
        selector = selectors.DefaultSelector()
        self.addCleanup(selector.close)
        peers = []
        for index in range(self.CONNECTIONS):
            client = self.connect(address)
            client.setblocking(False)
            peer = {"random": random.Random(index), "client": client, "sent": 0, "received": bytearray()}
            peer["data"] = peer["random"].randbytes(self.BYTES)
            peers.append(peer)
            selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE, peer)
        open_peers = len(peers)
        while open_peers:
            ready = selector.select(WAIT)
            self.assertTrue(ready, f"{open_peers} connections wait, and no data arrives")
            for key, events in ready:
                open_peers -= self.step(selector, key.data, events)
        for peer in peers:
            self.assertTrue(bytes(peer["received"]) == peer["data"])
            peer["client"].close()
        await_true(lambda: daemon.fds() <= before, "every descriptor is closed")

    def step(self, selector, peer, events):
        """Handles one readiness event of one connection; returns 1 if the connection ended."""
        client, chance = peer["client"], peer["random"]
        if events & selectors.EVENT_WRITE:
            chunk = peer["data"][peer["sent"]:peer["sent"] + chance.choice((1, 7, 100, 1460, 9000))]
            try:
                peer["sent"] += client.send(chunk)
            except BlockingIOError:
                pass
            if peer["sent"] == len(peer["data"]):
                client.shutdown(socket.SHUT_WR)
                selector.modify(client, selectors.EVENT_READ, peer)
        if events & selectors.EVENT_READ:
            part = client.recv(chance.choice((1, 50, 2000, 65536)))
            peer["received"] += part
            if not part:
                selector.unregister(client)
                return 1
        return 0


class Reset(RiposteTest):
    """A peer resets, in every state of a connection; afterwards no descriptor is left."""

    def check(self, service, provoke, *arguments, repeat=30):
        daemon, address = self.serve(service, *arguments)
        witness = self.connect(address) if service == "echo" else None
        if witness:
            witness.send(b"a")
            receive_exactly(witness, 1)
        before = daemon.fds()
        for _ in range(repeat):
            client = self.connect(address)
            provoke(daemon, client)
            reset(client)
        await_true(lambda: daemon.fds() <= before, f"{daemon.fds()} descriptors become {before}")
        if witness:
            witness.send(b"still there")
            self.assertEqual(receive_exactly(witness, 11), b"still there")
        self.assertEqual(daemon.poll(), None)
        witness = self.connect(address)
        witness.shutdown(socket.SHUT_WR)
        if service != "chargen":
            receive_all(witness)

    def test_right_after_it_connected(self):
        self.check("echo", lambda *_: None)

    def test_in_the_middle_of_a_conversation(self):
        def talk(_, client):
            client.send(b"hello")
            receive_exactly(client, 5)
        self.check("echo", talk)

    def test_with_unread_data_in_flight(self):
        self.check("echo", lambda _, client: client.send(b"x" * 50_000))

    def test_while_the_daemon_waits_for_it_to_read(self):
        def stuff(daemon, client):
            client.setblocking(False)

            def is_full():
                with contextlib.suppress(BlockingIOError):
                    while True:
                        client.send(b"x" * 65536)
                return daemon.reads_no_more(client)
            await_true(is_full, "the daemon has stopped reading")
        self.check("echo", stuff, repeat=4)

    def test_after_its_fin(self):
        def half_close(_, client):
            client.send(b"x" * 10_000)
            client.shutdown(socket.SHUT_WR)
        self.check("echo", half_close)

    def test_after_the_reply_of_hello(self):
        def ask(_, client):
            client.send(b"x")
            receive_all(client)
        self.check("hello", ask)

    def test_before_the_reply_of_hello_is_read(self):
        self.check("hello", lambda _, client: client.send(b"x"))

    def test_in_the_stream_of_chargen(self):
        self.check("chargen", lambda _, client: receive_exactly(client, 10_000))

    def test_with_two_workers(self):
        self.check("echo", lambda _, client: client.send(b"x" * 5_000), "--workers", "2", repeat=100)
