"""`riposte probe`: a fleet's targets from lists, what became of each probe, changes while it runs."""

import array
import collections
import fcntl
import itertools
import json
import os
import re
import shutil
import signal
import socket
import tempfile
import termios
import threading
import unittest

from client import Running, run, run_json
from peers import UdpPeer, bound, echo_datagram, has_ipv6, wait_until
from ports import reserve


def four_ports():
    """The first of four neighbouring ports that nobody else has."""
    return next(port for port in range(20_000, 31_000, 4) if all([reserve(port + more) for more in range(4)]))


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="riposte-probe-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        """Whole at once, as a careful writer does."""
        with open(self.path("new"), "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(self.path("new"), self.path(name))
        return self.path(name)

    def list(self, *targets, name="targets.json", **labels):
        return self.write(name, json.dumps([{"targets": list(targets), "labels": labels}]))

    def config(self, text, interval="20ms", timeout="10s"):
        return self.write("probe.toml", f'[probe]\ninterval = "{interval}"\ntimeout = "{timeout}"\n{text}')

    def echo(self, handler=echo_datagram):
        peer = UdpPeer(handler)
        self.addCleanup(peer.close)
        return peer.endpoint.rpartition("/")[2]

    def counts(self, document):
        for each in document["targets"] + document["groups"]:
            counts = each["counts"]
            results = ("answered", "lost", "corrupted", "wrong_size", "refused", "unreachable", "closed", "too_big",
                       "local", "waiting")
            self.assertEqual(counts["sent"], sum(counts[name] for name in results), each)
        return {each["target"]: each["counts"] for each in document["targets"]}


class Fates(Case):
    def test_each_target_has_its_own_fate_and_groups_are_their_sums(self):
        good, silent = self.echo(), bound(socket.SOCK_DGRAM)
        self.addCleanup(silent.close)
        damaged = self.echo(lambda server, data, client: server.sendto(data[:-1] + bytes([data[-1] ^ 1]), client))
        longer = self.echo(lambda server, data, client: server.sendto(data + b"x", client))
        twice = self.echo(lambda server, data, client: [server.sendto(data, client) for _ in range(2)])
        quiet = f"127.0.0.1:{silent.getsockname()[1]}"
        closed = bound(socket.SOCK_DGRAM)
        refused = f"127.0.0.1:{closed.getsockname()[1]}"
        closed.close()
        self.write("a.json", json.dumps([
            {"targets": [good, twice], "labels": {"rack": "r1"}},
            {"targets": [quiet, refused, damaged, longer, "name.invalid:7"], "labels": {"rack": "r2"}}]))
        config = self.config(f'self = "none"\n[[discover]]\nfile = "{self.folder}/*.json"\n[export]\ngroup = ["rack"]\n',
                             timeout="2s")
        done = run_json("probe", "-c", config, "--for", "500ms", "-j", "--fail-if", "loss>50%")
        self.assertEqual(done.returncode, 1, done)
        counts = self.counts(done.json)
        for target, result in ((good, "answered"), (twice, "answered"), (quiet, "lost"), (refused, "refused"),
                               (damaged, "corrupted"), (longer, "wrong_size")):
            self.assertGreater(counts[target]["sent"], 0, done)
            self.assertEqual(counts[target][result], counts[target]["sent"], (target, result, counts[target]))
        self.assertGreater(counts[twice]["duplicated"], 0)
        self.assertEqual(counts["name.invalid:7"]["sent"], 0)
        self.assertEqual(done.json["prober"]["stray"], 0)
        sums = collections.defaultdict(int)
        for each in done.json["targets"]:
            sums[each["labels"]["rack"]] += each["counts"]["sent"]
        self.assertEqual({group["labels"]["rack"]: group["counts"]["sent"] for group in done.json["groups"]}, sums)
        met = {each["target"]: each["fail_if"][0]["met"] for each in done.json["targets"]}
        self.assertEqual([met[good], met[quiet], met[refused], met[damaged]], [False, True, True, False])

    def test_a_prober_that_is_alone_in_its_lists_says_so(self):
        done = run("probe", "--targets", self.list(self.echo()), "--for", "100ms")
        self.assertTrue(done.stdout.startswith("0 targets, 0 probes"), done)
        self.assertEqual(done.stderr, "riposte: nothing is probed: the lists name only this host (1 target), which "
                         "leaves itself out; to probe it too, set [probe] self to \"none\"\n")

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6")
    def test_both_families_are_probed(self):
        other = UdpPeer(echo_datagram, "::1")
        self.addCleanup(other.close)
        lists = self.list(self.echo(), other.endpoint.rpartition("/")[2])
        done = run_json("probe", "-c", self.config('self = "none"'), "--targets", lists, "--for", "200ms", "-j")
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual({each["address"][0] for each in done.json["targets"]}, {"1", "["})

    def test_a_fleet_that_answers_is_well_and_ports_rotate(self):
        ports = []

        def note(server, data, client):
            ports.append(client[1])
            server.sendto(data, client)

        first = four_ports()
        config = self.config(f'self = "none"\n[paths]\nsource_ports = "{first}-{first + 3}"\n')
        with Running("probe", "-c", config, "--targets", self.list(self.echo(note), self.echo())) as prober:
            wait_until(lambda: len(set(ports)) == 4, "probes from all ports")
            prober.signal(signal.SIGINT)
            done = prober.finish()
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(set(ports), set(range(first, first + 4)))
        # Each takes the next one, unless one was left out, as this machine had no time for it.
        leaps = sum((later - earlier) % 4 != 1 for earlier, later in itertools.pairwise(ports))
        self.assertLessEqual(leaps, int(re.search(r"; ([\d,]+) left out", done.stdout)[1].replace(",", "")), ports)
        self.assertRegex(done.stdout, r"\A2 targets, \d+ probes: \d+ answered\n")
        # All at once instead.
        ports.clear()
        config = self.config(f'self = "none"\n[paths]\nsource_ports = "{first}-{first + 3}"\nrotate = false\n')
        done = run_json("probe", "-c", config, "--targets", self.list(self.echo(note)), "--for", "200ms", "-j")
        self.assertEqual(done.returncode, 0, done)
        (counts,) = self.counts(done.json).values()
        seen = collections.Counter(ports)
        self.assertEqual(set(seen.values()), {counts["sent"] // 4}, seen)
        self.assertEqual(len(seen), 4)
        # A port that is taken is an error that names it.
        with bound(socket.SOCK_DGRAM, "0.0.0.0", first + 2):
            done = run("probe", "-c", config, "--targets", self.list(self.echo()), "--for", "100ms")
            self.assertEqual(done.returncode, 2, done)
            self.assertIn(f"source port {first + 2}: address already in use; choose other [paths] source_ports",
                          done.stderr)


class Changes(Case):
    def test_a_target_that_stays_keeps_its_counts_whatever_else_changes(self):
        seen = {}

        def counting(name):
            def handle(server, data, client):
                seen[name] = seen.get(name, 0) + 1
                server.sendto(data, client)
            return self.echo(handle)

        stays, goes, comes = counting("stays"), counting("goes"), counting("comes")
        self.list(stays, goes)
        config = self.config(f'self = "none"\n[[discover]]\nfile = "{self.folder}/*.json"\n', interval="10ms")
        with Running("probe", "-c", config, "-j") as prober:
            wait_until(lambda: seen.get("goes", 0) > 3, "probes")
            # Half written: everything stays.
            with open(self.path("targets.json"), "w", encoding="utf-8") as file:
                file.write('[{"targets": ["127')
            self.assertIn("targets.json: line 1, column 19: not JSON; the text ends too early", prober.error_line())
            self.list(stays, comes, rack="r9")
            wait_until(lambda: seen.get("comes", 0) > 3, "probes of the new target")
            for _ in range(20):
                before = seen["stays"]
                prober.signal(signal.SIGHUP)
                wait_until(lambda: seen["stays"] > before + 1, "probes after a reload")  # noqa: B023
            # A configuration with a fault, and one that needs a restart.
            self.config("neighbors = 3\n")
            prober.signal(signal.SIGHUP)
            self.assertIn("unknown key 'neighbors' in [probe]; did you mean 'neighbours'?; the configuration stays",
                          prober.error_line())
            self.config(f'self = "none"\n[[discover]]\nfile = "{self.folder}/*.json"\n', interval="30ms")
            prober.signal(signal.SIGHUP)
            self.assertEqual(prober.error_line(), "riposte: [probe] interval: takes effect after a restart\n")
            prober.signal(signal.SIGTERM)
            done = prober.finish()
        document = json.loads(done.stdout)
        counts = self.counts(document)
        self.assertEqual(done.returncode, 0, done)
        for target, name in ((stays, "stays"), (goes, "goes"), (comes, "comes")):
            self.assertEqual(counts[target]["sent"], seen[name], name)
            self.assertEqual(counts[target]["answered"], seen[name], name)
        listed = {each["target"]: each["listed"] for each in document["targets"]}
        self.assertEqual(listed, {stays: True, goes: False, comes: True})
        labels = {each["target"]: each["labels"] for each in document["targets"]}
        self.assertEqual(labels[stays], {"rack": "r9"})
        self.assertEqual([source["failures"] for source in document["discovery"]], [1])

    def test_a_reload_while_results_are_printed_ends_nothing(self):
        silent = bound(socket.SOCK_DGRAM, "0.0.0.0")
        port = silent.getsockname()[1]
        silent.close()
        # More than the pipe holds, which is read afterwards.
        lists = self.list(*(f"127.0.{high}.{low}:{port}" for high in range(1, 3) for low in range(1, 201)))
        with Running("probe", "-c", self.config('self = "none"\n'), "--targets", lists, "--for", "50ms", "-j") as prober:
            size = array.array("i", [0])

            def begins():
                fcntl.ioctl(prober.process.stdout, termios.FIONREAD, size)
                return size[0] > 0

            wait_until(begins, "the document")
            prober.signal(signal.SIGHUP)
            done = prober.finish()
        self.assertEqual(done.returncode, 1, done.stderr)  # all were refused
        self.assertGreater(len(done.stdout), 65_536)
        self.assertEqual(len(json.loads(done.stdout)["targets"]), 400)

    def test_a_prober_that_was_stopped_loses_nothing_that_had_arrived(self):
        answered = threading.Event()

        def handle(server, data, client):
            server.sendto(data, client)
            answered.set()

        config = self.config('self = "none"\n', interval="10ms", timeout="2s")
        with Running("probe", "-c", config, "--targets", self.list(self.echo(handle)), "-j") as prober:
            answered.wait()
            prober.signal(signal.SIGSTOP)
            threading.Event().wait(2.2)  # longer than the timeout
            answered.clear()
            prober.signal(signal.SIGCONT)
            answered.wait()
            prober.signal(signal.SIGINT)
            done = prober.finish()
        self.assertEqual(done.returncode, 0, done)
        document = json.loads(done.stdout)
        (counts,) = self.counts(document).values()
        self.assertEqual(counts["answered"], counts["sent"], done)
        self.assertGreater(document["prober"]["skipped"], 0)  # and it says that it was the cause


class Looks(Case):
    def test_check_and_list_say_who_is_probed_and_why(self):
        targets = [f"host{number}.example.net:7007" for number in range(50)]
        lists = self.list(*targets, rack="r1")
        config = self.config(f'self = "{targets[0]}"\nneighbours = 5\n', interval="100ms")
        done = run("probe", "-c", config, "--targets", lists, "--check")
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, r"\A50 targets listed; 5 probed every 100ms: 50 probes/s; \d+KiB of memory\n"
                                      rf"this host is '{targets[0]}' in the lists\n\Z")
        done = run("probe", "-c", config, "--targets", lists, "--list")
        self.assertEqual(len(done.stdout.splitlines()), 6, done)
        self.assertRegex(done.stdout, r"(?m)^host\d+\.example\.net:7007 +rack=r1 +neighbour$")

    def test_faults_are_named(self):
        for arguments, fault in (
                (("--targets", self.path("gone.json"), "--check"), "cannot read .*gone.json: No such file"),
                (("--targets", self.write("bad.json", "{}"), "--list"), "bad.json: the list is an object"),
                (("--targets", "*/x.json"), "has a wildcard in its folder"),
                (("-c", self.path("gone.toml")), "cannot read .*gone.toml: No such file"),
                (("-c", self.write("none.toml", "")), "none.toml names no lists of targets"),
                (("--check", "--list"), "--check and --list exclude each other"),
                (("--check", "-j"), "--check and --list probe nothing"),
                (("--for", "0"), "--for: must be more than zero"),
                (("--targets", "x", "--fail-if", "max>1s"), "probe measures means and percentiles")):
            done = run("probe", *arguments)
            self.assertEqual(done.returncode, 2, done)
            self.assertRegex(done.stderr, fault)
            self.assertEqual(done.stderr.count("\n"), 1, done)


if __name__ == "__main__":
    unittest.main()
