"""What `riposte ping` and `riposte load` print while they run: rows of --every, and lines of JSON.

Times are never compared with a clock: probes are lost by their numbers, and rows are compared with the counts of
the summary and with each other.
"""

import json
import re
import socket
import subprocess
import unittest
from signal import SIGCONT, SIGINT, SIGPIPE, SIGSTOP, SIGTERM

import client
from client import RIPOSTE, Running, run
from patience import RUN
from peers import TcpPeer, UdpPeer, bound, echo_datagram, echo_stream, spelled, wait_until

ROW = re.compile(r"^(?:(\S+) +)?(\d\d:\d\d:\d\d(?:\.\d{3})?Z) +(\d+) +(\d+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+)"
                 r"(?:  (.+))?$", re.MULTILINE)
HEADS = re.compile(r"^(?:in ms +)?\d{4}-\d\d-\d\d +sent +answered +loss +min +median +p99 +max(?:  in ms)?$",
                   re.MULTILINE)
LOAD_ROW = re.compile(r"^(\d\d:\d\d:\d\d(?:\.\d{3})?Z) +(\d+) +([\d.]+) +(\d+) +(\S+) +(\S+) +(\S+)(?:  (.+))?$",
                      re.MULTILINE)


class Case(unittest.TestCase):
    maxDiff = None

    def echo(self, handler=echo_datagram):
        peer = UdpPeer(handler)
        self.addCleanup(peer.close)
        return peer.endpoint

    def stream_echo(self):
        peer = TcpPeer(echo_stream)
        self.addCleanup(peer.close)
        return peer.endpoint

    def losing(self, lost):
        """An echo that does not answer the probes with these numbers, counted from 1."""
        seen = []

        def handler(server, data, address):
            seen.append(data)
            if len(seen) not in lost:
                server.sendto(data, address)

        return self.echo(handler)

    def documents(self, done):
        found = []
        for line in done.stdout.splitlines(keepends=True):
            self.assertTrue(line.endswith("\n"), str(done))
            found.append(json.loads(line))
            if client.jsonschema:
                client.validate(found[-1])
        return found


class PingRows(Case):
    def test_a_row_for_each_interval_with_the_probes_that_were_due_in_it(self):
        done = run("ping", "-q", "-c", 12, "-i", "50ms", "--every", "200ms", "-W", "1s", self.losing({2, 9}))
        self.assertEqual(done.returncode, 1, str(done))
        rows = ROW.findall(done.stdout)
        self.assertEqual([(row[2], row[3], row[4]) for row in rows],
                         [("4", "3", "25%"), ("4", "4", "0%"), ("4", "3", "25%")], str(done))
        self.assertEqual(len(HEADS.findall(done.stdout)), 1, str(done))
        self.assertNotIn("pending", done.stdout)
        self.assertNotIn("seq=", done.stdout)
        self.assertIn("12 sent, 10 answered, 2 lost", done.stdout)

    def test_the_rows_stand_between_the_lines_of_probes_without_q(self):
        done = run("ping", "-c", 4, "-i", "50ms", "--every", "100ms", self.echo())
        self.assertEqual(done.returncode, 0, str(done))
        self.assertEqual(len(re.findall("seq=", done.stdout)), 4)
        self.assertEqual([row[2] for row in ROW.findall(done.stdout)], ["2", "2"])
        self.assertLess(done.stdout.index("answered "), done.stdout.index("seq=3"), str(done))

    def test_rows_are_printed_while_the_run_goes_on(self):
        with Running("ping", "-q", "-i", "50ms", "--every", "100ms", self.echo()) as process:
            rows = 0
            while rows < 3:
                rows += ROW.match(process.line()) is not None
            process.signal(SIGINT)
            process.finish()

    def test_several_endpoints_have_a_row_each(self):
        good, bad = self.echo(), self.losing({1, 2, 3})
        done = run("ping", "-q", "-c", 4, "-i", "50ms", "--every", "100ms", "-W", "1s", good, bad)
        rows = ROW.findall(done.stdout)
        self.assertEqual([(row[2], row[3]) for row in rows], [("2", "2"), ("2", "0"), ("2", "2"), ("2", "1")],
                         str(done))
        names = [row[0] for row in rows]
        self.assertEqual(names[:2], names[2:])
        self.assertNotEqual(names[0], names[1])
        times = [row[1] for row in rows]
        self.assertEqual(times[0], times[1])
        self.assertLess(times[1], times[2])
        places = {match.start(2) - match.start() for match in ROW.finditer(done.stdout)}
        self.assertEqual(len(places), 1, str(done))

    def test_a_probe_in_flight_is_pending_and_not_lost(self):
        seen = []
        silent = self.echo(lambda server, data, address: seen.append(data))
        with Running("ping", "-q", "-i", "50ms", "--every", "100ms", "-W", "100s", silent) as process:
            wait_until(lambda: len(seen) >= 4, "four probes")
            process.signal(SIGSTOP)
            wait_until(process.is_stopped, "stopped")
            # Both are pending when it continues, so that the second arrives before the first is handled.
            process.signal(SIGINT)
            process.signal(SIGTERM)
            process.signal(SIGCONT)
            done = process.finish()
        rows = ROW.findall(done.stdout)
        self.assertGreaterEqual(len(rows), 2, str(done))
        for row in rows:
            self.assertEqual(row[3], "0", str(done))
            if row[4] == "-":
                self.assertIn("pending", row[9], str(done))
        self.assertIn("pending", rows[-1][9], str(done))


class PingLines(Case):
    def test_each_probe_is_a_document_and_the_summary_is_the_last(self):
        done = run("ping", "--json-lines", "-c", 6, "-i", "20ms", "-W", "1s", self.losing({2}))
        *probes, last = self.documents(done)
        self.assertEqual({each["schema"] for each in probes}, {"riposte/ping-probe/1"})
        self.assertEqual(sorted(each["seq"] for each in probes), [1, 2, 3, 4, 5, 6])
        self.assertEqual({each["seq"]: each["outcome"] for each in probes if each["outcome"] != "answered"},
                         {2: "lost"})
        self.assertEqual(sum("rtt" in each for each in probes), 5)
        self.assertEqual(last["schema"], "riposte/ping/2")
        self.assertEqual(last["exit"], done.returncode)
        self.assertEqual(last["endpoints"][0]["counts"]["answered"], 5)

    def test_intervals_come_between_and_add_up_to_the_summary(self):
        done = run("ping", "--json-lines", "--every", "100ms", "-c", 10, "-i", "20ms", "-W", "1s",
                   self.losing({3}), self.stream_echo())
        *lines, last = self.documents(done)
        for endpoint in last["endpoints"]:
            mine = [each for each in lines if each["name"] == endpoint["name"]]
            intervals = [each for each in mine if each["schema"] == "riposte/ping-interval/1"]
            self.assertEqual(len(mine) - len(intervals), 10)
            self.assertGreaterEqual(len(intervals), 2)
            for key in ("sent", "answered", "lost"):
                self.assertEqual(sum(each["counts"][key] for each in intervals), endpoint["counts"][key], key)
            self.assertEqual(sum(each["counts"]["pending"] for each in intervals), 0)

    def test_q_leaves_out_the_probes(self):
        done = run("ping", "-q", "--json-lines", "--every", "100ms", "-c", 4, "-i", "50ms", self.echo())
        self.assertEqual([each["schema"] for each in self.documents(done)],
                         ["riposte/ping-interval/1"] * 2 + ["riposte/ping/2"])

    def test_a_refused_probe_says_why(self):
        with bound(socket.SOCK_STREAM) as sock:
            endpoint = spelled("tcp", sock.getsockname())
            done = run("ping", "--json-lines", "-c", 1, endpoint)
        first, last = self.documents(done)
        self.assertEqual(first["outcome"], "refused")
        self.assertIn("refused", first["error"])
        self.assertEqual(last["endpoints"][0]["counts"]["refused"], 1)

    def test_each_line_is_there_when_its_probe_is_decided(self):
        with Running("ping", "--json-lines", "-i", "50ms", self.echo()) as process:
            for number in (1, 2, 3):
                self.assertEqual(json.loads(process.line())["seq"], number)
            process.signal(SIGINT)
            self.assertEqual(json.loads(process.finish().stdout.splitlines()[-1])["schema"], "riposte/ping/2")

    def test_a_reader_that_leaves_ends_it_quietly(self):
        for arguments in (("ping", "-i", "10ms", self.echo()),
                          ("load", "--every", "100ms", "-d", "0", "-c", "1", self.stream_echo())):
            with self.subTest(command=arguments[0]):
                writer = subprocess.Popen([RIPOSTE, arguments[0], "--json-lines", *arguments[1:]],
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=client.environment(),
                                          restore_signals=True)
                self.addCleanup(writer.stderr.close)
                self.assertIn("schema", json.loads(writer.stdout.readline()))
                writer.stdout.close()
                self.assertEqual(writer.wait(RUN), -SIGPIPE)
                self.assertEqual(writer.stderr.read(), b"")


class Load(Case):
    def test_rows_add_up_to_the_summary(self):
        done = run("load", "--every", "200ms", "-d", "1s", "--warmup", "100ms", "-r", 100, "-c", 2,
                   self.stream_echo())
        self.assertEqual(done.returncode, 0, str(done))
        rows = LOAD_ROW.findall(done.stdout)
        self.assertEqual(len(rows), 5, str(done))
        self.assertEqual([row[3] for row in rows], ["0"] * 5, str(done))
        self.assertEqual(sum(int(row[1]) for row in rows), 100, str(done))
        self.assertRegex(done.stdout, r"(?m)^\d{4}-\d\d-\d\d +sent +answers/s +errors +median +p99 +max  in ms$")

    def test_documents_add_up_to_the_last_one(self):
        done = run("load", "--json-lines", "--every", "100ms", "-n", 2000, "-r", 4000, "-u", self.losing({5, 900}),
                   "-W", "1s")
        *intervals, last = self.documents(done)
        self.assertEqual(last["schema"], "riposte/load/2", str(done))
        self.assertEqual({each["schema"] for each in intervals}, {"riposte/load-interval/1"})
        for key in ("sent", "answered", "lost"):
            self.assertEqual(sum(each["counts"][key] for each in intervals), last["counts"][key], key)
        self.assertEqual(sum(each["errors"] for each in intervals), last["counts"]["errors"])
        self.assertEqual(sum(each["latency"]["count"] for each in intervals if "latency" in each),
                         last["latency"]["count"])

    def test_a_service_that_falls_silent_has_rows_without_answers(self):
        answered = []

        def handler(server, data, address):
            answered.append(data)
            if len(answered) <= 10:
                server.sendto(data, address)

        done = run("load", "--every", "100ms", "-d", "1s", "--warmup", "0", "-r", 50, "-W", "500ms",
                   self.echo(handler))
        self.assertEqual(done.returncode, 1, str(done))
        rows = LOAD_ROW.findall(done.stdout)
        self.assertEqual(len(rows), 10, str(done))
        self.assertEqual(rows[-1][2:4], ("0.0", rows[-1][1]), str(done))
        self.assertEqual(sum(int(row[3]) for row in rows) + 9, 50, str(done))
