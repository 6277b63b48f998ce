"""`./dev bench stamp` runs to its end: every question is answered and measured. No figure is judged."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

from daemon import RIPOSTED, RiposteTest
from patience import RUN as SECONDS_MAX

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench")
QUESTIONS = os.path.join(os.environ.get("RIPOSTE_BENCH_GENERATORS", "build/tests/bench"), "stamp_questions")


class Generator(RiposteTest):
    def ask(self, port, *options):
        done = subprocess.run([QUESTIONS, "-p", str(port), "-w", "0", "-d", "0.2", "-f", "4", *options],
                              capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def test_every_answer_is_counted_and_measured(self):
        _, address = self.serve("stamp", transport="udp")
        found = self.ask(address[1])
        self.assertGreater(found["answered"], 0)
        self.assertEqual(found["wrong"], 0)
        self.assertGreaterEqual(found["p99_t3_error_us"], found["p50_t3_error_us"])
        self.assertGreaterEqual(found["max_residence_us"], found["p50_residence_us"])

    def test_an_echo_is_no_reflector(self):
        _, address = self.serve("echo", transport="udp")
        self.assertGreater(self.ask(address[1], "-e")["answered"], 0)
        found = self.ask(address[1])
        self.assertEqual(found["answered"], 0)
        self.assertGreater(found["wrong"], 0)


class Runs(unittest.TestCase):
    def test_a_round_of_all_kinds_is_printed_and_kept(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "figures.json")
            done = subprocess.run(
                [sys.executable, os.path.join(BENCH, "stamp.py"), "--riposted", RIPOSTED, "--questions", QUESTIONS,
                 "--backend", "epoll", "--rounds", "1", "--seconds", "0.2", "--json", path],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
        self.assertEqual(set(found["rows"]), {"echo", "stamp", "authenticated", "control"})
        for kind, row in found["rows"].items():
            self.assertRegex(done.stdout, rf"(?m)^{kind} +[0-9.]+ \(")
            self.assertGreater(row["cpu_us"]["median"], 0)
        self.assertEqual(found["rows"]["echo"]["ratio"]["median"], 1)
