"""Datagrams: every size, both families, several local addresses, bursts, trains."""

import contextlib
import errno
import re
import signal
import socket
import struct

import pytest

from daemon import RiposteTest, await_true, needs_ipv6, needs_root, receive_all
from network import enter_network

pytestmark = pytest.mark.backends

SIZES = (0, 1, 2, 3, 100, 511, 512, 513, 1023, 1024, 1472, 1473, 2048, 4096, 9000, 32767, 32768,
         65000, 65506, 65507)

UDP_SEGMENT, UDP_GRO = 103, 104


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

    def test_hello_returns_every_size_too(self):
        self.check("hello", "127.0.0.1")

    def test_the_largest_datagram_of_all(self):
        # The limit of IPv4 is 65,507; IPv6 allows 65,527.
        _, client, address = self.check("echo", "127.0.0.1", (65507,))
        with self.assertRaises(OSError) as refused:
            client.sendto(b"x" * 65508, address)
        self.assertEqual(refused.exception.errno, errno.EMSGSIZE)

    def test_empty_datagrams_are_answered_one_for_one(self):
        daemon, address = self.serve("echo", transport="udp")
        client = self.datagram_socket()
        for _ in range(20):
            client.sendto(b"", address)
        for _ in range(20):
            self.assertEqual(client.recv(100), b"")
        self.assert_silent(client, daemon)


class Bursts(RiposteTest):
    def burst(self, *arguments, flows=1, size=100):
        """Sends bursts of 32: small enough for the sockets' buffers, so none may be lost."""
        _, address = self.serve("echo", *arguments, transport="udp")
        clients = [self.datagram_socket() for _ in range(flows)]
        for round_ in range(50):
            for client in clients:
                for index in range(32):
                    client.sendto(bytes([round_, index]) + b"x" * (size - 2), address)
            for client in clients:
                answers = sorted(client.recv(70_000)[:2] for _ in range(32))
                self.assertEqual(answers, [bytes([round_, index]) for index in range(32)])

    def test_bursts_of_32_come_back_complete(self):
        self.burst()

    def test_bursts_of_four_clients_come_back_to_their_sender(self):
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

    def test_it_still_serves_after_a_flood(self):
        daemon, address = self.serve("echo", transport="udp")
        client = self.datagram_socket()
        for _ in range(20_000):
            client.sendto(b"x" * 50, address)
        client.close()
        other = self.datagram_socket()
        other.settimeout(0.2)
        for _ in range(100):  # while the flood fills the socket's buffer, the kernel drops these too
            other.sendto(b"and now?", address)
            with contextlib.suppress(TimeoutError):
                self.assertEqual(other.recv(100), b"and now?")
                break
        else:
            self.fail("no reply after the flood")
        self.assertIsNone(daemon.poll())

    def test_a_flood_of_datagrams_does_not_starve_streams(self):
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
    def test_replies_come_from_the_local_address_that_was_asked(self):
        daemon = self.daemon("--listen", "echo=udp://0.0.0.0:0")
        port = daemon.port("echo", "udp")
        for ours in ("127.0.0.1", "127.0.0.5"):
            for theirs in ("127.0.0.1", "127.0.0.2", "127.9.9.9"):
                client = self.datagram_socket((ours, 0))
                client.sendto(theirs.encode(), (theirs, port))
                answer, server = client.recvfrom(100)
                self.assertEqual((answer.decode(), server), (theirs, (theirs, port)))

    def test_one_burst_to_several_addresses_is_answered_from_each(self):
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

    def test_a_connected_client_receives_the_reply(self):
        """connect() filters by the peer's address: the kernel would drop a reply from another one."""
        daemon = self.daemon("--listen", "echo=udp://0.0.0.0:0")
        client = self.datagram_socket(("0.0.0.0", 0))
        client.connect(("127.0.0.3", daemon.port("echo", "udp")))
        client.send(b"x")
        self.assertEqual(client.recv(10), b"x")

    def test_replies_to_a_closed_client_do_not_harm_others(self):
        _, address = self.serve("echo", transport="udp")
        for _ in range(50):  # each reply comes back as an ICMP error
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


def datagrams_of(data, segment):
    return [data[at:at + segment] for at in range(0, len(data), segment)]


class Trains(RiposteTest):
    """Datagrams of one size that the kernel carries as one (UDP_SEGMENT, UDP_GRO)."""

    TRAINS = ((1, 2), (1, 64), (48, 48 * 50 + 7), (1200, 32 * 1200), (1472, 44 * 1472 - 1),
              (9000, 30_000), (9000, 65_000))

    def send_train(self, client, data, segment, address):
        try:
            client.sendmsg([data], [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("H", segment))], 0,
                           address)
        except OSError as problem:
            self.skipTest(f"this machine cannot send trains: {problem}")

    def receive_train(self, client):
        """What one receive returned, and the size of the datagrams in it (0 if it is a single one)."""
        data, control, _, server = client.recvmsg(70_000, 200)
        for level, kind, value in control:
            if (level, kind) == (socket.SOL_UDP, UDP_GRO):
                return data, struct.unpack("i", value)[0], server
        return data, 0, server

    def joining_socket(self, *arguments):
        client = self.datagram_socket(*arguments)
        try:
            client.setsockopt(socket.SOL_UDP, UDP_GRO, 1)
        except OSError as problem:
            self.skipTest(f"this kernel does not join datagrams: {problem}")
        return client

    def loopback_joins(self):
        """Whether this kernel's loopback interface delivers a train as one; that of 5.10 takes it apart."""
        receiver = self.joining_socket()
        self.send_train(receiver, b"abcdef", 3, receiver.getsockname())
        return self.receive_train(receiver)[1] == 3

    def receive_whole(self, client, size, segment, address):
        """What came back of a train, in as many parts as the kernel made of it."""
        answer = b""
        while len(answer) < size:
            part, part_segment, server = self.receive_train(client)
            self.assertIn(part_segment, (0, segment))
            self.assertEqual(server[:2], address)
            answer += part
        return answer

    def check(self, service="echo", host="127.0.0.1"):
        joins = self.loopback_joins()
        daemon, address = self.serve(service, transport="udp", host=host)
        single = self.datagram_socket((address[0], 0))
        joining = self.joining_socket((address[0], 0))
        for segment, size in self.TRAINS:
            data = self.random.randbytes(size)
            self.send_train(single, data, segment, address)
            for index, expected in enumerate(datagrams_of(data, segment)):
                answer, server = single.recvfrom(70_000)
                self.assertTrue(answer == expected, f"datagram {index} of {size} by {segment}")
                self.assertEqual(server[:2], address)
            self.send_train(joining, data, segment, address)
            if not joins:
                self.assertTrue(self.receive_whole(joining, size, segment, address) == data, f"{size} by {segment}")
                continue
            answer, answer_segment, server = self.receive_train(joining)
            self.assertTrue(answer == data, f"{size} by {segment}: {len(answer)} bytes came back")
            self.assertEqual((answer_segment, server[:2]), (segment, address))
        self.assert_silent(single, daemon)
        return daemon

    def counted(self, daemon):
        """(received, answered, unanswered, too long) by the daemon's own counters."""
        seen = len(daemon.lines("statistics: "))
        daemon.signal(signal.SIGUSR1)
        line = daemon.wait_log(r"^riposted: statistics: (.*)$", count=seen + 1)[1]
        found = re.search(r"datagrams (\d+) received, (\d+) answered", line)
        unanswered = re.search(r"(\d+) datagrams unanswered", line)
        too_long = re.search(r"(\d+) answers longer", line)
        return (int(found[1]), int(found[2]), int(unanswered[1]) if unanswered else 0,
                int(too_long[1]) if too_long else 0)

    def assert_counted(self, daemon, expected):
        # A client may have the reply before the daemon has counted it.
        with contextlib.suppress(AssertionError):
            await_true(lambda: self.counted(daemon) == expected, "counted")
        self.assertEqual(self.counted(daemon), expected)

    def test_a_train_comes_back_and_is_counted_datagram_by_datagram(self):
        daemon = self.check()
        count = 2 * sum(-(-size // segment) for segment, size in self.TRAINS)
        self.assert_counted(daemon, (count, count, 0, 0))

    def test_hello_returns_every_datagram_of_a_train_too(self):
        self.check("hello")

    @needs_ipv6
    def test_trains_over_ipv6(self):
        self.check(host="[::1]")

    def test_trains_and_single_datagrams_of_one_client_keep_their_order(self):
        _, address = self.serve("echo", transport="udp")
        client = self.datagram_socket()
        for _ in range(30):
            expected = []
            for _ in range(6):
                segment = self.random.choice((1, 10, 100, 1200))
                data = self.random.randbytes(self.random.randrange(segment * 8))
                if len(data) > segment:
                    self.send_train(client, data, segment, address)
                    expected += datagrams_of(data, segment)
                else:
                    client.sendto(data, address)
                    expected.append(data)
            self.assertTrue([client.recv(70_000) for _ in expected] == expected)

    def many_clients(self, *arguments):
        daemon, address = self.serve("echo", *arguments, transport="udp")
        clients = [self.datagram_socket() for _ in range(8)]
        rounds = 10
        for _ in range(rounds):
            trains = [self.random.randbytes(16 * 300) for _ in clients]
            for client, data in zip(clients, trains):
                self.send_train(client, data, 300, address)
            for client, data in zip(clients, trains):
                self.assertEqual([client.recv(70_000) for _ in range(16)], datagrams_of(data, 300))
        count = rounds * len(clients) * 16
        self.assert_counted(daemon, (count, count, 0, 0))

    def test_trains_of_several_clients_come_back_to_their_sender(self):
        self.many_clients()

    def test_trains_over_two_workers(self):
        self.many_clients("--workers", "2")

    def test_a_client_that_joins_datagrams_gets_all_of_a_burst_of_single_ones(self):
        _, address = self.serve("echo", transport="udp")
        client = self.joining_socket()
        for _ in range(20):
            burst = [self.random.randbytes(200) for _ in range(32)]
            for data in burst:
                client.sendto(data, address)
            answered = b""
            while len(answered) < 32 * 200:
                data, segment, _ = self.receive_train(client)
                self.assertIn(segment, (0, 200))
                answered += data
            self.assertTrue(answered == b"".join(burst))

    def test_a_train_to_a_wildcard_socket_is_answered_from_the_address_that_was_asked(self):
        daemon = self.daemon("--listen", "echo=udp://0.0.0.0:0")
        client = self.datagram_socket(("0.0.0.0", 0))
        for host in ("127.0.0.1", "127.0.0.5"):
            address = (host, daemon.port("echo", "udp"))
            self.send_train(client, b"abcdefgh", 3, address)
            self.assertEqual([client.recvfrom(10) for _ in range(3)],
                             [(b"abc", address), (b"def", address), (b"gh", address)])

    def test_every_service_answers_each_datagram_of_a_train(self):
        services = ("chargen", "daytime", "discard", "time")
        daemon = self.daemon(*(argument for service in services
                               for argument in ("--listen", f"{service}=udp://127.0.0.1:0")),
                             config="[datagrams]\nlonger_answers_to = []\n")
        client = self.datagram_socket()

        def ask(service, segment, size):
            address = ("127.0.0.1", daemon.port(service, "udp"))
            self.send_train(client, b"?" * size, segment, address)

        ask("chargen", 60, 10 * 60 + 5)
        pattern = bytes(range(0x20, 0x20 + 60))
        self.assertEqual([client.recv(1000) for _ in range(11)], [pattern] * 10 + [pattern[:5]])
        ask("chargen", 1000, 3 * 1000)  # chargen's longest reply is 512 bytes
        self.assertEqual([len(client.recv(2000)) for _ in range(3)], [512] * 3)
        ask("daytime", 100, 20 * 100 + 3)  # the last one is too short to be answered
        for _ in range(20):
            self.assertRegex(client.recv(1000), rb"^\w+day, .*-UTC\r\n$")
        ask("time", 4, 50 * 4 + 2)
        self.assertEqual({len(client.recv(1000)) for _ in range(50)}, {4})
        ask("time", 3, 4 * 3)
        ask("discard", 100, 25 * 100)
        asked = 11 + 3 + 21 + 51 + 4 + 25
        self.assert_counted(daemon, (asked, 11 + 3 + 20 + 50, 25, 1 + 1 + 4))
        self.assert_silent(client, daemon)

    @needs_root
    def test_datagrams_larger_than_the_path_mtu_are_answered_too(self):
        """Segmentation does not accept datagrams that need fragmentation: they are sent one by one."""
        enter_network(self, mtu=1500)
        daemon, address = self.serve("echo", transport="udp")
        client = self.datagram_socket()
        for size in (1472, 1473, 4000):
            burst = [self.random.randbytes(size) for _ in range(8)]
            daemon.signal(signal.SIGSTOP)  # so that it answers them together
            for data in burst:
                client.sendto(data, address)
            daemon.signal(signal.SIGCONT)
            self.assertTrue([client.recv(70_000) for _ in burst] == burst, f"{size} bytes")
        self.assert_counted(daemon, (24, 24, 0, 0))
