"""Refusals, ICMP errors and silence told apart, by ping, load and send: what failed, who said so, how soon it was
said, and a hint that fits. The router is a namespace that forwards, and says what its routes tell it to say.
"""

import os
import socket
import threading
import unittest

import network
from client import run, run_json
from daemon import RiposteTest
from patience import WAIT
from peers import Backlog, TcpPeer, UdpPeer, closed_port, echo_datagram, spelled, swallow

KINDS = (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM))
MS = r"\d+\.\d+ ms"


class OnThisMachine(RiposteTest):
    def ping(self, *arguments):
        done = run_json("ping", "-j", "-c", "3", "-i", "20ms", *arguments)
        self.assertEqual((done.returncode, done.stderr), (1, ""), str(done))
        return done.json["endpoints"][0]

    def text(self, *arguments):
        done = run("ping", "-c", "3", "-i", "20ms", *arguments)
        self.assertEqual((done.returncode, done.stderr), (1, ""), str(done))
        return done.stdout

    def swallower(self):
        peer = TcpPeer(swallow)
        self.addCleanup(peer.close)
        return peer.endpoint

    def mute(self):
        """An endpoint that says nothing, not even at the end of what it was sent."""
        ended = threading.Event()
        peer = TcpPeer(lambda _: ended.wait(WAIT))
        self.addCleanup(peer.close)
        self.addCleanup(ended.set)
        return peer.endpoint

    def test_a_port_that_accepts_and_says_nothing(self):
        endpoint = self.swallower()
        self.assertEqual(self.ping("-W", "300ms", endpoint)["errors"],
                         [{"kind": "no_answer", "text": "no answer", "count": 3}])
        text = self.text("-W", "300ms", endpoint)
        self.assertRegex(text, rf"(?m)^connected in {MS}, no answer to seq=1 within 300ms$")
        self.assertIn("\ncauses: 3 connected, no answer\n", text)
        self.assertIn("\nthe port accepts connections, but nothing answers: is this the right service?\n", text)
        for command, line in (("send", "no answer after 300ms; -W"),
                              ("load", r"no answer after 300ms; is it the service that you meant\? -W")):
            done = run(command, "-W", "300ms", self.mute())
            self.assertEqual((done.returncode, done.stdout), (1, ""), str(done))
            self.assertRegex(done.stderr, rf"^riposte: tcp://\S+: connected in {MS}, {line} waits longer\n$")

    def test_a_port_that_neither_accepts_nor_refuses(self):
        endpoint = self.keep(Backlog()).endpoint
        self.assertEqual(self.ping("-W", "300ms", endpoint)["errors"],
                         [{"kind": "no_connection", "text": "no connection", "count": 3}])
        text = self.text("-W", "300ms", endpoint)
        self.assertIn("\nno connection for seq=1 within 300ms\n", text)
        self.assertIn("\ncauses: 3 no connection\n", text)
        self.assertIn("does a firewall drop it?", text)

    def test_a_port_that_refuses(self):
        said = {"tcp": (r" by 127\.0\.0\.1", "refused by 127.0.0.1", {"kind": "refused"}),
                "udp": (r": port unreachable \(ICMP from 127\.0\.0\.1\)",
                        "port unreachable (ICMP from 127.0.0.1)", {"kind": "icmp", "type": 3, "code": 3})}
        for scheme, kind in KINDS:
            with self.subTest(transport=scheme):
                line, cause, error = said[scheme]
                endpoint = spelled(scheme, self.keep(closed_port(kind)).getsockname())
                found = self.ping(endpoint)
                self.assertEqual(found["errors"], [error | {"from": "127.0.0.1", "text": cause, "count": 3}])
                self.assertEqual((found["counts"]["refused"], found["refusal"]["count"]), (3, 3))
                text = self.text(endpoint)
                self.assertRegex(text, rf"(?m)^seq=1 refused in {MS}{line}$")
                self.assertIn(f"\ncauses: 3 {cause}\n", text)
                self.assertIn("nobody listens there; is riposted running?", text)
                self.assertRegex(text, r"(?m)^refusal ")
                for command in ("send", "load"):
                    done = run(command, endpoint)
                    self.assertRegex(
                        done.stderr, rf"^riposte: {endpoint}: \w.* in {MS}; is riposted running there\?\n$")

    def test_the_comparison_says_what_failed(self):
        closed = spelled("tcp", self.keep(closed_port(socket.SOCK_STREAM)).getsockname())
        silent = self.swallower()
        peer = UdpPeer(echo_datagram)
        self.addCleanup(peer.close)
        done = run("ping", "-q", "-c", "2", "-i", "20ms", "-W", "300ms", peer.endpoint, closed, silent)
        self.assertTrue(done.stdout.endswith(
            f"\n{closed}: 2 refused by 127.0.0.1\n{silent}: 2 connected, no answer\n"), str(done))


class BehindARouter(unittest.TestCase):
    """Beyond 10.9.0.2 and fd09::2, which say by their routes: no route, prohibited. A router says little more than
    once a second to each host, so every command has a network of its own."""

    #: How the router's route is made, and what it then says: words, fate, type and code for IPv4 and IPv6.
    ROUTES = {"unreachable": (("host unreachable", 3, 1), ("no route to destination", 1, 0)),
              "prohibit": (("administratively prohibited", 3, 13), ("administratively prohibited", 1, 1))}

    def enter(self, kind):
        here = network.enter_network(self)
        there = network.enter_network(self)
        try:
            for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                with open(f"/proc/sys/net/{key}", "w", encoding="ascii") as forward:
                    forward.write("1")
        except OSError as problem:
            self.skipTest(f"this machine permits no forwarding: {problem}")
        network.enter(here)
        network.ip(f"link add one type veth peer name two netns /proc/{os.getpid()}/fd/{there}")
        network.ip("link set one up")
        network.enter(there)
        network.ip("link set two up")
        network.add_address("10.9.0.2/24", "two")
        network.add_address("fd09::2/64", "two")
        network.ip(f"route add {kind} 10.99.0.0/16")
        network.ip(f"-6 route add {kind} fd99::/64")
        network.enter(here)
        network.add_address("10.9.0.1/24", "one")
        network.add_address("fd09::1/64", "one")
        network.ip("route add default via 10.9.0.2")
        network.ip("-6 route add default via fd09::2")

    def cases(self):
        for kind, (v4, v6) in self.ROUTES.items():
            for options in ((), ("-u",)):
                yield kind, options, "10.99.0.1:9", "10.9.0.2", "ICMP", v4
                yield kind, options, "[fd99::1]:9", "fd09::2", "ICMPv6", v6

    def test_ping_says_what_the_router_said(self):
        for kind, options, endpoint, router, protocol, (words, number, code) in self.cases():
            with self.subTest(kind=kind, options=options, endpoint=endpoint):
                self.enter(kind)
                done = run_json("ping", "-j", "-c", "1", "-W", "1h", *options, endpoint)
                found = done.json["endpoints"][0]
                self.assertEqual((done.returncode, found["counts"]["unreachable"]), (1, 1), str(done))
                cause = f"{words} ({protocol} from {router})"
                self.assertEqual(found["errors"], [{
                    "kind": protocol.lower(), "type": number, "code": code, "from": router, "text": cause,
                    "count": 1}])
                self.enter(kind)
                done = run("ping", "-c", "1", "-W", "1h", *options, endpoint)
                self.assertIn(f"\nseq=1 unreachable: {cause}\n", done.stdout)
                hint = (f"a firewall at {router} prohibits it" if kind == "prohibit"
                        else f"{router} knows no way to it;")
                self.assertIn(f"\nno answer came: {hint}", done.stdout)

    def test_so_do_send_and_load(self):
        for kind, options, endpoint, router, protocol, (words, _, _) in self.cases():
            for command in (("send",), ("load", "-n", "1")):
                with self.subTest(kind=kind, command=command, options=options, endpoint=endpoint):
                    self.enter(kind)
                    done = run(*command, *options, "-W", "1h", endpoint)
                    self.assertEqual((done.returncode, done.stdout), (1, ""), str(done))
                    self.assertIn(f": {words} ({protocol} from {router})", done.stderr)

    def test_no_route_of_this_machine(self):
        network.enter_network(self)
        for options in ((), ("-u",)):
            done = run("ping", "-c", "1", *options, "10.99.0.1:9")
            self.assertEqual(done.returncode, 1, str(done))
            self.assertIn("\nseq=1 unreachable: no route on this machine\n", done.stdout)


if __name__ == "__main__":
    unittest.main()
