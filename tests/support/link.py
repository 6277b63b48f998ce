"""A link whose every fault is known, between two network namespaces: tests/link/main.cpp forwards the packets;
this module makes the namespaces, starts the link, runs commands on either side, and reads its log.

    with Link(forward=Faults(loss=0.03, delay_ms=10), backward=Faults(jitter_ms=2)) as link:
        with link.server: ...                     processes and sockets made here are on that side
        done = link.client.run(["ping", "-c", "3", link.server.ipv4])
        link.settle()                             no packet is in flight any more
        for packet in link.log.packets: ...

`forward` is from the client to the server. Faults of single packets (loss, duplicate, hold, slow, corrupt,
resize) are selected by a share (0.03), by every(10), or by a list of numbers ([1, 5, 7]): the packets of a
direction that may have faults are numbered from 1 (UDP, TCP and ICMP echo, `subjects="payload"`: those with
a payload), and the same seed selects the same numbers in each run. tests/link/faults.h has the details.

The namespaces have no names and are kept by descriptors: they end with the process that made them, however
that ends, and so does the link. Times in the log are CLOCK_MONOTONIC in nanoseconds: `in_ns` is the kernel's
time stamp of a packet's arrival, and the receiver's stamp is between `out_before_ns` and `out_after_ns`.
Figures are compared with these, never with the configured delay, because a busy machine changes both alike.
"""

import contextlib
import dataclasses
import os
import signal
import struct
import subprocess
import tempfile
import typing

from namespaces import Side, inside, ip_batch, new_namespace, no_offload, silent_ipv6
from patience import RUN, WAIT

LINK = os.path.abspath(os.environ.get("LINK", "build/tests/link/link"))

FORWARD, BACKWARD = 0, 1
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58

#: Fates of a packet (tests/link/record.h).
WAITING, PASSED, LOST, QUEUE_FULL, TOO_BIG, OVERRUN, SEND_FAILED, REPLACED = range(8)
#: Flags of a packet.
COPY, HELD, HOLD_ENDED, SLOW, CORRUPTED, BAD_CHECKSUM, RESIZED, MADE_HERE, FRAGMENT = (
    1 << bit for bit in range(9))

TCP_FIN, TCP_SYN = 1, 2

PROBE_MAGIC = b"RiPo"


@dataclasses.dataclass(frozen=True)
class every:  # pylint: disable=invalid-name
    """Selects each packet whose number is a multiple of this."""
    count: int


Choice = typing.Union[float, every, typing.Iterable[int]]


@dataclasses.dataclass(frozen=True)
class Faults:
    """The faults of one direction; tests/link/faults.h has the details."""
    subjects: str = "all"
    loss: Choice = 0.0
    duplicate: Choice = 0.0
    copies: int = 1
    hold: Choice = 0.0          # until `hold_for` later ones have passed, at most `hold_max_ms`
    hold_for: int = 1
    hold_max_ms: float = 1000
    slow: Choice = 0.0          # `slow_ms` longer than the others
    slow_ms: float = 0
    corrupt: Choice = 0.0
    corrupt_mend: bool = True   # fix the checksum; else the receiving kernel drops it
    corrupt_at: int | None = None
    resize: Choice = 0.0
    resize_to: int = 0
    delay_ms: float = 0
    jitter_ms: float = 0
    jitter: str = "uniform"     # or "normal", "exponential"
    keep_order: bool = False
    rate_bits: int = 0          # a second
    queue: int = 1000           # packets
    mtu: int = 0                # bytes

    def __str__(self):
        words = [f"subjects={self.subjects}", f"duplicate.copies={self.copies}",
                 f"hold.for={self.hold_for}", f"hold.max={_ns(self.hold_max_ms)}",
                 f"slow.extra={_ns(self.slow_ms)}", f"corrupt.mend={int(self.corrupt_mend)}",
                 f"resize.to={self.resize_to}", f"delay={_ns(self.delay_ms)}",
                 f"jitter={_ns(self.jitter_ms)}", f"jitter.kind={self.jitter}",
                 f"order={int(self.keep_order)}", f"rate={self.rate_bits}", f"queue={self.queue}",
                 f"mtu={self.mtu}"]
        if self.corrupt_at is not None:
            words.append(f"corrupt.at={self.corrupt_at}")
        for name in ("loss", "duplicate", "hold", "slow", "corrupt", "resize"):
            choice = getattr(self, name)
            if isinstance(choice, every):
                words.append(f"{name}.every={choice.count}")
            elif isinstance(choice, (int, float)):
                words.append(f"{name}={float(choice)}")
            elif numbers := list(choice):
                words.append(f"{name}.list={':'.join(map(str, numbers))}")
        return ",".join(words)


def _ns(milliseconds):
    return round(milliseconds * 1e6)


class Packet(typing.NamedTuple):
    """A record of the log; a duplicate has its own record."""
    in_ns: int
    due_ns: int
    out_before_ns: int
    out_after_ns: int
    number: int             # among the subjects of its direction; 0: none of them
    packet: int             # index of the record that this one is a copy of, or its own
    tcp_seq: int            # ICMP echo: identifier and sequence number
    tcp_ack: int
    flags: int
    length: int
    source_port: int
    destination_port: int
    payload_length: int
    fragment_offset: int
    direction: int
    family: int
    protocol: int
    fate: int
    copy: int
    tcp_flags: int
    icmp_type: int
    icmp_code: int
    payload: bytes          # the first 24 bytes, as received

    def arrived(self):
        """Whether it reached the receiving kernel, which did not drop it."""
        return self.fate == PASSED and not self.flags & BAD_CHECKSUM

    def probe(self):
        """(session, sequence number, time of sending in ns) of a probe of riposte, or None."""
        if self.payload_length < 24 or not self.payload.startswith(PROBE_MAGIC):
            return None
        return struct.unpack_from(">IQQ", self.payload, 4)


class Log:
    """The log at one moment."""

    _HEAD = struct.Struct("<8sIIQQQII")
    _RECORD = struct.Struct("<4qQ3I6H8B24s")

    def __init__(self, path):
        with open(path, "rb") as file:
            (magic, record_bytes, self.records_max, count, *drops, realtime,
             ended) = self._HEAD.unpack(file.read(self._HEAD.size))
            if magic != b"RiLink01" or record_bytes != self._RECORD.size:
                raise AssertionError(f"{path} is no log of a link")
            file.seek(4096)
            data = file.read(count * record_bytes)
        self.packets = [Packet._make(fields) for fields in self._RECORD.iter_unpack(data)]
        self.drops = tuple(drops)
        self.realtime = bool(realtime)
        self.ended = bool(ended)

    def select(self, direction=None, protocol=None, family=None, port=None):
        """The packets of a server's port, in the order of their arrival."""
        return [packet for packet in self.packets
                if direction in (None, packet.direction) and protocol in (None, packet.protocol)
                and family in (None, packet.family)
                and port in (None, packet.source_port if packet.direction else packet.destination_port)]

    def retransmits(self, direction=None, port=None):
        """The number of TCP segments with data, SYN or FIN that repeat earlier ones, wholly or in part."""
        highest = {}
        count = 0
        for packet in self.select(direction, TCP, port=port):
            taken = packet.payload_length + bool(packet.tcp_flags & TCP_SYN) + bool(packet.tcp_flags & TCP_FIN)
            if packet.copy or not taken:
                continue
            flow = packet.direction, packet.family, packet.source_port, packet.destination_port
            end = (packet.tcp_seq + taken) & 0xffffffff
            before = highest.get(flow)
            if before is not None and _before(packet.tcp_seq, before):
                count += 1
            if before is None or _before(before, end):
                highest[flow] = end
        return count


def _before(one, other):
    """Whether `one` precedes `other`, in the arithmetic of sequence numbers."""
    return ((one - other) & 0xffffffff) > 0x7fffffff


class Link:
    def __init__(self, forward=Faults(), backward=Faults(), seed=1, packets_max=500_000,
                 seconds_max=2 * RUN, mtu=1500):
        self.faults = (forward, backward)
        self.seed = seed
        self.packets_max = packets_max
        self.seconds_max = seconds_max
        self.device_mtu = mtu
        self.client = self.server = None
        self.process = None
        self._resources = contextlib.ExitStack()

    #: The source addresses of the link's own ICMP messages.
    ROUTER4, ROUTER6 = "198.51.100.1", "fd00:77::1"

    def __enter__(self):
        with self._resources:
            self._open()
            self._resources = self._resources.pop_all()
        return self

    def __exit__(self, *_):
        self._resources.close()

    @property
    def log(self):
        return Log(self.log_path)

    def settle(self):
        """Waits until no packet is in flight; a side may still send on its own later."""
        self._ask("settled")

    #: The addresses of detour(), of the client and the server.
    DETOUR = {4: ("198.18.0.1", "198.18.0.2"), 6: ("fd00:3::1", "fd00:3::2")}

    def detour(self, mtu=1500):
        """A second way between the sides, without faults: a pair of devices, way1 at the client and way2 at the
        server. The server is reached by it at its own address if a route says so."""
        with self.client:
            ip_batch(f"link add way1 mtu {mtu} type veth peer name way2 mtu {mtu}",
                     f"link set way2 netns /proc/{os.getpid()}/fd/{self.server.namespace}")
        for end, side in enumerate((self.client, self.server)):
            with side:
                silent_ipv6(f"way{end + 1}", disable=False)
                ip_batch(f"link set way{end + 1} up",
                         f"address add {self.DETOUR[4][end]}/24 dev way{end + 1}",
                         f"address add {self.DETOUR[6][end]}/64 dev way{end + 1} nodad")

    def change(self, forward=None, backward=None):
        """Changes the faults from the next packet on; the numbering continues."""
        if forward is not None:
            self._ask(f"forward {forward}")
        if backward is not None:
            self._ask(f"backward {backward}")

    def _ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer != "ok":
            raise AssertionError(f"the link says '{answer}' to '{line}'; its status is {self.process.poll()}")

    def _open(self):
        middle, client, server = (new_namespace() for _ in range(3))
        self._resources.callback(os.close, middle)
        self.client = Side(client, "192.0.2.2", "fd00:1::2")
        self._resources.callback(self.client.close)
        self.server = Side(server, "203.0.113.2", "fd00:2::2")
        self._resources.callback(self.server.close)
        with inside(middle):
            for end, namespace in ((1, client), (2, server)):
                ip_batch(f"link add side{end} address 02:00:00:00:00:0{end} mtu {self.device_mtu} type veth "
                    f"peer name link{end} address 02:00:00:00:01:0{end} mtu {self.device_mtu}")
                no_offload(f"side{end}")
                silent_ipv6(f"link{end}")
                ip_batch(f"link set link{end} up",
                    f"link set side{end} netns /proc/{os.getpid()}/fd/{namespace}")
        self._configure(self.client, 1, "192.0.2.1", "fd00:1::1")
        self._configure(self.server, 2, "203.0.113.1", "fd00:2::1")
        with inside(middle):
            self._start()

    @staticmethod
    def _configure(side, end, gateway4, gateway6):
        device, gateway = f"side{end}", f"lladdr 02:00:00:00:01:0{end} dev side{end} nud permanent"
        with side:
            silent_ipv6(device, disable=False)
            ip_batch("link set lo up", f"link set {device} up",
                f"address add {side.ipv4}/24 dev {device}", f"address add {side.ipv6}/64 dev {device} nodad",
                f"neighbour add {gateway4} {gateway}", f"neighbour add {gateway6} {gateway}",
                f"route add default via {gateway4}", f"route add default via {gateway6}")

    def _start(self):
        directory = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="riposte-link-"))
        self.log_path = os.path.join(directory, "log")
        self.process = subprocess.Popen(
            [LINK, self.log_path, str(self.packets_max), str(round(self.seconds_max)), str(self.seed), "link1",
             "link2", *map(str, self.faults), self.ROUTER4, self.ROUTER6], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._resources.callback(self._stop)
        if self.process.stdout.readline() != "ready\n":
            raise AssertionError("the link did not start: " + self.process.stderr.read())

    def _stop(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(WAIT)
        self.process.stdout.close()
        self.process.stderr.close()
