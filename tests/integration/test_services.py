"""discard, chargen, daytime and time over the network, and the rule that no reply is longer than its
request."""

import calendar
import contextlib
import re
import socket
import struct
import time

import pytest

from daemon import RiposteTest, receive_all, receive_exactly

pytestmark = pytest.mark.backends

SECONDS_1900_TO_1970 = 2_208_988_800
DAYTIME = re.compile(rb"^[A-Z][a-z]+day, ([A-Z][a-z]+ \d{1,2}, \d{4} \d\d:\d\d:\d\d)-UTC\r\n$")


def chargen_lines():
    """The pattern of RFC 864: lines of 72 characters, each starting one character later in the ring of 95."""
    ring = bytes(range(0x20, 0x7F))
    line = 0
    while True:
        yield bytes(ring[(line + column) % 95] for column in range(72)) + b"\r\n"
        line += 1


def chargen(size):
    data = bytearray()
    for line in chargen_lines():
        data += line
        if len(data) >= size:
            return bytes(data[:size])


class Chargen(RiposteTest):
    def test_it_sends_the_pattern_without_a_request(self):
        _, address = self.serve("chargen")
        client = self.connect(address)
        self.assertEqual(receive_exactly(client, 74), chargen(74))

    def test_the_pattern_continues_without_a_gap(self):
        _, address = self.serve("chargen")
        client = self.connect(address)
        size = 3 << 20
        self.assertTrue(receive_exactly(client, size) == chargen(size))

    def test_the_pattern_is_correct_for_a_reader_that_pauses(self):
        _, address = self.serve("chargen")
        client = self.connect(address, receive_buffer=8192)
        expected = chargen(400_000)
        at = 0
        while at < len(expected):
            part = client.recv(min(20_000, len(expected) - at))
            self.assertTrue(part == expected[at:at + len(part)], f"wrong at byte {at}")
            at += len(part)
            if at % 7 == 0:
                time.sleep(0.01)

    def test_data_from_the_client_is_discarded(self):
        _, address = self.serve("chargen")
        client = self.connect(address)
        client.send(b"stop! " * 1000)
        self.assertTrue(receive_exactly(client, 100_000) == chargen(100_000))

    def test_two_clients_get_the_whole_pattern_each(self):
        _, address = self.serve("chargen")
        first, second = self.connect(address), self.connect(address)
        for client in (first, second, first):
            self.assertEqual(len(receive_exactly(client, 50_000)), 50_000)

    def test_a_connection_ends_when_the_client_half_closes(self):
        _, address = self.serve("chargen")
        client = self.connect(address)
        client.shutdown(socket.SHUT_WR)
        data = receive_all(client, limit=1 << 28)
        self.assertTrue(data == chargen(len(data)))


class Discard(RiposteTest):
    def test_it_reads_everything_and_sends_nothing(self):
        _, address = self.serve("discard")
        client = self.connect(address)
        client.sendall(b"x" * (8 << 20))
        self.assert_silent(client)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(client), b"")

    def test_datagrams_are_not_answered(self):
        _, address = self.serve("discard", transport="udp")
        client = self.datagram_socket()
        for size in (0, 1, 1000):
            client.sendto(b"x" * size, address)
        self.assert_silent(client)


class Daytime(RiposteTest):
    def check(self, line, before):
        found = DAYTIME.match(line)
        self.assertIsNotNone(found, line)
        sent = calendar.timegm(time.strptime(found[1].decode(), "%B %d, %Y %H:%M:%S"))
        self.assertLessEqual(before - 1, sent)
        self.assertLessEqual(sent, time.time() + 1)

    def test_it_sends_the_time_in_utc_without_a_request_and_closes(self):
        _, address = self.serve("daytime", environment={"TZ": "America/New_York", "LC_ALL": "C.UTF-8"})
        before = time.time()
        self.check(receive_all(self.connect(address)), before)

    def test_a_datagram_is_answered_if_the_reply_is_no_longer(self):
        _, address = self.serve("daytime", transport="udp")
        client = self.datagram_socket()
        before = time.time()
        client.sendto(b"\0" * 100, address)
        self.check(client.recv(1000), before)


class Time(RiposteTest):
    def check(self, answer, before):
        self.assertEqual(len(answer), 4)
        sent = struct.unpack("!I", answer)[0]
        self.assertLessEqual((int(before) - 1 + SECONDS_1900_TO_1970) % (1 << 32), sent)
        self.assertLessEqual(sent, (int(time.time()) + 1 + SECONDS_1900_TO_1970) % (1 << 32))

    def test_it_sends_32_bits_of_seconds_since_1900_and_closes(self):
        _, address = self.serve("time")
        before = time.time()
        self.check(receive_all(self.connect(address)), before)

    def test_a_datagram_of_four_bytes_is_answered(self):
        _, address = self.serve("time", transport="udp")
        client = self.datagram_socket()
        before = time.time()
        client.sendto(b"time", address)
        self.check(client.recv(100), before)


class NoAmplification(RiposteTest):
    def test_no_reply_is_longer_than_its_request_on_any_service(self):
        services = ("hello", "echo", "discard", "chargen", "daytime", "time", "stamp")
        daemon = self.daemon(*(argument for service in services
                               for argument in ("--listen", f"{service}=udp://127.0.0.1:0")),
                             config="[datagrams]\nlonger_answers_to = []\n")
        barrier = self.datagram_socket()
        for service in services:
            for size in (0, 1, 3, 4, 5, 20, 60, 511, 512, 513, 1400):
                client = self.datagram_socket()
                client.sendto(b"?" * size, ("127.0.0.1", daemon.port(service, "udp")))
                # The only worker has processed it once it has answered two later ones, at all services.
                for _ in range(2):
                    barrier.sendto(b"later", ("127.0.0.1", daemon.port("echo", "udp")))
                    self.assertEqual(barrier.recv(10), b"later")
                client.setblocking(False)
                answers = []
                with contextlib.suppress(BlockingIOError):
                    while len(answers) < 10:
                        answers.append(client.recv(70_000))
                self.assertLessEqual(len(answers), 1, f"{service}, {size} bytes")
                self.assertLessEqual(sum(map(len, answers)), size, f"{service}, {size} bytes")
                if service in ("hello", "echo") or (service == "chargen" and size > 0):
                    self.assertEqual(len(answers), 1, f"{service}, {size} bytes")
                client.close()

    def test_a_request_that_is_too_short_is_dropped_and_the_next_one_answered(self):
        daemon = self.daemon("--listen", "time=udp://127.0.0.1:0",
                             "--listen", "daytime=udp://127.0.0.1:0",
                             config="[datagrams]\nlonger_answers_to = []\n")
        for service, enough in (("time", 4), ("daytime", 100)):
            client = self.datagram_socket()
            address = ("127.0.0.1", daemon.port(service, "udp"))
            client.sendto(b"?" * 3, address)
            self.assert_silent(client)
            client.sendto(b"?" * enough, address)
            self.assertLessEqual(len(client.recv(1000)), enough)

    def test_chargen_over_udp_sends_as_many_bytes_as_the_request_and_at_most_512(self):
        _, address = self.serve("chargen", transport="udp")
        client = self.datagram_socket()
        for size, answered in ((1, 1), (74, 74), (512, 512), (1400, 512)):
            client.sendto(b"?" * size, address)
            self.assertEqual(client.recv(2000), chargen(answered))
