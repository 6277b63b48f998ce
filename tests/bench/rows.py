"""The rows of the comparison: the generators that load the servers, and their reports.

A row's generator runs on a core of its own for `seconds` of measured time, and reports in JSON. The
server's CPU time is divided by a unit: a request, a datagram, a MiB, a connection.
"""

import dataclasses
import os

import subjects
from subjects import (BARE_EPOLL, BARE_IO_URING, BARE_MMSG, CONTROL, EPOLL, EPOLL_2, EPOLL_SPIN,
                      IO_URING, IO_URING_2, IO_URING_SPIN, PEERS)


@dataclasses.dataclass
class Run:
    """One run of one server: what was done in the measured time, and what it cost."""
    units: float
    seconds: float
    faults: int             # wrong or failed replies: one excludes the server. A lost datagram does not count
    generator_share: float  # of its core
    p50: float              # seconds
    p99: float
    p99_9: float
    server_share: float = 0.0  # of its core; set by the sampler
    user_share: float = 0.0    # ... of that, in user mode: its own code and its libraries

    @property
    def rate(self):
        return self.units / self.seconds

    @property
    def cpu(self):
        """The server's CPU seconds for each unit."""
        return self.server_share / self.rate


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    unit: str
    mode: str
    servers: tuple
    connections: int = 1
    compares: str = "cpu"  # or p50: what the ratio is made of

    def command(self, programs, port, seconds, warmup):
        raise NotImplementedError

    def read(self, found):
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Load(Row):
    """`riposte load`, which compares every byte."""
    depth: int = 1
    bytes: int = 64

    def command(self, programs, port, seconds, warmup):
        transport = "udp" if self.mode == "udp" else "tcp"
        return [programs.riposte, "load", "-j", "-c", str(self.connections), "--depth",
                str(self.depth), "-s", str(self.bytes), "-d", f"{seconds * 1000:.0f}ms",
                "--warmup", f"{warmup * 1000:.0f}ms", f"{transport}://127.0.0.1:{port}"]

    def read(self, found):
        answered = found["counts"]["answered"]
        mebibytes = answered * self.bytes / (1 << 20)
        latency = found["latency"]
        counts = found["counts"]
        return Run(mebibytes if self.unit == "MiB" else answered, found["elapsed"],
                   counts["corrupted"] + counts["wrong_size"] + counts["errors"] - counts["lost"],
                   found["generator"]["cpu_share"],
                   latency["median"], *(latency.get(name, latency["max"]) for name in ("p99", "p99_9")))


@dataclasses.dataclass(frozen=True)
class Trains(Row):
    """datagram_trains: so many datagrams at once on each socket, each answer compared."""
    train: int = 1
    bytes: int = 64
    segmentation: bool = False

    def command(self, programs, port, seconds, warmup):
        return [programs.tool("datagram_trains"), "-p", str(port), "-f", str(self.connections),
                "-s", str(self.bytes), "-t", str(self.train), "-d", str(seconds),
                "-w", str(warmup), *(["-g"] if self.segmentation else [])]

    def read(self, found):
        return Run(found["answered"], found["seconds"], found["corrupted"],
                   found["cpu_seconds"] / found["seconds"],
                   found["p50_us"] / 1e6, found["p99_us"] / 1e6, found["p99_9_us"] / 1e6)


@dataclasses.dataclass(frozen=True)
class RoundTrip(Row):
    """round_trip: one request, its answer, the next one."""
    interval_us: int = 0
    spins: bool = False

    def command(self, programs, port, seconds, warmup):
        return [programs.tool("round_trip"), "-p", str(port), "-d", str(seconds), "-w", str(warmup),
                *(["-u"] if self.mode == "udp" else []),
                *(["-S"] if self.spins else []),
                *(["-i", str(self.interval_us)] if self.interval_us else [])]

    def read(self, found):
        return Run(found["requests"], found["seconds"], found["corrupted"],
                   found["cpu_seconds"] / found["seconds"],
                   found["p50_ns"] / 1e9, found["p99_ns"] / 1e9, found["p99_9_ns"] / 1e9)


@dataclasses.dataclass(frozen=True)
class Connects(Row):
    """connects: connect, say hello, read the answer to its end, close."""

    def command(self, programs, port, seconds, warmup):
        return [programs.tool("connects"), "-p", str(port), "-c", str(self.connections),
                "-d", str(seconds), "-w", str(warmup)]

    def read(self, found):
        return Run(found["connections"], found["seconds"], found["failed"],
                   found["cpu_seconds"] / found["seconds"],
                   found["p50_us"] / 1e6, found["p99_us"] / 1e6, found["p99_9_us"] / 1e6)


STREAM = (IO_URING, EPOLL, *PEERS, BARE_EPOLL, BARE_IO_URING, CONTROL)
DATAGRAM = (IO_URING, EPOLL, *PEERS, BARE_EPOLL, BARE_IO_URING, BARE_MMSG, CONTROL)
ONE = (IO_URING, EPOLL, IO_URING_SPIN, EPOLL_SPIN, *PEERS, BARE_EPOLL, BARE_IO_URING, CONTROL)


def tcp(connections, **more):
    return {"unit": "request", "mode": "echo", "connections": connections, "servers": STREAM, **more}


def udp(sockets, **more):
    return {"unit": "datagram", "mode": "udp", "connections": sockets, "servers": DATAGRAM, **more}


ROWS = (
    Load("tcp-64-1", "TCP, 64 bytes, 1 connection", **tcp(1)),
    Load("tcp-64-50", "TCP, 64 bytes, 50 connections",
         **tcp(50, servers=(*STREAM, IO_URING_2, EPOLL_2))),
    Load("tcp-64-1000", "TCP, 64 bytes, 1,000 connections", **tcp(1000)),
    Load("tcp-64-10000", "TCP, 64 bytes, 10,000 connections", **tcp(10_000)),
    Load("tcp-512-pipelined", "TCP, 512 bytes, 16 at a time on each of 50 connections",
         **tcp(50, depth=16, bytes=512)),
    Load("tcp-16k", "TCP, 16 KiB, 50 connections", **tcp(50, bytes=16_384)),
    Load("tcp-bulk", "TCP, streaming echo, 4 connections",
         **tcp(4, unit="MiB", depth=16, bytes=65_536)),
    Connects("tcp-hello", "TCP, connect, hello, close; 50 at a time",
             **tcp(50, unit="connection", mode="hello")),
    Load("udp-64-1", "UDP, 64 bytes, 1 socket", **udp(1)),
    Load("udp-64-50", "UDP, 64 bytes, 50 sockets", **udp(50, servers=(*DATAGRAM, IO_URING_2, EPOLL_2))),
    Trains("udp-trains", "UDP, 1,200 bytes, trains of 32 from 4 sockets",
           **udp(4, train=32, bytes=1200)),
    Trains("udp-trains-gso", "UDP, 1,200 bytes, segmented trains of 32 from 4 sockets",
           **udp(4, train=32, bytes=1200, segmentation=True)),
    Load("udp-1400-500", "UDP, 1,400 bytes, 500 sockets", **udp(500, bytes=1400)),
    RoundTrip("one-at-a-time", "TCP, one request at a time, the client sleeps",
              **tcp(1, servers=ONE, compares="p50")),
    RoundTrip("one-at-a-time-spin", "TCP, one request at a time, the client does not sleep",
              **tcp(1, servers=ONE, compares="p50", spins=True)),
    RoundTrip("wake-up", "TCP, one request a millisecond",
              **tcp(1, servers=ONE, compares="p50", interval_us=1000)),
)


@dataclasses.dataclass(frozen=True)
class Programs:
    riposted: str
    riposte: str
    tools: str  # the directory of the generators
    peers: str  # ... of the peers and limits

    def tool(self, name):
        return os.path.join(self.tools, name)


def all_subjects():
    """Each subject once, in the order of its first row."""
    found = {server.name: server for row in ROWS for server in row.servers}
    return list(found.values())


assert {server.kind for server in all_subjects()} == {"ours", "control", "peer", "limit"}
assert subjects.CONNECTIONS_MAX > max(row.connections for row in ROWS)
