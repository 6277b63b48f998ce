"""TCP retransmissions, exact to the packet by the link's log, and sizes that exceed the MTU of the path or of this
machine. Ping and load over a link of known faults, IPv4 and IPv6.
"""

import contextlib

import pytest

from client import Running, parse_json
from daemon import RiposteTest
from far_peer import far_peer
from link import FORWARD, TCP, Faults, Link, every

SYN = 2


class PathTest(RiposteTest):
    def run_client(self, link, *arguments):
        with link.client, Running(*arguments) as client:
            return client.finish()

    def run_json(self, link, *arguments):
        return parse_json(self.run_client(link, *arguments))

    @contextlib.contextmanager
    def echo(self, transport, family=4, **options):
        """A link, and the endpoint of an echo at its end."""
        with Link(**options) as link:
            with far_peer(link, transport, family) as endpoint:
                yield link, endpoint


def repeats(link):
    """The client's segments that repeat earlier ones, by the log."""
    seen = set()
    for packet in link.log.select(FORWARD, TCP):
        if packet.payload_length or packet.tcp_flags & SYN:
            key = (packet.source_port, packet.tcp_seq)
            if key in seen:
                yield packet
            seen.add(key)


def sent_again(link):
    """The number of retransmitted segments, and of SYNs among them."""
    again = list(repeats(link))
    return len(again), sum(bool(packet.tcp_flags & SYN) for packet in again)


class TcpRepairs(PathTest):
    def check(self, link, found, again, syns=0):
        link.settle()
        self.assertEqual(sent_again(link), (again, syns))
        self.assertEqual((found["retransmits"], found["handshake_retransmits"]), (again, syns))
        self.assertGreater(found["min_rtt"], 0)
        self.assertGreaterEqual(found["smoothed_rtt"], found["min_rtt"])
        self.assertGreater(found["segments_sent"], again)
        self.assertTrue(found["congestion"])

    def test_ping_counts_retransmissions(self):
        for family in (4, 6):
            for options, connections in (((), 1), (("--reconnect",), 6)):
                faults = Faults(subjects="payload", loss=[2, 5])
                with self.subTest(family=family, options=options), \
                        self.echo("tcp", family, forward=faults) as (link, endpoint):
                    done = self.run_json(link, "ping", "-j", "-c", "6", "-i", "20ms", *options, endpoint,
                                         "--fail-if", "retransmits>0")
                    found = done.json["endpoints"][0]
                    self.assertEqual((found["counts"]["answered"], found["counts"]["lost"]), (6, 0))
                    self.assertEqual(found["fail_if"], [
                        {"condition": "retransmits>0", "value": found["tcp"]["retransmits"], "met": True}])
                    self.assertEqual((done.returncode, found["tcp"]["connections"]), (1, connections))
                    link.settle()
                    again, syns = sent_again(link) # a busy peer lets handshakes wait
                    self.assertGreaterEqual(again - syns, 2)
                    self.check(link, found["tcp"], again, syns)

    def test_a_lost_syn(self):
        with self.echo("tcp", 4, forward=Faults(loss=[1])) as (link, endpoint):
            done = self.run_client(link, "ping", "-c", "1", endpoint)
            self.assertEqual(done.returncode, 0, str(done))
            self.assertRegex(done.stdout, r"(?m)^TCP: \d+ retransmits? of \d+ segments \(.*%\), 1 of SYN, min rtt ")

    def test_connections_that_are_never_established(self):
        with self.echo("tcp", 4, forward=Faults(loss=1.0)) as (link, endpoint):
            done = self.run_json(link, "ping", "-j", "-c", "1", "-W", "1500ms", endpoint)
            found = done.json["endpoints"][0]
            link.settle()
            again, syns = sent_again(link)
            self.assertGreaterEqual(again, 1)
            self.assertEqual((again, again), (syns, found["tcp"]["retransmits"]))
            self.assertEqual(found["errors"], [{"kind": "no_connection", "text": "no connection", "count": 1}])

    def test_a_link_without_loss(self):
        with self.echo("tcp", 4) as (link, endpoint):
            done = self.run_json(link, "ping", "-j", "-c", "3", "-i", "20ms", endpoint,
                                 "--fail-if", "retransmits>0")
            link.settle()
            again, _ = sent_again(link)  # a busy machine may be slow enough to cause some
            self.assertEqual((done.returncode, done.json["endpoints"][0]["tcp"]["retransmits"]),
                             (int(again > 0), again))

    def test_load_counts_retransmissions(self):
        for options in ((), ("--reconnect",)):
            with self.subTest(options=options), \
                    self.echo("tcp", 4, forward=Faults(subjects="payload", loss=every(50))) as (link, endpoint):
                done = self.run_json(link, "load", "-j", "-n", "200", "-c", "4", *options, endpoint)
                self.assertEqual(done.json["counts"]["answered"], 200, str(done))
                link.settle()
                # The connection that checked whether the endpoint answers is not part of the run.
                first = link.log.select(FORWARD, TCP)[0].source_port
                again = sum(1 for packet in repeats(link) if packet.source_port != first)
                self.assertGreater(again, 0)
                self.assertEqual(done.json["tcp"]["retransmits"], again)


class Sizes(PathTest):
    """1,472 bytes make a packet of 1,500 over IPv4, 1,452 over IPv6."""

    SIZE = {4: 1472, 6: 1452}
    ROUTER = {4: ("ICMP", Link.ROUTER4), 6: ("ICMPv6", Link.ROUTER6)}

    def test_with_df_a_probe_that_is_too_big_is_reported(self):
        for family in (4, 6):
            with self.subTest(family=family), self.echo("udp", family, forward=Faults(mtu=1400)) as (link, endpoint):
                arguments = ("ping", "-c", "3", "-i", "20ms", "--df", "-s", self.SIZE[family])
                protocol, router = self.ROUTER[family]
                done = self.run_client(link, *arguments, endpoint)
                self.assertEqual((done.returncode, done.stderr), (1, ""), str(done))
                self.assertIn(f"\nseq=1 too big: the path MTU is 1400 ({protocol} from {router})\n", done.stdout)
                self.assertIn("3 too big (100%)", done.stdout)
                done = self.run_json(link, *arguments, "-j", "--fail-if", "too_big>0", endpoint)
                found = done.json["endpoints"][0]
                self.assertEqual((done.returncode, found["counts"]["too_big"], found["path_mtu"],
                                  found["fragmented"]), (1, 3, 1400, False))
                # No fragment has crossed the link.
                self.assertFalse([packet for packet in link.log.select(FORWARD) if packet.fragment_offset])
                done = self.run_client(link, *arguments[:-1], self.SIZE[family] - 100, endpoint)
                self.assertEqual(done.returncode, 0, str(done))

    def test_without_df_fragmentation_is_reported(self):
        for family in (4, 6):
            with self.subTest(family=family), self.echo("udp", family, forward=Faults(mtu=1400)) as (link, endpoint):
                done = self.run_json(link, "ping", "-j", "-c", "4", "-i", "200ms", "-s", self.SIZE[family],
                                     endpoint)
                found = done.json["endpoints"][0]
                too_big, answered = (found["counts"][key] for key in ("too_big", "answered"))
                self.assertEqual((done.returncode, too_big + answered), (1, 4), str(done))
                self.assertGreater(min(too_big, answered), 0)
                self.assertEqual((found["fragmented"], found["path_mtu"]), (True, 1400))
                done = self.run_client(link, "ping", "-c", "1", "-s", self.SIZE[family], endpoint)
                self.assertEqual(done.returncode, 0, str(done))
                self.assertIn("\ndoes not fit without fragments: the path MTU is 1400; --df refuses fragments\n",
                              done.stdout)

    def test_load_and_send_use_fragments_and_load_says_so(self):
        for family in (4, 6):
            with self.subTest(family=family), self.echo("udp", family, forward=Faults(mtu=1400)) as (link, endpoint):
                done = self.run_client(link, "load", "-n", "50", "-s", self.SIZE[family], endpoint)
                self.assertEqual(done.returncode, 0, str(done))
                self.assertIn("note: a request does not fit without fragments: the path MTU is 1400", done.stdout)
            with self.echo("udp", family, forward=Faults(mtu=1400)) as (link, endpoint):
                message = "x" * self.SIZE[family]
                done = self.run_client(link, "send", endpoint, message)
                self.assertEqual((done.returncode, done.stdout), (0, message), str(done))

    def test_the_mtu_of_this_machines_link_is_reported(self):
        for family in (4, 6):
            with self.subTest(family=family), self.echo("udp", family, mtu=1400) as (link, endpoint):
                arguments = ("ping", "-c", "2", "-i", "20ms", "-s", self.SIZE[family])
                done = self.run_client(link, *arguments, "--df", endpoint)
                self.assertEqual((done.returncode, done.stderr), (1, ""), str(done))
                self.assertIn("\nseq=1 too big: the MTU of this machine's link is 1400\n", done.stdout)
                done = self.run_json(link, *arguments, "-j", endpoint)
                found = done.json["endpoints"][0]
                self.assertEqual((done.returncode, found["counts"]["answered"], found["fragmented"],
                                  found["path_mtu"]), (0, 2, True, 1400), str(done))


if __name__ == "__main__":
    pytest.main([__file__])
