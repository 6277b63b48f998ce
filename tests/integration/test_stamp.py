"""The reflector of STAMP (RFC 8762, RFC 8972) over the network."""

import fcntl
import hmac
import io
import os
import shutil
import signal
import socket
import struct
import tempfile
import time

import pytest

from daemon import RiposteTest, await_true, needs_program, needs_root
from manager import Manager
from network import add_address, enter_network
from statistics_line import counted

pytestmark = pytest.mark.backends

NTP_AT_1970 = 2_208_988_800
MULTIPLIER_1 = 0x0001
SSID = 0x1234
BASE = 44
IP_RECVTTL, IP_RECVTOS = 12, 13  # linux/in.h; Python does not have all of them


def ntp(seconds):
    return int((seconds + NTP_AT_1970) * 2**32) % 2**64


def question(sequence=0, tail=b"", estimate=MULTIPLIER_1, ssid=SSID):
    return struct.pack("!IQHH", sequence, ntp(time.time()), estimate, ssid) + bytes(28) + tail


class Answer:
    def __init__(self, packet):
        (self.sequence, self.sent, self.estimate, self.ssid, self.received, self.sender_sequence,
         self.sender_sent, self.sender_estimate, zeros, self.ttl) = struct.unpack_from("!IQHHQIQHHB", packet)
        assert zeros == 0 and packet[41:44] == bytes(3)
        self.tail = packet[BASE:]


class Stamp(RiposteTest):
    def ask(self, client, address, *arguments, **named):
        sent = question(*arguments, **named)
        client.sendto(sent, address)
        reply = client.recv(70_000)
        self.assertEqual(len(reply), len(sent))
        answer = Answer(reply)
        self.assertEqual((sent[:4], sent[4:12], sent[12:14], sent[14:16]),
                         (struct.pack("!I", answer.sender_sequence), struct.pack("!Q", answer.sender_sent),
                          struct.pack("!H", answer.sender_estimate), struct.pack("!H", answer.ssid)))
        return answer

    def reload(self, daemon, config):
        count = len(daemon.lines("reloaded: "))
        daemon.write_config(config)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("^riposted: reloaded: ", count=count + 1)


class Reflects(Stamp):
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


class Sessions(Stamp):
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
        daemon = self.daemon(config='[[listen]]\nservice = "stamp"\naddress = "127.0.0.1:0"\nsessions = 1\n')
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


class Refuses(Stamp):
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
class Loops(Stamp):
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


class Authenticated(Stamp):
    KEY = bytes(range(32))

    def key_file(self, content, mode=0o600, name="key"):
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)
        return path

    def config(self, path, more=""):
        return f'[[listen]]\nservice = "stamp"\naddress = "127.0.0.1:0"\nkey_file = "{path}"\n{more}'

    def signed(self, sequence, key=KEY, ssid=SSID):
        base = (struct.pack("!I", sequence) + bytes(12) + struct.pack("!QHH", ntp(time.time()), MULTIPLIER_1, ssid)
                + bytes(68))
        return base + hmac.digest(key, base, "sha256")[:16]

    def serve_with(self, config):
        daemon = self.daemon(config=config)
        return daemon, ("127.0.0.1", daemon.port("stamp", "udp"))

    def test_a_signed_question_gets_a_signed_answer_once(self):
        daemon, address = self.serve_with(self.config(self.key_file(self.KEY.hex().encode() + b"\n")))
        client = self.datagram_socket()
        sent = self.signed(5)
        client.sendto(sent, address)
        reply = client.recv(200)
        self.assertEqual(len(reply), 112)
        self.assertEqual(reply[96:], hmac.digest(self.KEY, reply[:96], "sha256")[:16])
        self.assertEqual((reply[48:52], reply[64:72]), (sent[:4], sent[16:24]))
        client.sendto(sent, address)
        client.sendto(reply, address)
        self.assert_silent(client, daemon)
        counts = counted(daemon)
        self.assertEqual(counts["authenticated questions seen before, or too old"], 1)
        self.assertEqual(counts["answers of other reflectors"], 1)

    def test_questions_without_a_valid_hmac_are_dropped_or_answered_openly(self):
        path = self.key_file(self.KEY.hex().encode())
        daemon, address = self.serve_with(self.config(path))
        client = self.datagram_socket()
        client.sendto(question(), address)
        client.sendto(self.signed(0, key=bytes(32)), address)
        self.assert_silent(client, daemon)
        self.assertEqual(counted(daemon)["questions without a valid HMAC"], 2)
        self.reload(daemon, self.config(path, 'authenticated = "accepted"\n'))
        self.assertEqual(self.ask(client, address).sequence, 0)
        client.sendto(self.signed(1), address)
        self.assertEqual(len(client.recv(200)), 112)

    def test_a_reload_reads_the_key_again(self):
        path = self.key_file(bytes(32).hex().encode())
        daemon, address = self.serve_with(self.config(path))
        client = self.datagram_socket()
        with open(path, "wb") as file:
            file.write(self.KEY.hex().encode())
        self.reload(daemon, self.config(path))
        client.sendto(self.signed(1), address)
        self.assertEqual(len(client.recv(200)), 112)

    def test_a_credential_of_systemd_is_a_key(self):
        path = self.key_file(self.KEY.hex().encode(), 0o400, "stamp")
        daemon = self.daemon(config=self.config("stamp"), environment={"CREDENTIALS_DIRECTORY": os.path.dirname(path)})
        client = self.datagram_socket()
        client.sendto(self.signed(1), ("127.0.0.1", daemon.port("stamp", "udp")))
        self.assertEqual(len(client.recv(200)), 112)

    def test_a_bad_key_file_is_refused_with_its_reason(self):
        for path, reason in (
                (self.key_file(bytes(32).hex().encode(), 0o604), "every user may read or write it"),
                (self.key_file(b"short"), "the key has 5 bytes, and must have at least 16"),
                (self.key_file(b"x" * 5000), "larger than 4KiB"),
                ("/nowhere/key", "No such file or directory"),
                ("/proc", "Is a directory"),
                ("stamp", "systemd passed no credentials")):
            daemon = self.daemon(config=self.config(path), ready=False)
            daemon.expected = (78,)
            self.assertEqual(daemon.wait(), 78, path)
            self.assertIn(reason, daemon.log())


class Restarts(Stamp):
    """Sessions live as long as the service manager keeps them."""

    def manager(self, **options):
        return Manager(self, services=(), datagrams=("stamp",), **options)

    def test_a_session_continues_in_the_next_process(self):
        manager = self.manager()
        manager.start()
        clients = [self.datagram_socket() for _ in range(20)]
        address = manager.address("stamp")
        for count in range(3):
            for client in clients:
                self.assertEqual(self.ask(client, address).sequence, count)
        for number, workers in enumerate((1, 4, 2)):
            daemon = manager.restart("--workers", str(workers))
            daemon.wait_log("^riposted: adopted 20 sessions of stamp$")
            self.assertEqual([name for name, _ in manager.stored], [])
            for client in clients:
                self.assertEqual(self.ask(client, address).sequence, 3 + number)

    def test_sessions_continue_on_sockets_of_our_own(self):
        manager = self.manager()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        listen = f"stamp=udp://127.0.0.1:{address[1]}"
        clients = [self.datagram_socket() for _ in range(20)]
        for count, workers in enumerate((3, 3, 1, 2)):
            if count:
                manager.stop()
            manager.start("--listen", listen, "--workers", str(workers), services=())
            for client in clients:
                self.assertEqual(self.ask(client, address).sequence, count)

    def test_without_sessions_nothing_is_stored(self):
        manager = self.manager()
        manager.start()
        manager.stop()
        self.assertEqual(manager.stored, [])

    def test_sessions_begin_anew_where_the_store_is_full_or_has_something_else(self):
        manager = self.manager(store=1)
        manager.start()
        client = self.datagram_socket()
        address = manager.address("stamp")
        self.assertEqual([self.ask(client, address).sequence for _ in range(3)], [0, 1, 2])
        manager.stop()
        other = os.memfd_create("other", os.MFD_ALLOW_SEALING)
        os.write(other, b"something else")
        fcntl.fcntl(other, fcntl.F_ADD_SEALS,
                    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
        manager.stored = [("stamp-sessions", io.FileIO(other))]
        daemon = manager.start()
        daemon.wait_log("^riposted: the sessions of stamp begin anew: another version of riposted wrote it$")
        self.assertEqual(manager.stored, [])
        self.assertEqual(self.ask(client, address).sequence, 0)
        manager.store_max = 0
        daemon = manager.restart()
        self.assertEqual(self.ask(client, address).sequence, 0)
