"""In a guest: delay and rate of the kernel's netem, load over it, and TCP's repairs. See test_netem.py."""

import unittest

from client import comment
from link import BACKWARD, FORWARD, TCP, TCP_FIN, Faults
from netem_case import ByLog, ByNetem, Conservation, NetemCase
from netem_link import needs_guest, snmp

CLEAN = ("", Faults())


@needs_guest
class Delays(NetemCase):
    """netem sends no packet before its time, so the least round trip has a bound that no busy machine breaks."""

    def setUp(self):
        super().setUp()
        self.link = self.open(ByNetem(CLEAN, CLEAN))

    def least(self, forward, backward, *arguments):
        for direction, faults in ((FORWARD, forward), (BACKWARD, backward)):
            self.link.wire.change(direction, faults)
        document = self.measure(self.link, "ping", "-j", "-c", 20, "-i", "30ms", *arguments)
        found = document["endpoints"][0]
        self.assertEqual(found["counts"]["answered"], 20)
        comment(f"{forward} / {backward}: {found['rtt']['min'] * 1e3:.3f} ms")
        return found["rtt"]["min"]

    def test_delay_is_in_the_round_trip_whichever_way_has_it(self):
        for transport in ("udp", "tcp"):
            for forward, backward in ((30, 0), (0, 30), (30, 12)):
                with self.subTest(transport=transport, forward=forward, backward=backward):
                    self.assertGreaterEqual(self.least(f"delay {forward}ms", f"delay {backward}ms",
                                                       self.endpoint(self.link, transport)),
                                            (forward + backward) / 1e3)

    def test_rate_is_in_the_round_trip_whichever_way_has_it(self):
        """A probe of 1000 bytes is 1042 with the headers of UDP, IP and Ethernet: 8.336 ms at 1 Mbit/s."""
        for forward, backward in (("rate 1mbit", "rate 0"), ("rate 0", "rate 1mbit")):
            with self.subTest(forward=forward, backward=backward):
                self.assertGreaterEqual(self.least(forward, backward, "-s", 1000, self.endpoint(self.link)),
                                        1042 * 8 / 1e6)


@needs_guest
class Repairs(NetemCase):
    """TCP loses no probe and no request, and what it sends again is what this side's kernel counts."""

    def open_and_run(self, faults, way, *arguments):
        link = self.open(ByNetem(*((faults, None), CLEAN)[::way]))
        document = self.measure(link, *arguments, self.endpoint(link, "tcp"))
        # A FIN passes netem, but its acknowledgement may be lost; riposte has read its figures before that.
        ends = [arrival.source_port for arrival in link.wire.arrivals(FORWARD)
                if arrival.protocol == TCP and arrival.tcp_flags & TCP_FIN]
        again = snmp(link.client)["Tcp.RetransSegs"] - (len(ends) - len(set(ends)))
        return document, again, link.counters()[way == -1].dropped

    def test_ping_counts_what_the_kernel_repeats(self):
        for faults in ("loss 15%", "corrupt 15%"):
            for way in (1, -1):
                with self.subTest(faults=faults, way=way):
                    document, again, dropped = self.open_and_run(faults, way, "ping", "-j", "-c", 80, "-i", "10ms",
                                                                 "-W", "60s")
                    found = document["endpoints"][0]
                    comment(f"{faults}: {dropped} dropped, {again} sent again")
                    self.assertEqual((found["counts"]["answered"], found["counts"]["lost"]), (80, 0))
                    self.assertEqual(dropped > 0, faults.startswith("loss"))
                    self.assertEqual(found["tcp"]["retransmits"], again)
                    if way == 1:
                        self.assertGreater(again, 0)

    def test_load_counts_what_the_kernel_repeats(self):
        document, again, dropped = self.open_and_run("loss 5%", 1, "load", "-j", "-n", 200, "-c", 4, "-W", "60s")
        self.assertEqual((document["counts"]["answered"], document["counts"]["lost"]), (200, 0))
        comment(f"{dropped} dropped, {again} sent again")
        self.assertGreater(dropped, 0)
        # The connection that checked whether the endpoint answers is not part of the run.
        self.assertLessEqual(document["tcp"]["retransmits"], again)
        self.assertGreater(document["tcp"]["retransmits"], 0)


@needs_guest
class Load(NetemCase):
    def check(self, kind, forward, backward, *arguments):
        link = self.open(kind(forward, backward))
        document = self.measure(link, "load", "-u", "-j", "--warmup", 0, "-W", "4s", *arguments,
                                self.endpoint(link))
        counts, books = document["counts"], Conservation(link)
        comment(f"{kind.__name__}: {counts}\n{books}")
        # Load begins with requests on a socket of their own, until one is answered, and does not count these.
        first = books.sent - counts["sent"]
        self.assertGreaterEqual(first, 1)
        self.assertEqual(counts["lost"] - counts["late"] + first - 1, books.gone)
        self.assertEqual(counts["answered"] + counts["late"] + 1, books.received)
        self.assertEqual(counts["answered"] + counts["lost"], counts["sent"])
        self.assertEqual(sum(books.copied), 0)
        return counts, books

    def test_an_open_loop_over_a_link_that_loses(self):
        loss = ("loss 10%", Faults(loss=0.1))
        for kind in (ByNetem, ByLog):
            for forward, backward in ((loss, CLEAN), (CLEAN, loss)):
                with self.subTest(kind=kind.__name__, forward=forward[0]):
                    _, books = self.check(kind, forward, backward, "-r", 300, "-n", 300)
                    self.assertEqual([dropped > 0 for dropped in books.dropped],
                                     [forward is loss, backward is loss])

    def test_a_link_that_is_too_slow_drops_what_its_queue_does_not_hold(self):
        """1500 requests of 242 bytes a second are 2.9 Mbit/s."""
        slow = ("rate 1mbit limit 30", Faults(rate_bits=1_000_000, queue=30))
        for kind in (ByNetem, ByLog):
            with self.subTest(kind=kind.__name__):
                _, books = self.check(kind, slow, CLEAN, "-r", 1500, "-n", 1500, "-s", 200)
                self.assertGreater(books.dropped[0], 0)


if __name__ == "__main__":
    unittest.main()
