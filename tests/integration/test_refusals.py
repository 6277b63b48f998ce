"""Ping, load and send distinguish refusals, ICMP errors and silence: they print what failed, which host reported
it, after what time, and a fitting hint. The router is a namespace that forwards, and sends the errors of its routes.
"""

import errno
import os
import socket
import threading
import unittest

import network
from client import run, run_json
from daemon import RiposteTest, limit_descriptors, refuse_system_calls
from patience import WAIT
from peers import Backlog, TcpPeer, UdpPeer, closed_port, echo_datagram, echo_stream, spelled, swallow

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

    def reader_that_never_replies(self):
        peer = TcpPeer(swallow)
        self.addCleanup(peer.close)
        return peer.endpoint

    def mute(self):
        """An endpoint that sends nothing, not even when the client has finished."""
        ended = threading.Event()
        peer = TcpPeer(lambda _: ended.wait(WAIT))
        self.addCleanup(peer.close)
        self.addCleanup(ended.set)
        return peer.endpoint

    def test_a_port_that_accepts_and_stays_silent(self):
        endpoint = self.reader_that_never_replies()
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
                self.assertIn("nothing listens there; is riposted running?", text)
                self.assertRegex(text, r"(?m)^refusal ")
                for command in ("send", "load"):
                    done = run(command, endpoint)
                    self.assertRegex(
                        done.stderr, rf"^riposte: {endpoint}: \w.* in {MS}; is riposted running there\?\n$")

    def test_the_comparison_shows_the_causes(self):
        closed = spelled("tcp", self.keep(closed_port(socket.SOCK_STREAM)).getsockname())
        silent = self.reader_that_never_replies()
        peer = UdpPeer(echo_datagram)
        self.addCleanup(peer.close)
        done = run("ping", "-q", "-c", "2", "-i", "20ms", "-W", "300ms", peer.endpoint, closed, silent)
        self.assertTrue(done.stdout.endswith(
            f"\n{closed}: 2 refused by 127.0.0.1\n{silent}: 2 connected, no answer\n"), str(done))


class BehindARouter(unittest.TestCase):
    """Behind 10.9.0.2 and fd09::2, whose routes report: no route, prohibited. A router sends little more than one
    error a second to each host, so every command has a network of its own."""

    #: The kind of the router's route, and what it then reports: words, type and code for IPv4 and IPv6.
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

    def test_ping_reports_the_routers_error(self):
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
                        else f"{router} has no route to it;")
                self.assertIn(f"\nno answer came: {hint}", done.stdout)

    def test_send_and_load_report_the_routers_error(self):
        for kind, options, endpoint, router, protocol, (words, _, _) in self.cases():
            for command in (("send",), ("load", "-n", "1")):
                with self.subTest(kind=kind, command=command, options=options, endpoint=endpoint):
                    self.enter(kind)
                    done = run(*command, *options, "-W", "1h", endpoint)
                    self.assertEqual((done.returncode, done.stdout), (1, ""), str(done))
                    self.assertIn(f": {words} ({protocol} from {router})", done.stderr)

    def test_a_missing_route_on_this_machine(self):
        network.enter_network(self)
        for options in ((), ("-u",)):
            done = run("ping", "-c", "1", *options, "10.99.0.1:9")
            self.assertEqual(done.returncode, 1, str(done))
            self.assertIn("\nseq=1 unreachable: no route on this machine\n", done.stdout)
            done = run_json("load", "-j", "-n", "1", *options, "10.99.0.1:9")
            self.assertEqual((done.returncode, done.json["counts"]["unreachable"]), (1, 1), str(done))
            self.assertEqual(done.json["errors"], [
                {"kind": "local", "text": "no route on this machine", "count": 1}])

    def test_an_address_without_a_host_on_the_link_is_unreachable(self):
        """No host on the link has the address: this machine's own kernel reports that by ICMP."""
        network.enter_network(self)
        network.ip("link add one type veth peer name two")
        network.ip("link set one up")
        network.ip("link set two up")
        network.add_address("10.9.0.1/24", "one")
        with open("/proc/sys/net/ipv4/neigh/one/retrans_time_ms", "w", encoding="ascii") as retransmission:
            retransmission.write("50")
        for options in ((), ("-u",)):
            for command in (("ping", "-c", "1"), ("load", "-n", "1")):
                done = run_json(*command, "-j", "-W", "1h", *options, "10.9.0.9:9")
                found = done.json["endpoints"][0] if command[0] == "ping" else done.json
                self.assertEqual((done.returncode, found["counts"]["unreachable"]), (1, 1), str(done))
                self.assertEqual(found["errors"][0]["text"], "host unreachable (ICMP from this machine)")


class RefusedByThisMachine(RiposteTest):
    """A packet that this machine does not send counts as `local`, not as lost, and the run continues."""

    SENDTO, SENDMMSG = {"x86_64": (44, 307)}.get(os.uname().machine, (206, 269))

    def ping(self, *arguments, **keywords):
        done = run_json("ping", "-j", *arguments, **keywords)
        self.assertEqual(done.returncode, 1, str(done))
        return done, done.json["endpoints"][0]

    def test_probes_and_requests_blocked_by_a_local_firewall_count_as_local(self):
        peer = UdpPeer(echo_datagram)
        self.addCleanup(peer.close)
        done, found = self.ping(
            "-c", "3", "-i", "20ms", peer.endpoint,
            preexec=refuse_system_calls((self.SENDTO,), errno.EPERM))
        self.assertEqual((found["counts"]["local"], found["counts"]["sent"]), (3, 3), str(done))
        self.assertNotIn("loss_percent", found)
        self.assertEqual(found["errors"], [
            {"kind": "local", "text": "prohibited by a firewall on this machine", "count": 3}])
        self.assertEqual(
            done.stderr, f"riposte: {peer.endpoint}: this machine did not send a probe: operation not permitted "
            "(such probes do not count as lost)\n")
        # The first request of load uses another system call than requests that are sent together.
        done = run_json("load", "-j", "-d", "300ms", "-c", "1", "--depth", "8", peer.endpoint,
                        preexec=refuse_system_calls((self.SENDMMSG,), errno.EPERM))
        self.assertEqual(done.returncode, 1, str(done))
        self.assertGreater(done.json["counts"]["local"], 0)
        self.assertEqual((done.json["counts"]["unreachable"], done.json["counts"]["lost"]), (0, 0), str(done))
        self.assertIn("some requests were not sent by this machine: operation not permitted\n", done.stderr)

    def test_the_text_reports_a_local_firewall_in_a_line_and_a_hint(self):
        done = run("ping", "-c", "1", "udp://127.0.0.1:9",
                   preexec=refuse_system_calls((self.SENDTO,), errno.EPERM))
        self.assertIn("\nseq=1 not sent: prohibited by a firewall on this machine\n", done.stdout)
        self.assertIn("\n1 not sent by this machine\n", done.stdout)
        self.assertIn("\nthis machine sent nothing: prohibited by a firewall on this machine\n", done.stdout)

    def limit_ports(self, count):
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as ports:
            ports.write(f"20000 {20000 + count - 1}")
        with open("/proc/sys/net/ipv4/tcp_tw_reuse", "w", encoding="ascii") as reuse:
            reuse.write("0")

    def test_a_lack_of_local_ports_counts_as_local(self):
        network.enter_network(self)
        silent = TcpPeer(swallow)
        self.addCleanup(silent.close)
        self.limit_ports(2)
        done, found = self.ping("--reconnect", "-c", "5", "-i", "10ms", "-W", "300ms", silent.endpoint)
        self.assertEqual((found["counts"]["lost"], found["counts"]["local"]), (2, 3), str(done))
        self.assertEqual(found["loss_percent"], 100)
        self.assertIn("; no local port is left: choose a longer -i\n", done.stderr)
        network.enter_network(self)
        peer = TcpPeer(echo_stream)
        self.addCleanup(peer.close)
        self.limit_ports(8)
        done = run_json("load", "-j", "--reconnect", "-c", "1", "-n", "20", "--warmup", "0", peer.endpoint)
        counts = done.json["counts"]
        self.assertEqual(done.returncode, 1, str(done))
        self.assertEqual((counts["answered"] + counts["local"], counts["sent"]), (20, 20), str(done))
        self.assertGreater(counts["local"], 0)
        self.assertEqual(done.json["loss_percent"], 0)
        self.assertIn("no local port was free for some connections", done.stderr)

    def test_a_lack_of_descriptors_counts_as_local(self):
        silent = TcpPeer(swallow)
        self.addCleanup(silent.close)
        done, found = self.ping("--reconnect", "-c", "40", "-i", "5ms", "-W", "400ms", silent.endpoint,
                                preexec=limit_descriptors(16))
        counts = found["counts"]
        self.assertGreater(counts["local"], 0)
        self.assertEqual(counts["lost"] + counts["local"], 40, str(done))
        self.assertIn("too many open files (such probes do not count as lost); choose a longer -i", done.stderr)

    def test_by_a_route(self):
        network.enter_network(self)
        network.ip("route add prohibit 10.99.0.0/16")
        for options in ((), ("-u",)):
            done, found = self.ping("-c", "1", *options, "10.99.0.1:9")
            self.assertEqual(found["counts"]["local"], 1, str(done))
            self.assertEqual(found["errors"][0]["text"], "prohibited by a route of this machine")
            for command in (("send",), ("load", "-n", "1")):
                done = run(*command, *options, "10.99.0.1:9")
                self.assertEqual(done.returncode, 2, str(done))
                self.assertIn("permission denied; does a local firewall forbid it?", done.stderr)


if __name__ == "__main__":
    unittest.main()
