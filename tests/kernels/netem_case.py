"""Shared code of the tests over netem: both kinds of links behind one interface, runs of riposte over them, and the
books of their datagrams."""

from client import Running, parse_json
from daemon import RiposteTest, listen_section
from link import BACKWARD, FORWARD, LOST, PASSED, QUEUE_FULL, UDP, Link
from netem_link import Counters, NetemLink, snmp
from truth_case import PORT, RESPONDER


class ByNetem(NetemLink):
    """What the tests ask of a link."""

    def __init__(self, forward, backward):
        super().__init__(forward[0], backward[0])

    def counters(self):
        return self.wire.counters()

    def probes(self, direction):
        """(session, sequence number) of each probe that arrived, in their order."""
        found = (arrival.probe() for arrival in self.wire.arrivals(direction))
        return [probe for probe in found if probe]


class ByLog(Link):
    """The same, of the link of known faults."""

    def __init__(self, forward, backward):
        super().__init__(forward[1], backward[1])

    def counters(self):
        fates = [[packet.fate for packet in self.log.select(direction, UDP)] for direction in (FORWARD, BACKWARD)]
        return [Counters(each.count(PASSED), each.count(LOST) + each.count(QUEUE_FULL), 0, 0, 0) for each in fates]

    def probes(self, direction):
        passed = [packet for packet in self.log.select(direction, UDP) if packet.fate == PASSED]
        return [packet.probe()[:2] for packet in sorted(passed, key=lambda packet: packet.out_before_ns)]


class NetemCase(RiposteTest):
    maxDiff = None

    def open(self, link):
        """Enters the link; riposted's echo is at its far end."""
        self.enterContext(link)
        hosts = (link.server.ipv4, f"[{link.server.ipv6}]")
        with link.server:
            self.daemon(config=RESPONDER + "".join(listen_section("echo", f"{transport}://{host}:{PORT}")
                                                   for host in hosts for transport in ("udp", "tcp")))
        return link

    def measure(self, link, *arguments):
        """The document of a run, once the link is quiet."""
        with link.client:
            client = self.enterContext(Running(*arguments))
        done = parse_json(client.finish())
        self.assertEqual(done.stderr, "", str(done))
        link.settle()
        return done.json

    @staticmethod
    def endpoint(link, transport="udp", family=4):
        return f"{transport}://" + (link.server.ipv4 if family == 4 else f"[{link.server.ipv6}]") + f":{PORT}"


def order_of(probes):
    """By RFC 4737, of replies in the order of their arrival: how many are distinct, copies, and reordered."""
    seen, copies, reordered, highest = set(), 0, 0, 0
    for _, sequence in probes:
        if sequence in seen:
            copies += 1
            continue
        seen.add(sequence)
        reordered += sequence < highest
        highest = max(highest, sequence)
    return len(seen), copies, reordered


class Conservation:
    """The books of datagrams on a link, by the link itself and by both kernels."""

    def __init__(self, link, family=4):
        udp = "Udp" if family == 4 else "Udp6"
        here, there = (snmp(side) for side in (link.client, link.server))
        self.sent, self.received = here[f"{udp}.OutDatagrams"], here[f"{udp}.InDatagrams"]
        self.requests = there[f"{udp}.InDatagrams"]  # each is answered once; replies may leave as trains
        self.bad_checksums = (there[f"{udp}.InCsumErrors"], here[f"{udp}.InCsumErrors"])
        self.links = link.counters()
        self.copied = [counters.passed + counters.dropped - offered
                       for counters, offered in zip(self.links, (self.sent, self.requests))]
        self.damaged = [counters.passed - arrived
                        for counters, arrived in zip(self.links, (self.requests, self.received))]
        self.dropped = [counters.dropped for counters in self.links]
        self.gone = sum(self.dropped) + sum(self.damaged)

    def __str__(self):
        return str(vars(self))
