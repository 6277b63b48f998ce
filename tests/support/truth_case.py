"""Shared code of the tests over a link of known faults: the link with riposted's echo at its far end, runs of
riposte at the near one, and the comparison of a document with the link's log (truth.py).

The fates of packets are decided by seed and number, and the expected counts are computed from the log of the
same run, so a busy machine changes both alike. Counts depend on the clock only in that replies must arrive within
TIMEOUT.
"""

import random

from client import Running, comment, parse_json
from daemon import RiposteTest, await_true, listen_section, needs_root
from link import FORWARD, Faults, Link

PORT = 7
TIMEOUT = 20  # s
SIZE = 64
FIGURES = ("mean", "median", "p95", "p99")
RESPONDER = "[datagrams]\nrate_per_prefix = 1000000\nbytes_per_prefix = '1GiB'\nrate = 1000000\n"


def disjoint(seed, last, **shares):
    """{fault: numbers from 1 to `last`}, each fault as often as its share says, at most one per number."""
    chance = random.Random(f"truth {seed}")
    lists = {name: [] for name in shares}
    for number in range(1, last + 1):
        rolled = chance.random()
        for name, share in shares.items():
            if rolled < share:
                lists[name].append(number)
                break
            rolled -= share
    return lists


def known_faults(seed, last=5000, **more):
    """Every fault that a datagram can have, in both directions, alone and together; `more` changes some."""
    shares = {"loss": 0.03, "duplicate": 0.03, "hold": 0.03, "corrupt": 0.02, "resize": 0.02}
    common = {"corrupt_at": 40, "resize_to": 45, "hold_for": 2, "hold_max_ms": 200, "delay_ms": 2, **more}
    return [Faults(**{**disjoint(f"{seed} {direction}", last, **shares), **common})
            for direction in ("forward", "backward")]


@needs_root
class TruthCase(RiposteTest):
    maxDiff = None

    def link(self, forward=Faults(), backward=Faults(), **options):
        """A link with riposted's echo at its far end."""
        link = self.enterContext(Link(forward, backward, **options))
        hosts = (link.server.ipv4, f"[{link.server.ipv6}]")
        config = RESPONDER + "".join(listen_section("echo", f"{transport}://{host}:{PORT}")
                                     for host in hosts for transport in ("udp", "tcp"))
        with link.server:
            self.daemon(config=config)
        return link

    @staticmethod
    def endpoint(link, transport, family):
        host = link.server.ipv4 if family == 4 else f"[{link.server.ipv6}]"
        return f"{transport}://{host}:{PORT}"

    def start(self, link, *arguments):
        with link.client:
            return self.enterContext(Running(*arguments))

    def measure(self, link, *arguments, ended_by=None, seen=0, stderr=""):
        """The document of a run, and the link's log. The signal `ended_by` ends the run once the link has seen
        `seen` packets of the server's port. If `stderr` is None, it is not checked."""
        client = self.start(link, *arguments)
        if ended_by:
            await_true(lambda: len(link.log.select(FORWARD, port=PORT)) >= seen or client.poll() is not None,
                       f"{seen} packets at the link")
            client.signal(ended_by)
        done = parse_json(client.finish())
        if stderr is not None:
            self.assertEqual(done.stderr, stderr, str(done))
        link.settle()
        self.assertEqual(link.log.drops, (0, 0))
        return done.json, link.log

    def assert_counts(self, found, truth, **equal):
        self.assertEqual({name: found.get(name) for name in truth}, truth)
        for name, value in equal.items():
            self.assertEqual(found.get(name), value, name)

    def assert_within(self, found, bounds, name, figures=FIGURES, share=0.01):
        """Checks that each figure is within 1% of that of the log."""
        for figure in figures:
            low, high = bounds.named(figure)
            comment(f"{name}.{figure}: {found[figure] * 1e3:.3f} ms; by the log {low * 1e3:.3f} to "
                    f"{high * 1e3:.3f} ms")
            self.assertGreaterEqual(found[figure], low * (1 - share), f"{name}.{figure}")
            self.assertLessEqual(found[figure], high * (1 + share), f"{name}.{figure}")
