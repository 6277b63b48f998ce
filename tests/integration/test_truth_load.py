"""`riposte load` over a link whose every fault is known (tests/support/link.py): each count equals that of the
link's log, exact to the packet, however the run ended, and each percentile is within 1% of that of the log, over
IPv4 and IPv6, UDP and TCP.
"""

import unittest
from signal import SIGINT

from client import comment
from link import FORWARD, Faults
from truth import Datagrams, Streams
from truth_case import PORT, TIMEOUT, TruthCase, known_faults

SIZE = 64

#: The ways in which a run of load ends.
LOAD_ENDS = {"-n": (("-n", 600), None, 0), "-d": (("-d", "2s"), None, 0), "INT": (("-d", 0), SIGINT, 600)}


class LoadCounts(TruthCase):
    def check(self, family, end, *mode, **faults):
        forward, backward = known_faults(f"load {family}", last=20_000, **faults)
        arguments, ended_by, seen = LOAD_ENDS[end]
        link = self.link(forward, backward)
        document, log = self.measure(
            link, "load", "-u", "-j", "-c", 4, "--warmup", 0, "-W", f"{TIMEOUT}s", *mode, *arguments,
            self.endpoint(link, "udp", family), ended_by=ended_by, seen=seen)
        truth = Datagrams(log, PORT, first_sessions=1).counts()
        del truth["late"]
        comment(f"IPv{family}, {end} {' '.join(map(str, mode))}: {truth}")
        self.assert_counts(document["counts"], truth, undecided=0, unsent=0)
        self.assertEqual(document["latency_from_send"]["count"], truth["answered"])
        self.assertGreater(truth["lost"], 0)

    def test_an_open_loop(self):
        for family in (4, 6):
            for end in LOAD_ENDS:
                with self.subTest(family=family, end=end):
                    self.check(family, end, "-r", 300)

    def test_a_closed_loop(self):
        """The link holds nothing back here: a reply after a socket's timeout is lost, although it was delivered."""
        for family in (4, 6):
            for end in LOAD_ENDS:
                with self.subTest(family=family, end=end):
                    self.check(family, end, hold=[])

    def test_a_stream_of_requests(self):
        """Over TCP everything is answered in the end, and retransmissions are counted."""
        lossy = Faults(subjects="payload", loss=[40, 90, 200], delay_ms=1)
        for family in (4, 6):
            for end in LOAD_ENDS:
                with self.subTest(family=family, end=end):
                    arguments, ended_by, seen = LOAD_ENDS[end]
                    link = self.link(lossy, lossy)
                    document, log = self.measure(
                        link, "load", "-j", "-c", 4, "--warmup", 0, "-W", f"{TIMEOUT}s", *arguments,
                        self.endpoint(link, "tcp", family), ended_by=ended_by, seen=seen)
                    truth = Streams(log, PORT, SIZE, first_connections=1)
                    self.assert_counts(document["counts"], {
                        "sent": truth.sent, "answered": truth.answered, "lost": 0, "corrupted": 0,
                        "undecided": 0})
                    again = log.retransmits(FORWARD, PORT)
                    self.assertGreaterEqual(again, 2)
                    self.assertEqual(document["tcp"]["retransmits"], again)


class LoadFigures(TruthCase):
    def test_percentiles_over_udp(self):
        for family in (4, 6):
            for mode in (("-r", 200, "-n", 400), ("-c", 8, "-n", 400)):
                with self.subTest(family=family, mode=mode):
                    faults = Faults(delay_ms=8, jitter_ms=5)
                    link = self.link(faults, faults)
                    document, log = self.measure(link, "load", "-u", "-j", "--warmup", 0, "-W", f"{TIMEOUT}s",
                                                 *mode, self.endpoint(link, "udp", family))
                    truth = Datagrams(log, PORT, first_sessions=1)
                    self.assertEqual(document["counts"]["answered"], len(truth.probes))
                    self.assert_within(document["latency_from_send"], truth.round_trips(), "latency_from_send")

    def test_percentiles_over_tcp(self):
        faults = Faults(delay_ms=10, jitter_ms=5, keep_order=True)
        for family in (4, 6):
            with self.subTest(family=family):
                link = self.link(faults, faults)
                document, log = self.measure(link, "load", "-j", "-c", 8, "--warmup", 0, "-W", f"{TIMEOUT}s",
                                             "-n", 400, self.endpoint(link, "tcp", family))
                truth = Streams(log, PORT, SIZE, first_connections=1)
                self.assertEqual(document["counts"]["answered"], truth.answered)
                self.assert_within(document["latency_from_send"], truth.round_trips_by_turns(), "latency_from_send")


if __name__ == "__main__":
    unittest.main()
