"""`./dev bench truth` runs to its end, prints a pair of lines for each prober, and parses the probers' output.
These tests judge the figures taken from the link's log, not those that a prober prints."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

from client import RIPOSTE
from daemon import RIPOSTED, needs_root
from link import LINK, PASSED, UDP, Link, Packet
from patience import RUN as SECONDS_MAX

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench")
sys.path.insert(0, BENCH)

import known_link  # noqa: E402
from known_link import Figures  # noqa: E402

PROGRAM = os.path.join(BENCH, "known_link.py")


def run_it(*arguments):
    return subprocess.run(
        [sys.executable, PROGRAM, "--riposted", RIPOSTED, "--riposte", RIPOSTE, "--link", LINK, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)


@needs_root
class Runs(unittest.TestCase):
    def test_a_prober_completes_and_both_lines_are_printed(self):
        with Link():
            pass  # skipped if the machine cannot make a link
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "figures.json")
            done = run_it("--tools", "riposte", "--count", "100", "--json", path)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
        self.assertRegex(done.stdout, r"(?m)^riposte   says +100 .* ipdv$")
        self.assertRegex(done.stdout, r"(?m)^          true +100 ")
        self.assertEqual(found["absent"], {})
        pair = found["probers"]["riposte"]
        for name in ("sent", "answered", "duplicated", "reordered"):
            self.assertEqual(pair["says"][name], pair["true"][name], name)
        self.assertAlmostEqual(pair["says"]["loss"], pair["true"]["loss"])

    def test_a_prober_that_is_not_installed_is_named(self):
        environment = dict(os.environ, PATH=os.path.dirname(sys.executable) + "/none")
        done = subprocess.run([sys.executable, PROGRAM, "--riposted", RIPOSTED, "--riposte", RIPOSTE, "--link",
                               LINK, "--tools", "sockperf", "irtt"], env=environment, capture_output=True,
                              text=True, timeout=SECONDS_MAX, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in ("irtt", "sockperf"):
            self.assertIn(f"left out: {name}: the program {name} is not installed\n", done.stdout)


class Options(unittest.TestCase):
    def test_an_unknown_prober_is_reported(self):
        done = run_it("--tools", "telnet")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("no such prober; there are: riposte ping fping irtt iperf3 sockperf\n", done.stderr)


class Reads(unittest.TestCase):
    """The output of the versions in Debian."""

    def test_ping(self):
        self.assertEqual(known_link.read_ping(
            "--- 203.0.113.2 ping statistics ---\n"
            "200 packets transmitted, 196 received, +4 duplicates, 2% packet loss, time 4000ms\n"
            "rtt min/avg/max/mdev = 16.506/20.939/75.947/4.853 ms, pipe 4\n"),
            Figures(200, 196, 2.0, 4, None, None, 20.939, 4.853))

    def test_fping(self):
        self.assertEqual(known_link.read_fping(
            "203.0.113.2 : xmt/rcv/%loss = 300/291/3%, min/avg/max = 20.1/24.8/61.0\n"),
            Figures(300, 291, 3.0, mean=24.8))
        self.assertEqual(known_link.read_fping("203.0.113.2 : xmt/rcv/%loss = 200/0/100%\n"),
                         Figures(200, 0, 100.0))

    def test_irtt(self):
        found = known_link.read_irtt('[Connecting]\n' + json.dumps({"stats": {
            "packets_sent": 87, "packets_received": 88, "duplicates": 2, "late_packets": 1,
            "packet_loss_percent": 1.25, "rtt": {"median": 21_958_367, "mean": 24_701_860},
            "ipdv_round_trip": {"mean": 4_417_760}}}) + "\n[text]\n")
        self.assertEqual(found, Figures(87, 86, 1.25, 2, 1, 21.958367, 24.70186, 4.41776))

    def test_iperf3(self):
        self.assertEqual(known_link.read_iperf3(json.dumps({"end": {"streams": [{"udp": {
            "packets": 200, "lost_packets": 1, "lost_percent": 0.5, "out_of_order": 2, "jitter_ms": 1.5}}]}})),
            Figures(200, 199, 0.5, reordered=2, jitter=1.5))

    def test_sockperf(self):
        self.assertEqual(known_link.read_sockperf(
            "sockperf: \x1b[2;35m[Total Run] RunTime=3.0 sec; Warm up time=400 msec; SentMessages=300; "
            "ReceivedMessages=290\x1b[0m\n"
            "sockperf: # dropped messages = 6; # duplicated messages = 5; # out-of-order messages = 4\n"
            "sockperf: ====> avg-rtt=49541.125 (std-dev=2.1)\n"
            "sockperf: ---> percentile 50.000 = 42120.500\n"),
            Figures(300, 290, 2.0, 5, 4, 42.1205, 49.541125))


class Truth(unittest.TestCase):
    """Four requests: answered, lost, answered twice, and answered after a later one was."""

    def test_the_true_figures_are_computed_from_the_log(self):
        prober = next(prober for prober in known_link.PROBERS if prober.name == "sockperf")
        packets = [self.packet(0, number, number * 10, number * 10 + 1) for number in (1, 2, 3, 4)]
        packets += [self.packet(1, 1, 12, 13), self.packet(1, 4, 42, 43), self.packet(1, 3, 43, 44),
                    self.packet(1, 3, 44, 45)]

        class Fixed:
            @staticmethod
            def select(direction, protocol, port):
                return [packet for packet in packets
                        if (packet.direction, packet.protocol) == (direction, protocol) and port == 11111]
        found = known_link.truth_of(prober, Fixed)
        self.assertEqual(found, Figures(4, 3, 25.0, 1, 1, 3.0, 20 / 3, None))

    @staticmethod
    def packet(direction, number, came_ms, left_ms):
        return Packet(in_ns=came_ms * 10**6, due_ns=0, out_before_ns=left_ms * 10**6,
                      out_after_ns=left_ms * 10**6, number=1, packet=0, tcp_seq=0, tcp_ack=0, flags=0, length=42,
                      source_port=0, destination_port=0, payload_length=14, fragment_offset=0,
                      direction=direction, family=4, protocol=UDP, fate=PASSED, copy=0, tcp_flags=0, icmp_type=0,
                      icmp_code=0, payload=number.to_bytes(8, "big"))


if __name__ == "__main__":
    unittest.main()
