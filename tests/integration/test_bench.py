"""The benchmarks run to their end and print their tables. These tests judge no figure."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from daemon import RIPOSTE, RIPOSTED
from patience import RUN as SECONDS_MAX

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench")
sys.path.insert(0, BENCH)

import compare  # noqa: E402
import generator  # noqa: E402
import marks  # noqa: E402
import rows  # noqa: E402
from subjects import Unavailable  # noqa: E402

PLAIN_LOAD = os.environ.get("PLAIN_LOAD", "build/tests/bench/plain_load")
TOOLS = os.environ.get("RIPOSTE_BENCH_GENERATORS", "build/tests/bench")
GENERATOR = os.path.join(BENCH, "generator.py")
COMPARE = os.path.join(BENCH, "compare.py")
THROUGHPUT = os.path.join(BENCH, "throughput.py")
MANY = os.path.join(BENCH, "many.py")


class Generator(unittest.TestCase):
    def run_it(self, *arguments):
        return subprocess.run(
            [sys.executable, GENERATOR, "--riposted", RIPOSTED, "--riposte", RIPOSTE, "--plain",
             PLAIN_LOAD, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS_MAX, check=False)

    def test_a_round_completes_and_prints_the_table(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "figures.json")
            done = self.run_it("--rounds", "1", "--seconds", "0.1", "--rows", "64B-50x", "--json", path)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
        names = ["64B-50x1-verify", "64B-50x1-plain", "64B-50x16-verify", "64B-50x16-plain",
                 "control-64B-50x1-verify"]
        self.assertEqual([row["row"] for row in found["rows"]], names)
        for name in names:
            self.assertRegex(done.stdout, rf"(?m)^{name} .* \d+\.\d+ ")
        for row in found["rows"]:
            self.assertEqual(len(row["rounds"]), 1)
            programs = [run["program"] for run in row["rounds"][0]]
            other = "plain" if row["control"] else "riposte"
            self.assertEqual(programs, ["plain", other, other, "plain"])
            self.assertTrue(all(run["requests"] > 0 for run in row["rounds"][0]))

    def test_an_unknown_row_is_reported(self):
        done = self.run_it("--rows", "65B")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("no such row; there are: 64B-50x1-verify ", done.stderr)


@unittest.skipUnless(shutil.which("iperf3"), "iperf3 is not installed")
class Throughput(unittest.TestCase):
    def test_a_round_completes_and_prints_the_table(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "figures.json")
            done = subprocess.run(
                [sys.executable, THROUGHPUT, "--riposted", RIPOSTED, "--riposte", RIPOSTE, "--backend", "epoll",
                 "--rounds", "1", "--seconds", "1", "--rows", "both", "udp", "--json", path],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
        self.assertEqual([row["name"] for row in found["rows"]], ["both-1", "udp-1G"])
        for row in found["rows"]:
            self.assertRegex(done.stdout, rf"(?m)^{row['name']} .* \d+\.\d+ ")
            self.assertEqual([run["program"] for run in row["rounds"][0]], ["iperf3", "riposte", "riposte", "iperf3"])


class Many(unittest.TestCase):
    def test_a_round_completes_and_prints_the_table(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "figures.json")
            done = subprocess.run(
                [sys.executable, MANY, "--riposted", RIPOSTED, "--riposte", RIPOSTE, "--endpoints", "30", "--rounds",
                 "1", "--seconds", "2", "--json", path],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
        (run,) = found["runs"]["riposte ping, UDP"]
        self.assertEqual((run["sent"], run["answered"]), (60, 60))
        self.assertRegex(done.stdout, r"(?m)^riposte ping, UDP +60 +60 +0 +\d+\.\d%")
        self.assertRegex(done.stdout, r"(?m)^(fping, ICMP \(only\) +60 |left out: fping: )")


class Compare(unittest.TestCase):
    """Without the peers, which need libraries that the build does not."""

    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory())

    def run_it(self, *arguments):
        return subprocess.run(
            [sys.executable, COMPARE, "--riposted", RIPOSTED, "--riposte", RIPOSTE, "--tools", TOOLS,
             "--peers", os.path.join(self.directory, "none"), *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)

    def compare(self, *arguments):
        path = os.path.join(self.directory, "figures.json")
        done = self.run_it("--rounds", "1", "--seconds", "0.1", "--json", path, *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        with open(path, encoding="utf-8") as file:
            return json.load(file), done.stdout

    def test_each_kind_of_row_completes_and_is_printed(self):
        names = ["tcp-512-pipelined", "tcp-hello", "udp-trains-gso", "one-at-a-time-spin"]
        picture = os.path.join(self.directory, "figures.svg")
        found, text = self.compare("--servers", "riposte epoll", "--rows", *names,
                                   "--picture", picture)
        self.assertEqual(list(found["rows"]), names)
        for name in names:
            row = found["rows"][name]
            self.assertIn(f"\n{row['title']}\n", text)
            self.assertIn("riposte epoll", row["servers"], text)
            for server, figure in row["servers"].items():
                self.assertTrue(server.startswith("riposte epoll"), server)
                self.assertEqual(figure["faults"], 0)
                self.assertGreater(figure["cpu"], 0)
                self.assertGreater(figure["rate"], 0)
                self.assertTrue(0 <= figure["user_share"] <= 1)
                [[forward, backward]] = row["runs"][server]
                self.assertTrue(forward["units"] > 0 and backward["units"] > 0)
        # Without the reference there is no ratio and nothing to draw.
        self.assertEqual(os.path.getsize(picture), 0)

    def test_gate_memory_and_start_are_measured(self):
        found, text = self.compare("--servers", "riposte epoll", "--rows", "gate", "ready")
        self.assertEqual(found["gate"], {"riposte epoll": True})
        self.assertRegex(text, r"(?m)^riposte epoll +passed +\d+ other echoes, the longest ")
        self.assertEqual(list(found["ready"]), ["riposte epoll"])
        self.assertEqual([mark["mark"] for mark in found["marks"]], ["seconds from exec to READY"])

    def test_serving_with_scrapes_is_compared_with_serving_without(self):
        found, text = self.compare("--servers", "riposte epoll", "--rows", "metrics")
        of_row = found["metrics"]["riposte epoll"]
        self.assertEqual(list(of_row), ["tcp-64-50", "udp-64-50"])
        for figure in of_row.values():
            self.assertTrue(all(ratio > 0 for ratio in figure["ratios"]))
            self.assertGreater(figure["scrapes"], 0)
        self.assertRegex(text, r"(?m)^riposte epoll, tcp-64-50 +\d\.\d+ .*, \d+ scrapes$")

    def test_a_missing_peer_is_left_out_and_named(self):
        found, text = self.compare("--servers", "riposte epoll", "bare epoll", "--rows", "udp-64-1")
        self.assertIn("left out: bare epoll loop: ", text)
        self.assertIn("its library is not installed", found["absent"]["bare epoll loop"])
        self.assertEqual(list(found["rows"]["udp-64-1"]["servers"]), ["riposte epoll"])

    def test_an_unknown_row_is_reported(self):
        done = self.run_it("--rows", "tcp-65")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("no such row; there are: tcp-64-1 ", done.stderr)


class Repetition(unittest.TestCase):
    """A run without any reply is repeated, but not for ever."""

    def generator(self, requests):
        bench = generator.Bench.__new__(generator.Bench)
        runs = iter(generator.Run("plain", count, 1, 1, 1) for count in requests)
        bench.try_run = lambda program, row: next(runs)
        return bench.run("plain", generator.all_rows()[0])

    def test_the_generator_repeats_a_run_without_replies(self):
        self.assertEqual(self.generator([0] * (generator.TRIES - 1) + [7]).requests, 7)
        with self.assertRaisesRegex(SystemExit, "no answer in any; more --seconds may help"):
            self.generator([0] * generator.TRIES + [7])

    def compare(self, outcomes):
        bench = compare.Bench.__new__(compare.Bench)
        outcomes = iter(outcomes)

        def measure_once(row, server):
            outcome = next(outcomes)
            if isinstance(outcome, Unavailable):
                raise outcome
            return outcome

        bench.measure_once = measure_once
        return bench.measure(None, None)

    def test_the_comparison_repeats_a_run_without_replies(self):
        nothing = rows.Run(0, 1, 0, 1, 1, 1, 1, 1)
        good = rows.Run(5, 1, 0, 1, 1, 1, 1, 1)
        failed = Unavailable("it said so")
        self.assertIs(self.compare([nothing, failed, good]), good)
        with self.assertRaisesRegex(Unavailable, "it said so"):
            self.compare([failed] * compare.TRIES + [good])


class Marks(unittest.TestCase):
    """How a verdict is computed from runs."""

    def judged(self, mark, **servers):
        """`servers`: name: (kind, CPU of each run, generator's share)."""
        runs = {name: [[rows.Run(1, 1, 0, generator, 1, 1, 1, cpu) for cpu in pair] for pair in pairs]
                for name, (_, pairs, generator) in servers.items()}
        row = {"compares": "cpu", "runs": runs, "servers": {
            name: {"kind": kind, "cpu": pairs[0][0], "faults": 0,
                   "limit": "generator" if generator > 0.95 else "both"}
            for name, (kind, pairs, generator) in servers.items()}}
        return marks.judge_mark(mark, row, {"cheater": False})

    def test_the_ratio_is_computed_within_a_round_and_to_the_best_peer(self):
        # Drift between rounds affects both equally.
        [found] = self.judged(
            marks.Mark("row", 0.8, "best peer", ("ours",)),
            ours=("ours", [(3, 5), (30, 50), (7, 9)], 0.5),
            good=("peer", [(4, 6), (40, 60), (10, 10)], 0.5),
            slow=("peer", [(9, 9), (90, 90), (20, 20)], 0.5))
        self.assertEqual(found["mark"], "row against good")
        self.assertAlmostEqual(found["figure"], 0.8)
        self.assertTrue(found["reached"])
        self.assertEqual((found["least"], found["greatest"]), (0.8, 0.8))
        self.assertIsNone(found["bare"])

    def test_a_peer_that_failed_the_gate_and_a_limit_are_not_compared_with(self):
        [found] = self.judged(
            marks.Mark("row", 0.8, "best peer", ("ours",)), ours=("ours", [(4, 4)], 0.5),
            true=("peer", [(4, 4)], 0.5), cheater=("peer", [(1, 1)], 0.5),
            bare=("limit", [(1, 1)], 0.5))
        self.assertEqual(found["mark"], "row against true")
        self.assertFalse(found["reached"] or found["generator_bound"])
        # ... but the comparison with the limit is printed beside it.
        self.assertAlmostEqual(found["bare"], 0.25)

    def test_the_mark_says_if_the_generator_was_the_bottleneck(self):
        mark = marks.Mark("row", 0.8, "best peer", ("ours",))
        for ours, theirs in ((0.99, 0.5), (0.5, 0.99)):
            [found] = self.judged(mark, ours=("ours", [(1, 1)], ours),
                                  true=("peer", [(2, 2)], theirs), slow=("peer", [(3, 3)], 0.5))
            self.assertEqual(found["mark"], "row against true")
            self.assertTrue(found["reached"] and found["generator_bound"])


if __name__ == "__main__":
    unittest.main()
