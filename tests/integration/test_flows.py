"""ping --flows over a bundle of two ways, of which the kernel chooses by the hash of the ports (ECMP): one way is the
link with its faults, the other has none. Which flows took the link is known from its log. Over UDP, and over TCP with
a connection for each flow or, with --connect, for each probe.
"""

import contextlib
import socket
import unittest

import pytest

from client import Running, parse_json
from daemon import RiposteTest
from far_peer import far_peer
from link import FORWARD, TCP, UDP, Faults, Link

FLOWS = 16
#: 100 probes of each flow.
RUN = ("ping", "-q", "-c", str(FLOWS * 100), "-i", "1ms", "--flows", FLOWS)


class FlowTest(RiposteTest):
    @contextlib.contextmanager
    def echo(self, family=4, transport="udp", handler=None, **options):
        with Link(**options) as link, far_peer(link, transport, family, handler) as endpoint:
            yield link, endpoint

    @contextlib.contextmanager
    def bundle(self, family, transport="udp", handler=None, **options):
        with self.echo(family, transport, handler, **options) as (link, endpoint):
            link.detour()
            policy = f"/proc/sys/net/ipv{family}/fib_multipath_hash_policy"
            with link.client:
                try:
                    with open(policy, "w", encoding="ascii") as file:
                        file.write("1")
                except OSError as problem:
                    raise unittest.SkipTest(f"this kernel chooses no way by the ports: {policy}: "
                                            f"{problem.strerror}") from None
            gateway = "192.0.2.1" if family == 4 else "fd00:1::1"
            done = link.client.run(
                ["ip", f"-{family}", "route", "add", link.server.address(family), "nexthop", "via", gateway, "dev",
                 "side1", "nexthop", "via", link.DETOUR[family][1], "dev", "way1"])
            self.assertEqual(done.stderr, "")
            yield link, endpoint

    def run_client(self, link, *arguments):
        with link.client, Running(*arguments) as client:
            return client.finish()

    def by_the_link(self, link):
        """The flows that took it: all of their probes, or none."""
        link.settle()
        counts = {}
        for packet in link.log.select(FORWARD, UDP):
            counts[packet.source_port] = counts.get(packet.source_port, 0) + 1
        self.assertEqual(set(counts.values()), {100})
        return sorted(counts)

    def found(self, link, endpoint, *options):
        done = parse_json(self.run_client(link, *RUN, "-j", *options, endpoint))
        return done, done.json["endpoints"][0]


class Bundles(FlowTest):
    def test_flows_over_the_member_that_loses_are_named_and_only_they(self):
        for family in (4, 6):
            with self.subTest(family=family), self.bundle(family, forward=Faults(loss=0.3)) as (link, endpoint):
                done, found = self.found(link, endpoint)
                bad = self.by_the_link(link)
                self.assertTrue(0 < len(bad) < FLOWS, bad)
                self.assertEqual([each["ports"] for each in found["flow_verdict"]["lossy"]], [bad], str(done))
                self.assertEqual(found["flow_verdict"]["others_loss_percent"], 0)
                self.assertEqual([flow["port"] for flow in found["flows"]], list(range(41000, 41000 + FLOWS)))
                for flow in found["flows"]:
                    self.assertEqual((flow["sent"], flow["unanswered"] > 0), (100, flow["port"] in bad))
                lost = sum(packet.fate == 2 for packet in link.log.select(FORWARD, UDP))
                self.assertEqual(sum(flow["unanswered"] for flow in found["flows"]), lost)

    def test_the_line_of_the_summary(self):
        with self.bundle(4, forward=Faults(loss=1.0)) as (link, endpoint):
            done = self.run_client(link, *RUN, "-W", "1s", endpoint)
            text = " ".join(done.stdout.split())
            self.assertRegex(text, r"flows? 41[\d, -]+ loses? 100%, all others 0%", str(done))
            self.assertNotIn("slower", text)

    def test_flows_over_the_member_that_is_slower_are_named_and_only_they(self):
        for family in (4, 6):
            with self.subTest(family=family), self.bundle(family, forward=Faults(delay_ms=12)) as (link, endpoint):
                done, found = self.found(link, endpoint)
                slow = found["flow_verdict"]["slow"]
                self.assertEqual([each["ports"] for each in slow], [self.by_the_link(link)], str(done))
                self.assertGreater(slow[0]["slower"], 0.011)
                self.assertEqual(found["flow_verdict"]["lossy"], [])

    def test_nothing_is_named_where_all_flows_fare_alike(self):
        with self.echo(forward=Faults(loss=0.05)) as (link, endpoint):
            done = self.run_client(link, *RUN, endpoint)
            self.assertIn(f"\nnone of {FLOWS} flows stands out\n", done.stdout, str(done))


class Connections(FlowTest):
    """Over TCP, which repairs losses: flows that lose show by what they send again."""

    @contextlib.contextmanager
    def judged(self, transport_options, family=4, handler=None, **faults):
        """The endpoint's document, and the ports of the flows that took the link."""
        with self.bundle(family, "tcp", handler, **faults) as (link, endpoint):
            done = parse_json(self.run_client(link, "ping", "-q", "-j", "--flows", FLOWS, *transport_options, endpoint))
            link.settle()
            bad = sorted({packet.source_port for packet in link.log.select(FORWARD, TCP)})
            self.assertTrue(0 < len(bad) < FLOWS, bad)
            found = done.json["endpoints"][0]
            self.assertEqual([flow["port"] for flow in found["flows"]], list(range(41000, 41000 + FLOWS)))
            yield found, bad

    def named(self, found, kind):
        return sorted(port for group in found["flow_verdict"][kind] for port in group["ports"])

    def test_flows_over_the_member_that_loses_are_named_and_only_they(self):
        with self.judged(("-c", FLOWS * 100, "-i", "5ms"), 4, forward=Faults(loss=0.25)) as (found, bad):
            self.assertEqual(self.named(found, "repairing"), bad)
            self.assertEqual(found["flow_verdict"]["others_loss_percent"], 0)
            self.assertEqual(found["connections"], FLOWS)
            self.assertEqual({flow["sent"] for flow in found["flows"]}, {100})

    def test_lost_replies_are_found_too(self):
        with self.judged(("-c", FLOWS * 100, "-i", "5ms"), 6, backward=Faults(loss=0.25)) as (found, bad):
            self.assertEqual(self.named(found, "repairing"), bad)

    def test_nothing_is_named_where_all_flows_lose_alike(self):
        with self.echo(transport="tcp", forward=Faults(loss=0.1)) as (link, endpoint):
            done = self.run_client(link, "ping", "-q", "-c", FLOWS * 80, "-i", "1500us", "-W", "400ms",
                                   "--flows", FLOWS, endpoint)
            self.assertIn(f"\nnone of {FLOWS} flows stands out\n", done.stdout, str(done))

    def test_lost_handshakes_are_lost_probes_of_their_flows(self):
        with self.judged(("--connect", "-c", FLOWS * 20, "-i", "10ms", "-W", "100ms"),
                         forward=Faults(loss=0.5)) as (found, bad):
            self.assertEqual(self.named(found, "lossy"), bad)
            self.assertEqual(found["flow_verdict"]["others_loss_percent"], 0)
            self.assertEqual(found["counts"]["local"], 0)  # each port was free again when its turn came

    def test_a_closed_port_refuses_all_flows_alike_in_its_time(self):
        with Link() as link, link.server.socket(4, socket.SOCK_STREAM) as closed:
            closed.bind((link.server.ipv4, 0))
            endpoint = f"tcp://{link.server.ipv4}:{closed.getsockname()[1]}"
            for options in ((), ("--connect", "-W", "18ms")):
                done = parse_json(self.run_client(link, "ping", "-j", "-c", "8", "-i", "5ms", "--flows", "4", *options,
                                                  endpoint))
                found = done.json["endpoints"][0]
                self.assertEqual([flow["refused"] for flow in found["flows"]], [2] * 4, str(done))
                self.assertEqual(found["flow_verdict"]["lossy"], [])
                self.assertEqual(found["refusal"]["count"], 8)

    def test_ports_are_free_again_at_once_for_the_next_run(self):
        with self.echo(transport="tcp") as (link, endpoint):
            for options in ((), (), ("--connect", "-W", "50ms"), ("--connect", "-W", "50ms"), ()):
                done = self.run_client(link, "ping", "-c", "9", "-i", "20ms", "--flows", "3", *options, endpoint)
                self.assertEqual((done.returncode, done.stderr), (0, ""), str(done))
                self.assertRegex(done.stdout, r"(?m)seq=8 port=41001 time=")

    def test_a_connection_of_another_program_with_the_same_ends_is_local_and_no_loss(self):
        with self.echo(transport="tcp") as (link, endpoint), link.client.socket(4, socket.SOCK_STREAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("0.0.0.0", 41001))
            other.connect((link.server.ipv4, int(endpoint.rpartition(":")[2])))
            done = self.run_client(link, "ping", "-c", "6", "-i", "5ms", "--flows", "3", endpoint)
            self.assertIn("this machine did not send a probe", done.stderr)
            self.assertIn("--source ADDR:PORT", done.stderr)
            self.assertRegex(done.stdout, r"(?m)seq=2 not sent: .* port=41001$")
            self.assertIn("\n6 sent, 4 answered, 0 lost (0%)", done.stdout, str(done))

    def test_a_flow_whose_connection_ends_begins_another_from_its_port(self):
        def answer_twice(connection):
            for _ in range(2):
                data = connection.recv(56)
                connection.sendall(data)

        with self.echo(transport="tcp", handler=answer_twice) as (link, endpoint):
            done = parse_json(self.run_client(link, "ping", "-j", "-c", "8", "-i", "200ms", "--flows", "2", endpoint))
            found = done.json["endpoints"][0]
            self.assertEqual([flow["answered"] for flow in found["flows"]], [4, 4], str(done))
            self.assertEqual(found["connections"], 4)


class Ports(FlowTest):
    def test_ports_are_the_same_in_each_run_or_begin_where_the_source_says(self):
        with self.echo() as (link, endpoint):
            for options, first in (((), 41000), ((), 41000), (("--source", link.client.ipv4 + ":50123"), 50123)):
                done = parse_json(self.run_client(
                    link, "ping", "-j", "-c", "6", "-i", "1ms", "--flows", "3", *options, endpoint))
                flows = done.json["endpoints"][0]["flows"]
                self.assertEqual([(flow["port"], flow["answered"]) for flow in flows],
                                 [(first, 2), (first + 1, 2), (first + 2, 2)])
            seen = [packet.source_port for packet in link.log.select(FORWARD, UDP)]
            self.assertEqual(seen[:6], [41000, 41001, 41002] * 2)

    def test_a_port_in_use_is_left_out_with_a_note(self):
        with self.echo() as (link, endpoint), link.client.socket(4, socket.SOCK_DGRAM) as taken:
            taken.bind(("0.0.0.0", 41001))
            done = self.run_client(link, "ping", "-c", "3", "-i", "1ms", "--flows", "3", endpoint)
            self.assertEqual((done.returncode, done.stderr),
                             (0, "riposte: --flows: port 41001 is in use and left out\n"), str(done))
            self.assertRegex(done.stdout, r"(?m)seq=1 port=41000 ttl=\d+ time=")
            self.assertRegex(done.stdout, r"(?m)seq=2 port=41002 ttl=\d+ time=")
            self.assertRegex(done.stdout, r"(?m)seq=3 port=41003 ttl=\d+ time=")


if __name__ == "__main__":
    pytest.main([__file__])
