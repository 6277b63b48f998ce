"""Names and their addresses, the same in all commands of `riposte`: how long a lookup may take, which address
is tried, and what is printed about addresses that belong to no host.
"""

import os
import socket
import unittest
from signal import SIGINT

import network
from client import Running, run, run_json
from names import Names
from patience import FACTOR
from peers import Backlog, TcpPeer, UdpPeer, bound, echo_datagram, echo_stream, has_ipv6

COMMANDS = (("send",), ("send", "-u"), ("ping", "-c", "1"), ("ping", "-u", "-c", "1"), ("load", "-n", "1"),
            ("load", "-u", "-n", "1"), ("status",))
KINDS = (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM))
REFUSED = {"tcp": "connection refused", "udp": r"port unreachable \(ICMP from 127\.0\.0\.2\)"}


class SilentNameServer(unittest.TestCase):
    """The name server receives the query and never answers. No test here judges times: a client that waited
    for the resolver's own limits, half a minute, would print another message."""

    def setUp(self):
        self.names = Names(self, {"here.test": ["127.0.0.1"]}, name_server="silent")

    def test_the_timeout_bounds_the_lookup_of_every_command(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                done = run(*command, "-W", "300ms", "dead.test", preexec=self.names.enter)
                self.assertEqual(
                    (done.returncode, done.stdout, done.stderr),
                    (2, "", "riposte: cannot resolve 'dead.test': the name service did not answer within "
                     "300ms; -W waits longer\n"))

    def test_the_timeout_bounds_the_lookup_of_a_source(self):
        done = run("send", "-W", "300ms", "--source", "dead.test", "127.0.0.1:9", preexec=self.names.enter)
        self.assertEqual(
            (done.returncode, done.stderr),
            (2, "riposte: --source: cannot resolve 'dead.test': the name service did not answer within "
             "300ms; -W waits longer\n"))

    def test_the_deadline_of_ping_bounds_the_lookup_too(self):
        for transport in ((), ("-u",)):
            done = run("ping", *transport, "-w", "300ms", "-W", "1h", "dead.test", preexec=self.names.enter)
            self.assertEqual(
                (done.returncode, done.stdout, done.stderr),
                (2, "", "riposte: cannot resolve 'dead.test': the name service did not answer within "
                 "300ms\n"))

    def test_all_names_of_ping_are_looked_up_at_once(self):
        # One after the other they would take minutes. One name is in the hosts file, and is measured.
        peer = UdpPeer(echo_datagram)
        self.addCleanup(peer.close)
        port = peer.endpoint.rpartition(":")[2]
        dead = [f"udp://dead{number}.test" for number in range(20)]
        done = run_json("ping", "-j", "-W", f"{round(6 * FACTOR)}s", "-c", "1", dead[0],
                        f"udp://here.test:{port}", *dead[1:], preexec=self.names.enter)
        self.assertEqual(done.returncode, 1, str(done))
        self.assertEqual([found["name"] for found in done.json["endpoints"]], [f"udp://here.test:{port}"])
        self.assertEqual(len(done.json["not_measured"]), 20)
        for name in dead:
            host = name.removeprefix("udp://")
            self.assertIn(f"riposte: cannot resolve '{host}': the name service did not answer within ",
                          done.stderr)

    def test_a_lookup_without_answer_leaves_time_for_the_others(self):
        # -w bounds the lookup, and half of it remains to measure the names that have an address.
        peer = UdpPeer(echo_datagram)
        self.addCleanup(peer.close)
        port = peer.endpoint.rpartition(":")[2]
        done = run_json("ping", "-j", "-W", "1h", "-w", f"{round(6 * FACTOR)}s", "-c", "1", "udp://dead.test",
                        f"udp://here.test:{port}", preexec=self.names.enter)
        self.assertEqual(done.returncode, 1, str(done))
        self.assertEqual(done.json["endpoints"][0]["counts"]["answered"], 1)

    def test_an_interrupt_ends_the_lookup_of_a_watch(self):
        with Running("status", "--watch", "-W", "1h", "dead.test", preexec=self.names.enter) as watch:
            watch.await_handlers()
            watch.signal(SIGINT)
            done = watch.finish()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", ""), str(done))

    def test_names_that_need_no_name_server_are_not_delayed(self):
        peer = UdpPeer(echo_datagram)
        self.addCleanup(peer.close)
        port = peer.endpoint.rpartition(":")[2]
        for host in ("127.0.0.1", "here.test"):
            done = run("send", "-4", f"udp://{host}:{port}", "x", preexec=self.names.enter)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "x", ""))


class Deadline(unittest.TestCase):
    def test_the_deadline_of_ping_bounds_the_choice_of_an_address(self):
        # The first address never answers a SYN, and may take half of -W: half an hour.
        names = Names(self, {"both.test": ["127.0.0.1", "127.0.0.2"]})
        queue = Backlog()
        self.addCleanup(queue.close)
        port = queue.endpoint.rpartition(":")[2]
        done = run_json("ping", "-4", "-j", "-w", "300ms", "-W", "1h", f"both.test:{port}",
                        preexec=names.enter)
        self.assertEqual((done.returncode, done.stderr), (1, ""), str(done))
        self.assertEqual(done.json["endpoints"][0]["address"], f"127.0.0.1:{port}")


class InTurn(unittest.TestCase):
    """A name with several addresses, which behave differently at the same port."""

    HOSTS = ("127.0.0.2", "127.0.0.3")

    def setUp(self):
        self.names = Names(self, {"both.test": self.HOSTS})

    def sockets(self, kind):
        """A socket at each address, all at the same port; and that port."""
        for _ in range(100):
            first = bound(kind, self.HOSTS[0])
            self.addCleanup(first.close)
            try:
                second = bound(kind, self.HOSTS[1], first.getsockname()[1])
            except OSError:
                continue
            self.addCleanup(second.close)
            return first, second, first.getsockname()[1]
        raise AssertionError("no port is free at both addresses")

    def client(self, *arguments, **keywords):
        return run(*arguments, preexec=self.names.enter, **keywords)

    def echo(self, server):
        self.addCleanup(UdpPeer(echo_datagram, listener=server).close)

    def test_a_datagram_goes_to_the_next_address_when_one_is_silent(self):
        _, second, port = self.sockets(socket.SOCK_DGRAM)
        self.echo(second)
        done = self.client("send", "-v", "-W", "6s", f"udp://both.test:{port}", "x")
        self.assertEqual((done.returncode, done.stdout), (0, "x"), str(done))
        self.assertRegex(
            done.stderr,
            rf"^connected to udp://127\.0\.0\.2:{port} from \S+\nsent 1 byte\n"
            rf"udp://127\.0\.0\.2:{port}: no answer after \d+\.\d ms\n"
            rf"connected to udp://127\.0\.0\.3:{port} from \S+\nsent 1 byte\n"
            rf"answer from 127\.0\.0\.3:{port}: 1 byte in \d+\.\d ms\ntimes: [^\n]+\n$")

    def test_v_reports_an_address_that_refused(self):
        for scheme, kind in KINDS:
            with self.subTest(scheme=scheme):
                first, second, port = self.sockets(kind)
                if scheme == "udp":
                    first.connect(("127.0.0.1", 9))  # keeps the port, and receives nothing from others
                    self.echo(second)
                else:
                    self.addCleanup(TcpPeer(echo_stream, listener=second).close)
                done = self.client("send", "-v", f"{scheme}://both.test:{port}", "x")
                self.assertEqual((done.returncode, done.stdout), (0, "x"), str(done))
                self.assertRegex(
                    done.stderr,
                    rf"(?m)^{scheme}://127\.0\.0\.2:{port}: {REFUSED[scheme]} after \d+\.\d ms$")

    def test_the_failure_of_each_address_is_reported(self):
        first, _, port = self.sockets(socket.SOCK_DGRAM)
        first.connect(("127.0.0.1", 9))
        for command in (("send",), ("load", "-n", "1")):
            done = self.client(*command, "-W", "300ms", f"udp://both.test:{port}")
            self.assertEqual((done.returncode, done.stdout), (1, ""), str(done))
            self.assertRegex(
                done.stderr,
                rf"^riposte: udp://both\.test:{port}: 127\.0\.0\.2:{port}: {REFUSED['udp']} in \S+ ms, "
                rf"127\.0\.0\.3:{port}: no answer after \d+ms; is riposted running there\? -W waits longer\n$")

    def test_the_only_address_of_a_name_is_reported_too(self):
        names = Names(self, {"one.test": ["127.0.0.2"]})
        for scheme, kind in KINDS:
            closed = self.enterContext(bound(kind, "127.0.0.2"))
            port = closed.getsockname()[1]
            if scheme == "udp":
                closed.connect(("127.0.0.1", 9))
            commands = [("send",), ("load", "-n", "1")] + ([("status",)] if scheme == "tcp" else [])
            for command in commands:
                done = run(*command, f"{scheme}://one.test:{port}", preexec=names.enter)
                self.assertEqual(done.returncode, 1, str(done))
                self.assertRegex(
                    done.stderr, rf"^riposte: {scheme}://one\.test:{port} \(127\.0\.0\.2:{port}\): "
                    rf"{REFUSED[scheme]} in \d+\.\d+ ms; is riposted running there\?\n$")

    def test_ping_and_load_measure_a_datagram_address_that_answers(self):
        _, second, port = self.sockets(socket.SOCK_DGRAM)
        self.echo(second)
        pinged = run_json("ping", "-j", "-c", "1", f"udp://both.test:{port}", preexec=self.names.enter)
        self.assertEqual(pinged.json["endpoints"][0]["address"], f"127.0.0.3:{port}")
        self.assertEqual(pinged.returncode, 0, str(pinged))
        loaded = run_json("load", "-j", "-n", "1", f"udp://both.test:{port}", preexec=self.names.enter)
        self.assertEqual(loaded.json["address"], f"127.0.0.3:{port}")
        self.assertEqual((loaded.returncode, loaded.json["counts"]["answered"]), (0, 1), str(loaded))


class Unknown(unittest.TestCase):
    """Some of several endpoints of ping have unknown names."""

    def setUp(self):
        self.names = Names(self, {"here.test": ["127.0.0.1"]})
        peer = UdpPeer(echo_datagram)
        self.addCleanup(peer.close)
        self.endpoint = f"udp://here.test:{peer.endpoint.rpartition(':')[2]}"

    def messages_about(self, *hosts):
        return "".join(rf"riposte: cannot resolve '{host}': .+\n" for host in hosts)

    def test_an_unknown_name_does_not_stop_the_others(self):
        done = run_json("ping", "-j", "-c", "3", "-i", "20ms", "udp://a.test", self.endpoint, "b.test:9",
                        preexec=self.names.enter)
        self.assertEqual((done.returncode, done.json["exit"]), (1, 1), str(done))
        self.assertRegex(done.stderr, rf"\A{self.messages_about('a.test', 'b.test')}\Z")
        self.assertEqual([(found["name"], found["counts"]["answered"]) for found in done.json["endpoints"]],
                         [(self.endpoint, 3)])
        self.assertEqual([missing["name"] for missing in done.json["not_measured"]],
                         ["udp://a.test:7001", "tcp://b.test:9"])
        for missing in done.json["not_measured"]:
            self.assertIn(f"riposte: {missing['error']}\n", done.stderr)

    def test_no_condition_lets_a_run_with_an_unknown_name_pass(self):
        done = run("ping", "-q", "-c", "1", "--fail-if", "errors>1", self.endpoint, "a.test",
                   preexec=self.names.enter)
        self.assertEqual(done.returncode, 1, str(done))
        self.assertIn(f"--- {self.endpoint} ping statistics ---", done.stdout)

    def test_if_all_names_are_unknown_nothing_is_measured(self):
        done = run("ping", "-j", "-c", "1", "a.test", "b.test", preexec=self.names.enter)
        self.assertEqual((done.returncode, done.stdout), (2, ""), str(done))
        self.assertRegex(done.stderr, rf"\A{self.messages_about('a.test', 'b.test')}\Z")


class NoSingleHost(unittest.TestCase):
    """Addresses that are not of a single host are reported before anything is sent."""

    def refused(self, *arguments, line, code=2):
        done = run(*arguments)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (code, "", f"riposte: {line}\n"))

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_a_link_local_address_needs_its_zone(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                scheme = "udp" if "-u" in command else "tcp"
                self.refused(*command, "[fe80::1]:9", line=f"{scheme}://[fe80::1]:9: fe80::1 is a link-local "
                             "address and needs a zone, the interface that leads to it; write "
                             "[fe80::1%eth0]:9 (`ip link` lists the interfaces)")
        self.refused("send", "--source", "fe80::1", "[::1]:9", line="--source: fe80::1 is a link-local address "
                     "and needs a zone, the interface that leads to it; write fe80::1%eth0 (`ip link` lists "
                     "the interfaces)")

    def test_a_broadcast_address_is_called_that(self):
        for command in COMMANDS:
            for host in ("255.255.255.255", "127.255.255.255"):
                with self.subTest(command=command, host=host):
                    scheme = "udp" if "-u" in command else "tcp"
                    self.refused(*command, f"{host}:9", line=f"{scheme}://{host}:9: {host} is a broadcast "
                                 "address, of all hosts of a network; write the address of one")

    def test_a_multicast_address_is_called_that(self):
        self.refused("send", "tcp://224.0.0.1:9", line="tcp://224.0.0.1:9: 224.0.0.1 is a multicast address, "
                     "of a group of hosts; TCP needs the address of one")
        network.enter_network(self)
        network.ip("route add 239.0.0.0/8 dev lo")
        self.refused("send", "-W", "100ms", "udp://239.1.2.3:9", code=1, line="udp://239.1.2.3:9: no answer "
                     "after 100ms; it is a multicast address, and hosts answer from their own")

    def test_the_other_addresses_of_a_name_are_tried(self):
        names = Names(self, {"mixed.test": ["127.255.255.255", "127.0.0.1"]})
        peer = UdpPeer(echo_datagram)
        self.addCleanup(peer.close)
        done = run("send", f"udp://mixed.test:{peer.endpoint.rpartition(':')[2]}", "x", preexec=names.enter)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "x", ""))


class WithoutIpv6(unittest.TestCase):
    """With IPv6 disabled by an administrator, an IPv6 address is unreachable, which is not a local error."""

    def setUp(self):
        network.enter_network(self)
        try:
            with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w", encoding="ascii") as switch:
                switch.write("1")
        except OSError:
            self.skipTest("no IPv6 on this machine")

    def test_an_ipv6_endpoint_does_not_stop_the_others_of_ping(self):
        for kind, options in ((TcpPeer, ()), (UdpPeer, ("-u",))):
            peer = kind(echo_stream if kind is TcpPeer else echo_datagram)
            self.addCleanup(peer.close)
            done = run_json("ping", "-j", *options, "-c", "1", "[::1]:9", peer.endpoint)
            self.assertEqual((done.returncode, done.stderr), (1, ""), str(done))
            counts = [found["counts"] for found in done.json["endpoints"]]
            self.assertEqual((counts[0]["unreachable"], counts[1]["answered"]), (1, 1))

    def test_an_ipv6_endpoint_is_unreachable(self):
        for command in (("send",), ("send", "-u"), ("load", "-n", "1"), ("status",)):
            done = run(*command, "[::1]:9")
            self.assertEqual(done.returncode, 1, str(done))
            self.assertRegex(done.stderr, r"^riposte: \S+: network is unreachable; .*\n$")


class Router(unittest.TestCase):
    """All commands react to a router's ICMP messages at once: otherwise they would wait for an hour. A router
    limits these to about one a second for each host, so every command has a network of its own."""

    def enter(self):
        """Enters a network with the router 10.9.0.2, which also has 10.200.0.1, and has no route to 10.99.0.0/16."""
        here = network.enter_network(self)
        there = network.enter_network(self)
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as forward:
            forward.write("1")
        network.enter(here)
        network.ip(f"link add one type veth peer name two netns /proc/{os.getpid()}/fd/{there}")
        network.ip("link set one up")
        network.enter(there)
        network.ip("link set two up")
        network.add_address("10.9.0.2/24", "two")
        network.add_address("10.200.0.1/32", "two")
        network.ip("route add unreachable 10.99.0.0/16")
        network.enter(here)
        network.add_address("10.9.0.1/24", "one")
        network.ip("route add default via 10.9.0.2")
        return here, there

    def test_no_route_to_host_is_reported(self):
        for command in (("send",), ("send", "-u"), ("load", "-n", "1"), ("load", "-u", "-n", "1"), ("status",)):
            with self.subTest(command=command):
                self.enter()
                done = run(*command, "-W", "1h", "10.99.0.1:9")
                self.assertEqual((done.returncode, done.stdout), (1, ""), str(done))
                self.assertRegex(
                    done.stderr, r"^riposte: (tcp|udp)://10\.99\.0\.1:9: host unreachable \(ICMP from 10\.9\.0\.2\); "
                    r"is the address right, and is there a route to it\?\n$")

    def test_probes_count_as_unreachable(self):
        for transport in ((), ("-u",)):
            self.enter()
            done = run_json("ping", "-j", "-c", "1", "-W", "1h", *transport, "10.99.0.1:9")
            counts = done.json["endpoints"][0]["counts"]
            self.assertEqual((done.returncode, counts["unreachable"], counts["sent"]), (1, 1, 1), str(done))

    def test_the_next_address_is_tried(self):
        names = Names(self, {"both.test": ["10.99.0.1", "10.200.0.1"]})
        here, there = self.enter()
        network.enter(there)
        peer = UdpPeer(echo_datagram, host="10.200.0.1")
        self.addCleanup(peer.close)
        network.enter(here)
        port = peer.endpoint.rpartition(":")[2]
        done = run("send", "-v", "-W", "1h", f"udp://both.test:{port}", "x", preexec=names.enter)
        self.assertEqual((done.returncode, done.stdout), (0, "x"), str(done))
        self.assertRegex(
            done.stderr,
            rf"(?m)^udp://10\.99\.0\.1:{port}: host unreachable \(ICMP from 10\.9\.0\.2\) after \d+\.\d ms$")


if __name__ == "__main__":
    unittest.main()
