"""In a guest: riposte on machines with two links, with policy routing, behind a router whose MTU changes, and in
VRFs. What went which way, netem's counters say."""

import subprocess
import unittest
from signal import SIGINT

from client import RIPOSTE, Done, Running, environment, parse_json
from daemon import RiposteTest, await_true, listen_section
from link import FORWARD
from namespaces import ip_batch
from netem_link import Wire, needs_guest, new_side, set_sysctl, snmp
from patience import RUN
from truth_case import PORT, RESPONDER

#: An address of the server that is on neither wire.
INNER4, INNER6 = "203.0.113.9", "fd00:99::9"
ENDPOINTS = {4: f"udp://{INNER4}:{PORT}", 6: f"udp://[{INNER6}]:{PORT}"}
COUNT = 40


class PathsCase(RiposteTest):
    """Two sides with any number of wires; riposted's echo has the inner addresses."""

    def open(self, wires, in_child=None):
        self.client = self.enterContext(new_side())
        self.server = self.enterContext(new_side())
        self.wires = []
        for number in range(1, wires + 1):
            self.wires.append(Wire(self.client, self.server, number))
            self.addCleanup(self.wires[-1].close)
        with self.server:
            ip_batch("link add inner type dummy", "link set inner up", f"address add {INNER4}/32 dev inner",
                     f"address add {INNER6}/128 dev inner nodad")
        for wire in self.wires:
            with wire.router:
                ip_batch(f"route add {INNER4} via {wire.ipv4[1]}", f"route add {INNER6} via {wire.ipv6[1]}")
        with self.server:
            self.echo = self.daemon(config=RESPONDER + "".join(
                listen_section("echo", f"{transport}://{host}:{PORT}")
                for host in ("0.0.0.0", "[::]") for transport in ("udp", "tcp")), in_child=in_child)

    def route(self, wire, word="add", table="main"):
        """The client's way to the inner addresses."""
        with self.client:
            ip_batch(f"route {word} {INNER4} via {wire.router4[0]} dev {wire.device} table {table}",
                     f"route {word} {INNER6} via {wire.router6[0]} dev {wire.device} table {table}")

    def start(self, *arguments):
        with self.client:
            return self.enterContext(Running(*arguments))

    def ping(self, *arguments, count=COUNT, **options):
        """The counts of a run."""
        client = self.start("ping", "-j", "-c", count, "-i", "5ms", "-W", "4s", *arguments, **options)
        return self.counts(client)

    @staticmethod
    def counts(client):
        return parse_json(client.finish()).json["endpoints"][0]["counts"]

    def crossed(self):
        """(passed, dropped) on the way to the server, of each wire."""
        return [(each.passed, each.dropped) for each in (wire.counters()[FORWARD] for wire in self.wires)]


@needs_guest
class SecondLink(PathsCase):
    def test_policy_routing_by_source(self):
        """The first link loses everything; --source selects the second one."""
        self.open(wires=2)
        first, second = self.wires
        self.route(first)
        self.route(second, table=2)
        with self.client:
            for family, source in (("-4", second.ipv4[0]), ("-6", second.ipv6[0])):
                subprocess.run(["ip", family, "rule", "add", "from", source, "table", "2"], check=True)
        first.change(FORWARD, "loss 100%")
        for family, source in ((4, second.ipv4[0]), (6, second.ipv6[0])):
            with self.subTest(family=family):
                before = self.crossed()
                self.assertEqual(self.ping(ENDPOINTS[family])["lost"], COUNT)
                between = self.crossed()
                self.assertEqual(self.ping("--source", source, ENDPOINTS[family])["answered"], COUNT)
                after = self.crossed()
                self.assertEqual(between, [(before[0][0], before[0][1] + COUNT), before[1]])
                self.assertEqual(after, [between[0], (between[1][0] + COUNT, between[1][1])])

    def test_a_link_that_fails_under_a_run(self):
        """Routing moves a running ping to the second link; what it lost is what the first one dropped."""
        for family in (4, 6):
            with self.subTest(family=family):
                self.open(wires=2)
                first, second = self.wires
                self.route(first)
                client = self.start("ping", "-j", "-i", "5ms", "-w", "60s", "-W", "4s", ENDPOINTS[family])
                self.await_crossed(client, 0, passed=10)
                first.change(FORWARD, "loss 100%")
                self.await_crossed(client, 0, dropped=10)
                self.route(second, "replace")
                self.await_crossed(client, 1, passed=10)
                client.signal(SIGINT)
                counts = self.counts(client)
                (passed, dropped), (passed_second, dropped_second) = self.crossed()
                self.assertEqual((counts["lost"], counts["late"]), (dropped, 0))
                self.assertEqual(counts["answered"], passed + passed_second)
                self.assertEqual((counts["sent"], dropped_second), (counts["answered"] + counts["lost"], 0))
                self.doCleanups()

    def await_crossed(self, client, number, passed=0, dropped=0):
        def enough():
            self.assertIsNone(client.poll(), "ping still runs")
            found = self.crossed()[number]
            return found[0] >= passed and found[1] >= dropped
        await_true(enough, f"{passed} passed and {dropped} dropped by wire {number}")

    def test_replies_leave_by_the_link_that_the_route_names(self):
        """Requests come on the first link and replies leave on the second one, from the address that was asked."""
        self.open(wires=2)
        first, second = self.wires
        self.route(first)
        with self.server:
            ip_batch(f"route add 198.51.100.7 via {second.router4[1]}")
        for wire in self.wires:
            with wire.router:
                ip_batch(f"route add 198.51.100.7 via {wire.ipv4[0]}")
        with self.client:
            ip_batch("address add 198.51.100.7/32 dev lo")
        counts = self.ping("--source", "198.51.100.7", ENDPOINTS[4])
        self.assertEqual(counts["answered"], COUNT)
        self.assertEqual([[each.passed for each in wire.counters()] for wire in self.wires],
                         [[COUNT, 0], [0, COUNT]])


@needs_guest
class PathMtu(PathsCase):
    SIZES = {4: 1472, 6: 1452}  # 1,500 with the headers

    def set_mtu(self, mtu):
        with self.wires[0].router:
            ip_batch(f"link set to_server mtu {mtu}")

    def open_path(self):
        self.open(wires=1)
        self.route(self.wires[0])
        with self.wires[0].router:  # else it reports one packet a second
            set_sysctl("ipv4/icmp_ratelimit", 0)
            set_sysctl("ipv6/icmp/ratelimit", 0)

    def test_an_mtu_that_falls_under_a_run(self):
        """With --df, no probe is lost silently: each that the router refuses is too big."""
        for family in (4, 6):
            with self.subTest(family=family):
                self.open_path()
                client = self.start("ping", "-j", "--df", "-s", self.SIZES[family], "-i", "10ms", "-w", "60s",
                                    ENDPOINTS[family])
                await_true(lambda: self.crossed()[0][0] >= 10, "10 probes have crossed")
                self.set_mtu(1400)
                await_true(lambda: self.refused(family) >= 10, "the router refuses 10")
                client.signal(SIGINT)
                done = parse_json(client.finish())
                found = done.json["endpoints"][0]
                self.assertEqual((found["path_mtu"], done.returncode), (1400, 1))
                self.assertEqual({name: found["counts"][name] for name in ("answered", "too_big", "lost",
                                                                           "unreachable")},
                                 {"answered": self.crossed()[0][0], "too_big": self.refused(family), "lost": 0,
                                  "unreachable": 0})
                self.doCleanups()

    def refused(self, family):
        return snmp(self.wires[0].router)["Ip.FragFails" if family == 4 else "Icmp6.OutPktTooBigs"]

    def test_an_mtu_that_rises_again(self):
        """This machine remembers the MTU of a path for ten minutes; with --df, ping asks the path."""
        for family in (4, 6):
            with self.subTest(family=family):
                self.open_path()
                arguments = ("--df", "-s", self.SIZES[family], ENDPOINTS[family])
                self.set_mtu(1400)
                self.assertEqual(self.ping(*arguments, count=3)["too_big"], 3)
                self.set_mtu(1500)
                self.assertEqual(self.ping(*arguments, count=3)["answered"], 3)
                self.doCleanups()


@needs_guest
class Vrf(PathsCase):
    """`ip vrf exec` binds every socket of a program to a VRF, by a BPF program of its control group."""

    def make_vrf(self, side, device):
        """Moves a device into the VRF "red" of a side. It keeps its addresses, but IPv6 needs to be told."""
        with side:
            set_sysctl(f"ipv6/conf/{device}/keep_addr_on_down", 1)
            ip_batch("link add red type vrf table 10", "link set red up", f"link set {device} master red")
            done = subprocess.run(["ip", "vrf", "exec", "red", "true"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def run_in_vrf(self, *arguments):
        command = ["ip", "vrf", "exec", "red", RIPOSTE, *map(str, arguments)]
        done = self.client.run(command, RUN, env=environment())
        return Done(arguments, done.returncode, done.stdout, done.stderr)

    def test_a_client_in_a_vrf(self):
        self.open(wires=1)
        wire = self.wires[0]
        self.make_vrf(self.client, wire.device)
        with self.client:
            ip_batch(f"route add {INNER4} via {wire.router4[0]} vrf red", f"route add {INNER6} via {wire.router6[0]} "
                     "vrf red")
        for family in (4, 6):
            for transport in ("udp", "tcp"):
                with self.subTest(family=family, transport=transport):
                    endpoint = ENDPOINTS[family].replace("udp", transport)
                    before = self.crossed()[0][0]
                    arguments = ("ping", "-j", "-c", COUNT, "-i", "5ms", endpoint)
                    outside = parse_json(self.start(*arguments).finish())
                    self.assertEqual(outside.json["endpoints"][0]["counts"]["answered"], 0)
                    self.assertEqual(self.crossed()[0][0], before)
                    inside = parse_json(self.run_in_vrf(*arguments))
                    self.assertEqual(inside.json["endpoints"][0]["counts"]["answered"], COUNT)
                    self.assertGreaterEqual(self.crossed()[0][0], before + COUNT)

    def test_interface_selects_a_vrf_or_a_device_in_it(self):
        self.open(wires=1)
        wire = self.wires[0]
        self.make_vrf(self.client, wire.device)
        with self.client:
            ip_batch(f"route add {INNER4} via {wire.router4[0]} vrf red", f"route add {INNER6} via {wire.router6[0]} "
                     "vrf red")
        for family in (4, 6):
            for name in ("red", wire.device):
                with self.subTest(family=family, name=name):
                    before = self.crossed()[0][0]
                    self.assertEqual(self.ping("-I", name, ENDPOINTS[family])["answered"], COUNT)
                    self.assertEqual(self.crossed()[0][0], before + COUNT)
                    done = self.start("ping", "-c", COUNT, "-i", "5ms", "-I", name,
                                      ENDPOINTS[family].replace("udp", "tcp")).finish()
                    self.assertEqual(done.returncode, 0, str(done))

    def test_interface_selects_the_second_link(self):
        """The routes go by the first link, which loses everything."""
        self.open(wires=2)
        first, second = self.wires
        self.route(first)
        with self.client:
            ip_batch(f"route add {INNER4} via {second.router4[0]} dev {second.device} metric 100",
                     f"route add {INNER6} via {second.router6[0]} dev {second.device} metric 2000")
        first.change(FORWARD, "loss 100%")
        for family in (4, 6):
            with self.subTest(family=family):
                before = self.crossed()
                self.assertEqual(self.ping("-I", second.device, ENDPOINTS[family])["answered"], COUNT)
                self.assertEqual(self.crossed(), [before[0], (before[1][0] + COUNT, before[1][1])])


if __name__ == "__main__":
    unittest.main()
