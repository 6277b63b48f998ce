"""The benchmarks run through and print their tables. No figure of theirs is judged here."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

from daemon import RIPOSTE, RIPOSTED

PLAIN_LOAD = os.environ.get("PLAIN_LOAD", "build/tests/bench/plain_load")
GENERATOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench/generator.py")
SECONDS_MAX = 100


class Generator(unittest.TestCase):
    def run_it(self, *arguments):
        return subprocess.run(
            [sys.executable, GENERATOR, "--riposted", RIPOSTED, "--riposte", RIPOSTE, "--plain",
             PLAIN_LOAD, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS_MAX, check=False)

    def test_a_round_runs_through_and_prints_the_table(self):
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

    def test_a_row_that_there_is_not_is_told(self):
        done = self.run_it("--rows", "65B")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("no such row; there are: 64B-50x1-verify ", done.stderr)


if __name__ == "__main__":
    unittest.main()
