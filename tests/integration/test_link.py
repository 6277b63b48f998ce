"""The link of known faults (tests/support/link.py) does what its log says: plain sockets on its two sides see
what it logs, for each fault, over IPv4 and IPv6, UDP and TCP.

No test waits for a time. A test sends, waits until the link has seen as much and has nothing in flight,
and reads from the log what has arrived: exactly that must arrive.
"""

import errno
import os
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
import unittest

from daemon import await_true, needs_root, receive_exactly
from link import (BACKWARD, BAD_CHECKSUM, CORRUPTED, FORWARD, HELD, HOLD_ENDED, LOST, MADE_HERE, PASSED,
                  QUEUE_FULL, REPLACED, RESIZED, SLOW, TCP, TOO_BIG, UDP, Faults, Link, every)
from patience import WAIT

PORT = 7
MS = 1_000_000
SO_TIMESTAMPNS = 35
IP_RECVERR, IPV6_RECVERR, IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 11, 25, 10, 23
PMTUDISC_DONT, PMTUDISC_DO = 0, 2
TCP_INFO_TOTAL_RETRANS = 100  # offset in struct tcp_info of tcpi_total_retrans


class LinkCase(unittest.TestCase):
    maxDiff = None

    def link(self, **options):
        return self.enterContext(Link(**options))

    def datagram_pair(self, link, family):
        """(client's, connected; server's, bound)"""
        pair = []
        for side in (link.client, link.server):
            end = self.enterContext(side.socket(family, socket.SOCK_DGRAM))
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            end.settimeout(WAIT)
            pair.append(end)
        pair[1].bind((link.server.address(family), PORT))
        pair[0].connect((link.server.address(family), PORT))
        return pair

    def stream_pair(self, link, family):
        with self.enterContext(link.server.socket(family, socket.SOCK_STREAM)) as listener:
            listener.bind((link.server.address(family), PORT))
            listener.listen()
            listener.settimeout(WAIT)
            client = self.enterContext(link.client.socket(family, socket.SOCK_STREAM))
            client.settimeout(WAIT)
            client.connect((link.server.address(family), PORT))
            server, _ = listener.accept()
        self.enterContext(server)
        server.settimeout(WAIT)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, server

    def settled(self, link, count, family):
        """The log, once `count` datagrams have entered the link and none is in flight."""
        await_true(lambda: self.originals(link.log, family) >= count, f"{count} datagrams at the link")
        link.settle()
        self.assertEqual(link.log.drops, (0, 0))
        return link.log

    @staticmethod
    def originals(log, family):
        return sum(not packet.copy and not packet.fragment_offset
                   for packet in log.select(FORWARD, UDP, family))

    def through(self, link, family, count, size=32):
        """Sends `count` datagrams, which begin with their number; returns what arrives, in order, and the log's
        packets. Compares number and order of what arrives with the log."""
        client, server = self.datagram_pair(link, family)
        for number in range(1, count + 1):
            client.send(number.to_bytes(4, "big") + bytes(size - 4))
        log = self.settled(link, count, family)
        packets = log.select(FORWARD, UDP, family)
        expected = sorted((packet for packet in packets if packet.arrived()),
                          key=lambda packet: packet.out_before_ns)
        received = [server.recv(1 << 16) for _ in expected]
        server.setblocking(False)
        with self.assertRaises(BlockingIOError):
            server.recv(1 << 16)
        undamaged = [packet for packet in expected if not packet.flags & CORRUPTED]
        if len(undamaged) == len(expected):
            self.assertEqual(self.numbers(received), [numbered(packet.payload) for packet in expected])
        return received, packets

    @staticmethod
    def numbers(received):
        return [numbered(payload) for payload in received]


def numbered(payload):
    return int.from_bytes(payload[:4], "big")


@needs_root
class Datagrams(LinkCase):
    def both(self, faults, count, check, **options):
        link = self.link(forward=faults, **options)
        for family in (4, 6):
            with self.subTest(family=family):
                check(*self.through(link, family, count))
                # Each family's packets are numbered from 1, so that a list holds for both.
                link = self.link(forward=faults, **options)

    def test_a_clean_link_passes_everything_in_order(self):
        def check(received, packets):
            self.assertEqual(self.numbers(received), list(range(1, 51)))
            self.assertEqual({packet.fate for packet in packets}, {PASSED})
        self.both(Faults(), 50, check)

    def test_losses_by_list(self):
        self.both(Faults(loss=[1, 4, 10]), 10,
                  lambda received, _: self.assertEqual(self.numbers(received), [2, 3, 5, 6, 7, 8, 9]))

    def test_losses_of_every_nth(self):
        self.both(Faults(loss=every(3)), 10,
                  lambda received, _: self.assertEqual(self.numbers(received), [1, 2, 4, 5, 7, 8, 10]))

    def test_losses_by_share_are_decided_by_the_seed(self):
        lost = {}
        for seed, family in ((5, 4), (5, 6), (6, 4)):
            link = self.link(forward=Faults(loss=0.1), seed=seed)
            received, packets = self.through(link, family, 1000)
            lost[seed, family] = [packet.number for packet in packets if packet.fate == LOST]
            self.assertEqual(len(received) + len(lost[seed, family]), 1000)
            self.assertTrue(50 < len(lost[seed, family]) < 150, "five standard deviations")
        self.assertEqual(lost[5, 4], lost[5, 6])
        self.assertNotEqual(lost[5, 4], lost[6, 4])

    def test_copies(self):
        self.both(Faults(duplicate=[2, 4], copies=2), 5,
                  lambda received, _: self.assertEqual(self.numbers(received), [1, 2, 2, 2, 3, 4, 4, 4, 5]))

    def test_held_packets_leave_after_the_set_number_of_later_ones(self):
        def check(received, packets):
            self.assertEqual(self.numbers(received), [1, 3, 4, 5, 2, 6, 8, 9, 7])
            held = [packet for packet in packets if packet.flags & HELD]
            self.assertEqual([packet.number for packet in held], [2, 7])
            # Only two came after the seventh, so the time limit released it.
            self.assertEqual([bool(packet.flags & HOLD_ENDED) for packet in held], [False, True])
        self.both(Faults(hold=[2, 7], hold_for=3, hold_max_ms=300), 9, check)

    def test_slow_packets_are_overtaken(self):
        def check(received, packets):
            self.assertEqual(self.numbers(received), [1, 3, 4, 2])
            slow = packets[1]
            self.assertTrue(slow.flags & SLOW)
            self.assertGreaterEqual(slow.out_before_ns - slow.in_ns, 300 * MS)
        self.both(Faults(slow=[2], slow_ms=300), 4, check)

    def test_damage_with_a_valid_checksum_is_one_bit(self):
        def check(received, packets):
            self.assertEqual(len(received), 20)
            for number, (payload, packet) in enumerate(zip(received, packets), 1):
                sent = number.to_bytes(4, "big") + bytes(28)
                bits = sum((one ^ other).bit_count() for one, other in zip(payload, sent))
                self.assertEqual((len(payload), bits), (32, number % 2))
                self.assertEqual(packet.flags, CORRUPTED * (number % 2))
        self.both(Faults(corrupt=range(1, 21, 2)), 20, check)

    def test_damage_at_a_given_offset(self):
        def check(received, _):
            self.assertEqual([payload[31] for payload in received], [0, 0x80, 0])
        self.both(Faults(corrupt=[2], corrupt_at=31), 3, check)

    def test_damage_that_the_kernel_detects_does_not_arrive(self):
        link = self.link(forward=Faults(corrupt=every(2), corrupt_mend=False))
        for family, name in ((4, "Udp: InCsumErrors"), (6, "Udp6InCsumErrors")):
            with self.subTest(family=family):
                received, packets = self.through(link, family, 10)
                self.assertEqual(len(received), 5)
                dropped = [packet for packet in packets if packet.flags & BAD_CHECKSUM]
                self.assertEqual(len(dropped), 5)
                await_true(lambda name=name: counter(link.server, name) == 5, f"{name} is 5")

    def test_sizes(self):
        for size in (10, 100):
            def check(received, packets, size=size):
                self.assertEqual([len(payload) for payload in received], [32, size, 32])
                self.assertEqual([packet.flags for packet in packets], [0, RESIZED, 0])
            self.both(Faults(resize=[2], resize_to=size), 3, check)

    def test_each_direction_has_faults_of_its_own(self):
        for family in (4, 6):
            link = self.link(forward=Faults(loss=[2]), backward=Faults(loss=[1]))
            client, server = self.datagram_pair(link, family)
            for number in (1, 2, 3):
                client.send(bytes([number]))
            for expected in (b"\x01", b"\x03"):
                data, peer = server.recvfrom(100)
                self.assertEqual(data, expected)
                server.sendto(data, peer)
            self.assertEqual(client.recv(100), b"\x03")

    def test_faults_can_change_and_the_numbers_continue(self):
        link = self.link(forward=Faults(loss=[1, 4]))
        client, server = self.datagram_pair(link, 4)
        for number in (1, 2):
            client.send(bytes([number]))
        self.settled(link, 2, 4)
        link.change(forward=Faults(loss=[3]))
        for number in (3, 4):
            client.send(bytes([number]))
        self.assertEqual([server.recv(9) for _ in range(2)], [b"\x02", b"\x04"])


def counter(side, name):
    """A counter of nstat's files, in the namespace of that side."""
    with side:
        if name.startswith("Udp6"):
            with open("/proc/thread-self/net/snmp6", encoding="ascii") as file:
                return int(re.search(rf"^{name}\s+(\d+)$", file.read(), re.M)[1])
        group, key = name.split(": ")
        with open("/proc/thread-self/net/snmp", encoding="ascii") as file:
            rows = [line.split() for line in file if line.startswith(group + ":")]
    return int(rows[1][rows[0].index(key)])


@needs_root
class Times(LinkCase):
    def test_the_receivers_time_stamp_matches_the_log(self):
        link = self.link(forward=Faults(delay_ms=5, jitter_ms=4))
        for family in (4, 6):
            with self.subTest(family=family):
                client, server = self.datagram_pair(link, family)
                server.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                sent = []
                for number in range(50):
                    before = time.monotonic_ns()
                    client.send(number.to_bytes(4, "big"))
                    sent.append((before, time.monotonic_ns()))
                log = self.settled(link, 50, family)
                packets = {numbered(packet.payload): packet for packet in log.select(FORWARD, UDP, family)}
                offset, slack = realtime_offset()
                for _ in range(50):
                    payload, control, _, _ = server.recvmsg(64, 64)
                    seconds, nanoseconds = struct.unpack("qq", control[0][2][:16])
                    packet = packets[numbered(payload)]
                    stamp = seconds * 1_000_000_000 + nanoseconds + offset
                    self.assertGreaterEqual(stamp, packet.out_before_ns - slack)
                    self.assertLessEqual(stamp, packet.out_after_ns + slack)
                    self.assertGreaterEqual(packet.in_ns, sent[numbered(payload)][0] - slack)
                    self.assertLessEqual(packet.in_ns, sent[numbered(payload)][1] + slack)
                    self.assertGreaterEqual(packet.out_before_ns, packet.due_ns)
                    self.assertTrue(1 * MS <= packet.due_ns - packet.in_ns <= 9 * MS)

    def spread(self, count=1000, **faults):
        """How much later than the delay each packet was due, in ms."""
        link = self.link(forward=Faults(delay_ms=20, **faults), seed=11)
        _, packets = self.through(link, 4, count)
        return [(packet.due_ns - packet.in_ns) / MS - 20 for packet in packets]

    def test_jitter_is_uniform(self):
        spread = self.spread(jitter_ms=8)
        self.assertLessEqual(max(map(abs, spread)), 8)
        self.assertLess(abs(statistics.mean(spread)), 1)
        self.assertAlmostEqual(statistics.pstdev(spread), 8 / 3 ** 0.5, delta=0.5)

    def test_jitter_is_normal(self):
        spread = self.spread(jitter_ms=4, jitter="normal")
        self.assertLess(abs(statistics.mean(spread)), 1)
        self.assertAlmostEqual(statistics.pstdev(spread), 4, delta=0.5)
        self.assertLessEqual(max(map(abs, spread)), 16)

    def test_jitter_is_exponential(self):
        spread = self.spread(jitter_ms=4, jitter="exponential")
        self.assertGreaterEqual(min(spread), 0)
        self.assertAlmostEqual(statistics.mean(spread), 4, delta=1)
        self.assertAlmostEqual(statistics.median(spread), 4 * 0.693, delta=1)

    def test_jitter_that_keeps_the_order(self):
        for family in (4, 6):
            link = self.link(forward=Faults(jitter_ms=8, delay_ms=10, keep_order=True))
            received, packets = self.through(link, family, 200)
            self.assertEqual(self.numbers(received), list(range(1, 201)))
            self.assertGreater(len({packet.due_ns - packet.in_ns for packet in packets}), 100)

    def test_a_rate_and_the_length_of_its_queue(self):
        for family, header in ((4, 28), (6, 48)):
            with self.subTest(family=family):
                # 1,000 bytes in 80 ms: datagrams that are sent at once queue behind the first one.
                size = 1000 - header
                link = self.link(forward=Faults(rate_bits=100_000, queue=4))
                received, packets = self.through(link, family, 20, size)
                passed = [packet for packet in packets if packet.fate == PASSED]
                full = [packet for packet in packets if packet.fate == QUEUE_FULL]
                self.assertEqual(len(passed) + len(full), 20)
                self.assertEqual(len(received), len(passed))
                self.assertGreaterEqual(len(passed), 5)
                for one, next_one in zip(passed, passed[1:]):
                    self.assertGreaterEqual(next_one.due_ns - one.due_ns, 80 * MS)
                # The queue when each one arrived: what was waiting, without the one being transmitted.
                for packet in packets:
                    waiting = sum(other.in_ns <= packet.in_ns < other.due_ns and other.number < packet.number
                                  for other in passed)
                    self.assertEqual(packet.fate == QUEUE_FULL, waiting > 4, packet)


def realtime_offset():
    """CLOCK_MONOTONIC minus CLOCK_REALTIME, and the uncertainty of that."""
    best = None
    for _ in range(100):
        before = time.monotonic_ns()
        real = time.time_ns()
        width = time.monotonic_ns() - before
        if best is None or width < best[1]:
            best = before + width // 2 - real, width
    return best[0], best[1] + 100_000


@needs_root
class Mtu(LinkCase):
    def socket_pair(self, family, discover):
        link = self.link(forward=Faults(mtu=1300))
        client, server = self.datagram_pair(link, family)
        if family == 4:
            client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, discover)
            client.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        else:
            client.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, discover)
            client.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        return link, client, server

    def test_the_router_reports_that_a_packet_is_too_big(self):
        for family, header in ((4, 28), (6, 48)):
            with self.subTest(family=family):
                link, client, server = self.socket_pair(family, PMTUDISC_DO)
                client.send(bytes(1301 - header))
                log = self.settled(link, 1, family)
                self.assertEqual([packet.fate for packet in log.select(FORWARD, UDP, family)], [TOO_BIG])
                self.assertEqual([packet.fate for packet in log.select(BACKWARD, family=family)
                                  if packet.flags & MADE_HERE], [PASSED])
                data, control, _, _ = await_true(lambda: error_of(client), "the ICMP error")
                number, origin, kind, code, _, info, _ = struct.unpack_from("IBBBBII", control[0][2])
                self.assertEqual((number, info), (errno.EMSGSIZE, 1300))
                self.assertEqual((origin, kind, code), (2, 3, 4) if family == 4 else (3, 2, 0))
                # The router's address: at 4 in sockaddr_in, at 8 in sockaddr_in6.
                offender = control[0][2][16 + 4:16 + 8] if family == 4 else control[0][2][16 + 8:16 + 24]
                self.assertEqual(offender, socket.inet_pton(client.family, link.ROUTER4 if family == 4
                                                            else link.ROUTER6))
                with self.assertRaises(OSError) as refused:
                    client.send(bytes(1301 - header))
                self.assertEqual(refused.exception.errno, errno.EMSGSIZE)
                client.send(bytes(1300 - header))
                self.assertEqual(len(server.recv(2000)), 1300 - header)
                self.assertLessEqual(len(data), 1301)

    def test_packets_that_may_be_fragmented_arrive_whole(self):
        link, client, server = self.socket_pair(4, PMTUDISC_DONT)
        payload = os.urandom(1472)
        client.send(payload)
        self.assertEqual(server.recv(2000), payload)
        packets = link.log.select(FORWARD, UDP, 4)
        self.assertEqual([packet.fate for packet in packets], [REPLACED, PASSED, PASSED])
        self.assertLessEqual(max(packet.length for packet in packets[1:]), 1300)

    def test_a_stream_finds_the_path_mtu(self):
        for family in (4, 6):
            with self.subTest(family=family):
                link = self.link(forward=Faults(mtu=1300))
                client, server = self.stream_pair(link, family)
                client.sendall(bytes(20_000))
                receive_exactly(server, 20_000)
                packets = link.log.select(FORWARD, TCP, family)
                self.assertGreater(sum(packet.fate == TOO_BIG for packet in packets), 0)
                self.assertLessEqual(max(packet.length for packet in packets if packet.fate == PASSED), 1300)


def error_of(client):
    client.setblocking(False)
    try:
        return client.recvmsg(2000, 512, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        return None
    finally:
        client.settimeout(WAIT)


@needs_root
class Streams(LinkCase):
    SIZE = 100_000

    def carries(self, family, **options):
        """A stream each way, which must arrive undamaged; returns the log and the client kernel's
        retransmissions."""
        link = self.link(**options)
        client, server = self.stream_pair(link, family)
        data = os.urandom(self.SIZE)
        client.sendall(data)
        self.assertEqual(receive_exactly(server, self.SIZE), data)
        server.sendall(data)
        self.assertEqual(receive_exactly(client, self.SIZE), data)
        return self.retransmits(link, client)

    @staticmethod
    def retransmits(link, client):
        """The log's number, once it equals the kernel's and everything is acknowledged."""
        def agree():
            seen = link.log.retransmits(FORWARD, PORT)
            info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            said = struct.unpack_from("I", info, TCP_INFO_TOTAL_RETRANS)[0]
            return (link.log, said) if seen == said else None
        return await_true(agree, "the log has as many retransmissions as the kernel counts")

    def test_a_clean_stream(self):
        for family in (4, 6):
            with self.subTest(family=family):
                log, again = self.carries(family)
                self.assertEqual({packet.fate for packet in log.select(protocol=TCP)}, {PASSED})
                carried = sum(packet.payload_length for packet in log.select(FORWARD, TCP, family))
                # On a machine that is busy for long, a sender retransmits although nothing is lost.
                (self.assertEqual if again == 0 else self.assertGreater)(carried, self.SIZE)
                self.assertLessEqual(max(packet.length for packet in log.packets), 1500)

    def test_faults_do_not_change_what_arrives(self):
        faults = Faults(subjects="payload", loss=[5, 20], duplicate=every(7), hold=every(11), hold_for=2,
                        hold_max_ms=50, delay_ms=2)
        for family in (4, 6):
            with self.subTest(family=family):
                log, again = self.carries(family, forward=faults, backward=faults)
                self.assertGreaterEqual(again, 2)
                for direction in (FORWARD, BACKWARD):
                    packets = log.select(direction, TCP, family)
                    self.assertEqual(sum(packet.fate == LOST for packet in packets), 2)
                    self.assertGreater(sum(packet.copy for packet in packets), 3)
                    self.assertGreater(sum(bool(packet.flags & HELD) for packet in packets), 2)

    def test_a_lost_handshake_is_retransmitted(self):
        for family in (4, 6):
            with self.subTest(family=family):
                link = self.link(forward=Faults(loss=[1]))
                client, _ = self.stream_pair(link, family)
                self.assertEqual(self.retransmits(link, client)[1], 1)

    def test_damage_that_the_kernel_detects_is_retransmitted(self):
        for family in (4, 6):
            with self.subTest(family=family):
                _, again = self.carries(family, forward=Faults(subjects="payload", corrupt=[3],
                                                               corrupt_mend=False, delay_ms=1))
                self.assertGreaterEqual(again, 1)

    def test_damage_that_the_kernel_does_not_detect_arrives(self):
        for family in (4, 6):
            with self.subTest(family=family):
                link = self.link(forward=Faults(subjects="payload", corrupt=[1], corrupt_at=9))
                client, server = self.stream_pair(link, family)
                client.sendall(bytes(20))
                self.assertEqual(receive_exactly(server, 20), bytes(9) + b"\x80" + bytes(10))


DIES = """
import sys, time
sys.path.insert(0, {support!r})
from link import Link
with Link() as link:
    print(link.process.pid, flush=True)
    time.sleep(600)
"""


@needs_root
class Life(LinkCase):
    def test_it_ends_with_the_process_that_made_it(self):
        Link().__enter__().__exit__()  # skips the test if the machine cannot make a link
        support = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support")
        with subprocess.Popen([sys.executable, "-c", DIES.format(support=support)], stdout=subprocess.PIPE,
                              text=True) as maker:
            pid = int(maker.stdout.readline())
            namespace = os.readlink(f"/proc/{pid}/ns/net")
            maker.send_signal(signal.SIGKILL)
        await_true(lambda: not os.path.exists(f"/proc/{pid}") or state_of(pid) == "Z", "the link has ended")
        self.assertNotIn(namespace, namespaces())

    def test_it_ends_when_its_log_is_full(self):
        link = self.link(packets_max=5)
        client, _ = self.datagram_pair(link, 4)
        for _ in range(10):
            client.send(b"x")
        self.assertEqual(link.process.wait(WAIT), 3)
        self.assertEqual(len(link.log.packets), 5)

    def test_it_ends_after_its_time_limit(self):
        self.assertEqual(self.link(seconds_max=1).process.wait(WAIT), 4)

    def test_an_unknown_fault_is_refused(self):
        link = self.link()
        with self.assertRaisesRegex(AssertionError, "not a fault: 'jitter.kind=square'"):
            link.change(forward=Faults(jitter="square"))
        link.change(forward=Faults())


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0]


def namespaces():
    """The network namespaces of all processes."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
        except OSError:
            pass  # the process has ended, or is ending
    return found


if __name__ == "__main__":
    unittest.main()
