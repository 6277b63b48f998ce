"""The reflector of STAMP (RFC 8762, RFC 8972) over the network."""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

from daemon import await_true, needs_program, needs_root
from network import add_address, enter_network
from stamp_questions import BASE, Answer, StampTest, ntp, question
from statistics_line import counted

pytestmark = pytest.mark.backends

IP_RECVTTL, IP_RECVTOS = 12, 13  # linux/in.h; Python does not have all of them


class Reflects(StampTest):
    def test_an_answer_has_both_times_and_the_ttl_of_its_question(self):
        _, address = self.serve("stamp", transport="udp")
        client = self.datagram_socket()
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 77)
        before = ntp(time.time())
        answer = self.ask(client, address, 5)
        after = ntp(time.time())
        self.assertLessEqual(before, answer.received)
        self.assertLessEqual(answer.received, answer.sent)
        self.assertLessEqual(answer.sent, after)
        self.assertEqual((answer.ttl, answer.sequence, answer.sender_sequence), (77, 0, 5))
        self.assertEqual(answer.estimate & 0x8000, 0)

    def test_an_answer_over_ipv6_has_the_hop_limit_of_its_question(self):
        if not socket.has_ipv6:
            self.skipTest("Python has no IPv6")
        _, address = self.serve("stamp", transport="udp", host="[::1]")
        client = self.datagram_socket(("::1", 0))
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 78)
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0xb8)
        answer = self.ask(client, address, tail=bytes.fromhex("80040004b8000000"))
        self.assertEqual(answer.ttl, 78)
        self.assertEqual(answer.tail.hex(), "00040004bae10000")  # it came with 46, which may not be asked for

    def test_a_socket_for_both_families_tells_the_ttl_of_either(self):
        daemon = self.daemon("--listen", "stamp=udp://*:0")
        port = daemon.port("stamp", "udp")
        client = self.datagram_socket()
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 33)
        self.assertEqual(self.ask(client, ("127.0.0.1", port)).ttl, 33)

    def test_an_answer_is_as_long_as_its_question(self):
        _, address = self.serve("stamp", transport="udp")
        client = self.datagram_socket()
        for size in (*range(44, 60), 100, 512, 1024, 1472, 9000, 65507):
            tail = os.urandom(size - BASE)
            self.ask(client, address, tail=tail)

    def test_answers_leave_with_the_ttl_255_and_in_the_class_of_the_question(self):
        _, address = self.serve("stamp", transport="udp")
        client = self.datagram_socket()
        client.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        client.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        for tos in (0, 0x28, 0xb8):
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
            client.sendto(question(), address)
            _, controls, _, _ = client.recvmsg(100, 200)
            found = {kind: int.from_bytes(data, "little") for _, kind, data in controls}
            self.assertEqual((found[socket.IP_TTL], found[socket.IP_TOS]), (255, tos))

    def test_answers_in_a_burst_have_times_of_their_own_and_arrive_one_by_one(self):
        _, address = self.serve("stamp", transport="udp")
        client = self.datagram_socket()
        for sequence in range(200):
            client.sendto(question(sequence), address)
        answers = [Answer(client.recv(100)) for _ in range(200)]
        self.assertEqual([each.sequence for each in answers], list(range(200)))
        self.assertEqual([each.sender_sequence for each in answers], list(range(200)))
        self.assertEqual(len({each.sent for each in answers}), 200)
        self.assertTrue(all(each.received <= each.sent for each in answers))

    def test_questions_of_twamp_get_as_many_bytes(self):
        daemon, address = self.serve("stamp", transport="udp")
        client = self.datagram_socket()
        for size in (41, 42, 43):
            client.sendto(question(9)[:size], address)
            reply = client.recv(100)
            self.assertEqual(len(reply), size)
            self.assertEqual(struct.unpack_from("!I", reply, 24), (9,))
        for size in (0, 13, 14, 40):
            client.sendto(question()[:size], address)
        self.assert_silent(client, daemon)
        self.assertEqual(counted(daemon)["answers longer than the question dropped"], 4)

    def test_listed_peers_may_ask_with_fewer_bytes(self):
        daemon = self.daemon(config="""
[[listen]]
service = "stamp"
address = "127.0.0.1:0"
twamp_light = "127.0.0.1"
""")
        address = ("127.0.0.1", daemon.port("stamp", "udp"))
        client, stranger = self.datagram_socket(), self.datagram_socket(("127.0.0.2", 0))
        for size in (14, 40):
            client.sendto(question(7)[:size], address)
            self.assertEqual(Answer(client.recv(100)).sender_sequence, 7)
            stranger.sendto(question(7)[:size], address)
        client.sendto(question()[:13], address)
        self.assert_silent(client, daemon)
        self.assert_silent(stranger, daemon)


class FollowUp(StampTest):
    """TLV 7: when the kernel sent the answer before."""

    ASKED = bytes.fromhex("80070010") + bytes(16)

    def parse(self, packet):
        answer = Answer(packet)
        self.assertEqual(answer.tail[:4].hex(), "00070010")
        return answer, struct.unpack_from("!IQB", answer.tail, 4)

    def check_series(self, client, address):
        self.ask(client, address, 1)
        last = None  # the answer before, and when it had come
        for sequence in range(2, 30):
            client.sendto(question(sequence, self.ASKED), address)
            answer, (number, left, method) = self.parse(client.recv(100))
            if last is None:
                self.assertEqual((number, left, method), (0, 0, 0))  # nobody had asked the kernel
            else:
                self.assertEqual((number, method), (last[0].sequence, 2))
                self.assertLess(last[0].sent, left)
                self.assertLessEqual(left, last[1])
            last = answer, ntp(time.time())
        self.ask(client, address, 30)
        client.sendto(question(31, self.ASKED), address)
        self.assertEqual(self.parse(client.recv(100))[1], (0, 0, 0))  # the one before did not ask for it

    def test_it_is_the_time_of_the_kernel(self):
        _, address = self.serve("stamp", transport="udp")
        self.check_series(self.datagram_socket(), address)

    def test_it_is_the_time_of_the_kernel_over_ipv6_and_on_a_socket_for_both_families(self):
        if not socket.has_ipv6:
            self.skipTest("Python has no IPv6")
        port = self.daemon("--listen", "stamp=udp://*:0").port("stamp", "udp")
        self.check_series(self.datagram_socket(("::1", 0)), ("::1", port))
        self.check_series(self.datagram_socket(), ("127.0.0.1", port))

    def test_sessions_in_a_burst_are_told_about_their_own_answers_or_nothing(self):
        _, address = self.serve("stamp", transport="udp")
        clients = [self.datagram_socket() for _ in range(3)]
        for sequence in range(100):
            for client in clients:
                client.sendto(question(sequence, self.ASKED), address)
        for client in clients:
            answers = [self.parse(client.recv(100)) for _ in range(100)]
            end = ntp(time.time())
            for (before, _), (answer, (number, left, _)) in zip(answers, answers[1:]):
                if left:
                    self.assertEqual(number, answer.sequence - 1)
                    self.assertLess(before.sent, left)
                    self.assertLess(left, end)
            client.sendto(question(100, self.ASKED), address)
            self.assertEqual(self.parse(client.recv(100))[1][0], 99)

    @needs_root
    @needs_program("tc")
    def test_the_time_in_a_queue_before_the_device_is_part_of_it(self):
        enter_network(self)
        # 1042 bytes take 26 ms, but for the first. All answers wait behind all questions.
        shaped = subprocess.run("tc qdisc add dev lo root tbf rate 320kbit burst 1600 latency 20s".split(),
                                capture_output=True, text=True, check=False)
        if shaped.returncode:
            self.skipTest(f"this kernel limits no rate: {shaped.stderr.strip()}")
        _, address = self.serve("stamp", transport="udp")
        client = self.datagram_socket()
        padding = bytes.fromhex("80010380") + bytes(0x380)
        count = 20
        for sequence in range(count):
            client.sendto(question(sequence, self.ASKED + padding), address)
        answers = [self.parse(client.recv(2000)) for _ in range(count)]
        self.assertEqual([parsed for _, parsed in answers], [(0, 0, 0)] * count)  # none had left in time
        client.sendto(question(count, self.ASKED), address)
        _, (number, left, method) = self.parse(client.recv(100))
        self.assertEqual((number, method), (count - 1, 2))
        waited = (left - answers[-1][0].sent) / 2**32
        self.assertGreater(waited, 0.2)
        self.assertLess(left, ntp(time.time()))

    def test_it_goes_on_after_a_reload_that_takes_the_service_away_and_brings_it_back(self):
        config = '[[listen]]\nservice = "{}"\naddress = "udp://127.0.0.1:0"\n'
        daemon = self.daemon(config=config.format("stamp"))
        port = daemon.port("stamp", "udp")
        client = self.datagram_socket()
        self.check_series(client, ("127.0.0.1", port))
        for service in ("echo", "stamp"):
            self.reload(daemon, config.format(service))
        client = self.datagram_socket()
        for sequence in range(3):
            client.sendto(question(sequence, self.ASKED), ("127.0.0.1", port))
            parsed = self.parse(client.recv(100))
        self.assertEqual(parsed[1][0], 1)


class Clock(StampTest):
    CONFIG = '[[listen]]\nservice = "stamp"\naddress = "127.0.0.1:0"\nclock = "{}"\n'

    @staticmethod
    def kernel_error():
        """The kernel's maximum error in microseconds, or None if it may not be asked."""
        state = ctypes.create_string_buffer(512)  # struct timex of adjtimex(2)
        if ctypes.CDLL(None, use_errno=True).adjtimex(state) < 0:
            return None
        return struct.unpack_from("l", state, 24)[0]

    def test_answers_say_what_the_kernel_knows_of_the_clock(self):
        before = self.kernel_error()
        if before is None:
            self.skipTest("adjtimex is not permitted here")
        daemon = self.daemon(config=self.CONFIG.format("system"))
        answer = self.ask(self.datagram_socket(), ("127.0.0.1", daemon.port("stamp", "udp")),
                          tail=bytes.fromhex("8003000400000000"))
        after = self.kernel_error()
        multiplier, scale = answer.estimate & 0xff, answer.estimate >> 8 & 0x3f
        error_us = multiplier * 2**scale * 1e6 / 2**32
        # The estimate is rounded up to eight bits, and the kernel sets the error anew now and then.
        self.assertGreaterEqual(error_us, min(before, after))
        self.assertLessEqual(error_us, max(before, after) * 1.01 + 1)
        synchronized = answer.estimate >> 15
        self.assertIn(synchronized, {int(error < 16_000_000) for error in (before, after)})
        self.assertEqual(answer.tail[4], 1 if synchronized else 5)

    def test_a_sealed_process_refuses_to_begin_to_ask(self):
        daemon = self.daemon(config=self.CONFIG.format("unknown"))
        if "seccomp is off" in daemon.log():
            self.skipTest("the process is not sealed here")
        daemon.write_config(self.CONFIG.format("system"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log('clock = "system": adjtimex: Operation not permitted; permit this call')
        answer = self.ask(self.datagram_socket(), ("127.0.0.1", daemon.port("stamp", "udp")))
        self.assertEqual(answer.estimate, 0x3fff)


class Sessions(StampTest):
    def test_each_session_counts_its_answers(self):
        _, address = self.serve("stamp", transport="udp")
        one, other = self.datagram_socket(), self.datagram_socket()
        self.assertEqual([self.ask(one, address, 10 + i).sequence for i in range(3)], [0, 1, 2])
        self.assertEqual(self.ask(other, address).sequence, 0)
        self.assertEqual(self.ask(one, address, ssid=7).sequence, 0)
        self.assertEqual(self.ask(one, address).sequence, 3)

    def test_a_reflector_that_copies_has_the_sender_s_numbers(self):
        daemon = self.daemon(config='[[listen]]\nservice = "stamp"\naddress = "127.0.0.1:0"\nsequence = "copy"\n')
        client = self.datagram_socket()
        address = ("127.0.0.1", daemon.port("stamp", "udp"))
        self.assertEqual([self.ask(client, address, n).sequence for n in (7, 9, 8)], [7, 9, 8])

    def test_a_session_is_one_worker_s(self):
        _, address = self.serve("stamp", "--workers", "4", transport="udp")
        for _ in range(12):
            client = self.datagram_socket()
            self.assertEqual([self.ask(client, address, n).sequence for n in range(4)], list(range(4)))

    def test_a_reload_keeps_sessions_and_may_change_the_service(self):
        config = '[[listen]]\nservice = "{}"\naddress = "udp://127.0.0.1:0"\n{}'
        daemon = self.daemon(config=config.format("stamp", ""))
        address = ("127.0.0.1", daemon.port("stamp", "udp"))
        client = self.datagram_socket()
        self.assertEqual(self.ask(client, address).sequence, 0)
        self.reload(daemon, config.format("stamp", "dscp = 46\n"))
        self.assertEqual(self.ask(client, address).sequence, 1)
        self.reload(daemon, config.format("echo", ""))
        client.sendto(question(), address)
        self.assertEqual(client.recv(100)[16:], bytes(28))
        self.reload(daemon, config.format("stamp", ""))
        self.assertEqual(self.ask(client, address).sequence, 0)
        self.assertEqual(self.ask(client, address).sequence, 1)

    def test_a_full_table_serves_the_sessions_that_it_has(self):
        daemon = self.daemon(config='[[listen]]\nservice = "stamp"\naddress = "127.0.0.1:0"\nsessions_max = 1\n')
        address = ("127.0.0.1", daemon.port("stamp", "udp"))
        clients = [self.datagram_socket() for _ in range(8)]
        for count in range(2):
            for client in clients:
                self.assertEqual(self.ask(client, address).sequence, count)
            time.sleep(0.2)  # who asks again after 0.1 s is in use, and keeps its place
        late = self.datagram_socket()
        late.sendto(question(), address)
        self.assert_silent(late, daemon)
        self.assertEqual(counted(daemon)["questions without a place for their session"], 1)
        for client in clients:
            self.assertEqual(self.ask(client, address).sequence, 2)


class Refuses(StampTest):
    def test_the_answer_of_a_reflector_gets_none(self):
        daemon, address = self.serve("stamp", transport="udp")
        client = self.datagram_socket()
        client.sendto(question(), address)
        answer = client.recv(100)
        client.sendto(answer, address)
        self.assert_silent(client, daemon)
        self.assertEqual(counted(daemon)["answers of other reflectors"], 1)

    def test_an_estimate_with_the_multiplier_0_gets_no_answer(self):
        daemon, address = self.serve("stamp", transport="udp")
        client = self.datagram_socket()
        client.sendto(question(estimate=0x8500), address)
        self.assert_silent(client, daemon)
        self.assertEqual(counted(daemon)["questions with an invalid error estimate"], 1)

    def test_a_sender_that_wants_no_reply_gets_none(self):
        daemon, address = self.serve("stamp", transport="udp")
        client = self.datagram_socket()
        client.sendto(question(tail=bytes.fromhex("800a00088001000400000000")), address)
        self.assert_silent(client, daemon)
        self.assertEqual(self.ask(client, address).sequence, 0)


@needs_root
@needs_program("ip")
class Loops(StampTest):
    """Reflectors that a forged question sets upon each other."""

    A, B = "10.77.0.1", "10.77.0.2"

    def setUp(self):
        super().setUp()
        enter_network(self)
        for host in (self.A, self.B):
            add_address(f"{host}/32", "lo")

    def forge(self, source, target, payload):
        datagram = struct.pack("!HHHH", source[1], target[1], 8 + len(payload), 0) + payload
        packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, socket.IPPROTO_UDP, 0,
                             socket.inet_aton(source[0]), socket.inet_aton(target[0])) + datagram
        raw = self.keep(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        raw.sendto(packet, (target[0], 0))

    def test_two_reflectors_exchange_one_datagram(self):
        a = self.daemon("--listen", f"stamp=udp://{self.A}:862", "--listen", f"echo=udp://{self.A}:9007")
        b = self.daemon("--listen", f"stamp=udp://{self.B}:862")
        self.forge((self.B, 862), (self.A, 862), question())
        await_true(lambda: counted(b).get("answers of other reflectors") == 1, "the answer arrives at the other one")
        self.assertEqual(counted(a)["answered"], 1)
        self.assertEqual(counted(b)["answered"], 0)

    def test_a_reflector_that_answers_everything_gets_one_answer(self):
        daemon = self.daemon("--listen", f"stamp=udp://{self.A}:862")
        peer = self.datagram_socket((self.B, 862))
        self.forge((self.B, 862), (self.A, 862), question())
        answers = 0
        peer.settimeout(0.01)
        while answers < 10:
            try:
                packet = peer.recv(2000)
            except TimeoutError:
                if answers > 0 and daemon.sleeps():
                    break
                continue
            answers += 1
            peer.sendto(packet, (self.A, 862))
        self.assertEqual(answers, 1)
