"""`riposte load` with losses: each sent request is accounted for, however the run ends; a loss delays
nothing that is due; and the reported cause is the true one.

The peers lose datagrams by their number, so that the expected counts are known.
"""

import itertools
import time
import unittest
from signal import SIGINT, SIGTERM

from client import RIPOSTE, parse_json
from far_peer import far_peer
from link import FORWARD, LOST, UDP, Faults, Link
from load_case import SIZE, LoadCase, after_first, after_first_socket, echo_one
from peers import read_exactly, wait_until


class Losing:
    """A handler of datagrams that answers all but each `every`th."""

    def __init__(self, every):
        self.every = every
        self.seen = 0
        self.dropped = 0

    def __call__(self, server, data, client):
        self.seen += 1
        if self.seen % self.every == 0:
            self.dropped += 1
        else:
            server.sendto(data, client)


class OpenLoop(LoadCase):
    def test_a_loss_delays_no_request_of_an_open_loop(self):
        # 250 are lost within a second, and each is waited for three seconds: 64 places would be taken
        # after a quarter of a second.
        losing = Losing(2)
        found = self.load("-c", 1, "-r", 500, "-n", 500, "-W", "3s", self.udp(after_first_socket(losing)),
                          code=1)
        self.assert_counts(found, sent=500, answered=250, lost=250, errors=250)
        self.assertEqual((losing.seen, losing.dropped), (500, 250))
        generator = found["generator"]
        self.assertEqual((generator["late_blocked"], generator["outstanding_full"]), (0, False))
        self.assertNotIn("wait", found)
        self.assertNotIn("depth", found["mode"])
        # Measured from sending, nothing waited for a loss either: each answered one was echoed at once.
        self.assertFalse([note for note in generator["notes"] if "machine" not in note])

    def test_thousands_may_be_outstanding(self):
        losing = Losing(1)
        found = self.load("-c", 2, "-r", 10_000, "-n", 10_000, "-W", "2s",
                          self.udp(after_first_socket(losing)), code=1)
        self.assert_counts(found, sent=10_000, lost=10_000, errors=10_000)
        self.assertEqual(found["generator"]["late_blocked"], 0)

    def test_the_text_says_which_time_is_measured_and_that_requests_are_unbounded(self):
        text = self.text("-r", 100, "-n", 10, self.echo("udp"))
        for part in ("any number outstanding", "latency from the intended time", "from send", "lateness"):
            self.assertIn(part, text)
        self.assertNotIn("wait ", text)

    def test_the_latency_is_the_sum_of_its_parts(self):
        for transport in ("tcp", "udp"):
            with self.subTest(transport=transport):
                found = self.load("-r", 200, "-n", 100, "-c", 2, self.echo(transport))
                parts = [found[key]["mean"] for key in ("latency_from_send", "lateness", "wait")
                         if key in found]
                self.assertAlmostEqual(found["latency"]["mean"], sum(parts), places=7)


class ClosedLoop(LoadCase):
    def test_a_lost_datagram_blocks_its_socket_for_a_few_round_trips_only(self):
        # Nine of 300 requests are lost. If each blocked its socket for -W, those times would add up.
        losing = Losing(33)
        found = self.load("-c", 1, "-n", 300, "-W", "30s", self.udp(after_first_socket(losing)), code=1)
        self.assert_counts(found, sent=300, answered=291, lost=9, errors=9)
        self.assertEqual(losing.dropped, 9)
        self.assertLess(found["elapsed"], 30)
        self.assertGreater(found["generator"]["loss_time"], 0)
        self.assertLess(found["generator"]["loss_time"], found["elapsed"])

    def test_a_reply_to_a_request_already_given_up_still_counts(self):
        held = []
        seen = []

        def handler(server, data, client):
            seen.append(data)
            if len(seen) == 5:
                held.append(data)
                return
            if len(seen) == 8:
                server.sendto(held[0], client)
                server.sendto(held[0], client)
            server.sendto(data, client)

        found = self.load("-c", 1, "-n", 20, "-W", "60s", self.udp(after_first_socket(handler)))
        self.assert_counts(found, sent=20, answered=20, reordered=1, duplicated=1)
        self.assertEqual(found["generator"]["loss_time"], 0)

    def test_at_most_one_request_per_place_is_pending_at_a_silent_server(self):
        # Before the first reply the timeout doubles each time: 1 s, hence 3 s, then 6 s.
        losing = Losing(1)
        found = self.load("-c", 2, "--depth", 2, "-d", "2s", "--warmup", 0, "-W", "2500ms",
                          self.udp(after_first_socket(losing)), code=1)
        self.assert_counts(found, sent=4, lost=4, errors=4)
        self.assertEqual(losing.seen, 4)

    def test_load_does_not_spin_while_a_server_is_silent_after_the_warm_up(self):
        # When the measured time begins, none of its requests is sent: those sent before are pending.
        for transport in ("tcp", "udp"):
            with self.subTest(transport=transport):
                begun = []

                def slow(server, data, client, begun=begun):
                    begun.append(time.monotonic())
                    if len(begun) == 1:
                        time.sleep(2)
                    server.sendto(data, client)

                def answer(connection, request, index):
                    if index == 0:
                        time.sleep(2)
                    connection.sendall(request)

                endpoint = (self.requests(answer)[1] if transport == "tcp"
                            else self.udp(after_first_socket(slow)))
                found = self.load("-c", 1, "-n", 5, "--warmup", "100ms", "-W", "30s", endpoint)
                self.assert_counts(found, sent=5, answered=5)
                # Two seconds of CPU if it spins; on a machine with ten spinning processes a tenth of
                # that.
                self.assertLess(found["generator"].get("cpu_share", 0) * found["elapsed"], 0.15)


class Lingering(LoadCase):
    def test_a_duration_and_a_count_show_the_same_loss(self):
        found = []
        for end in (("-n", 200), ("-d", "1s", "--warmup", 0)):
            losing = Losing(10)
            found.append(self.load("-c", 1, "-r", 200, *end, "-W", "3s",
                                   self.udp(after_first_socket(losing)), code=1)["counts"])
            self.assertEqual((losing.seen, losing.dropped), (200, 20))
        self.assertEqual(*found)
        self.assertEqual((found[0]["lost"], found[0]["undecided"]), (20, 0))

    def test_an_interrupted_run_counts_every_loss(self):
        for loop in (("-r", 200), ()):
            for number in (SIGINT, SIGTERM):
                with self.subTest(loop=loop, signal=number):
                    losing = Losing(7)
                    process = self.start("-j", "-d", 0, "--warmup", 0, "-c", 2, "-W", "3s", *loop,
                                         self.udp(after_first_socket(losing)))
                    wait_until(lambda losing=losing: losing.dropped >= 20, "20 lost datagrams")
                    process.signal(number)
                    found = parse_json(process.finish()).json
                    self.assert_consistent(found, 1)
                    self.assert_counts(found, sent=losing.seen, answered=losing.seen - losing.dropped,
                                       lost=losing.dropped, errors=losing.dropped,
                                       **self.nonzero_counts(found, "reordered"))
                    self.assertTrue(found["interrupted"])

    @staticmethod
    def nonzero_counts(found, *keys):
        return {key: found["counts"][key] for key in keys if found["counts"][key]}

    def test_an_interrupted_tcp_run_counts_every_loss(self):
        # From the twentieth request on there are no replies.
        def answer(connection, request, index):
            if index < 20:
                connection.sendall(request)

        for loop in (("-r", 100, "--depth", 1), ()):
            with self.subTest(loop=loop):
                handler, endpoint = self.requests(answer)
                process = self.start("-j", "-d", 0, "--warmup", 0, "-c", 2, "-W", "60s", *loop, endpoint)
                wait_until(lambda handler=handler: handler.seen >= 22, "two requests without an answer")
                process.signal(SIGINT)
                found = parse_json(process.finish()).json
                self.assert_consistent(found, 1)
                self.assertEqual((found["counts"]["answered"], found["counts"]["lost"]), (20, 2))
                self.assertEqual(found["counts"]["undecided"], 0)

    def test_it_ends_as_soon_as_every_request_is_decided(self):
        for transport in ("tcp", "udp"):
            with self.subTest(transport=transport):
                handler, endpoint = self.requests(echo_one)
                if transport == "udp":
                    handler = Losing(1 << 30)
                    endpoint = self.udp(after_first_socket(handler))
                process = self.start("-j", "-d", 0, "--warmup", 0, "-W", "3600s", endpoint)
                wait_until(lambda handler=handler: handler.seen >= 100, "a hundred requests")
                process.signal(SIGINT)
                found = parse_json(process.finish()).json
                self.assert_consistent(found, 0)

    def test_a_second_interrupt_leaves_undecided_what_was_just_sent(self):
        for transport in ("tcp", "udp"):
            for loop in (("-c", 3), ("-c", 3, "-r", 10)):
                with self.subTest(transport=transport, loop=loop):
                    found = parse_json(self.cut_short(transport, "-j", *loop)).json
                    self.assert_consistent(found, 130)
                    sent = found["counts"]["sent"]
                    self.assertGreaterEqual(sent, 3)
                    self.assert_counts(found, sent=sent, answered=1, undecided=sent - 1)
                    self.assertEqual((found["loss_percent"], found["interrupted"]), (0, True))

    def test_a_second_interrupt_prints_the_summary(self):
        text = self.cut_short("udp", "-c", 3).stdout
        self.assertRegex(text, r"\d+ sent, 1 answered, 0 lost\n +\d+ undecided\n")
        self.assertIn("no errors", text)

    def cut_short(self, transport, *arguments):
        """A run interrupted twice, after one request was answered in two seconds and none since, so
        that the four round trips for which it lingers are eight seconds."""
        seen = []
        numbers = itertools.count()

        def is_answered():
            is_first = next(numbers) == 0
            seen.append(time.monotonic())
            if is_first:
                time.sleep(2)
            return is_first

        def serve(connection):
            while request := read_exactly(connection, SIZE):
                if is_answered():
                    connection.sendall(request)

        def handler(server, data, client):
            if is_answered():
                server.sendto(data, client)

        endpoint = (self.udp(after_first_socket(handler)) if transport == "udp"
                    else self.tcp(after_first(serve)))
        process = self.start("-d", 0, "--warmup", 0, "-W", "3600s", *arguments, endpoint)
        wait_until(lambda: len(seen) >= 4 and max(seen) > min(seen) + 2, "requests after the answer")
        process.signal(SIGINT)
        process.signal(SIGTERM)
        done = process.finish()
        self.assertEqual((done.returncode, done.stderr), (130, ""), str(done))
        return done

    def test_a_second_interrupt_loses_what_was_sent_long_before(self):
        # One reply, and silence. A second later, which is more than four round trips, the reply to the
        # first of the others would have arrived.
        silent = []

        def handler(server, data, client):
            silent.append(time.monotonic())
            if len(silent) == 1:
                server.sendto(data, client)

        process = self.start("-j", "-d", 0, "--warmup", 0, "-c", 1, "-r", 20, "-W", "3600s",
                             self.udp(after_first_socket(handler)))
        wait_until(lambda: len(silent) > 2 and time.monotonic() > silent[1] + 2, "two seconds of silence")
        process.signal(SIGINT)
        process.signal(SIGTERM)
        done = parse_json(process.finish())
        self.assert_consistent(done.json, 130)
        counts = done.json["counts"]
        self.assertEqual(counts["answered"], 1)
        # Unless the one round trip was so long that four of them take more than that.
        if done.json["latency_from_send"]["max"] < 0.25:
            self.assertGreaterEqual(counts["lost"], 1)


class Limits(LoadCase):
    """A riposted that limits its replies to a prefix, as it does by default except for loopback."""

    def limited(self):
        daemon, address = self.serve("echo", transport="udp", config=(
            "[datagrams]\nrate_exempt = []\nrate_per_prefix = 200\n"))
        return f"udp://127.0.0.1:{daemon.port('echo', 'udp')}"

    def test_the_limit_of_the_responder_is_named(self):
        for loop in (("-r", 2000), ("-c", 50)):
            with self.subTest(loop=loop):
                self.check(loop)

    def check(self, loop):
        endpoint = self.limited()
        for seconds in (6, 12, 24):  # again, if a busy machine made the replies uneven
            found = self.load("-d", f"{seconds}s", "--warmup", 0, "-W", "1s", *loop, endpoint, code=1)
            notes = found["generator"]["notes"]
            self.assertEqual(found["counts"]["unsent"], 0)
            self.assertFalse([note for note in notes if "free connection" in note or "held back" in note])
            if limit_notes := [note for note in notes if note.startswith("answers stop at ")]:
                break
        else:
            self.skipTest("this machine is too busy to tell an even rate")
        rate = int(limit_notes[0].split()[3])
        # A second's worth may be answered at once, once; and each worker has its share.
        self.assertLess(rate, 250)
        self.assertIn("does the responder limit its rate for a prefix? See riposted.toml(5).", limit_notes[0])


class OverALink(LoadCase):
    """Over a link that loses packets by its seed, and counts them."""

    def over_link(self, transport, family, *arguments):
        """The counts of a run, and how many of its datagrams the link lost."""
        with Link(forward=Faults(subjects="payload", loss=0.1), seed=3) as link:
            with far_peer(link, transport, family) as endpoint:
                done = link.client.run([RIPOSTE, "load", "-j", "-c", 1, *arguments, endpoint])
                link.settle()
                lost = sum(packet.fate == LOST for packet in link.log.select(FORWARD, UDP))
        self.assertEqual(done.stderr, "", str(done))
        found = parse_json(done).json
        self.assert_consistent(found, done.returncode)
        return found["counts"], lost

    def test_a_duration_and_a_count_show_the_same_loss(self):
        for family in (4, 6):
            with self.subTest(family=family):
                by_count, lost = self.over_link("udp", family, "-r", 200, "-n", 200, "-W", "3s")
                by_time, also_lost = self.over_link("udp", family, "-r", 200, "-d", "1s", "--warmup", 0,
                                                    "-W", "3s")
                self.assertEqual(by_count, by_time)
                self.assertEqual(lost, also_lost)
                self.assertEqual((by_count["sent"], by_count["lost"], by_count["undecided"]), (200, lost, 0))
                self.assertGreater(lost, 0)

    def test_a_closed_loop_counts_what_the_link_lost(self):
        for family in (4, 6):
            with self.subTest(family=family):
                counts, lost = self.over_link("udp", family, "-n", 200, "-W", "10s")
                self.assertEqual((counts["sent"], counts["lost"], counts["answered"]), (200, lost, 200 - lost))

    def test_a_tcp_retransmission_is_no_loss(self):
        for family in (4, 6):
            with self.subTest(family=family):
                counts, _ = self.over_link("tcp", family, "-r", 100, "-n", 50, "-W", "60s")
                self.assertEqual((counts["sent"], counts["answered"], counts["lost"]), (50, 50, 0))


if __name__ == "__main__":
    unittest.main()
