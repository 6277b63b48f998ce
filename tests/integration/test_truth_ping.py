"""`riposte ping` over a link whose every fault is known (tests/support/link.py): each count equals that of the
link's log, exact to the packet, however the run ended, and each percentile is within 1% of that of the log, over
IPv4 and IPv6, UDP and TCP.
"""

import unittest
from signal import SIGINT, SIGTERM

from client import comment
from link import FORWARD, LOST, Faults
from truth import Datagrams, Streams
from truth_case import FIGURES, PORT, TIMEOUT, TruthCase, known_faults

#: The ways in which a run of ping ends, and after how many packets a signal ends it.
PING_ENDS = {"-c": (("-c", 250), None, 0), "-w": (("-w", "2500ms"), None, 0),
             "INT": ((), SIGINT, 250), "TERM": ((), SIGTERM, 250)}


class PingCounts(TruthCase):
    def check(self, family, end):
        forward, backward = known_faults(f"ping {family}")
        arguments, ended_by, seen = PING_ENDS[end]
        link = self.link(forward, backward)
        document, log = self.measure(
            link, "ping", "-j", "-i", "10ms", "-W", f"{TIMEOUT}s", *arguments,
            self.endpoint(link, "udp", family), ended_by=ended_by, seen=seen)
        found = document["endpoints"][0]
        truth = Datagrams(log, PORT).counts()
        comment(f"IPv{family}, {end}: {truth}")
        self.assert_counts(found["counts"], truth, undecided=0, stray=0)
        self.assertAlmostEqual(found["loss_percent"], 100 * truth["lost"] / truth["sent"])
        self.assertEqual(found["rtt"]["count"], truth["answered"])
        for name in ("lost", "corrupted", "wrong_size", "duplicated", "reordered"):
            self.assertGreater(truth[name], 0, f"this seed tries no {name}")

    def test_a_run_ended_by_count_over_ipv4(self):
        self.check(4, "-c")

    def test_a_run_ended_by_count_over_ipv6(self):
        self.check(6, "-c")

    def test_a_run_ended_by_deadline_over_ipv4(self):
        self.check(4, "-w")

    def test_a_run_ended_by_deadline_over_ipv6(self):
        self.check(6, "-w")

    def test_a_run_ended_by_sigint_over_ipv4(self):
        self.check(4, "INT")

    def test_a_run_ended_by_sigint_over_ipv6(self):
        self.check(6, "INT")

    def test_a_run_ended_by_sigterm_over_ipv4(self):
        self.check(4, "TERM")

    def test_deadline_and_count_give_the_same_loss(self):
        """With the same seed, for as many probes as were sent in that time."""
        for family in (4, 6):
            with self.subTest(family=family):
                lost = []
                arguments = ("-w", "2s")
                for _ in range(2):
                    link = self.link(Faults(loss=0.03), Faults(loss=0.03), seed=3)
                    document, log = self.measure(
                        link, "ping", "-j", "-i", "10ms", "-W", f"{TIMEOUT}s", *arguments, "--fail-if",
                        "loss>1%", self.endpoint(link, "udp", family), stderr=None)
                    counts = document["endpoints"][0]["counts"]
                    self.assertEqual(counts["lost"], sum(packet.fate == LOST for packet in log.packets))
                    self.assertEqual(document["exit"], 1)
                    lost.append((counts["sent"], counts["lost"]))
                    arguments = ("-c", counts["sent"])
                self.assertEqual(lost[0], lost[1])
                self.assertGreater(lost[0][1], 0)

    def test_late_replies(self):
        """-W is 1 s, and some replies come 2 s later than the others; the last probe is lost, seconds after them."""
        for family in (4, 6):
            with self.subTest(family=family):
                link = self.link(Faults(slow=[2, 5, 8], slow_ms=2000))
                document, log = self.measure(link, "ping", "-j", "-i", "500ms", "-W", "1s", "-c", "14",
                                             self.endpoint(link, "udp", family))
                truth = Datagrams(log, PORT, timeout_s=1).counts()
                self.assert_counts(document["endpoints"][0]["counts"], truth, undecided=0)
                self.assertGreaterEqual(truth["late"], 3)


class PingFigures(TruthCase):
    def check(self, family):
        jitter = {"delay_ms": 8, "jitter_ms": 5}
        link = self.link(Faults(**jitter), Faults(**jitter))
        document, log = self.measure(link, "ping", "-j", "-i", "5ms", "-W", f"{TIMEOUT}s", "-c", 500,
                                     self.endpoint(link, "udp", family))
        found = document["endpoints"][0]
        truth = Datagrams(log, PORT)
        self.assert_counts(found["counts"], truth.counts(), undecided=0)
        self.assertGreater(found["counts"]["reordered"], 0)
        self.assert_within(found["rtt"], truth.round_trips(), "rtt", (*FIGURES, "min", "max"))
        for name, bounds in (("ipdv", truth.inter_packet()), ("pdv", truth.round_trips().less_the_least())):
            self.assertEqual(found[name].get("count", len(bounds.pairs)), len(bounds.pairs))
            self.assert_within(found[name], bounds, name, (*FIGURES, "max"))

    def test_over_ipv4(self):
        self.check(4)

    def test_over_ipv6(self):
        self.check(6)


class PingStream(TruthCase):
    def check(self, end, forward, backward, family, count=150, interval="20ms"):
        arguments, ended_by, seen = PING_ENDS[end]
        arguments = ("-c", count) if end == "-c" else arguments
        link = self.link(forward, backward)
        document, log = self.measure(
            link, "ping", "-j", "-i", interval, "-W", f"{TIMEOUT}s", *arguments,
            self.endpoint(link, "tcp", family), ended_by=ended_by, seen=seen)
        return document["endpoints"][0], log

    def test_tcp_retransmissions_are_counted_and_no_probe_is_lost(self):
        for family in (4, 6):
            for end in ("-c", "-w", "INT"):
                with self.subTest(family=family, end=end):
                    lossy = Faults(subjects="payload", loss=[9, 30, 31, 60], delay_ms=1)
                    found, log = self.check(end, lossy, lossy, family)
                    truth = Streams(log, PORT, 56)
                    self.assert_counts(found["counts"], {
                        "sent": truth.sent, "answered": truth.answered, "lost": 0, "corrupted": 0,
                        "undecided": 0})
                    again = log.retransmits(FORWARD, PORT)
                    self.assertGreaterEqual(again, 3)
                    self.assertEqual(found["tcp"]["retransmits"], again)

    def test_damage(self):
        for family in (4, 6):
            with self.subTest(family=family):
                found, log = self.check("-c", Faults(subjects="payload", corrupt=[5, 40], corrupt_at=30),
                                        Faults(subjects="payload", corrupt=[20], corrupt_at=50), family, 60)
                self.assert_counts(found["counts"], {"sent": 60, "answered": 57, "corrupted": 3, "lost": 0})
                self.assertEqual(Streams(log, PORT, 56).sent, 60)

    def test_percentiles(self):
        """Probes are further apart than a round trip, because the kernel gives replies that wait together one time of
        arrival."""
        for family in (4, 6):
            with self.subTest(family=family):
                faults = Faults(delay_ms=10, jitter_ms=5, keep_order=True)
                found, log = self.check("-c", faults, faults, family, 100, "60ms")
                self.assertEqual(found["counts"]["answered"], 100)
                self.assert_within(found["rtt"], Streams(log, PORT, 56).round_trips(), "rtt")


if __name__ == "__main__":
    unittest.main()
