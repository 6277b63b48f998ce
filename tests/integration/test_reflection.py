"""Forged datagrams: the daemon does not amplify them, does not loop on them, and does not answer those to groups."""

import contextlib
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time

import pytest

from daemon import (WAIT, RiposteTest, await_true, needs_ipv6, needs_program, needs_root)
from network import add_address, enter, enter_network, ip
from soak_report import report
from statistics_line import counted

pytestmark = pytest.mark.backends

FORGE = os.environ.get("FORGE", "build/tests/soak/forge")
SERVICES = ("hello", "echo", "discard", "daytime", "chargen", "time")
ETH_P_IP, PACKET_OUTGOING = 0x0800, 4


class Reflection(RiposteTest):
    def assert_counted(self, daemon, **expected):
        expected = {key.replace("_", " "): value for key, value in expected.items()}
        with contextlib.suppress(AssertionError):
            await_true(lambda: counted(daemon) == expected, "counted")
        self.assertEqual(counted(daemon), expected)


def forged(source, target, payload):
    """An IPv4 packet with a UDP datagram; `source` and `target` are (address, port)."""
    datagram = struct.pack("!HHHH", source[1], target[1], 8 + len(payload), 0) + payload
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, socket.IPPROTO_UDP, 0,
                       socket.inet_aton(source[0]), socket.inet_aton(target[0])) + datagram


@needs_root
@needs_program("ip")
class Loops(Reflection):
    """Two daemons on one host, each with an address and ports of its own."""

    A, B = "10.77.0.1", "10.77.0.2"

    def loop(self, service_a, port_a, service_b, port_b):
        """Sends A one forged datagram from B; returns how many are then seen between the two."""
        enter_network(self)
        for host in (self.A, self.B):
            add_address(f"{host}/32", "lo")
        a = self.daemon("--listen", f"{service_a}=udp://{self.A}:{port_a}")
        b = self.daemon("--listen", f"{service_b}=udp://{self.B}:{port_b}")
        wire = self.keep(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)))
        wire.bind(("lo", ETH_P_IP))
        raw = self.keep(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        raw.sendto(forged((self.B, port_b), (self.A, port_a), b"forged" * 10), (self.A, 0))
        await_true(lambda: counted(a)["received"] > 0, "the forged one arrives")
        # An honest request is answered; by then a loop would have gone round.
        client = self.datagram_socket((self.B, 0))
        for _ in range(20):
            client.sendto(b"x", (self.A, port_a))
            self.assertEqual(len(client.recv(10)), 1)
        seen = 0
        while select.select([wire], [], [], 0)[0]:
            packet, address = wire.recvfrom(2048)
            ports = struct.unpack("!HH", packet[20:24])
            if packet[9] == socket.IPPROTO_UDP and address[2] != PACKET_OUTGOING:
                seen += set(ports) == {port_a, port_b}
        return a, b, seen

    def test_a_loop_of_echo_and_echo_ends_with_the_first_datagram(self):
        a, b, seen = self.loop("echo", 7, "echo", 7)
        self.assertEqual(seen, 1)
        self.assertEqual(counted(a)["datagrams from ports served here"], 1)
        self.assertEqual(counted(b)["received"], 0)

    def test_a_loop_of_echo_and_chargen_ends_with_the_first_datagram(self):
        a, b, seen = self.loop("chargen", 19, "echo", 7)
        self.assertEqual(seen, 1)
        self.assertEqual(counted(a)["datagrams from reserved ports"], 1)
        self.assertEqual(counted(b)["received"], 0)

    def test_a_loop_on_unprivileged_ports_ends_with_the_first_datagram(self):
        a, b, seen = self.loop("echo", 7001, "echo", 7001)
        self.assertEqual(seen, 1)
        self.assertEqual(counted(a)["datagrams from ports served here"], 1)
        self.assertEqual(counted(b)["received"], 0)

    def test_a_datagram_from_the_daemon_s_own_address_is_not_answered(self):
        enter_network(self)
        add_address(f"{self.A}/32", "lo")
        daemon = self.daemon("--listen", f"echo=udp://{self.A}:7001")
        raw = self.keep(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        raw.sendto(forged((self.A, 7001), (self.A, 7001), b"land"), (self.A, 0))
        self.assert_counted(daemon, received=1, answered=0, datagrams_from_ports_served_here=1)


@needs_root
@needs_program("ip")
class Sources(Reflection):
    def setUp(self):
        super().setUp()
        enter_network(self)

    def answered(self, target, port, host="127.0.0.1"):
        """Sends a request from this port, then from another one, which always gets a reply; returns whether the
        first was answered."""
        client = self.datagram_socket((host, port))
        client.sendto(b"one", target)
        other = self.datagram_socket((host, 0))
        other.sendto(b"two", target)
        self.assertEqual(other.recv(10), b"two")
        answered = bool(select.select([client], [], [], 0)[0])
        client.close()
        return answered

    def test_reserved_ports_get_no_reply(self):
        daemon, target = self.serve("echo", transport="udp")
        self.assertEqual([self.answered(target, port) for port in (7, 123, 1023, 1024, 2049, 2050)],
                         [False, False, False, True, False, True])
        self.assert_counted(daemon, received=12, answered=8, datagrams_from_reserved_ports=4)

    @needs_ipv6
    def test_reserved_ports_get_no_reply_over_ipv6(self):
        _, target = self.serve("echo", transport="udp", host="[::1]")
        self.assertEqual([self.answered(target, port, "::1") for port in (1023, 1024, 2049)],
                         [False, True, False])

    def test_port_exempt_applies_to_reserved_ports_only_and_follows_a_reload(self):
        listen = '[[listen]]\nservice = "echo"\naddress = ["udp://127.0.0.1:7007"{}]\n'
        daemon = self.daemon(config=listen.format("") + '[datagrams]\nport_exempt = "127.0.0.2"\n')
        target = ("127.0.0.1", 7007)
        self.assertTrue(self.answered(target, 123, "127.0.0.2"))
        self.assertFalse(self.answered(target, 123, "127.0.0.3"))
        self.assertFalse(self.answered(target, 7007, "127.0.0.2"))
        self.assertTrue(self.answered(target, 7008, "127.0.0.2"))
        daemon.write_config(listen.format(', "udp://127.0.0.1:7008"'))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("reloaded: 2 listeners")
        self.assertFalse(self.answered(target, 7008, "127.0.0.2"))
        self.assertFalse(self.answered(target, 123, "127.0.0.2"))
        daemon.write_config(listen.format(""))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("reloaded: 1 listener$")
        self.assertTrue(self.answered(target, 7008, "127.0.0.2"))

    def test_the_port_of_an_inherited_socket_counts_as_served(self):
        inherited = self.datagram_socket(("127.0.0.1", 7301))
        other = self.datagram_socket(("127.0.0.1", 7302))
        self.daemon(sockets=[(inherited, "echo"), (other, "discard")])
        target = ("127.0.0.1", 7301)
        self.assertFalse(self.answered(target, 7302, "127.0.0.2"))
        self.assertTrue(self.answered(target, 7303, "127.0.0.2"))

    def test_impossible_addresses_get_no_reply(self):
        add_address("10.77.0.1/32", "lo")
        daemon = self.daemon("--listen", "echo=udp://10.77.0.1:7007")
        raw = self.keep(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        # The kernel accepts no other such source, on any interface.
        raw.sendto(forged(("255.0.0.1", 5000), ("10.77.0.1", 7007), b"x"), ("10.77.0.1", 0))
        raw.sendto(forged(("10.77.0.1", 0), ("10.77.0.1", 7007), b"x"), ("10.77.0.1", 0))
        client = self.datagram_socket(("10.77.0.1", 0))
        client.sendto(b"x", ("10.77.0.1", 7007))
        self.assertEqual(client.recv(10), b"x")
        # A client may have the reply before the daemon has counted it.
        await_true(lambda: counted(daemon)["answered"] == 1, "the reply is counted")
        account = counted(daemon)
        self.assertEqual(account["datagrams from reserved ports"], 1)
        self.assertEqual(account["received"], 2 + account.get("datagrams from addresses of no host", 0))


@needs_root
@needs_program("ip")
class Groups(Reflection):
    HOST, BROADCAST = "10.78.0.1", "10.78.0.255"

    def setUp(self):
        super().setUp()
        enter_network(self)
        ip("link add one type veth peer name two")
        ip(f"address add {self.HOST}/24 broadcast {self.BROADCAST} dev one")
        ip("link set one up")
        ip("link set two up")
        ip("route add default dev one")

    def ask_until_heard(self, daemon, asker, target):
        """An interface that was just set up may not accept packets yet."""
        before = counted(daemon)["received"]

        def heard():
            with contextlib.suppress(OSError):  # nor have a route yet
                asker.sendto(b"anybody?", target)
            return counted(daemon)["received"] > before
        await_true(heard, f"a datagram to {target[0]} arrives")

    def assert_all_but_one_refused(self, daemon):
        """The other end of the link receives packets to all hosts too, and returns them to this one a little later."""
        def seen():
            account = counted(daemon)
            return account["answered"], account["received"] - account["datagrams to broadcast or multicast"]
        with contextlib.suppress(AssertionError):
            await_true(lambda: seen() == (1, 1), "counted")
        self.assertEqual(seen(), (1, 1))

    def check(self, host, unheard=()):
        daemon = self.daemon("--listen", f"echo=udp://{host}:7007")
        client = self.datagram_socket((self.HOST, 0))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self.HOST))
        lo = self.datagram_socket(("127.0.0.1", 0))
        lo.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for asker, target in ((client, self.BROADCAST), (client, "255.255.255.255"),
                              (lo, "127.255.255.255"), (client, "224.0.0.1")):
            if target in unheard:
                asker.sendto(b"anybody?", (target, 7007))
            else:
                self.ask_until_heard(daemon, asker, (target, 7007))
        client.sendto(b"you", (self.HOST, 7007))
        self.assertEqual(client.recvfrom(20), (b"you", (self.HOST, 7007)))
        self.assert_all_but_one_refused(daemon)

    def test_broadcast_and_multicast_are_not_answered(self):
        self.check("0.0.0.0")

    @needs_ipv6
    def test_broadcast_and_multicast_are_not_answered_on_a_dual_stack_socket(self):
        self.check("*", ["224.0.0.1"])  # some kernels deliver no IPv4 multicast to an IPv6 socket

    @needs_ipv6
    def test_multicast_is_not_answered_over_ipv6(self):
        daemon = self.daemon("--listen", "echo=udp://*:7007")
        add_address("fd78::1/64", "one")
        client = self.datagram_socket(("fd78::1", 0))
        self.ask_until_heard(daemon, client, ("ff02::1", 7007, 0, socket.if_nametoindex("one")))
        client.sendto(b"you", ("fd78::1", 7007))
        self.assertEqual(client.recv(20), b"you")
        self.assert_all_but_one_refused(daemon)


class Amplification(Reflection):
    """For every service and every size, a reply is never longer than its request."""

    DAYTIME = re.compile(rb"\w+day, \w+ \d+, \d{4} \d\d:\d\d:\d\d-UTC\r\n")

    def answers(self, service, size, daytime):
        """The length of the reply to a request of this size, or None if there is none."""
        return {"hello": size, "echo": size, "discard": None,
                "daytime": daytime if size >= daytime else None, "chargen": min(size, 512),
                "time": 4 if size >= 4 else None}[service]

    def test_no_reply_is_longer_than_its_request(self):
        daemon = self.daemon(*(argument for service in SERVICES
                               for argument in ("--listen", f"{service}=udp://127.0.0.1:0")),
                             config="[datagrams]\nlonger_answers_to = []\n")
        client = self.datagram_socket()
        sizes = [*range(1501), 65507]
        client.sendto(b"?" * 100, ("127.0.0.1", daemon.port("daytime", "udp")))
        daytime = len(client.recv(1000))
        asked = answered = 0
        for service in SERVICES:
            target = ("127.0.0.1", daemon.port(service, "udp"))
            for start in range(0, len(sizes), 16):
                burst = sizes[start:start + 16]
                for size in burst:
                    client.sendto(b"?" * size, target)
                expected = [self.answers(service, size, daytime) for size in burst]
                expected = [size for size in expected if size is not None]
                received = [client.recv(70_000) for _ in expected]
                if service == "daytime":  # a date may become longer, but never longer than the request
                    self.assertTrue(all(self.DAYTIME.fullmatch(answer) for answer in received))
                else:
                    self.assertEqual([len(answer) for answer in received], expected, service)
                answered += len(received)
            asked += len(sizes)
        self.assertGreater(answered, 4 * 1000)
        await_true(lambda: [counted(daemon)[key] for key in ("received", "answered")] ==
                   [asked + 1, answered + 1], "all are counted")
        self.assert_silent(client, daemon)


    def test_addresses_that_cannot_be_forged_get_the_replies_of_the_rfcs(self):
        """Clients by RFC 867 and 868 send an empty datagram."""
        listen = [argument for service in ("time", "daytime", "echo")
                  for argument in ("--listen", f"{service}=udp://127.0.0.1:0")]
        daemon = self.daemon(*listen)
        client = self.datagram_socket()
        for _ in range(3):
            client.sendto(b"", ("127.0.0.1", daemon.port("time", "udp")))
            self.assertLess(abs(struct.unpack("!I", client.recv(100))[0] - 2_208_988_800 - time.time()), WAIT)
            client.sendto(b"", ("127.0.0.1", daemon.port("daytime", "udp")))
            self.assertRegex(client.recv(100), self.DAYTIME)
        daemon.signal(signal.SIGUSR1)
        daemon.wait_log("statistics: .*6 answers longer than the question")

    def test_only_the_configured_addresses_get_longer_replies(self):
        daemon = self.daemon("--listen", "time=udp://127.0.0.1:0",
                             config='[datagrams]\nlonger_answers_to = "127.0.0.2"\n')
        address = ("127.0.0.1", daemon.port("time", "udp"))
        permitted, other = self.datagram_socket(("127.0.0.2", 0)), self.datagram_socket()
        other.sendto(b"", address)
        other.sendto(b"?" * 3, address)
        permitted.sendto(b"", address)
        self.assertEqual(len(permitted.recv(100)), 4)
        await_true(lambda: counted(daemon)["received"] == 3, "all are counted")
        self.assertEqual(counted(daemon)["answered"], 1)
        self.assert_silent(other, daemon)


@needs_root
@needs_program("ip")
class Rates(Reflection):
    """A daemon in a network of its own, a link, and clients at its other end."""

    SERVER, CLIENT = "10.79.0.1", "10.79.0.2"
    FLOOD = 10_000

    def setUp(self):
        super().setUp()
        self.there = enter_network(self)
        self.here = enter_network(self)
        ip("link add wire type veth peer name server")
        ip(f"link set server netns /proc/{os.getpid()}/fd/{self.there}")
        add_address(f"{self.CLIENT}/24", "wire")
        ip("link set wire up")
        with self.inside():
            add_address(f"{self.SERVER}/24", "server")
            ip("link set server up")
            ip(f"route add default via {self.CLIENT}")
            for name in ("all", "server"):
                with open(f"/proc/sys/net/ipv4/conf/{name}/rp_filter", "w",
                          encoding="ascii") as file:
                    file.write("0")

    @contextlib.contextmanager
    def inside(self):
        enter(self.there)
        try:
            yield
        finally:
            enter(self.here)

    def start(self, datagrams=""):
        with self.inside():
            return self.daemon(config=daemon_config(self.SERVER, datagrams))

    def test_a_prefix_gets_at_most_its_rate_and_a_reload_changes_it(self):
        daemon = self.start("rate_per_prefix = 10\n")
        add_address("10.79.0.3/24", "wire")
        add_address("198.51.100.1/32", "wire")
        add_address("203.0.113.1/32", "wire")
        self.ask_until_answered(self.datagram_socket(("203.0.113.1", 0)))
        asked = await_true(lambda: self.balanced(daemon), "all are counted")
        clients = [self.datagram_socket((host, 0))
                   for host in (self.CLIENT, "10.79.0.3", "198.51.100.1")]
        for client in clients:
            for _ in range(200):
                client.sendto(b"x", (self.SERVER, 7007))

        def all_counted():
            account = self.balanced(daemon)
            return account if account and account["received"] == asked["received"] + 600 else None
        account = await_true(all_counted, "all are counted")
        # Two prefixes, a second's worth each, plus what becomes available while a slow machine sends.
        answered = account["answered"] - asked["answered"]
        self.assertGreaterEqual(answered, 20)
        self.assertLess(answered, 600)
        daemon.write_config(daemon_config(self.SERVER, f'rate_exempt = "{self.CLIENT}"\n'
                                          "rate_per_prefix = 10\n"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("reloaded: ")
        client = self.datagram_socket((self.CLIENT, 0))
        for _ in range(200):
            client.sendto(b"y", (self.SERVER, 7007))
        self.assertEqual([client.recv(10) for _ in range(200)], [b"y"] * 200)

    @staticmethod
    def balanced(daemon):
        """Its counters, once each received datagram is counted as answered or over the rate."""
        account = counted(daemon)
        return account if account["received"] == account["answered"] + account.get(
            "datagrams over their prefix's rate", 0) else None

    def dropped_by_the_kernel(self, daemon):
        """Datagrams that the kernel dropped because a queue was full: that of a socket, or of the link."""
        def look(process, device):
            with open(f"/proc/{process}/net/snmp", encoding="ascii") as file:
                names, values = (line.split() for line in file if line.startswith("Udp: "))
            with open(f"/proc/{process}/net/dev", encoding="ascii") as file:
                fields = next(line for line in file if line.lstrip().startswith(device + ":")).split()
            return int(dict(zip(names, values))["InErrors"]), int(fields[4]), int(fields[12])
        ours, here_in, here_out = look("thread-self", "wire")
        its, there_in, there_out = look(daemon.pid, "server")
        # Drops on the link are counted at one end, the other, or both.
        return ours + its + max(here_out, there_in) + max(there_out, here_in)

    def ask_until_answered(self, client):
        """A link that was just set up may not accept packets yet."""
        def answered():
            client.sendto(b"?", (self.SERVER, 7007))
            return select.select([client], [], [], 0.1)[0]
        await_true(answered, "the daemon answers")
        self.skip_arrived(client)

    @staticmethod
    def skip_arrived(client):
        while select.select([client], [], [], 0)[0]:
            client.recv(10)

    def flood(self, daemon, seconds, rate):
        """Sends forged datagrams at this rate beside an honest client that was known before and sends
        a hundred requests a second. Returns the times of its replies, how many there should be, how many
        datagrams were forged, and how many the kernel dropped. Checks that those that reached the daemon
        were answered."""
        dropped_before = self.dropped_by_the_kernel(daemon)
        client = self.datagram_socket((self.CLIENT, 0))
        self.ask_until_answered(client)
        target = (self.SERVER, 7007)
        for number in range(20):
            client.sendto(b"known %d" % number, target)
            while client.recv(10) != b"known %d" % number:
                pass
            time.sleep(0.002)
        forge = subprocess.Popen(
            [os.path.abspath(FORGE), *target[:1], "7007", str(seconds), str(rate)],
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(forge.stdout.close)
        sent, times, waiting = 0, [], {}

        def hear(seconds):
            if select.select([client], [], [], max(0, seconds))[0]:
                times.append(time.monotonic() - waiting.pop(int(client.recv(10))))
                return True
            return False

        def dropped():
            return self.dropped_by_the_kernel(daemon) - dropped_before
        while forge.poll() is None:
            due = waiting[sent] = time.monotonic()
            client.sendto(b"%d" % sent, target)
            sent += 1
            while hear(due + 0.01 - time.monotonic()):
                pass
        forged_count = int(re.match(r"sent (\d+) in", forge.stdout.read())[1])
        while len(waiting) > dropped() and hear(WAIT):
            pass
        while hear(0):
            pass
        self.assertLessEqual(len(waiting), dropped(), f"of {sent}")
        return times, sent, forged_count, dropped()

    def test_an_honest_client_loses_nothing_during_a_flood_of_forged_datagrams(self):
        """At the highest rate without kernel drops on this machine: the daemon never sees what the kernel drops."""
        daemon = self.start()
        seconds, rate = 2, 20_000
        while True:
            times, sent, forged_count, dropped = self.flood(daemon, seconds, rate)
            if dropped == 0 and forged_count > self.FLOOD:
                break
            seconds, rate = 2 * seconds, rate // 2 if dropped > 0 else rate
            self.assertLess(seconds, 60, f"{forged_count} were forged, {dropped} dropped")
        self.assertEqual(len(times), sent)
        self.assertGreater(sent, 10)

    def test_an_honest_client_loses_nothing_when_a_whole_core_forges(self):
        """Except for those that the kernel drops when the daemon lacks CPU time."""
        seconds, forged_count, times = 1, 0, []
        daemon = self.start()
        # Enough to call it a flood; and if the kernel dropped everything honest, nothing was tested.
        while forged_count < self.FLOOD or not times:
            seconds *= 2
            self.assertLess(seconds, 60, f"only {forged_count} were forged, {len(times)} answers came")
            times, sent, forged_count, dropped = self.flood(daemon, seconds, 0)
        p99 = sorted(times)[len(times) * 99 // 100]
        report({"scenario": "forged flood", "backend": self.backend, "forged": forged_count,
                "dropped_by_kernel": dropped, "peak_mib": None, "bound_mib": None, "fds_left": 0,
                "honest": {"udp": {"sent": sent, "answered": len(times), "p99_ms": 1000 * p99}}})


def daemon_config(host, datagrams):
    return (f'[[listen]]\nservice = "echo"\naddress = "udp://{host}:7007"\n'
            f"[datagrams]\n{datagrams}")
