"""`riposte ping stamp://` over a link whose every fault is known (tests/support/link.py), each direction with its own:
losses, duplicates and reordering of each way equal those of the link's log."""

import socket
import unittest

from client import Running, comment, parse_json
from daemon import RiposteTest, await_true, needs_root
from link import FORWARD, UDP, Faults, Link
from reflector import Reflector
from stamp_truth import StampTruth, all_answered, check_clock
from truth_case import RESPONDER, TIMEOUT, disjoint

PORT = 862


@needs_root
class Ways(RiposteTest):
    """Losses, duplicates and reordering of each way equal those of the link's log."""
    maxDiff = None

    def faults(self, seed, last, **shares):
        return Faults(**disjoint(seed, last, **shares), hold_for=2, hold_max_ms=200, delay_ms=2)

    def link(self, forward, backward):
        link = self.enterContext(Link(forward, backward))
        with link.server:
            listener = self.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            listener.bind((link.server.ipv4, PORT))
        return link, listener

    def serve_link(self, link, listener):
        with link.server:
            return self.daemon(config=RESPONDER, sockets=[(listener, "stamp")])

    def start(self, link, count, *more):
        with link.client:
            return self.enterContext(Running("ping", "-j", "-c", count, "-i", "10ms", "-W", f"{TIMEOUT}s", *more,
                                             f"stamp://{link.server.ipv4}"))

    def finish(self, client, link):
        done = parse_json(client.finish())
        await_true(lambda: all_answered(link), "an answer to each question that arrived")
        link.settle()
        self.assertEqual(link.log.drops, (0, 0))
        return done.json["endpoints"][0]

    @staticmethod
    def counts(stamp):
        return {f"{what}_{way}": stamp[way][what] for what in ("lost", "duplicated", "reordered")
                for way in ("there", "back")}

    def check(self, seed, forward, backward, count=300):
        link, listener = self.link(self.faults(f"{seed} there", count, **forward),
                                   self.faults(f"{seed} back", count * 9 // 10, **backward))
        self.serve_link(link, listener)
        found = self.finish(self.start(link, count), link)
        truth = StampTruth(link.log, PORT, count).counts()
        comment(f"seed {seed}: {truth}; {found['stamp']['closing']} closing questions")
        self.assertEqual(self.counts(found["stamp"]), truth)
        self.assertEqual(found["stamp"]["undecided"], 0)
        self.assertEqual(found["stamp"]["restarts"], 0)
        self.assertEqual(found["counts"]["lost"], truth["lost_there"] + truth["lost_back"])
        return truth, found

    def test_losses_and_duplicates_of_each_way(self):
        truth, _ = self.check("a", {"loss": 0.06}, {"loss": 0.03, "duplicate": 0.05})
        self.assertGreater(truth["lost_there"], truth["lost_back"])
        self.assertGreater(truth["lost_back"], 0)
        self.assertGreater(truth["duplicated_back"], 0)

    def test_duplicates_and_reordering_there(self):
        truth, _ = self.check("b", {"loss": 0.03, "duplicate": 0.05, "hold": 0.05}, {"hold": 0.03})
        for name in ("duplicated_there", "reordered_there", "reordered_back", "lost_there"):
            self.assertGreater(truth[name], 0, name)
        self.assertEqual(truth["lost_back"], 0)

    def test_reordering_back(self):
        truth, _ = self.check("c", {}, {"loss": 0.05, "hold": 0.06, "duplicate": 0.03})
        self.assertEqual(truth["lost_there"] + truth["reordered_there"], 0)
        self.assertGreater(truth["reordered_back"], 0)

    def test_the_tail_is_settled_by_closing_questions(self):
        link, listener = self.link(Faults(loss=[39, 40]), Faults(loss=[36, 37]))
        self.serve_link(link, listener)
        found = self.finish(self.start(link, 40), link)
        stamp = found["stamp"]
        self.assertEqual(found["counts"]["lost"], 4)
        self.assertEqual((stamp["there"]["lost"], stamp["back"]["lost"], stamp["undecided"]), (2, 2, 0))
        self.assertEqual(stamp["closing"], 1)

    def test_without_an_answer_to_closing_questions_the_tail_stays_undecided(self):
        link, listener = self.link(Faults(loss=list(range(31, 100))), Faults())
        self.serve_link(link, listener)
        with link.client:
            done = self.enterContext(Running("ping", "-c", 40, "-i", "10ms", "-W", "500ms", "-q",
                                             f"stamp://{link.server.ipv4}")).finish()
        self.assertIn("10 lost on either way", done.stdout)
        self.assertIn("there: 0 lost", done.stdout)
        link.settle()
        self.assertEqual(len(link.log.select(FORWARD, UDP, port=PORT)), 44)

    def test_a_restart_of_the_reflector_in_the_middle(self):
        count = 600
        link, listener = self.link(self.faults("restart there", count, loss=0.05),
                                   self.faults("restart back", count * 8 // 10, loss=0.05, duplicate=0.03, hold=0.03))
        first = self.serve_link(link, listener)
        client = self.start(link, count)

        def asked(number):
            return lambda: len(link.log.select(FORWARD, UDP, port=PORT)) >= number or client.poll() is not None
        await_true(asked(250), "250 questions at the link")
        first.stop()
        self.serve_link(link, listener)
        found = self.finish(client, link)
        stamp = found["stamp"]
        whole = StampTruth(link.log, PORT, count)
        truth = whole.counts()
        comment(f"{truth}; {stamp['lives']}")
        self.assertEqual(stamp["restarts"], 1)
        self.assertEqual([answer.number for answer in whole.answers if answer.life == 1][:1], [0])
        here = self.counts(stamp)
        for name in ("duplicated_there", "duplicated_back", "reordered_there", "reordered_back"):
            self.assertEqual(here[name], truth[name], name)
        # Undecided is what got no answer between the last one of the first life and the first of the second.
        lives = [[answer for answer in whole.answers if answer.life == life and answer.arrivals] for life in (0, 1)]
        last = max(answer.question for answer in lives[0])
        first_new = min(answer.question for answer in lives[1])
        self.assertLessEqual(stamp["undecided"], first_new - last - 1)
        self.assertEqual(here["lost_there"] + here["lost_back"] + stamp["undecided"],
                         truth["lost_there"] + truth["lost_back"])
        self.assertLessEqual(here["lost_there"], truth["lost_there"])
        self.assertLessEqual(here["lost_back"], truth["lost_back"])
        self.assertGreaterEqual(here["lost_there"], truth["lost_there"] - stamp["undecided"])
        self.assertEqual(len(stamp["lives"]), 2)

    def test_hops_and_unequal_delays(self):
        """An echo would say 17 ms each way; the truth is within what is printed."""
        link, listener = self.link(Faults(delay_ms=30, jitter_ms=3), Faults(delay_ms=5, jitter_ms=3))
        with link.server, Reflector(lead=-77.0, drift=5e-5, listener=listener) as peer:
            found = self.finish(self.start(link, 200), link)
            part, = found["stamp"]["one_way"]
            check_clock(self, peer, part)
        self.assertGreater(part["there"]["median"] + part["bound"], 0.030)
        self.assertGreater(part["bound"], 0.010)
        self.assertLess(found["stamp"]["there"]["pdv"]["max"], 0.5 * found["rtt"]["max"])


if __name__ == "__main__":
    unittest.main()
