"""Datagrams: every size, both families, several local addresses, bursts."""

import contextlib
import errno
import socket

from daemon import RiposteTest, await_true, needs_ipv6, receive_all

SIZES = (0, 1, 2, 3, 100, 511, 512, 513, 1023, 1024, 1472, 1473, 2048, 4096, 9000, 32767, 32768,
         65000, 65506, 65507)


class Sizes(RiposteTest):
    def check(self, service, host, sizes=SIZES):
        daemon, address = self.serve(service, transport="udp", host=host)
        client = self.datagram_socket((address[0], 0))
        for size in sizes:
            data = self.random.randbytes(size)
            client.sendto(data, address)
            answer, server = client.recvfrom(70_000)
            self.assertTrue(answer == data, f"{size} bytes sent, {len(answer)} came back")
            self.assertEqual(server[:2], address)
        return daemon, client, address

    def test_0_to_65507_bytes_over_ipv4(self):
        self.check("echo", "127.0.0.1")

    @needs_ipv6
    def test_0_to_65507_bytes_over_ipv6(self):
        self.check("echo", "[::1]")

    def test_hello_gives_every_size_back_too(self):
        self.check("hello", "127.0.0.1")

    def test_the_largest_datagram_of_all(self):
        # 65,507 is IPv4's limit; IPv6 allows 65,527.
        _, client, address = self.check("echo", "127.0.0.1", (65507,))
        with self.assertRaises(OSError) as refused:
            client.sendto(b"x" * 65508, address)
        self.assertEqual(refused.exception.errno, errno.EMSGSIZE)

    def test_empty_datagrams_are_answered_one_for_one(self):
        _, address = self.serve("echo", transport="udp")
        client = self.datagram_socket()
        for _ in range(20):
            client.sendto(b"", address)
        for _ in range(20):
            self.assertEqual(client.recv(100), b"")
        self.assert_silent(client)


class Bursts(RiposteTest):
    def burst(self, *arguments, flows=1, size=100):
        """Bursts of 32: small enough for the sockets' buffers, so that none may be lost."""
        _, address = self.serve("echo", *arguments, transport="udp")
        clients = [self.datagram_socket() for _ in range(flows)]
        for round_ in range(50):
            for client in clients:
                for index in range(32):
                    client.sendto(bytes([round_, index]) + b"x" * (size - 2), address)
            for client in clients:
                answers = sorted(client.recv(70_000)[:2] for _ in range(32))
                self.assertEqual(answers, [bytes([round_, index]) for index in range(32)])

    def test_bursts_of_32_come_back_whole(self):
        self.burst()

    def test_bursts_of_four_clients_come_back_to_the_right_one(self):
        self.burst(flows=4, size=64)

    def test_bursts_over_two_workers(self):
        self.burst("--workers", "2", flows=4, size=64)

    def test_bursts_of_full_packets(self):
        self.burst(size=1200)

    def test_a_burst_of_mixed_sizes(self):
        _, address = self.serve("echo", transport="udp")
        client = self.datagram_socket()
        for _ in range(20):
            sent = [self.random.randbytes(self.random.choice((0, 1, 100, 100, 1200, 2000)))
                    for _ in range(32)]
            for data in sent:
                client.sendto(data, address)
            self.assertEqual(sorted(client.recv(70_000) for _ in sent), sorted(sent))

    def test_a_flood_does_not_stop_it(self):
        daemon, address = self.serve("echo", transport="udp")
        client = self.datagram_socket()
        for _ in range(20_000):
            client.sendto(b"x" * 50, address)
        client.close()
        other = self.datagram_socket()
        other.settimeout(0.2)
        for _ in range(100):  # while the flood fills the socket's buffer, the kernel drops this too
            other.sendto(b"and now?", address)
            with contextlib.suppress(TimeoutError):
                self.assertEqual(other.recv(100), b"and now?")
                break
        else:
            self.fail("no answer after the flood")
        self.assertIsNone(daemon.poll())

    def test_a_flood_of_datagrams_does_not_shut_streams_out(self):
        daemon = self.daemon("--listen", "echo=127.0.0.1:0")
        client = self.datagram_socket()
        target = ("127.0.0.1", daemon.port("echo", "udp"))
        stream = self.connect(("127.0.0.1", daemon.port("echo", "tcp")))
        for _ in range(100):
            for _ in range(100):
                client.sendto(b"x" * 50, target)
            stream.send(b"1234")
            self.assertEqual(stream.recv(4), b"1234")


class Addresses(RiposteTest):
    def test_to_and_from_several_local_addresses(self):
        daemon = self.daemon("--listen", "echo=udp://0.0.0.0:0")
        port = daemon.port("echo", "udp")
        for ours in ("127.0.0.1", "127.0.0.5"):
            for theirs in ("127.0.0.1", "127.0.0.2", "127.9.9.9"):
                client = self.datagram_socket((ours, 0))
                client.sendto(theirs.encode(), (theirs, port))
                answer, server = client.recvfrom(100)
                self.assertEqual((answer.decode(), server), (theirs, (theirs, port)))

    def test_mixed_addresses_in_one_burst_are_each_answered_from_their_own(self):
        daemon = self.daemon("--listen", "echo=udp://0.0.0.0:0")
        port = daemon.port("echo", "udp")
        client = self.datagram_socket(("0.0.0.0", 0))
        hosts = [f"127.0.0.{1 + index % 7}" for index in range(32)]
        for host in hosts:
            client.sendto(host.encode(), (host, port))
        answers = [client.recvfrom(100) for _ in hosts]
        for answer, server in answers:
            self.assertEqual((answer.decode(), port), server)
        self.assertEqual(sorted(answer.decode() for answer, _ in answers), sorted(hosts))

    @needs_ipv6
    def test_an_ipv4_datagram_to_a_dual_stack_socket_is_answered_from_its_address(self):
        daemon = self.daemon("--listen", "echo=udp://[::]:0")
        port = daemon.port("echo", "udp")
        client = self.datagram_socket(("::1", 0))
        client.sendto(b"six", ("::1", port))
        self.assertEqual(client.recvfrom(10)[1][:2], ("::1", port))

    def test_a_connected_client_takes_the_answer(self):
        """connect() filters by the peer's address: an answer from another one would be thrown away."""
        daemon = self.daemon("--listen", "echo=udp://0.0.0.0:0")
        client = self.datagram_socket(("0.0.0.0", 0))
        client.connect(("127.0.0.3", daemon.port("echo", "udp")))
        client.send(b"x")
        self.assertEqual(client.recv(10), b"x")

    def test_a_client_that_is_gone_harms_nobody(self):
        _, address = self.serve("echo", transport="udp")
        for _ in range(50):  # each answer comes back as an ICMP error
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
                gone.sendto(b"answer me", address)
        client = self.datagram_socket()
        client.sendto(b"x", address)
        self.assertEqual(client.recv(10), b"x")

    def test_stream_and_datagram_of_one_service_are_independent(self):
        daemon = self.daemon("--listen", "hello=127.0.0.1:0")
        client = self.datagram_socket()
        client.sendto(b"x", ("127.0.0.1", daemon.port("hello", "udp")))
        self.assertEqual(client.recv(10), b"x")
        stream = self.connect(("127.0.0.1", daemon.port("hello", "tcp")))
        stream.send(b"x")
        self.assertEqual(receive_all(stream), b"Hello, i'm server!")
