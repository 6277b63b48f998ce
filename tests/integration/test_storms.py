"""Storms of peers, and their effect on honest clients.

Each test runs one kind of storm against one daemon: peers of storm.cpp, while `riposte ping` sends a hundred
requests a second over each of TCP and UDP, and verifies every byte. None of these may be lost or wrong, except
for datagrams that the kernel dropped because a queue was full; their times are reported and not judged.
Afterwards the daemon has closed every connection and descriptor, its memory never exceeded what `--check`
promises, and, where it keeps no buffers for later connections, did not grow from the second storm to the third.

Storms are small, to run beside other tests, or full: 10,000 peers (1,000 under a sanitizer), which use all of
loopback and of the kernel's memory for TCP, and therefore run alone.

Measurements go to the file RIPOSTE_SOAK_REPORT, one JSON object per line, for soak.py.

    RIPOSTE_STORMS         small or full [small]
    RIPOSTE_SOAK_SECONDS   how long each storm lasts [1; of the small ones 0.3]
"""

import os
import re
import resource
import signal
import subprocess
import time

import pytest

from client import Running
from daemon import (RIPOSTED, SANITIZER, WAIT, RiposteTest, await_true, limit_descriptors, needs_program, needs_root,
                    receive_exactly)
from honest import PATIENCE, Honest
from network import enter_network, ip
from soak_report import report

STORM = os.environ.get("STORM", "build/tests/soak/storm")
#: Storms until the memory that remains after each has settled.
STORMS_MAX = 8
FULL = os.environ.get("RIPOSTE_STORMS", "small") == "full"
pytestmark = [pytest.mark.backends, pytest.mark.first, pytest.mark.timeout(600)
              ] + [pytest.mark.alone] * FULL
SECONDS = float(os.environ.get("RIPOSTE_SOAK_SECONDS", "1" if FULL else "0.3"))
#: More than one source has (storm.cpp), so that even a small storm has several sources.
PEERS = 600 if not FULL else 10_000 if SANITIZER == "none" else 1_000
CHURNED = 100
#: Peers that read nothing reach it during a storm: full storms take long to build up.
WRITE_STALL = "2s" if FULL else "1s"
UNREAD_SECONDS = SECONDS if FULL else 1.2
RELOADS = 1000 if FULL else 100
DRAIN_SECONDS = 5 if FULL else 1
DESCRIPTORS = PEERS + 2000

CONFIG = """
drain_timeout = "{drain}s"
[[listen]]
service = "echo"
address = ["tcp://{host}:0", "udp://{host}:0"]
[[listen]]
service = "chargen"
address = "tcp://{host}:0"
[[listen]]
service = "hello"
address = "tcp://{host}:0"
[limits]
connections = 11000
{limits}
"""


def bound_mib(daemon):
    """The bound of the memory that `--check` prints."""
    done = subprocess.run([os.path.abspath(RIPOSTED), "--check", "-c", daemon.config_path],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return int(re.search(r"at most (\d+) MiB", done.stdout)[1])


class Storms(RiposteTest):
    host = "127.0.0.1"

    def setUp(self):
        super().setUp()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard < DESCRIPTORS:
            self.skipTest(f"only {hard} descriptors are available, {DESCRIPTORS} are needed")

    def begin(self, limits="idle_timeout = '30s'\nwrite_stall_timeout = '5s'"):
        self.subject = self.daemon(
            config=CONFIG.format(host=self.host, limits=limits, drain=DRAIN_SECONDS),
            in_child=limit_descriptors(DESCRIPTORS))
        self.bound = bound_mib(self.subject)
        self.fds_before = self.subject.fds()
        self.ports = {name: self.subject.port(name, "tcp") for name in ("echo", "chargen", "hello")}
        self.answered, self.faults = {}, []
        return self.subject

    def honest(self):
        return self.keep(Honest(("tcp", self.host, self.ports["echo"]),
                                ("udp", self.host, self.subject.port("echo", "udp"))))

    def storm(self, kind, service="echo", count=PEERS, seconds=SECONDS):
        """Runs it to its end; returns (opened, ended by the daemon, failed)."""
        done = subprocess.run(
            [os.path.abspath(STORM), kind, self.host, str(self.ports[service]), str(count),
             str(seconds)], stdout=subprocess.PIPE, check=True, timeout=PATIENCE + 2 * seconds,
            text=True)
        return [int(number) for number in
                re.search(r"done (\d+), ended (\d+), failed (\d+)", done.stdout).groups()]

    def under(self, name, storm, keeps_buffers=False):
        """Runs three storms with honest clients, and checks the daemon afterwards. Returns storm()'s results.

        The memory that a storm touches depends on how its peers happen to coincide, so a later one may need more
        than those before; a leak needs more each time. So a storm that needed more is followed by another."""
        results, sizes = [], []
        judged = SANITIZER == "none" and not keeps_buffers
        honest = self.honest()
        honest.await_answers(1)
        while len(sizes) < 3 or (judged and len(sizes) < STORMS_MAX and self.grows(sizes)):
            results.append(storm())
            self.await_released()
            sizes.append(self.subject.rss_kib())
        self.finish(name, honest)
        if judged:
            self.assertFalse(self.grows(sizes), f"KiB of memory after each storm: {sizes}")
        return results

    @staticmethod
    def grows(sizes):
        return sizes[-1] >= max(sizes[:-1]) * 1.1 + (4096 if FULL else 1024)

    def await_released(self):
        """Waits until everything is released; the one connection is the honest client's."""
        await_true(lambda: self.subject.fds() <= self.fds_before + 1,
                   f"{self.subject.fds()} descriptors to be {self.fds_before + 1}", PATIENCE)
        await_true(lambda: self.open_connections() == 1, "all connections but one have ended", PATIENCE)

    def open_connections(self):
        lines = len(self.subject.lines("statistics: "))
        self.subject.signal(signal.SIGUSR1)
        return int(self.subject.wait_log(r"statistics: connections (\d+) open", lines + 1)[1])

    def finish(self, name, honest):
        honest.await_answers(10)
        found, faults = honest.end()
        await_true(lambda: self.subject.fds() <= self.fds_before,
                   f"{self.subject.fds()} descriptors to be {self.fds_before}", PATIENCE)
        peak_mib = self.subject.peak_rss_kib() / 1024
        report({"scenario": name, "backend": self.backend, "honest": found, "peak_mib": peak_mib,
                     "bound_mib": self.bound, "fds_left": self.subject.fds() - self.fds_before})
        self.assertEqual(faults, [], name)
        if SANITIZER == "none":
            self.assertLess(peak_mib, self.bound, name)


class Held(Storms):
    def all_are_opened(self, results):
        for opened, _, failed in results:
            self.assertEqual((opened, failed), (PEERS, 0))

    def test_idle(self):
        self.begin()
        self.all_are_opened(self.under(f"{PEERS:,} idle", lambda: self.storm("idle")))

    def test_half_closed(self):
        self.begin()
        self.all_are_opened(self.under(f"{PEERS:,} half-closed", lambda: self.storm("half")))

    def test_slow_readers(self):
        self.begin()
        self.all_are_opened(
            self.under(f"{PEERS:,} slow readers", lambda: self.storm("slow"), keeps_buffers=True))

    def test_readers_that_never_read(self):
        self.begin(f"write_stall_timeout = '{WRITE_STALL}'")
        self.all_are_opened(
            self.under(f"{PEERS:,} never read", lambda: self.storm("never", seconds=UNREAD_SECONDS),
                       keeps_buffers=True))

    def test_chargen_readers_that_stop(self):
        self.begin(f"write_stall_timeout = '{WRITE_STALL}'")
        self.all_are_opened(
            self.under(f"{PEERS:,} stop reading",
                       lambda: self.storm("stop", "chargen", seconds=UNREAD_SECONDS), keeps_buffers=True))

    def test_dribblers(self):
        self.begin()
        self.all_are_opened(self.under(f"{PEERS:,} dribblers", lambda: self.storm("dribble")))


class Churned(Storms):
    def assert_continuous(self, results):
        for opened, _, _ in results:
            self.assertGreaterEqual(opened, 2 * CHURNED)

    def test_connect_and_drop(self):
        self.begin()
        self.assert_continuous(self.under("connect and drop", lambda: self.storm("drop", count=CHURNED)))

    def test_resets(self):
        self.begin()
        self.assert_continuous(self.under("RST storm", lambda: self.storm("reset", count=CHURNED)))

    def test_short_connections(self):
        self.begin()
        self.assert_continuous(
            self.under("short connections", lambda: self.storm("hello", "hello", count=CHURNED)))


@needs_root
@needs_program("ip")
class HalfOpen(Storms):
    """In a network of its own: connections from forged sources that never complete the handshake."""

    def setUp(self):
        super().setUp()
        enter_network(self)
        ip("route add 198.18.0.0/15 dev lo")
        for name in ("all", "lo"):
            with open(f"/proc/sys/net/ipv4/conf/{name}/rp_filter", "w", encoding="ascii") as file:
                file.write("0")

    def syn_received(self):
        with open("/proc/thread-self/net/tcp", encoding="ascii") as file:
            return sum(line.split()[3] == "03" for line in file.readlines()[1:])

    def test_half_open(self):
        self.begin()
        seen = []

        def storm():
            result = self.storm("syn")
            seen.append(self.syn_received())
            return result
        for opened, _, failed in self.under(f"{PEERS:,} half-open (SYN)", storm):
            self.assertEqual((opened, failed), (PEERS, 0))
        self.assertGreater(max(seen), 0, "connections that the kernel holds half-open")


class Changes(Storms):
    def test_reloads_in_quick_succession(self):
        """As fast as connections are answered: each SIGHUP is followed by a reload, though one reload may serve
        several; no connection is harmed."""
        self.begin()
        talks = [self.connect((self.host, self.ports["echo"])) for _ in range(100)]
        honest = self.honest()
        for number in range(RELOADS):
            self.subject.signal(signal.SIGHUP)
            talk = talks[number % len(talks)]
            talk.sendall(b"%d" % number)
            self.assertEqual(receive_exactly(talk, len(b"%d" % number)), b"%d" % number)
            time.sleep(0.008)
        self.subject.wait_log("^riposted: reloaded: ")
        for talk in talks:
            talk.sendall(b"still")
            self.assertEqual(receive_exactly(talk, 5), b"still")
            talk.close()
        await_true(lambda: self.subject.fds() <= self.fds_before + 1, "descriptors are closed")
        self.finish(f"{RELOADS:,} SIGHUPs", honest)

    def test_sigterm_under_full_load(self):
        """The drain ends within its time, and earlier requests are answered."""
        for transport in ("tcp", "udp"):
            daemon = self.begin("idle_timeout = '30s'")
            daemon.expected = (0,)
            port = self.subject.port("echo", transport)
            with Running("load", "-j", "-c", "50", "-d", "0", "--warmup", "0",
                         f"{transport}://{self.host}:{port}") as load:
                load.await_handlers((signal.SIGQUIT,))
                self.await_load(load)
                asked = time.monotonic()
                daemon.signal(signal.SIGTERM)
                # After drain_timeout, the rest is reset.
                self.assertEqual(daemon.wait(DRAIN_SECONDS + WAIT), 0)
            took = time.monotonic() - asked
            report({"scenario": f"SIGTERM under load, {transport}", "backend": self.backend,
                    "took_s": took, "peak_mib": None, "bound_mib": self.bound, "fds_left": 0,
                    "honest": {}})
            statistics = daemon.lines("statistics: ")[-1]
            self.assertIn("connections 0 open", statistics)

    @staticmethod
    def await_load(load):
        """Waits until it has measured answers."""
        def measured():
            load.signal(signal.SIGQUIT)
            return "median" in load.error_line()
        await_true(measured, "a load that is under way", PATIENCE)
