"""In a guest: ping over the kernel's netem, with faults in each direction apart. What riposte counts is what netem and
the kernel's own counters say, exact to the packet; and the same equations hold over the link of known faults of the
other tests (tests/support/link.py), so that each link checks the other.
"""

import unittest

from client import comment
from link import BACKWARD, Faults
from netem_case import ByLog, ByNetem, Conservation, NetemCase, order_of
from netem_link import needs_guest

PROBES = 200
#: What netem and the other link shall do, and what that is: nothing else may happen.
LOSS = ("loss 15%", Faults(loss=0.15), {"dropped"})
COPIES = ("duplicate 15%", Faults(duplicate=0.15), {"copied"})
DAMAGE = ("corrupt 15%", Faults(corrupt=0.15, corrupt_mend=False), {"damaged"})
ORDER = ("delay 60ms reorder 25%", Faults(hold=0.25, hold_for=3, hold_max_ms=200, delay_ms=5), {"reordered"})
ALL = ("delay 20ms 10ms loss 10% duplicate 10%",
       Faults(delay_ms=20, jitter_ms=10, loss=0.1, duplicate=0.1), {"dropped", "copied", "reordered"})
CLEAN = ("", Faults(), set())


@needs_guest
class Ping(NetemCase):
    """Each scenario in one direction, over both kinds of link."""

    def check(self, kind, forward, backward, family=4):
        link = self.open(kind(forward, backward))
        document = self.measure(link, "ping", "-j", "-c", PROBES, "-i", "4ms", "-W", "4s",
                                self.endpoint(link, "udp", family))
        counts = document["endpoints"][0]["counts"]
        books = Conservation(link, family)
        comment(f"{kind.__name__}: {counts}\n{books}")
        self.check_link(link, books, (forward[2], backward[2]))
        self.check_counts(counts, books, link.probes(BACKWARD))
        return document["endpoints"][0], books

    def check_link(self, link, books, faults):
        """The link did what it was told, in the right direction, and nothing else."""
        for direction, wanted in enumerate(faults):
            done = {"dropped": books.dropped[direction], "copied": books.copied[direction],
                    "damaged": books.damaged[direction]}
            for name, count in done.items():
                self.assertEqual(count > 0, name in wanted, f"{name} {count}: {books}")
            self.assertEqual(books.bad_checksums[direction] > 0, "damaged" in wanted)
            self.assertLessEqual(books.bad_checksums[direction], done["damaged"])
            if isinstance(link, ByNetem) and "reordered" in wanted and "copied" not in wanted:
                self.assertGreater(books.links[direction].requeued, 0)

    def check_counts(self, counts, books, replies):
        self.assertEqual((counts["sent"], books.sent), (PROBES, PROBES))
        self.assertEqual(counts["answered"] + counts["lost"], PROBES)
        self.assertEqual(counts["answered"] + counts["duplicated"] + counts["late"], books.received)
        if any(books.copied):
            self.assertLessEqual(counts["lost"] - counts["late"], books.gone)
            self.assertLessEqual(counts["duplicated"], sum(books.copied))
        else:
            self.assertEqual(counts["lost"] - counts["late"], books.gone)
            self.assertEqual(counts["duplicated"], 0)
        if not any(books.damaged):
            self.assertEqual((counts["answered"] + counts["late"], counts["duplicated"], counts["reordered"]),
                             order_of(replies))
        for name in ("corrupted", "wrong_size", "refused", "unreachable", "stray", "undecided", "local"):
            self.assertEqual(counts[name], 0, name)

    def check_ways(self, scenario, family=4):
        """In each direction apart, over both links."""
        for kind in (ByNetem, ByLog):
            for forward, backward in ((scenario, CLEAN), (CLEAN, scenario)):
                with self.subTest(kind=kind.__name__, forward=forward[0], backward=backward[0]):
                    self.check(kind, forward, backward, family)

    def test_loss_over_ipv4(self):
        self.check_ways(LOSS)

    def test_loss_over_ipv6(self):
        self.check_ways(LOSS, 6)

    def test_duplication(self):
        self.check_ways(COPIES)

    def test_corruption(self):
        self.check_ways(DAMAGE)

    def test_reordering(self):
        self.check_ways(ORDER)

    def test_everything_in_both_directions(self):
        for kind in (ByNetem, ByLog):
            with self.subTest(kind=kind.__name__):
                self.check(kind, ALL, ALL)

    def test_a_clean_link(self):
        for kind in (ByNetem, ByLog):
            with self.subTest(kind=kind.__name__):
                self.check(kind, CLEAN, CLEAN)


if __name__ == "__main__":
    unittest.main()
