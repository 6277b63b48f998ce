"""A network that misbehaves by a schedule: a proxy between a client and an echo, on loopback.

A schedule is a list with a Fate for each datagram that the client will send, a pure function of a seed.
The proxy executes it exactly, so that the counts that the client must have are known before it starts
(expected_counts() below, which is independent of the client's code).

Order never depends on timing. The proxy is one thread that processes one datagram at a time, there and
back, through the echo; a held reply is sent when the n-th later datagram has arrived, right after the
reply to that one, and not after some time. Only two faults use the clock: `delay_ms`, on whose length no
count depends, and `late`, a reply that is sent half a second after the timeout.

The proxy logs each datagram with its number, its fate, and the times at which it arrived and left.
"""

import dataclasses
import heapq
import random
import select
import socket
import struct
import threading
import time

from patience import WAIT

HEADER_BYTES = 24  # magic, session, sequence number, time of sending
SEQUENCE_AT = 8

#: How long after the timeout a `late` reply is sent.
LATE_BY = 0.5


@dataclasses.dataclass
class Fate:
    """What happens to one datagram and its replies. `there`: before the echo receives it, else after."""
    drop: bool = False
    copies: int = 1          # number of replies
    hold: int = 0            # answered after that many later datagrams
    delay_ms: float = 0
    late: bool = False       # answered after the client's timeout
    flips: tuple = ()        # offsets of bytes to damage
    size: int | None = None  # cut or extended to this
    stray: bool = False      # a datagram that answers nothing precedes the reply
    there: bool = False


def clean(count):
    return [Fate() for _ in range(count)]


def random_schedule(seed, count, payload_bytes, late_until):
    """Every fault that has a count, alone and in some combinations; only the first `late_until` are
    answered late. There is no `delay_ms`: it could swap replies."""
    chance = random.Random(f"riposte {seed}")
    fates = []
    for index in range(count):
        fate = Fate(there=chance.random() < 0.5)
        what = chance.random()
        if what < 0.12:
            fate.drop = True
        elif what < 0.20:
            fate.copies = chance.randint(2, 4)
        elif what < 0.30:
            fate.hold = chance.randint(1, 8)
        elif what < 0.38:
            some = chance.randint(1, payload_bytes // 5)
            fate.flips = tuple(sorted(chance.sample(range(payload_bytes), some)))
        elif what < 0.42:
            fate.flips = (chance.randrange(HEADER_BYTES),)
        elif what < 0.46:
            fate.size = chance.randrange(HEADER_BYTES - 8, payload_bytes)
        elif what < 0.50:
            fate.size = chance.randint(payload_bytes + 1, payload_bytes + 300)
        elif what < 0.55:
            fate.copies, fate.hold = 2, chance.randint(1, 4)
        elif what < 0.58:
            fate.copies, fate.flips = 2, (chance.randrange(payload_bytes),)
        elif what < 0.61:
            fate.stray = True
        elif what < 0.64:
            fate.size = 0
        elif what < 0.72 and index < late_until:
            fate.late = True
        fates.append(fate)
    # The first reply shows that the service is an echo: later replies that are none are strays. The client waits for
    # the last one.
    fates[0] = Fate()
    fates[-1] = Fate(drop=True)
    return fates


def order_of_answers(schedule):
    """The indices in the order in which the proxy sends their replies; the late ones at the end."""
    order = []
    last = len(schedule) - 1
    for arrived in range(len(schedule)):
        due = [index for index in range(arrived + 1)
               if min(index + schedule[index].hold, last) == arrived]
        for index in [arrived] * (arrived in due) + [index for index in due if index != arrived]:
            fate = schedule[index]
            if not fate.drop and not fate.late:
                order += [index] * fate.copies
    return order + [index for index, fate in enumerate(schedule) if fate.late]


def expected_counts(schedule, payload_bytes):
    """The counts that a client must have. The first reply to each probe decides, the others are duplicates;
    one that arrives after the timeout is late. The first one is reordered if a reply to a later probe came
    before (RFC 4737), whatever its own fate. An empty one belongs to no probe."""
    counts = dict.fromkeys(("sent", "answered", "lost", "corrupted", "wrong_size", "refused",
                            "unreachable", "closed", "duplicated", "reordered", "late", "stray"), 0)
    counts["sent"] = len(schedule)
    counts["lost"] = sum(fate.late or fate.drop or fate.size == 0 for fate in schedule)
    counts["stray"] = sum(fate.stray for fate in schedule)
    seen = set()
    highest = -1
    for index in order_of_answers(schedule):
        fate = schedule[index]
        if fate.size == 0:
            counts["stray"] += 1
            continue
        if index in seen:
            counts["duplicated"] += 1
            continue
        seen.add(index)
        if fate.late:
            counts["late"] += 1
        elif fate.size not in (None, payload_bytes):
            counts["wrong_size"] += 1
        elif fate.flips:
            counts["corrupted"] += 1
        else:
            counts["answered"] += 1
        counts["reordered"] += index < highest
        highest = max(highest, index)
    return counts


def sequence_of(payload):
    return struct.unpack_from(">Q", payload, SEQUENCE_AT)[0]


def damaged(payload, fate):
    data = bytearray(payload)
    for offset in fate.flips:
        data[offset] ^= 0x55
    if fate.size is not None:
        data = data[:fate.size] + bytes(0xEE for _ in range(fate.size - len(data)))
    return bytes(data)


@dataclasses.dataclass
class Entry:
    """A line of the log: when a datagram arrived, and when its replies left (CLOCK_MONOTONIC, s)."""
    index: int
    sequence: int
    fate: Fate
    came: float
    left: list = dataclasses.field(default_factory=list)

    def held_s(self):
        return self.left[0] - self.came

    def __str__(self):
        left = ", ".join(f"{moment - self.came:.4f}" for moment in self.left) or "never"
        return f"{self.index} seq {self.sequence} at {self.came:.4f}: {self.fate} left after {left}"


class UdpProxy:
    """Forwards datagrams of one client to the address `echo`, or answers itself if that is None."""

    def __init__(self, schedule, timeout_s, echo=None, host="127.0.0.1"):
        self.schedule = schedule
        self.timeout_s = timeout_s
        self.log = []
        self.problem = None
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.front.bind((host, 0))
        self.back = None
        if echo:
            self.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.back.connect(echo)
            self.back.settimeout(WAIT)
        self._client = None
        self._held = {}     # arrival that releases them -> entries, with the bytes
        self._timed = []    # heap of (when, number, entry, bytes)
        self._number = 0
        self._wake, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def endpoint(self):
        return "udp://{}:{}".format(*self.front.getsockname())

    def close(self):
        """Ends it; raises an exception of its thread."""
        self._stop.send(b"x")
        self._thread.join(WAIT)
        for descriptor in (self.front, self.back, self._wake, self._stop):
            if descriptor:
                descriptor.close()
        if self.problem:
            raise self.problem

    def raw_log(self):
        return "\n".join(str(entry) for entry in self.log)

    def _run(self):
        try:
            while True:
                wait = max(0, self._timed[0][0] - time.monotonic()) if self._timed else None
                ready = select.select([self.front, self._wake], [], [], wait)[0]
                if self._wake in ready:
                    return
                while self._timed and self._timed[0][0] <= time.monotonic():
                    _, _, entry, answer = heapq.heappop(self._timed)
                    self._send(entry, answer)
                if self.front in ready:
                    self._arrived(*self.front.recvfrom(1 << 16))
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = problem

    def _arrived(self, payload, client):
        came = time.monotonic()
        index = len(self.log)
        if index >= len(self.schedule):
            raise AssertionError(f"more than the {len(self.schedule)} scheduled datagrams arrived")
        if self._client not in (None, client):
            raise AssertionError("a second client")
        self._client = client
        entry = Entry(index, sequence_of(payload), self.schedule[index], came)
        self.log.append(entry)
        fate = entry.fate
        if fate.drop and fate.there:
            pass
        elif fate.drop:
            self._echo(payload)
        elif fate.late:
            self._at(came + self.timeout_s + LATE_BY, entry, payload)
        elif fate.delay_ms:
            self._at(came + fate.delay_ms / 1000, entry, payload)
        elif fate.hold and index + 1 < len(self.schedule):
            release = min(index + fate.hold, len(self.schedule) - 1)
            self._held.setdefault(release, []).append((entry, payload))
        else:
            self._answer(entry, payload)
        for earlier, held in self._held.pop(index, ()):
            self._answer(earlier, held)

    def _at(self, when, entry, payload):
        self._number += 1
        if not entry.fate.there:
            payload = damaged(self._echo(payload), entry.fate)
        else:
            payload = self._echo(damaged(payload, entry.fate))
        heapq.heappush(self._timed, (when, self._number, entry, payload))

    def _answer(self, entry, payload):
        """Sends it through the echo and back, once for each copy."""
        fate = entry.fate
        if fate.stray:
            self.front.sendto(random.Random(entry.index).randbytes(40), self._client)
        if fate.there:
            for _ in range(fate.copies):
                self._send(entry, self._echo(damaged(payload, fate)))
        else:
            answer = damaged(self._echo(payload), fate)
            for _ in range(fate.copies):
                self._send(entry, answer)

    def _echo(self, payload):
        if not self.back:
            return payload
        self.back.send(payload)
        answer = self.back.recv(1 << 16)
        if answer != payload:
            raise AssertionError("the echo is none")
        return answer

    def _send(self, entry, answer):
        entry.left.append(time.monotonic())
        self.front.sendto(answer, self._client)


class TcpProxy:
    """Echoes probes of a fixed size on a stream, one connection after another, each by its Fate.

    `drop` closes the connection instead of answering (`hold`: resets it), `size` sends that many
    bytes and closes, `flips` damages, and `copies` > 1 sends the reply in that many pieces.
    """

    def __init__(self, schedule, payload_bytes, host="127.0.0.1"):
        self.schedule = schedule
        self.payload_bytes = payload_bytes
        self.log = []
        self.connections = 0
        self.problem = None
        self.listener = socket.create_server((host, 0))
        self._stopped = False
        self._connection = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def endpoint(self):
        return "tcp://{}:{}".format(*self.listener.getsockname())

    def close(self):
        self._stopped = True
        for descriptor in (self._connection, self.listener):
            try:
                if descriptor:
                    descriptor.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was closed already
        self._thread.join(WAIT)
        self.listener.close()
        if self.problem:
            raise self.problem

    def raw_log(self):
        return "\n".join(str(entry) for entry in self.log)

    def _run(self):
        try:
            while not self._stopped:
                try:
                    connection, _ = self.listener.accept()
                except OSError:
                    return  # close() shut it down
                self._connection = connection
                self.connections += 1
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with connection:
                    while self._one(connection):
                        pass
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = problem

    def _read(self, connection):
        data = bytearray()
        while len(data) < self.payload_bytes:
            part = connection.recv(self.payload_bytes - len(data))
            if not part:
                return None
            data += part
        return bytes(data)

    def _one(self, connection):
        """Handles one probe; returns whether the connection continues."""
        try:
            payload = self._read(connection)
        except ConnectionResetError:
            payload = None
        if payload is None:
            return False
        index = len(self.log)
        fate = self.schedule[index]
        entry = Entry(index, sequence_of(payload), fate, time.monotonic())
        self.log.append(entry)
        if fate.drop:
            if fate.hold:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        answer = damaged(payload, fate)
        entry.left.append(time.monotonic())
        step = -(-len(answer) // fate.copies)
        for start in range(0, len(answer), step):
            if start:
                time.sleep(0.002)  # so that the pieces arrive separately; no count depends on it
            # A truncated reply is held until the stream ends, and arrives together with that end.
            connection.sendall(answer[start:start + step],
                               socket.MSG_MORE if fate.size is not None else 0)
        return fate.size is None
