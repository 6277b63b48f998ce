"""Storms of peers, and what honest clients notice meanwhile.

Each test is one kind of storm against one daemon: 10,000 of storm.cpp's peers (1,000 under a sanitizer),
while `riposte ping` asks over TCP and UDP, a hundred times a second each, and verifies every byte. Nothing
of theirs may be lost or wrong, but for datagrams that the kernel dropped on their way, loopback's queue
being full; how long it took is reported and not judged. Afterwards the daemon has given back every
descriptor and every connection, its memory was never above what `--check` promises, and has not grown from
the second storm to the third, where no buffers are kept for whoever comes next.

What was measured goes to the file RIPOSTE_SOAK_REPORT, a JSON object a line, for soak.py.

    RIPOSTE_SOAK_SECONDS   how long each storm lasts [1]
"""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import time

from daemon import (BACKEND, RIPOSTE, RIPOSTED, SANITIZER, WAIT, RiposteTest, await_true, libc,
                    needs_program, needs_root, receive_exactly)
from soak_report import report

STORM = os.environ.get("STORM", "build/tests/soak/storm")
SECONDS = int(os.environ.get("RIPOSTE_SOAK_SECONDS", "1"))
PEERS = 10_000 if SANITIZER == "none" else 1_000
DESCRIPTORS = PEERS + 2000
CLONE_NEWNET = 0x40000000
PATIENCE = 120.0 if SANITIZER == "none" else 300.0

CONFIG = """
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


def dropped_on_the_way():
    """Packets that found loopback's queue full (netdev_max_backlog): in the second column."""
    with open("/proc/net/softnet_stat", encoding="ascii") as file:
        return sum(int(line.split()[1], 16) for line in file)


class Honest:
    """`riposte ping` over TCP and UDP until it is told to end."""

    def __init__(self, host, tcp, udp, inside=contextlib.nullcontext):
        with inside():
            self.dropped_before = dropped_on_the_way()
            self.process = subprocess.Popen(
                [os.path.abspath(RIPOSTE), "ping", "-j", "-i", "10ms", "-W", "60s",
                 f"tcp://{host}:{tcp}", f"udp://{host}:{udp}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def end(self):
        """By transport: sent, answered, p99 in milliseconds; and what was not as it should be."""
        self.process.send_signal(signal.SIGINT)
        text, _ = self.process.communicate(timeout=PATIENCE)
        found, faults = {}, []
        for endpoint in json.loads(text)["endpoints"]:
            counts = endpoint["counts"]
            transport = endpoint["transport"]
            found[transport] = {"sent": counts["sent"] - counts["waiting"],
                                "answered": counts["answered"],
                                "p99_ms": 1000 * (endpoint["rtt"] or {}).get("p99", 0)}
            if transport == "udp":
                counts["lost"] = max(0, counts["lost"] - (dropped_on_the_way() - self.dropped_before))
            faults += [f"{transport}: {counts[what]} {what}"
                       for what in ("lost", "corrupted", "wrong_size", "refused", "unreachable",
                                    "closed", "duplicated", "stray") if counts[what]]
            if counts["answered"] < 10:
                faults.append(f"{transport}: only {counts['answered']} answered")
        return found, faults

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def bound_mib(daemon):
    """What `--check` promises of the memory."""
    done = subprocess.run([os.path.abspath(RIPOSTED), "--check", "-c", daemon.config_path],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return int(re.search(r"at most (\d+) MiB", done.stdout)[1])


def enough_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


class Storms(RiposteTest):
    host = "127.0.0.1"

    def setUp(self):
        super().setUp()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard < DESCRIPTORS:
            self.skipTest(f"only {hard} descriptors to be had, {DESCRIPTORS} are needed")

    def begin(self, limits="idle_timeout = '30s'\nwrite_stall_timeout = '5s'"):
        self.subject = self.daemon(config=CONFIG.format(host=self.host, limits=limits),
                                   in_child=enough_descriptors)
        self.bound = bound_mib(self.subject)
        self.fds_before = self.subject.fds()
        self.ports = {name: self.subject.port(name, "tcp") for name in ("echo", "chargen", "hello")}
        self.answered, self.faults = {}, []
        return self.subject

    def honest(self):
        return self.keep(Honest(self.host, self.ports["echo"], self.subject.port("echo", "udp")))

    def storm(self, kind, service="echo", count=PEERS, seconds=SECONDS):
        """Runs it to its end; returns (opened, ended by the daemon, failed)."""
        done = subprocess.run(
            [os.path.abspath(STORM), kind, self.host, str(self.ports[service]), str(count),
             str(seconds)], stdout=subprocess.PIPE, check=True, timeout=PATIENCE + 2 * seconds,
            text=True)
        return [int(number) for number in
                re.search(r"done (\d+), ended (\d+), failed (\d+)", done.stdout).groups()]

    def under(self, name, storm, keeps_buffers=False):
        """Three storms with honest clients, and what holds afterwards. Returns storm()'s results."""
        results, sizes = [], []
        honest = self.honest()
        time.sleep(0.2)  # some answers from before
        for _ in range(3):
            results.append(storm())
            self.given_back()
            sizes.append(self.subject.rss_kib())
        self.finish(name, honest)
        if SANITIZER == "none" and not keeps_buffers:
            self.assertLess(sizes[2], sizes[1] * 1.1 + 4096, "KiB of memory after each storm")
        return results

    def given_back(self):
        """All is as it was; the one connection is the honest client's."""
        await_true(lambda: self.subject.fds() <= self.fds_before + 1,
                   f"{self.subject.fds()} descriptors to be {self.fds_before + 1}", PATIENCE)
        await_true(lambda: self.open_connections() == 1, "all connections but one are over", PATIENCE)

    def open_connections(self):
        lines = len(self.subject.lines("statistics: "))
        self.subject.signal(signal.SIGUSR1)
        return int(self.subject.wait_log(r"statistics: connections (\d+) open", lines + 1)[1])

    def finish(self, name, honest):
        found, faults = honest.end()
        await_true(lambda: self.subject.fds() <= self.fds_before,
                   f"{self.subject.fds()} descriptors to be {self.fds_before}", PATIENCE)
        peak_mib = self.subject.peak_rss_kib() / 1024
        report({"scenario": name, "backend": BACKEND, "honest": found, "peak_mib": peak_mib,
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
        self.begin("write_stall_timeout = '2s'")
        self.all_are_opened(
            self.under(f"{PEERS:,} never read", lambda: self.storm("never"), keeps_buffers=True))

    def test_chargen_readers_that_stop(self):
        self.begin("write_stall_timeout = '2s'")
        self.all_are_opened(
            self.under(f"{PEERS:,} stop reading", lambda: self.storm("stop", "chargen"),
                       keeps_buffers=True))

    def test_dribblers(self):
        self.begin()
        self.all_are_opened(self.under(f"{PEERS:,} dribblers", lambda: self.storm("dribble")))


class Churned(Storms):
    def goes_on(self, results):
        for opened, _, _ in results:
            self.assertGreater(opened, 100)

    def test_connect_and_drop(self):
        self.begin()
        self.goes_on(self.under("connect and drop", lambda: self.storm("drop", count=100)))

    def test_resets(self):
        self.begin()
        self.goes_on(self.under("RST storm", lambda: self.storm("reset", count=100)))

    def test_short_connections(self):
        self.begin()
        self.goes_on(
            self.under("short connections", lambda: self.storm("hello", "hello", count=100)))


@needs_root
@needs_program("ip")
class HalfOpen(Storms):
    """In a network of its own: who begins a connection and never goes on, from forged sources."""

    def setUp(self):
        super().setUp()
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.addCleanup(os.close, before)
        if libc.unshare(CLONE_NEWNET) != 0:
            self.skipTest("this machine permits no network namespace")
        self.addCleanup(lambda: self.assertEqual(libc.setns(before, CLONE_NEWNET), 0))
        for command in ("link set lo up", "route add 198.18.0.0/15 dev lo"):
            subprocess.run(["ip"] + command.split(), check=True, capture_output=True)
        for name in ("all", "lo"):
            with open(f"/proc/sys/net/ipv4/conf/{name}/rp_filter", "w", encoding="ascii") as file:
                file.write("0")

    def syn_received(self):
        with open("/proc/net/tcp", encoding="ascii") as file:
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
    def test_a_thousand_reloads_in_ten_seconds(self):
        """Each SIGHUP is heard of, though one reload may stand for several; nobody is harmed."""
        self.begin()
        talks = [self.connect((self.host, self.ports["echo"])) for _ in range(100)]
        honest = self.honest()
        for number in range(1000):
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
        await_true(lambda: self.subject.fds() <= self.fds_before + 1, "descriptors are given back")
        self.finish("1,000 SIGHUPs in 10 s", honest)

    def test_sigterm_under_full_load(self):
        """The drain ends within its time, and what was asked before is answered."""
        for transport in ("tcp", "udp"):
            daemon = self.begin("idle_timeout = '30s'")
            daemon.expected = (0,)
            port = self.subject.port("echo", transport)
            load = subprocess.Popen(
                [os.path.abspath(RIPOSTE), "load", "-j", "-c", "50", "-d", "30s",
                 f"{transport}://{self.host}:{port}"], stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True)
            self.addCleanup(load.stdout.close)
            self.addCleanup(load.wait)
            self.addCleanup(load.kill)
            time.sleep(1)
            asked = time.monotonic()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(PATIENCE), 0)
            took = time.monotonic() - asked
            report({"scenario": f"SIGTERM under load, {transport}", "backend": BACKEND,
                         "took_s": took, "peak_mib": None, "bound_mib": self.bound, "fds_left": 0,
                         "honest": {}})
            # drain_timeout is 5 s; after it, the rest is reset.
            self.assertLess(took, 5 + WAIT)
            statistics = daemon.lines("statistics: ")[-1]
            self.assertIn("connections 0 open", statistics)
