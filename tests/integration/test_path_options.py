"""Where the packets of ping, load and send go, and how they are marked: as they arrive at the other end of a link,
seen by a packet socket, and which of two ways they take.
"""

import contextlib
import os
import socket
import time
import unittest

import pytest

from capture import TCP, UDP, Capture
from client import RIPOSTE, Running, parse_json
from daemon import RiposteTest
from far_peer import far_peer
from link import FORWARD, Faults, Link
from patience import WAIT

NOBODY = 65534


def ip(side, *commands):
    for command in commands:
        done = side.run(["ip", *command.split()])
        if done.returncode != 0:
            raise AssertionError(f"ip {command}: {done.stderr}")


class PathTest(RiposteTest):
    @contextlib.contextmanager
    def link(self, **options):
        with Link(**options) as link:
            yield link

    def run_client(self, link, *arguments, code=0, **options):
        with link.client, Running(*arguments, **options) as client:
            done = client.finish()
        self.assertEqual(done.returncode, code, str(done))
        return done

    def refused(self, link, *arguments, **options):
        done = self.run_client(link, *arguments, code=2, **options)
        self.assertEqual(done.stdout, "", str(done))
        return done.stderr


#: A short run of each command.
COMMANDS = (("ping", "-c", "2", "-i", "20ms"), ("load", "-n", "20", "-c", "2"), ("send",))


class Marks(PathTest):
    def marks(self, capture, protocol):
        return {(each.dscp, each.ecn, each.ttl) for each in capture.packets(protocol) if not each.bare}

    def test_class_and_hop_limit_arrive_as_they_were_asked_for(self):
        for family in (4, 6):
            with self.link() as link, Capture(link.server, "side2") as capture:
                for transport, protocol in (("udp", UDP), ("tcp", TCP)):
                    with far_peer(link, transport, family) as endpoint:
                        for command in COMMANDS:
                            with self.subTest(family=family, transport=transport, command=command):
                                self.run_client(link, *command, "--dscp", "ef", "--ttl", "9", endpoint)
                                self.assertEqual(self.marks(capture, protocol), {(46, 0, 9)})
                                self.run_client(link, *command, endpoint)
                                self.assertEqual(self.marks(capture, protocol), {(0, 0, 64)})

    def test_df_forbids_fragments_for_each_command(self):
        with self.link() as link, Capture(link.server, "side2") as capture, far_peer(link, "udp") as endpoint:
            for command in COMMANDS:
                with self.subTest(command=command):
                    self.run_client(link, *command, "--df", endpoint)
                    self.assertEqual({each.df for each in capture.packets(UDP)}, {True})

    def test_the_document_names_the_options_in_force(self):
        with self.link() as link, far_peer(link, "udp") as endpoint:
            options = ("-I", "side1", "--source", link.client.ipv4 + ":40123", "--mark", "0x17", "--dscp", "af11",
                       "--ttl", "33", "--df")
            expected = {"interface": "side1", "source": link.client.ipv4, "source_port": 40123, "mark": 23,
                        "dscp": 10, "ttl": 33, "df": True}
            done = self.run_client(link, "ping", "-j", "-c", "1", *options, endpoint)
            self.assertEqual(parse_json(done).json["endpoints"][0]["path"], expected)
            done = self.run_client(link, "load", "-j", "-n", "10", "-c", "1", *options, endpoint)
            self.assertEqual(parse_json(done).json["path"], expected)
            done = self.run_client(link, "ping", "-j", "-c", "1", endpoint)
            self.assertNotIn("path", parse_json(done).json["endpoints"][0])


class Replies(PathTest):
    """What arrived: hop limit, DSCP and ECN of replies over UDP."""

    def mark(self, peer, family, hops, traffic_class):
        level, ttl, tos = ((socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TOS) if family == 4 else
                           (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, socket.IPV6_TCLASS))
        peer.setsockopt(level, ttl, hops)
        peer.setsockopt(level, tos, traffic_class)

    def test_the_header_of_replies_is_shown(self):
        for family in (4, 6):
            with self.subTest(family=family), self.link() as link:
                turns = [(57, 0xb8 | 3), (57, 0), (58, 1)]

                def answer(peer, data, client, family=family, turns=turns):
                    self.mark(peer, family, *turns[answer.count % len(turns)])
                    answer.count += 1
                    peer.sendto(data, client)

                answer.count = 0
                with far_peer(link, "udp", family, answer) as endpoint:
                    arguments = ("-c", "3", "-i", "20ms", "--dscp", "af11", endpoint)
                    done = self.run_client(link, "ping", *arguments)
                    self.assertIn(" seq=1 ttl=57 dscp=ef ecn=ce time=", done.stdout)
                    self.assertIn(" seq=2 ttl=57 time=", done.stdout)
                    self.assertIn(" seq=3 ttl=58 ecn=ect1 time=", done.stdout)
                    self.assertIn("\nreplies: ttl 57 to 58 (changed 1 time), dscp be, ef (sent af11),\n"
                                  "         1 marked as congested (ECN)\n", done.stdout)
                    done = parse_json(self.run_client(link, "ping", "-j", *arguments))
                    self.assertEqual(done.json["endpoints"][0]["replies"], {
                        "ttl": {"min": 57, "max": 58, "changes": 1}, "dscp": [0, 46],
                        "ecn": {"not_ect": 1, "ect1": 1, "ect0": 0, "ce": 1}})

    def test_over_tcp_there_is_no_single_header(self):
        with self.link() as link, far_peer(link, "tcp") as endpoint:
            done = parse_json(self.run_client(link, "ping", "-j", "-c", "1", endpoint))
            self.assertNotIn("replies", done.json["endpoints"][0])


class Ways(PathTest):
    @contextlib.contextmanager
    def two_ways(self):
        """A link and a detour, which a socket takes only if it is told to; a capture at the end of the detour."""
        with self.link() as link:
            link.detour()
            with Capture(link.server, "way2") as capture:
                yield link, capture

    def assert_detour(self, link, capture, family, endpoint, *options):
        detoured = set()  # their connections may end while the next run begins
        for command in COMMANDS:
            with self.subTest(family=family, command=command):
                self.run_client(link, *command, endpoint)
                straight = {each.source_port for each in capture.packets()} - detoured
                self.assertEqual(straight, set())
                self.run_client(link, *command, *options, endpoint)
                detoured |= {each.source_port for each in capture.packets()}
                self.assertGreater(len(detoured), 0)

    def test_the_interface_decides_which_way_packets_take(self):
        for family in (4, 6):
            with self.two_ways() as (link, capture):
                server, gateway = link.server.address(family), link.DETOUR[family][1]
                ip(link.client, f"-{family} route add {server} via {gateway} dev way1 metric 5000",
                   f"-{family} route add {server} via {'192.0.2.1' if family == 4 else 'fd00:1::1'} dev side1")
                for transport in ("udp", "tcp"):
                    with far_peer(link, transport, family) as endpoint:
                        self.assert_detour(link, capture, family, endpoint, "-I", "way1")

    def test_the_mark_decides_by_the_routing_policy(self):
        for family in (4, 6):
            with self.two_ways() as (link, capture):
                ip(link.client, f"-{family} route add default via {link.DETOUR[family][1]} dev way1 table 100",
                   f"-{family} rule add fwmark 0x17 table 100")
                for transport in ("udp", "tcp"):
                    with far_peer(link, transport, family) as endpoint:
                        self.assert_detour(link, capture, family, endpoint, "--mark", "23")

    def test_the_source_has_its_port(self):
        for family in (4, 6):
            with self.link() as link, Capture(link.server, "side2") as capture:
                address = link.client.address(family)
                source = f"{address}:40123" if family == 4 else f"[{address}]:40123"
                for transport, protocol in (("udp", UDP), ("tcp", TCP)):
                    with far_peer(link, transport, family) as endpoint:
                        # Twice each: a connection that has ended does not hold the port.
                        for command in (("ping", "-c", "2", "-i", "20ms"), ("load", "-n", "20", "-c", "1")) * 2:
                            with self.subTest(family=family, transport=transport, command=command):
                                self.run_client(link, *command, "--source", source, endpoint)
                                found = {(each.source, each.source_port) for each in capture.packets(protocol)}
                                self.assertEqual(found, {(address, 40123)})


class Refusals(PathTest):
    def test_an_interface_that_does_not_exist(self):
        with self.link() as link:
            for command in COMMANDS:
                for endpoint in ("tcp://203.0.113.2:9", "udp://203.0.113.2:9"):
                    self.assertEqual(
                        self.run_client(link, *command, "-I", "eth9", endpoint, code=2).stderr,
                        "riposte: --interface eth9: no such interface on this machine; `ip link` lists the "
                        "interfaces\n")

    def test_a_port_that_is_taken(self):
        with self.link() as link, link.client.socket(4, socket.SOCK_DGRAM) as taken:
            taken.bind((link.client.ipv4, 0))
            port = taken.getsockname()[1]
            for command in (COMMANDS[0], COMMANDS[1][:3] + ("-c", "1"), COMMANDS[2]):
                self.assertIn(
                    f"--source {link.client.ipv4}:{port}: address already in use; another socket has port {port}: "
                    f"choose another port (`ss -anp sport = {port}` shows whose it is)",
                    self.run_client(link, *command, "--source", f"{link.client.ipv4}:{port}", "udp://203.0.113.2:9",
                                    code=2).stderr)

    def test_an_address_of_another_machine(self):
        with self.link() as link:
            self.assertEqual(
                self.refused(link, "send", "--source", "203.0.113.2:5000", "udp://203.0.113.2:9"),
                "riposte: --source 203.0.113.2:5000: cannot assign requested address; it is not an address of this "
                "machine: `ip address` lists those\n")

    def test_what_needs_a_capability_says_so(self):
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can give up its capabilities")
        with self.link() as link:
            command = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "--inh-caps=-all", RIPOSTE, "send"]
            probe = link.client.run([*command[:-2], "test", "-x", RIPOSTE])
            if probe.returncode != 0:
                raise unittest.SkipTest(f"nobody may not start {RIPOSTE}")
            done = link.client.run([*command, "--mark", "1", "udp://203.0.113.2:9"])
            self.assertEqual((done.returncode, done.stdout, done.stderr), (
                2, "", "riposte: --mark 1: operation not permitted; it needs CAP_NET_ADMIN: run riposte with sudo, "
                "or give it that capability: setcap cap_net_admin+ep\n"))
            done = link.client.run([*command, "--source", f"{link.client.ipv4}:99", "udp://203.0.113.2:9"])
            self.assertEqual((done.returncode, done.stdout, done.stderr), (
                2, "", f"riposte: --source {link.client.ipv4}:99: permission denied; ports below 1024 need "
                "CAP_NET_BIND_SERVICE: choose a higher one, or run riposte with sudo\n"))


class TooBig(PathTest):
    SIZE = {4: 1472, 6: 1452}
    ROUTER = {4: ("ICMP", Link.ROUTER4), 6: ("ICMPv6", Link.ROUTER6)}

    def test_with_df_load_and_send_name_the_mtu_of_the_path(self):
        for family in (4, 6):
            protocol, router = self.ROUTER[family]
            says = f"too big: the path MTU is 1400 ({protocol} from {router})"
            with self.link(forward=Faults(mtu=1400)) as link, far_peer(link, "udp", family) as endpoint:
                done = self.run_client(link, "send", "--df", endpoint, "x" * self.SIZE[family], code=1)
                self.assertEqual((done.stdout, done.stderr),
                                 ("", f"riposte: {endpoint}: {says}; send less, or leave out --df\n"))
                done = self.run_client(link, "load", "--df", "-s", self.SIZE[family], "-n", "5", endpoint, code=1)
                self.assertIn(says, done.stderr)
                message = "x" * (self.SIZE[family] - 100)
                self.assertEqual(self.run_client(link, "send", "--df", endpoint, message).stdout, message)

    def test_with_df_load_counts_what_became_too_big(self):
        """The link is changed under a run: the first request fits."""
        with self.link() as link, far_peer(link, "udp") as endpoint:
            with link.client, Running("load", "-j", "--df", "-s", self.SIZE[4], "-r", "50", "-d", "2m", "-W", "300ms",
                                      "-c", "2", "--warmup", "0", endpoint) as client:
                self.await_packets(link, 20)
                link.change(forward=Faults(mtu=1400))
                self.await_packets(link, 60)
                client.signal(2)
                done = parse_json(client.finish())
            counts = done.json["counts"]
            self.assertGreater(counts["too_big"], 0, str(done))
            self.assertEqual((done.returncode, counts["sent"], counts["lost"]),
                             (1, counts["answered"] + counts["too_big"], 0), str(done))
            self.assertEqual((done.json["fragmented"], done.json["errors"][0]["mtu"]), (False, 1400))

    def await_packets(self, link, count):
        """Waits until the link has seen so many of the client's datagrams."""
        deadline = time.monotonic() + WAIT
        while len(link.log.select(FORWARD, UDP)) < count:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_with_df_the_mtu_of_this_machines_link_is_named(self):
        for family in (4, 6):
            with self.link(mtu=1400) as link, far_peer(link, "udp", family) as endpoint:
                says = "too big: the MTU of this machine's link is 1400"
                done = self.run_client(link, "send", "--df", endpoint, "x" * self.SIZE[family], code=2)
                self.assertEqual(done.stderr, f"riposte: {endpoint}: {says}; send less, or leave out --df\n")
                done = self.run_client(link, "load", "--df", "-s", self.SIZE[family], "-n", "5", endpoint, code=2)
                self.assertIn(says, done.stderr)

    def test_large_packets_on_a_large_link(self):
        for family in (4, 6):
            with self.link(mtu=9000) as link, far_peer(link, "udp", family) as endpoint:
                size = 9000 - (28 if family == 4 else 48)
                self.run_client(link, "ping", "-c", "2", "-i", "20ms", "--df", "-s", size, endpoint)
                done = self.run_client(link, "ping", "-c", "1", "--df", "-s", size + 1, endpoint, code=1)
                self.assertIn("too big: the MTU of this machine's link is 9000", done.stdout)


if __name__ == "__main__":
    pytest.main([__file__])
