"""The servers under test: riposted, its peers, and the limits, each started on a core and a port of
its own, and the kernel's accounts of it: CPU time, memory.

A subject is how to start one; a server is one that runs. Every subject serves a mode: `echo` (TCP),
`hello` (TCP: answers `Hello, i'm server!` and closes), `udp` (each datagram goes back). Peers and limits
are programs of peers/ with the command line `NAME MODE PORT`; servers of other packages are started with
our own configuration. A missing server is printed and left out.
"""

import contextlib
import dataclasses
import os
import shutil
import socket
import time

from pinned import Pinned

WAIT = 30.0
CONNECTIONS_MAX = 15_000

RIPOSTED_CONFIG = f"""
busy_poll = "{{busy_poll}}"
[limits]
connections = {CONNECTIONS_MAX}
connections_per_source = {CONNECTIONS_MAX}
"""

XINETD_CONFIG = """
defaults
{{
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 1000000 1
}}
service echo
{{
    id = echo-{transport}
    type = INTERNAL UNLISTED
    socket_type = {socket_type}
    protocol = {transport}
    wait = {wait}
    user = root
    bind = 127.0.0.1
    port = {port}
    disable = no
}}
"""


class Unavailable(Exception):
    """A subject that cannot be started here; the reason is its text."""


@dataclasses.dataclass(frozen=True)
class Subject:
    name: str
    kind: str  # ours, peer, limit
    modes: tuple
    connections_max: int = CONNECTIONS_MAX

    def serves(self, mode, connections=1):
        return mode in self.modes and connections <= self.connections_max

    def command(self, programs, mode, port, directory):
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Riposted(Subject):
    backend: str = "io_uring"
    workers: int = 1
    busy_poll: str = "0"
    metrics: bool = False  # on a unix socket, metrics.sock in the server's directory

    def command(self, programs, mode, port, directory):
        config = os.path.join(directory, "riposted.toml")
        with open(config, "w", encoding="ascii") as file:
            file.write(RIPOSTED_CONFIG.format(busy_poll=self.busy_poll))
            if self.metrics:
                file.write(f'[metrics]\nlisten = "unix:{directory}/metrics.sock"\n')
        service = "hello" if mode == "hello" else "echo"
        transport = "udp" if mode == "udp" else "tcp"
        return [programs.riposted, "-c", config, "--backend", self.backend,
                "--workers", str(self.workers), "--log-level", "warning",
                "--listen", f"{service}={transport}://127.0.0.1:{port}"]


@dataclasses.dataclass(frozen=True)
class Program(Subject):
    """A program of peers/; `program` is its file's name."""
    program: str = ""

    def command(self, programs, mode, port, directory):
        path = os.path.join(programs.peers, self.program)
        if self.program.endswith(".js"):
            path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers", self.program)
            node = shutil.which("node") or shutil.which("nodejs")
            if not node:
                raise Unavailable("node is not installed")
            return [node, path, mode, str(port)]
        if not os.path.exists(path):
            raise Unavailable(f"{path} was not built: its library is not installed")
        return [path, mode, str(port)]


@dataclasses.dataclass(frozen=True)
class Xinetd(Subject):
    def command(self, programs, mode, port, directory):
        program = shutil.which("xinetd") or shutil.which("xinetd", path="/usr/sbin:/sbin")
        if not program:
            raise Unavailable("xinetd is not installed")
        config = os.path.join(directory, "xinetd.conf")
        datagrams = mode == "udp"
        with open(config, "w", encoding="ascii") as file:
            file.write(XINETD_CONFIG.format(
                transport="udp" if datagrams else "tcp", port=port,
                socket_type="dgram" if datagrams else "stream", wait="yes" if datagrams else "no"))
        return [program, "-dontfork", "-f", config,
                "-pidfile", os.path.join(directory, "xinetd.pid")]


BOTH = ("echo", "hello", "udp")
IO_URING = Riposted("riposte io_uring", "ours", BOTH)
EPOLL = Riposted("riposte epoll", "ours", BOTH, backend="epoll")
IO_URING_2 = Riposted("riposte io_uring, 2 workers", "ours", BOTH, workers=2)
EPOLL_2 = Riposted("riposte epoll, 2 workers", "ours", BOTH, backend="epoll", workers=2)
IO_URING_SPIN = Riposted("riposte io_uring, busy_poll", "ours", BOTH, busy_poll="50us")
EPOLL_SPIN = Riposted("riposte epoll, busy_poll", "ours", BOTH, backend="epoll", busy_poll="50us")
# The first one once more: the difference between the two is the noise.
CONTROL = Riposted("riposte io_uring (control)", "control", BOTH)

PEERS = (
    Program("Asio", "peer", BOTH, program="asio"),
    Program("libuv", "peer", BOTH, program="libuv"),
    Program("libevent", "peer", BOTH, program="libevent"),
    Program("Go", "peer", BOTH, program="go"),
    Program("Tokio", "peer", BOTH, program="tokio"),
    Program("node", "peer", BOTH, program="node.js"),
    # Its UDP echo throws away what came meanwhile: no peer there. It has a process a connection.
    Xinetd("xinetd", "peer", ("echo",), connections_max=100),
)
BARE_EPOLL = Program("bare epoll loop", "limit", BOTH, program="bare_epoll")
BARE_IO_URING = Program("bare io_uring loop", "limit", BOTH, program="bare_uring")
BARE_MMSG = Program("bare mmsg loop", "limit", ("udp",), program="bare_mmsg")
LIMITS = (BARE_EPOLL, BARE_IO_URING, BARE_MMSG)


def free_port():
    """A port that is free for TCP and UDP, below those that the kernel gives to clients."""
    for _ in range(1000):
        port = int.from_bytes(os.urandom(2), "little") % 20_000 + 10_000
        with contextlib.suppress(OSError), \
                socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            stream.bind(("127.0.0.1", port))
            datagram.bind(("127.0.0.1", port))
            return port
    raise Unavailable("no port is free")


def is_bound(mode, port):
    """Whether a socket listens on (TCP) or is bound to (UDP) this port."""
    files = ("udp", "udp6") if mode == "udp" else ("tcp", "tcp6")
    state = "07" if mode == "udp" else "0A"
    for name in files:
        with contextlib.suppress(FileNotFoundError), \
                open(f"/proc/net/{name}", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if fields[1].endswith(f":{port:04X}") and fields[3] == state:
                    return True
    return False


class Server(Pinned):
    """A subject that runs, pinned to `cores`."""

    def __init__(self, subject, programs, mode, cores):
        self.subject = subject
        self.port = free_port()
        super().__init__(lambda directory: subject.command(programs, mode, self.port, directory), cores)
        try:
            self._await_ready(mode)
        except BaseException:
            self.close()
            raise

    def _await_ready(self, mode):
        deadline = time.monotonic() + WAIT
        while not is_bound(mode, self.port):
            if not self.is_running():
                raise Unavailable(f"it ended: {self.log_text().strip()[-300:]}")
            if time.monotonic() > deadline:
                raise Unavailable("it did not listen in time")
            time.sleep(0.005)

    def user_seconds(self):
        """The part of it in user mode, as most kernels account it: by the mode at each clock tick."""
        ticks = sum(int(text.rpartition(")")[2].split()[11]) for text in self.tasks("stat"))
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self):
        """The resident memory (Rss)."""
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
        raise Unavailable("the kernel does not tell its memory")
