"""Reflectors of STAMP and TWAMP Light as threads of the test, each with its own manners and a clock of its own.

    with Reflector(lead=1234.5, drift=1e-4) as peer:   its clock is ahead, and drifts
        run("ping", peer.endpoint)
        peer.asked                                     what arrived, with true times

They share no code with riposte: struct, hmac and the tables of RFC 8762 alone.
"""

import hmac
import struct
import time
import typing

from peers import UdpPeer

NTP_AT_1970 = 2_208_988_800
OPEN, AUTHENTICATED = 44, 112


def to_ntp(seconds):
    whole, fraction = divmod(seconds, 1)
    return ((int(whole) + NTP_AT_1970) % 2**32) << 32 | int(fraction * 2**32)


def from_ntp(stamp):
    return (stamp >> 32) - NTP_AT_1970 + (stamp & 0xffffffff) / 2**32


class Asked(typing.NamedTuple):
    """A question: times in seconds since 1970, by this machine's clock."""
    sequence: int
    sent: float        # T1, as the sender wrote it
    received: float    # T2
    lead: float        # of the reflector's clock, at that moment
    payload: bytes


class Reflector(UdpPeer):
    """`counts`: stateful. `bytes_max`: answers are cut. `wants(sequence)`: whether it answers."""

    def __init__(self, counts=True, lead=0.0, drift=0.0, bytes_max=1 << 16, returns_ssid=True, key=None,
                 estimate=0x0587, ptp=False, wants=None, listener=None):
        self.counts = counts
        self.lead = lead
        self.drift = drift
        self.bytes_max = bytes_max
        self.returns_ssid = returns_ssid
        self.key = key
        self.estimate = estimate
        self.ptp = ptp
        self.wants = wants or (lambda sequence: True)
        self.next = 0
        self.asked = []
        self.began = time.time()
        super().__init__(self._answer, listener=listener)
        self.endpoint = self.endpoint.replace("udp://", "stamp://")

    def restart(self):
        self.next = 0

    def lead_at(self, now):
        return self.lead + (now - self.began) * self.drift

    def _stamp(self, now):
        there = now + self.lead_at(now)
        if self.ptp:
            return int(there) << 32 | int(there % 1 * 1e9)
        return to_ntp(there)

    def _answer(self, server, data, client):
        received = time.time()
        signed = self.key is not None and len(data) >= AUTHENTICATED
        at = 16 if signed else 4
        sequence, = struct.unpack_from("!I", data)
        sent, estimate, ssid = struct.unpack_from("!QHH", data, at)
        self.asked.append(Asked(sequence, from_ntp(sent), received, self.lead_at(received), data))
        if not self.wants(sequence):
            return
        number, self.next = (self.next, self.next + 1) if self.counts else (sequence, self.next)
        answer = bytearray(data)
        answer[:AUTHENTICATED if signed else OPEN] = bytes(AUTHENTICATED if signed else OPEN)
        struct.pack_into("!I", answer, 0, number)
        struct.pack_into("!HH", answer, at + 8, self.estimate, ssid if self.returns_ssid else 0)
        if signed:
            struct.pack_into("!QQI", answer, 32, self._stamp(received), 0, sequence)
            struct.pack_into("!QHH", answer, 64, sent, estimate, 0)
            answer[80] = 255
        else:
            struct.pack_into("!QIQHHB", answer, 16, self._stamp(received), sequence, sent, estimate, 0, 255)
        struct.pack_into("!Q", answer, at, self._stamp(time.time()))
        if signed:
            answer[96:112] = hmac.digest(self.key, bytes(answer[:96]), "sha256")[:16]
        server.sendto(bytes(answer[:self.bytes_max]), client)
