"""The truth about a link of known faults, computed from its log alone: the counts that a client must have
measured over it, and the bounds of its round trips.

A round trip is not known to the nanosecond from outside: the client stamps the sending a little before the
link does, and its kernel stamps the arrival during the call by which the link sent it. So each one is a pair,
(at least, at most), and so are their percentiles. On an idle machine the two are some tens of microseconds
apart; on a busy one they are further apart, and any value between them is correct.

Damage must not affect the first 24 bytes of a probe, which identify it.
"""

import collections
import dataclasses
import math

from link import BACKWARD, COPY, CORRUPTED, FORWARD, FRAGMENT, RESIZED, TCP, TCP_SYN, UDP


def nearest_rank(values, percent):
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * percent / 100 - 1e-9)) - 1]


class Bounds:
    """Figures of values, each of which is known as a pair, in seconds."""

    def __init__(self, pairs):
        self.pairs = list(pairs)

    def _both(self, figure):
        return tuple(figure([pair[end] for pair in self.pairs]) for end in (0, 1))

    def percentile(self, percent):
        return self._both(lambda values: nearest_rank(values, percent))

    def named(self, name):
        """A figure by its name in a document: min, mean, median, p95, p99, max."""
        if name == "mean":
            return self._both(lambda values: sum(values) / len(values))
        return self.percentile({"min": 0, "median": 50, "p95": 95, "p99": 99, "max": 100}[name])

    def less_the_least(self):
        """The packet delay variation of RFC 5481."""
        least = self.named("min")
        return Bounds((max(0.0, low - least[1]), high - least[0]) for low, high in self.pairs)


def difference(one, other):
    """Bounds of the absolute difference of two values."""
    return max(0.0, one[0] - other[1], other[0] - one[1]), max(one[1] - other[0], other[1] - one[0])


@dataclasses.dataclass
class Probe:
    session: int
    sequence: int
    sent_ns: int             # by the client's time stamp in it
    in_ns: int               # when the link received it
    bytes: int
    damaged: bool
    resized: bool
    answers: list = dataclasses.field(default_factory=list)  # packets, by their time of leaving

    def round_trip(self):
        """The round trip of the first reply."""
        first = self.answers[0]
        return (first.out_before_ns - self.in_ns) / 1e9, (first.out_after_ns - self.sent_ns) / 1e9


class Datagrams:
    """Probes or requests over UDP to a port, each with riposte's header. The first `first_sessions` sessions are
    left out: load begins with a request on a socket of its own that is not counted."""

    def __init__(self, log, port, timeout_s=math.inf, first_sessions=0):
        self.timeout_ns = timeout_s * 1e9
        self.by_key = {}
        left_out = set()
        for packet in log.select(FORWARD, UDP, port=port):
            header = packet.probe()
            if packet.flags & (COPY | FRAGMENT) or header is None:
                continue
            session, sequence, sent_ns = header
            if len(left_out) < first_sessions:
                left_out.add(session)
            if session not in left_out:
                self.by_key[session, sequence] = Probe(
                    session, sequence, sent_ns, packet.in_ns, packet.payload_length,
                    bool(packet.flags & CORRUPTED), bool(packet.flags & RESIZED))
        self.arrivals = []
        for packet in log.select(BACKWARD, UDP, port=port):
            header = packet.probe()
            probe = self.by_key.get(header[:2]) if header else None
            if probe and packet.arrived():
                self.arrivals.append((packet, probe))
        self.arrivals.sort(key=lambda arrival: arrival[0].out_before_ns)
        for packet, probe in self.arrivals:
            probe.answers.append(packet)
        self.probes = list(self.by_key.values())

    def in_time(self, probe):
        return bool(probe.answers) and probe.answers[0].out_before_ns - probe.sent_ns < self.timeout_ns

    def kind(self, probe):
        if not self.in_time(probe):
            return "lost"
        first = probe.answers[0]
        if probe.resized or first.flags & RESIZED or first.payload_length != probe.bytes:
            return "wrong_size"
        return "corrupted" if probe.damaged or first.flags & CORRUPTED else "answered"

    def counts(self):
        """The counts by their names in the documents. RFC 4737: a reply is reordered if one to a later probe arrived
        before it; further replies to a probe are duplicates and not reordered."""
        found = collections.Counter({name: 0 for name in (
            "sent", "answered", "lost", "corrupted", "wrong_size", "duplicated", "reordered", "late")})
        found.update(self.kind(probe) for probe in self.probes)
        found["sent"] = len(self.probes)
        highest = {}
        for packet, probe in self.arrivals:
            if packet is not probe.answers[0]:
                found["duplicated"] += 1
                continue
            found["late"] += not self.in_time(probe)
            found["reordered"] += probe.sequence < highest.get(probe.session, 0)
            highest[probe.session] = max(highest.get(probe.session, 0), probe.sequence)
        return dict(found)

    def answered(self):
        return [probe for probe in self.probes if self.kind(probe) == "answered"]

    def round_trips(self):
        return Bounds(probe.round_trip() for probe in self.answered())

    def inter_packet(self):
        """The inter-packet delay variation of RFC 5481, of probes with consecutive numbers that were both answered."""
        answered = {(probe.session, probe.sequence): probe for probe in self.answered()}
        pairs = ((probe, answered.get((session, sequence + 1)))
                 for (session, sequence), probe in answered.items())
        return Bounds(difference(next_one.round_trip(), probe.round_trip())
                      for probe, next_one in pairs if next_one)


class Stream:
    """One direction of one TCP connection: when which bytes arrived."""

    def __init__(self, packets):
        initial = next(packet.tcp_seq for packet in packets if packet.tcp_flags & TCP_SYN)
        self.parts = sorted(((packet.tcp_seq - initial - 1) & 0xffffffff, packet)
                            for packet in packets if packet.payload_length and not packet.copy)
        handshake_end = [packet.in_ns for packet in packets if not packet.payload_length][:2]
        self.began_ns = handshake_end[-1]
        self.ended_ns = max(packet.in_ns for packet in packets)
        self.bytes = max((start + packet.payload_length for start, packet in self.parts), default=0)

    def carrier(self, end, arrived=False):
        """The first packet with the byte before `end`."""
        found = [packet for start, packet in self.parts if start < end <= start + packet.payload_length
                 and (packet.arrived() or not arrived)]
        return min(found, key=lambda packet: packet.in_ns) if found else None


class Streams:
    """The connections to a TCP port that carry requests of one size, all echoed; without the first ones, with
    which load begins."""

    def __init__(self, log, port, size, first_connections=0):
        self.size = size
        flows = {}
        for packet in log.select(protocol=TCP, port=port):
            client = packet.destination_port if packet.direction else packet.source_port
            flows.setdefault((packet.family, client), ([], []))[packet.direction].append(packet)
        self.flows = [tuple(map(Stream, flow)) for flow in list(flows.values())[first_connections:]]
        self.sent = sum(there.bytes // size for there, _ in self.flows)
        self.answered = sum(back.bytes // size for _, back in self.flows)

    def _carriers(self, there, back):
        """(the packet with the last byte of the request, the one with that of its reply) for each request."""
        return [(there.carrier(number * self.size), back.carrier(number * self.size))
                for number in range(1, back.bytes // self.size + 1)]

    def round_trips(self):
        """Round trips when nothing was lost, and the client uses its kernel's time stamps."""
        pairs = []
        for there, back in self.flows:
            for request, answer in self._carriers(there, back):
                header = request.probe()
                # Of several requests in one packet, only the first one's time of sending is known.
                alone = header and request.payload_length == self.size
                sent_ns = min(header[2], request.in_ns) if alone else request.in_ns
                pairs.append(((answer.out_before_ns - request.in_ns) / 1e9,
                              (answer.out_after_ns - sent_ns) / 1e9))
        return Bounds(pairs)

    def round_trips_by_turns(self):
        """The same for a closed loop with one request at a time on a connection, whose client reads its own clock:
        it saw the reply before its next packet arrived, and sent the request after the previous reply."""
        pairs = []
        for there, back in self.flows:
            turns = self._carriers(there, back)
            for number, (request, answer) in enumerate(turns):
                seen_ns = turns[number + 1][0].in_ns if number + 1 < len(turns) else there.ended_ns
                sent_ns = turns[number - 1][1].out_before_ns if number else there.began_ns
                pairs.append(((answer.out_before_ns - request.in_ns) / 1e9, (seen_ns - sent_ns) / 1e9))
        return Bounds(pairs)
