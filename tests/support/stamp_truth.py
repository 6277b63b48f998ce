"""The truth about STAMP over a link of known faults, from its log alone: what was lost, duplicated and reordered on
either way.

The log has the first 24 bytes of each packet: of a question its number, of an answer the reflector's. Which
question an answer is to follows from the order: a reflector answers each question that arrives, in that order.
"""

import statistics
import struct

from client import comment
from link import BACKWARD, COPY, FORWARD, UDP


def number_of(packet):
    return struct.unpack_from("!I", packet.payload)[0]


class Answer:
    def __init__(self, packet, question):
        self.number = number_of(packet)
        self.question = question
        self.packet = packet
        self.arrivals = []
        self.life = 0


def exchange(log, port):
    """The questions as they arrived, all packets on the way back, and the answers as the reflector sent them."""
    arrived = sorted((packet for packet in log.select(FORWARD, UDP, port=port) if packet.arrived()),
                     key=lambda packet: packet.out_before_ns)
    backward = log.select(BACKWARD, UDP, port=port)
    originals = sorted((packet for packet in backward if not packet.flags & COPY), key=lambda packet: packet.in_ns)
    return arrived, backward, originals


def all_answered(link, port=862):
    """Whether the reflector, perhaps on a busy machine, has answered all that arrived."""
    link.settle()
    arrived, _, originals = exchange(link.log, port)
    return len(originals) >= len(arrived)


class StampTruth:
    """`sent` questions are probes; those behind them are closing questions. The reflector must have answered all that
    arrived."""

    def __init__(self, log, port, sent):
        arrived, backward, originals = exchange(log, port)
        self.sent = sent
        self.questions = [number_of(packet) for packet in arrived]
        assert len(originals) == len(arrived), f"{len(arrived)} questions, {len(originals)} answers"
        self.answers = [Answer(packet, question) for packet, question in zip(originals, self.questions)]
        self._count_lives()
        by_index = {answer.packet.packet: answer for answer in self.answers}
        for packet in sorted((packet for packet in backward if packet.arrived()), key=lambda each: each.out_before_ns):
            by_index[packet.packet].arrivals.append(packet)

    def _count_lives(self):
        life, last = 0, -1
        for answer in self.answers:
            life += answer.number <= last
            last = answer.number
            answer.life = life

    def counts(self):
        """What is true of the questions from 1 to `sent`."""
        probes = [question for question in self.questions if question <= self.sent]
        reached = set(probes)
        ours = [answer for answer in self.answers if answer.question <= self.sent]
        answered = {answer.question for answer in ours if answer.arrivals}
        return {
            "lost_there": self.sent - len(reached),
            "lost_back": len(reached - answered),
            "duplicated_there": len(probes) - len(reached),
            "duplicated_back": sum(max(len(answer.arrivals) - 1, 0) for answer in ours),
            "reordered_there": self._reordered(first_ones(probes)),
            "reordered_back": self._reordered_back(ours),
        }

    @staticmethod
    def _reordered(numbers):
        highest, found = -1, 0
        for number in numbers:
            found += number < highest
            highest = max(highest, number)
        return found

    def _reordered_back(self, ours):
        first = sorted((answer for answer in ours if answer.arrivals), key=lambda each: each.arrivals[0].out_before_ns)
        return sum(self._reordered([answer.number for answer in first if answer.life == life])
                   for life in {answer.life for answer in ours})


def first_ones(numbers):
    seen = set()
    return [number for number in numbers if not (number in seen or seen.add(number))]


def check_clock(test, peer, part):
    """The figures of a part against what the reflector knows."""
    asked = {each.sequence: each for each in peer.asked}
    first, last = asked[part["first"]], asked[part["last"]]
    bound = part["bound"] + 1e-6  # times are doubles here
    lead = peer.lead_at(first.sent)
    comment(f"lead {part['lead']['begin']:.6f} s, truly {lead:.6f} s, +- {part['lead']['bound']:.6f} s")
    test.assertLessEqual(abs(part["lead"]["begin"] - lead), bound)
    test.assertLessEqual(abs(part["lead"]["end"] - peer.lead_at(last.sent)), bound)
    delays = sorted(asked[number].received - asked[number].sent
                    for number in range(part["first"], part["last"] + 1) if number in asked)
    test.assertLessEqual(abs(part["there"]["median"] - statistics.median_low(delays)), bound)
    test.assertLessEqual(abs(part["there"]["min"] - delays[0]), bound)
    test.assertLessEqual(abs(part["there"]["max"] - delays[-1]), bound)
