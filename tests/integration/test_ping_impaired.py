"""`riposte ping` through a network that check_loss, copies, swaps, damages and delays by a schedule
(tests/support/impairment.py): its counts are exactly what the network did, and its figures are those
of its own lines.

The schedules are known before the client starts, and order never depends on the clock. Only whether a
reply is in time or late depends on it, with a margin: TIMEOUT for those in time; late ones are sent half
a second after TIMEOUT, and further probes keep the run from ending before they arrive.
"""

import math
import os
import random
import re
import unittest
from signal import SIGINT, SIGTERM

from client import SANITIZER, Running, comment, parse_json, run
from impairment import (Fate, TcpProxy, UdpProxy, clean, expected_counts, order_of_answers,
                        random_schedule)
from peers import UdpPeer, echo_datagram, wait_until

SEEDS = range(1, 13) if "RIPOSTE_SEED" not in os.environ else [int(os.environ["RIPOSTE_SEED"])]
TIMEOUT = 4 if SANITIZER == "none" else 8
TIMEOUT_MAX = 8 * TIMEOUT
PAYLOAD_BYTES = 56


def nearest_rank(values, percent):
    """The smallest value that at least `percent` % of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1]


class Impaired(unittest.TestCase):
    maxDiff = None

    timeout = TIMEOUT

    def patiently(self, action):
        """If the machine is so busy that the proxy itself is later than the timeout, the counts differ: the action is
        repeated with twice the timeout. A wrong count is wrong with any timeout."""
        while True:
            try:
                return action()
            except AssertionError:
                if self.timeout >= TIMEOUT_MAX:
                    raise
            self.timeout *= 2

    def proxy(self, schedule, **options):
        proxy = UdpProxy(schedule, self.timeout, **options)
        self.addCleanup(proxy.close)
        return proxy

    def start(self, proxy, *arguments, interval="10ms"):
        client = Running("ping", "-j", "-c", len(proxy.schedule), "-i", interval, "-W",
                         f"{self.timeout}s", "-s", PAYLOAD_BYTES, *arguments, proxy.endpoint)
        self.enterContext(client)
        return client

    @staticmethod
    def counts(done, expected):
        return {key: done.json["endpoints"][0]["counts"][key] for key in expected}

    def check(self, client, proxy, expected, code):
        done = parse_json(client.finish())
        self.assertEqual(self.counts(done, expected), expected, proxy.raw_log())
        self.assertEqual(done.returncode, code, str(done))
        return done

    def exactly(self, schedule, code=1, **expected):
        """One fault alone: checks these counts, and that all others are zero."""
        schedule = schedule + clean(3)
        want = expected_counts(clean(len(schedule)), PAYLOAD_BYTES)
        want["answered"] = len(schedule) - sum(
            expected.get(key, 0) for key in ("lost", "corrupted", "wrong_size"))
        want.update(expected)
        # The model that judges the seeded schedules must give the counts written by hand.
        self.assertEqual(expected_counts(schedule, PAYLOAD_BYTES), want)

        def measure():
            proxy = self.proxy(schedule)
            return self.check(self.start(proxy), proxy, want, code)
        return self.patiently(measure)


class OneFault(Impaired):
    def test_a_clean_path_has_no_fault(self):
        self.exactly(clean(20), code=0)

    def test_losses_on_the_way_there_and_back(self):
        self.exactly([Fate(drop=True, there=True), *clean(4), Fate(drop=True), Fate(drop=True)],
                     lost=3)

    def test_outages_are_runs_of_probes_in_the_order_in_which_they_were_due(self):
        # Outcomes become known in another order: a lost probe is given up after later ones are answered. A single
        # loss is no outage, and a damaged reply is no end of one.
        schedule = [Fate(), Fate(drop=True), Fate(), Fate(drop=True), Fate(flips=(30,)),
                    Fate(drop=True, there=True), Fate(), Fate(drop=True), Fate(drop=True), *clean(5)]

        def measure():
            proxy = self.proxy(schedule)
            done = parse_json(self.start(proxy).finish())
            found = done.json["endpoints"][0]
            self.assertEqual(self.counts(done, ("lost", "corrupted")), {"lost": 5, "corrupted": 1},
                             proxy.raw_log())
            self.assertEqual(found["outages"]["count"], 2)
            longest = found["outages"]["longest"]
            self.assertEqual((longest["probes"], longest["over"]), (3, True))
            self.assertAlmostEqual(longest["duration"], 0.03)
        self.patiently(measure)

    def test_an_outage_that_does_not_end_says_so(self):
        def measure():
            proxy = self.proxy([*clean(3), *[Fate(drop=True)] * 4])
            with self.start(proxy) as client:
                longest = parse_json(client.finish()).json["endpoints"][0]["outages"]["longest"]
            self.assertEqual((longest["probes"], longest["over"]), (4, False))
            text = run("ping", "-q", "-c", 7, "-i", "10ms", "-W", "500ms", self.proxy(proxy.schedule).endpoint)
            self.assertRegex(text.stdout, r"\n1 outage: 4 probes in a row, from [-\d]+ [:\d]+ UTC to the\s+end\n")
        self.patiently(measure)

    def test_copies_made_there_and_back(self):
        # One extra of the second, two extra of the third: correct replies are no failure.
        self.exactly([Fate(), Fate(copies=2, there=True), Fate(copies=3)], code=0, duplicated=3)

    def test_replies_that_arrive_after_those_to_later_probes(self):
        # 0 1 3 2 | 4 6 7 8 5 | 11 9 10: RFC 4737 calls 2, 5, 9 and 10 reordered.
        schedule = clean(12)
        schedule[2].hold, schedule[5].hold, schedule[9].hold, schedule[10].hold = 1, 3, 2, 1
        self.assertEqual(order_of_answers(schedule), [0, 1, 3, 2, 4, 6, 7, 8, 5, 11, 9, 10])
        self.exactly(schedule, code=0, reordered=4)

    def test_a_swapped_copy_counts_as_a_duplicate_and_not_as_reordered(self):
        # Both copies arrive late; the first counts as reordered, the second as a duplicate.
        self.exactly([Fate(), Fate(copies=2, hold=2), Fate(), Fate()], code=0, duplicated=1,
                     reordered=1)

    def test_damage_anywhere(self):
        # Magic, session, sequence number (high and low byte), time of sending, pattern, last byte.
        for there in (True, False):
            with self.subTest(there=there):
                self.exactly([Fate(flips=(offset,), there=there)
                              for offset in (0, 3, 4, 8, 15, 16, 23, 24, 55)], corrupted=9)

    def test_damage_to_a_fifth_of_the_bytes(self):
        self.exactly([Fate(flips=tuple(range(0, 55, 5))), Fate(flips=tuple(range(11)))],
                     corrupted=2)

    def test_replies_cut_and_extended(self):
        self.exactly([Fate(size=24), Fate(size=55), Fate(size=30, there=True), Fate(size=57),
                      Fate(size=1400, there=True)], wrong_size=5)

    def test_empty_replies_belong_to_no_probe(self):
        self.exactly([Fate(), Fate(size=0), Fate(), Fate(size=0, there=True)], lost=2, stray=2)

    def test_datagrams_that_answer_no_probe(self):
        self.exactly([Fate(), Fate(stray=True), Fate(), Fate(stray=True, hold=1), Fate()], code=0,
                     stray=2, reordered=1)

    def test_a_reply_after_the_timeout_is_late_and_its_probe_stays_lost(self):
        schedule = [Fate(), Fate(late=True), Fate(late=True, there=True)] + clean(10)
        proxy = self.proxy(schedule + [Fate(drop=True)])
        want = expected_counts(proxy.schedule, PAYLOAD_BYTES)
        self.assertEqual({key: count for key, count in want.items() if count},
                         {"sent": 14, "answered": 11, "lost": 3, "late": 2, "reordered": 2})
        # The last one is sent once the late ones have arrived.
        self.check(self.start(proxy, interval=f"{125 * self.timeout}ms"), proxy, want, 1)


class Ends(Impaired):
    """However a run ends, replies that did not arrive are lost: in the counts, the exit status, --fail-if
    and the text, exact to the datagram."""

    COUNT = 100

    def lossy(self, percent, seed=15):
        """As many fates as any run needs. The latest probes are lost as often as all others."""
        chance = random.Random(f"{seed} {percent}")
        fates = [Fate(drop=chance.random() * 100 < percent, there=chance.random() < 0.5)
                 for _ in range(200_000)]
        for index in range(self.COUNT - 3, self.COUNT):
            fates[index].drop = True  # no later reply shows that these are lost
        # Round trips take so long that even on a busy machine they are not longer than the lingering.
        fates[0] = Fate(delay_ms=700)
        return fates

    def lossy_proxy(self, percent):
        return self.proxy(self.lossy(percent))

    def measured(self, proxies, *arguments, stop=None):
        """The endpoints' entries, and the exit status."""
        process = self.enterContext(Running("ping", "-j", "-i", "10ms", *arguments,
                                            *(proxy.endpoint for proxy in proxies)))
        if stop:
            process.await_handlers((SIGINT, SIGTERM))
            wait_until(lambda: len(proxies[0].log) >= self.COUNT, f"{self.COUNT} probes")
            process.signal(stop)
        done = parse_json(process.finish())
        self.assertEqual(done.stderr.count("--fail-if"), done.returncode * arguments.count("--fail-if"))
        return done.json["endpoints"], done.returncode

    def assert_counts_of(self, proxy, found):
        """The counts are those of the proxy's log."""
        counts = found["counts"]
        dropped = sum(entry.fate.drop for entry in proxy.log)
        self.assertEqual({key: counts[key] for key in ("sent", "answered", "lost", "undecided")},
                         {"sent": len(proxy.log), "answered": len(proxy.log) - dropped, "lost": dropped,
                          "undecided": 0})
        self.assertAlmostEqual(found["loss_percent"], 100 * dropped / len(proxy.log))
        return dropped

    def test_the_loss_is_that_of_the_link_by_count_deadline_and_signal(self):
        for percent in (3, 10):
            for arguments, stop in ((("-c", self.COUNT), None), (("-w", "1s"), None), ((), SIGINT),
                                    ((), SIGTERM)):
                with self.subTest(percent=percent, arguments=arguments, stop=stop):
                    self.patiently(lambda: self.check_loss(percent, arguments, stop))

    def check_loss(self, percent, arguments, stop):
        proxy = self.lossy_proxy(percent)
        found, code = self.measured([proxy], *arguments, "-W", "60s", "--fail-if", "loss>1%", stop=stop)
        self.assertGreater(self.assert_counts_of(proxy, found[0]), 0)
        self.assertEqual(code, 1)
        self.assertTrue(found[0]["fail_if"][0]["met"])

    def test_a_loss_of_only_the_last_probes_is_counted(self):
        # Only the last three probes are lost: they are in flight when the run is about to end.
        for arguments in (("-c", 20), ("-w", "1s")):
            with self.subTest(arguments=arguments):
                self.patiently(lambda: self.check_loss_of_the_last(arguments))

    def check_loss_of_the_last(self, arguments):
        proxy = self.proxy(clean(17) + [Fate(drop=True)] * 200_000)
        found, code = self.measured([proxy], *arguments, "-W", "60s")
        self.assertGreaterEqual(self.assert_counts_of(proxy, found[0]), 3)
        self.assertEqual(code, 1)

    def test_a_reply_that_arrives_during_the_lingering_counts(self):
        # The first one shows that a round trip may take that long; each later one is in flight at the end.
        for arguments in (("-c", 5), ("-w", "900ms")):
            with self.subTest(arguments=arguments):
                self.patiently(lambda: self.check_no_loss(arguments))

    def check_no_loss(self, arguments):
        proxy = self.proxy([Fate(delay_ms=400)] * 200_000)
        found, code = self.measured([proxy], *arguments, "-W", "60s")
        self.assert_counts_of(proxy, found[0])
        self.assertEqual(code, 0)

    def test_the_loss_of_each_of_several_endpoints(self):
        def measure():
            proxies = [self.lossy_proxy(percent) for percent in (3, 10)]
            found, code = self.measured(proxies, "-w", "1s", "-W", "60s")
            for proxy, endpoint in zip(proxies, found, strict=True):
                self.assertGreater(self.assert_counts_of(proxy, endpoint), 0)
            self.assertEqual(code, 1)

        self.patiently(measure)

    def test_the_text_has_the_same_counts(self):
        self.patiently(self.check_text)

    def check_text(self):
        proxy = self.lossy_proxy(10)
        done = run("ping", "-q", "-i", "10ms", "-w", "1s", "-W", "60s", "--fail-if", "loss>1%",
                   proxy.endpoint)
        self.assertEqual(done.returncode, 1, str(done))
        dropped = sum(entry.fate.drop for entry in proxy.log)
        self.assertRegex(done.stdout, rf"\b{len(proxy.log)} sent, {len(proxy.log) - dropped} answered, "
                                      rf"{dropped} lost \([\d.]+%\)")
        self.assertNotIn("undecided", done.stdout)
        self.assertRegex(done.stderr, r"^riposte: .*loss is [\d.]+% \(--fail-if loss>1%\)\n$")


class Seeded(Impaired):
    """Twelve seeds at once: 360 probes, 20 ms apart, with an echo behind each proxy."""

    COUNT, INTERVAL_MS = 360, 20

    def test_every_count_is_exact(self):
        self.patiently(self.measure)

    def measure(self):
        # Late replies are for probes of the first second of more than seven, with a timeout of four (with
        # other timeouts in proportion): they arrive while probes are sent, because after that a run waits for
        # less than its timeout.
        late_until = 1000 // self.INTERVAL_MS
        interval = f"{self.INTERVAL_MS * self.timeout // 4}ms"
        runs = []
        for seed in SEEDS:
            schedule = random_schedule(seed, self.COUNT, PAYLOAD_BYTES, late_until)
            proxy = self.proxy(schedule, echo=self.echo())
            runs.append((seed, proxy, self.start(proxy, interval=interval)))
        for seed, proxy, client in runs:
            comment(f"seed {seed}")
            want = expected_counts(proxy.schedule, PAYLOAD_BYTES)
            for kind in ("answered", "lost", "late", "corrupted", "wrong_size", "duplicated", "reordered",
                         "stray"):
                self.assertGreater(want[kind], 0, f"this seed tries no {kind}")
            done = self.check(client, proxy, want, 1)
            self.assertEqual([entry.sequence for entry in proxy.log], list(range(1, self.COUNT + 1)))
            result = done.json["endpoints"][0]
            self.assertEqual(result["rtt"]["count"], want["answered"])
            self.assertEqual(sum(row[2] for row in result["rtt"]["histogram"]), want["answered"])

    def echo(self):
        peer = UdpPeer(echo_datagram)
        self.addCleanup(peer.close)
        return peer.socket.getsockname()


LINE = re.compile(r"^56 bytes from 127\.0\.0\.1:\d+: seq=(\d+) (?:ttl=\d+ )?time=([\d.]+) ms")


class Figures(Impaired):
    COUNT = 400

    def delayed(self):
        chance = random.Random(7001)
        return [Fate(delay_ms=round(chance.uniform(2, 50), 3)) for _ in range(self.COUNT)]

    def test_percentiles_are_those_of_the_lines(self):
        proxy = self.proxy(self.delayed())
        done = run("ping", "-c", self.COUNT, "-i", "5ms", "-W", f"{TIMEOUT}s", proxy.endpoint)
        self.assertEqual(done.returncode, 0, str(done))
        times = {}
        for line in done.stdout.splitlines():
            if found := LINE.match(line):
                times[int(found[1])] = float(found[2])
        self.assertEqual(sorted(times), list(range(1, self.COUNT + 1)))

        # No reply arrived before the proxy sent it (1%, 50 us: two clocks are compared).
        for entry in proxy.log:
            self.assertGreaterEqual(times[entry.sequence] * 1.01 + 0.05, entry.held_s() * 1000,
                                    str(entry))
            self.assertGreaterEqual(entry.held_s() * 1000, entry.fate.delay_ms)

        shown = self.summary(done.stdout)
        values = list(times.values())
        for name, percent in (("median", 50), ("p95", 95), ("p99", 99)):
            self.near(shown[name], nearest_rank(values, percent), 0.01, name)
        self.assertNotIn("p99.9", shown)  # it takes 1,000 answers
        self.near(shown["min"], min(values), 0.001, "min")
        self.near(shown["max"], max(values), 0.001, "max")
        mean = sum(values) / len(values)
        self.near(shown["mean"], mean, 0.001, "mean")
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        self.near(shown["stddev"], deviation, 0.001, "stddev")
        comment(f"rtt of {len(values)} answers held 2 to 50 ms: {shown}")

    def near(self, shown, exact, relative, name):
        # Plus half a unit of the last of three decimals.
        self.assertLessEqual(abs(shown - exact), exact * relative + 0.0011,
                             f"{name} is {shown} in the summary, {exact} in the lines")

    @staticmethod
    def summary(text):
        """The row `rtt` of the summary's table, by column."""
        lines = text.splitlines()
        for index, line in enumerate(lines):
            if re.match(r"^rtt\s+[\d.]", line):
                names = lines[index - 1].split()
                values = line.split()[1:]
                names = names[-len(values):]
                return {name: float(value) for name, value in zip(names, values, strict=True) if value != "-"}
        raise AssertionError("no row rtt in the summary:\n" + text)

    def test_percentiles_in_the_document_are_not_below_the_delays(self):
        # Each time is at least the delay of its probe, and so is each percentile. Delays swap replies: the
        # proxy's log says how many.
        proxy = self.proxy(self.delayed())
        client = self.start(proxy, interval="5ms")
        done = parse_json(client.finish())
        want = expected_counts(clean(self.COUNT), PAYLOAD_BYTES)
        want["reordered"] = self.reordered(proxy)
        self.assertEqual(self.counts(done, want), want)
        held = [entry.held_s() for entry in proxy.log]
        rtt = done.json["endpoints"][0]["rtt"]
        for name, percent in (("median", 50), ("p95", 95), ("p99", 99)):
            self.assertGreaterEqual(rtt[name] * 1.01, nearest_rank(held, percent), name)
        self.assertGreaterEqual(rtt["max"] * 1.01, max(held))

    @staticmethod
    def reordered(proxy):
        highest = count = 0
        for entry in sorted(proxy.log, key=lambda entry: entry.left[0]):
            count += entry.sequence < highest
            highest = max(highest, entry.sequence)
        return count


class Stream(Impaired):
    """Over TCP. Where connections end, each probe has its own: on a shared one it would depend on the
    clock whether the next is sent before the client knows that the last one ended."""

    def exactly(self, schedule, *arguments, code=1, **expected):
        proxy = TcpProxy(schedule + clean(3), PAYLOAD_BYTES)
        self.addCleanup(proxy.close)
        want = expected_counts(clean(len(proxy.schedule)), PAYLOAD_BYTES)
        want["answered"] -= sum(expected.get(key, 0)
                                for key in ("lost", "corrupted", "wrong_size", "closed"))
        want.update(expected)
        done = self.check(self.start(proxy, *arguments, interval="20ms"), proxy, want, code)
        found = done.json["endpoints"][0]
        connections = len(proxy.schedule) if "--reconnect" in arguments else 1
        self.assertEqual(found["connections"], connections)
        self.assertEqual(found["connect"]["count"], connections)
        self.assertEqual(proxy.connections, connections)

    def test_a_reply_in_pieces_is_complete(self):
        self.exactly([Fate(copies=7), Fate(copies=56), Fate(), Fate(copies=2)], code=0)

    def test_damage(self):
        self.exactly([Fate(), Fate(flips=(0,)), Fate(flips=(15,)), Fate(), Fate(flips=(55,))],
                     corrupted=3)

    def test_a_connection_that_ends_before_the_reply(self):
        # Closed, and reset.
        self.exactly([Fate(), Fate(drop=True), Fate(), Fate(drop=True, hold=1), Fate()],
                     "--reconnect", closed=2)

    def test_a_reply_that_is_cut_off(self):
        self.exactly([Fate(), Fate(size=20), Fate(), Fate(size=55)], "--reconnect", wrong_size=2)

    def test_every_fault_with_a_connection_for_each_probe(self):
        self.exactly([Fate(), Fate(flips=(30,)), Fate(drop=True), Fate(copies=3), Fate(size=1)],
                     "--reconnect", corrupted=1, closed=1, wrong_size=1)


if __name__ == "__main__":
    unittest.main()
