"""`riposte ping` from start to end: its schedule, its memory, and the signals, limits and files of a run,
with what it prints about all of them.

No test here fails because the machine is slow: of times only lower bounds, counts and order are asserted;
the figures of the long run are shown as comments.
"""

import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree
from signal import (SIG_BLOCK, SIG_IGN, SIGCONT, SIGINT, SIGPIPE, SIGQUIT, SIGSTOP, SIGTERM,
                    pthread_sigmask, signal)

import client
from client import SANITIZER, Running, comment, parse_json, run, run_json
from daemon import RiposteTest
from peers import Backlog, TcpPeer, UdpPeer, bound, echo_datagram, echo_stream, spelled, wait_until


def in_us(seconds):
    return f"{seconds * 1e6:.1f} us"


class Case(RiposteTest):
    maxDiff = None

    def echo(self, handler=echo_datagram):
        """An echo over UDP, unless `handler` does something else."""
        peer = UdpPeer(handler)
        self.addCleanup(peer.close)
        return peer.endpoint

    def stream_echo(self, handler=echo_stream):
        peer = TcpPeer(handler)
        self.addCleanup(peer.close)
        return peer.endpoint

    def hole(self):
        """A socket that receives everything and answers nothing."""
        return spelled("udp", self.keep(bound(socket.SOCK_DGRAM)).getsockname())

    def losing(self, lost):
        """An echo that does not answer the probes with these numbers, counted from 1."""
        seen = []

        def handler(server, data, client_address):
            seen.append(data)
            if len(seen) not in lost:
                server.sendto(data, client_address)

        return self.echo(handler)

    def path(self, name):
        directory = tempfile.mkdtemp(prefix="riposte-")
        self.addCleanup(shutil.rmtree, directory)
        return os.path.join(directory, name)

    def start(self, *arguments, **keywords):
        return self.enterContext(Running("ping", *arguments, **keywords))

    def await_answers(self, process, endpoints=1, count=1):
        """Waits until each endpoint has answered `count` times, and consumes the client's reports of that."""
        def answered():
            process.signal(SIGQUIT)
            lines = [process.error_line() for _ in range(endpoints)]
            return all(int(re.search(r"(?:^|: )(\d+)/\d+ answered", line)[1]) >= count for line in lines)
        wait_until(answered, f"{count} answers")

    def await_sent(self, process, count):
        """Waits until `count` probes were sent, and consumes the client's reports of that."""
        def sent():
            process.signal(SIGQUIT)
            return int(re.search(r"\d+/(\d+) answered", process.error_line())[1]) >= count
        wait_until(sent, f"{count} probes sent")

    def ends(self, done, code, stderr=""):
        self.assertEqual((done.returncode, done.stderr), (code, stderr), str(done))
        return done


class Schedule(Case):
    def test_a_thousand_probes_a_second_for_five_seconds(self):
        _, address = self.serve("echo", transport="udp")
        # Its document may be longer than a pipe holds while the test does not read.
        path = self.path("document")
        with open(path, "wb") as document:
            process = self.start("-j", "-i", "1ms", spelled("udp", address), stdout=document)
        process.await_handlers((SIGINT, SIGQUIT))
        self.await_sent(process, 1000)
        memory = [process.rss_kib()]
        self.await_sent(process, 5000)
        memory.append(process.rss_kib()) # before the document, which has every bucket, exists
        process.signal(SIGINT)
        done = process.finish()
        with open(path, encoding="ascii") as document:
            done.stdout = document.read()
        found = parse_json(done).json["endpoints"][0]
        counts = {key: count for key, count in found["counts"].items() if count}
        # A socket's buffer may overflow while the daemon waits for CPU on a busy machine: nothing worse
        # than such a loss may happen.
        lost = counts.pop("lost", 0)
        sent = counts["sent"]
        self.assertEqual(counts, {"sent": sent, "answered": sent - lost})
        self.assertEqual(done.returncode, 1 if lost else 0)
        # Every probe was sent, and none early: the last one was due that long after the first.
        self.assertGreaterEqual(sent, 5000)
        self.assertEqual(found["lateness"]["count"], sent)
        self.assertGreaterEqual(found["elapsed"], (sent - 1) / 1000)
        self.assertEqual(found["rtt"]["count"], sent - lost)
        # Each pending probe takes less than a KiB: there may be as many as were due in the longest round
        # trip. A sanitizer's quarantine fills as well.
        waiting = 1000 * (5 if lost else found["rtt"]["max"])
        allowed = 512 + waiting if SANITIZER == "none" else 64 * 1024
        self.assertLess(memory[-1] - memory[0], allowed, "KiB more after 5,000 probes than after 1,000")
        comment(f"1,000 probes/s for 5 s, {lost} lost: sent late by " + ", ".join(
            f"{name} {in_us(found['lateness'][name])}"
            for name in ("median", "p95", "p99", "p99_9", "max")))
        comment("rtt " + ", ".join(f"{name} {in_us(found['rtt'][name])}"
                                   for name in ("min", "median", "p99", "max")))
        comment(f"memory: {memory[0]} KiB after 1,000 probes, {memory[-1]} KiB after 5,000")

    def test_a_stall_of_the_client_is_shown_as_lateness(self):
        # While it is stopped for 1.2 s in the middle, all probes that become due leave late: the lateness
        # shows that, and the round trips do not.
        sent = []
        process = self.start("-c", 250, "-i", "10ms", "-j", self.echo(self.noting(sent)))
        wait_until(lambda: len(sent) >= 50, "50 probes sent")
        self.stall(process)
        found = self.ends(parse_json(process.finish()), 0).json["endpoints"][0]
        self.assertEqual(found["counts"]["sent"], 250)
        self.assertEqual(found["counts"]["answered"], 250)
        self.assertGreaterEqual(found["elapsed"], 2.49)
        lateness, rtt = found["lateness"], found["rtt"]
        self.assertGreaterEqual(lateness["max"], 1.0)
        # 120 of 250 were due meanwhile, evenly spaced: more than a hundred are late by 100 ms, and the
        # mean lateness of all exceeds 250 ms.
        self.assertGreaterEqual(self.above(lateness, 0.1), 100)
        self.assertLess(rtt["mean"], lateness["mean"])
        # The schedule is absolute: the difference between it and the times in the probes is lateness, to
        # the nanosecond, and does not grow during the run.
        beyond = [moment - 10_000_000 * index for index, moment in enumerate(sent)]
        self.assertAlmostEqual((max(beyond) - min(beyond)) / 1e9, lateness["max"] - lateness["min"],
                               places=8)

    @staticmethod
    def noting(sent):
        """An echo that records when each probe was sent, in nanoseconds, from the probe itself."""
        def handler(server, data, address):
            sent.append(int.from_bytes(data[16:24], "big"))
            server.sendto(data, address)

        return handler

    @staticmethod
    def stall(process):
        process.signal(SIGSTOP)
        wait_until(process.is_stopped, "stopped")
        time.sleep(1.2)
        process.signal(SIGCONT)

    @staticmethod
    def above(distribution, seconds):
        return sum(count for low, _, count in distribution["histogram"] if low >= seconds)

    def test_a_line_says_how_late_its_probe_was_sent(self):
        process = self.start("-c", 250, "-i", "10ms", self.echo())
        while "seq=30 " not in process.line():
            pass
        self.stall(process)
        done = self.ends(process.finish(), 0)
        late = [float(value) * {"ms": 1, "s": 1000}[unit] for value, unit in
                re.findall(r"time=[\d.]+ ms \(sent ([\d.]+) (ms|s) late\)", done.stdout)]
        self.assertGreaterEqual(len(late), 100)
        self.assertGreaterEqual(max(late), 1000)
        self.assertRegex(done.stdout, r"(?m)^sent late by \S+ \S+ \(median\), .*, [\d.]+ s \(max\)$")

    def test_a_round_trip_does_not_include_a_stall_of_the_client(self):
        # Nothing is in flight while it is stopped, and one probe becomes due: three seconds after the first,
        # which was sent at the start or later.
        process = self.start("-j", "-c", 2, "-i", "3s", self.echo())
        process.await_handlers((SIGINT, SIGQUIT))
        self.await_answers(process)
        first_answered = time.monotonic()
        process.signal(SIGSTOP)
        wait_until(process.is_stopped, "stopped")
        while time.monotonic() < first_answered + 4.2:
            time.sleep(0.1)
        process.signal(SIGCONT)
        found = self.ends(parse_json(process.finish()), 0).json["endpoints"][0]
        self.assertGreaterEqual(found["lateness"]["max"], 1.0)
        self.assertLess(found["rtt"]["max"], found["lateness"]["max"])

    def test_probes_are_sent_on_schedule_whether_or_not_the_last_was_answered(self):
        # No reply arrives within an interval: the schedule does not wait for replies.
        arrivals = []

        def handler(_server, data, _client):
            arrivals.append(int.from_bytes(data[8:16], "big"))

        done = run_json("ping", "-j", "-c", 20, "-i", "10ms", "-W", "1s", self.echo(handler))
        self.ends(done, 1)
        self.assertEqual(arrivals, list(range(1, 21)))
        found = done.json["endpoints"][0]
        self.assertEqual((found["counts"]["sent"], found["counts"]["lost"]), (20, 20))
        self.assertLess(found["elapsed"], 20)  # one after the other it would have been 20 s


class Life(Case):
    def test_count_ends_it(self):
        done = self.ends(run("ping", "-c", 4, "-i", "10ms", self.echo()), 0)
        self.assertEqual(re.findall(r"seq=(\d+) ttl=\d+ time=", done.stdout), ["1", "2", "3", "4"])
        self.assertRegex(done.stdout, r"^PING udp://127\.0\.0\.1:\d+: 56 bytes of payload, every 10ms\n")
        self.assertIn("4 sent, 4 answered, 0 lost (0%)", done.stdout)

    def test_sigint_ends_it_with_a_summary(self):
        for number in (SIGINT, SIGTERM):
            process = self.start("-i", "10ms", self.echo())
            while "seq=3 " not in process.line():
                pass
            process.signal(number)
            done = self.ends(process.finish(), 0)
            self.assertIn("ping statistics ---\n", done.stdout)
            self.assertRegex(done.stdout, r"\d+ sent, \d+ answered, 0 lost \(0%\)")

    def test_after_sigint_the_exit_code_is_that_of_the_result(self):
        process = self.start("-i", "10ms", "-W", "100ms", self.hole())
        while "no answer to seq=1 " not in process.line():
            pass
        process.signal(SIGINT)
        done = self.ends(process.finish(), 1)
        self.assertRegex(done.stdout, r"\d+ sent, 0 answered, [1-9]\d* lost \(100%\)")

    def test_sigint_with_json(self):
        process = self.start("-j", "-i", "10ms", self.echo())
        process.await_handlers((SIGINT, SIGQUIT))
        self.await_answers(process)  # the number of probes does not matter
        process.signal(SIGINT)
        done = parse_json(process.finish())
        counts = done.json["endpoints"][0]["counts"]
        self.assertEqual(counts["sent"], counts["answered"])

    @staticmethod
    def interrupt_twice(process):
        # Not while it prints a line: a second signal ends a program that is writing.
        wait_until(process.is_asleep, "a client that waits")
        process.signal(SIGSTOP)
        wait_until(process.is_stopped, "stopped")
        # Both are pending when it continues, so the second arrives before the first is handled. (A second
        # SIGINT would merge with the first while that one is pending.)
        process.signal(SIGINT)
        process.signal(SIGTERM)
        process.signal(SIGCONT)

    def test_a_second_signal_ends_the_lingering_and_prints_the_summary(self):
        # A round trip of more than a second lets it linger for more than four seconds, in which no reply
        # arrives.
        seen = []

        def slow_once(server, data, address):
            seen.append(time.monotonic())
            if len(seen) == 1:
                time.sleep(1.1)
                server.sendto(data, address)

        process = self.start("-j", "-i", "10ms", "-W", "60s", self.echo(slow_once))
        process.await_handlers((SIGINT, SIGQUIT))
        self.await_answers(process)
        self.interrupt_twice(process)
        done = self.ends(parse_json(process.finish()), 130)
        self.assertEqual(done.json["exit"], 130)
        found = done.json["endpoints"][0]
        counts = found["counts"]
        self.assertGreater(counts["undecided"], 0)
        self.assertEqual(counts["sent"], counts["answered"] + counts["lost"] + counts["undecided"])
        # The loss among probes whose fate is known.
        self.assertAlmostEqual(found["loss_percent"],
                               100 * counts["lost"] / (counts["answered"] + counts["lost"]))

    def test_probes_sent_long_before_a_second_signal_are_lost(self):
        came = []
        process = self.start("-q", "-i", "10ms", "-W", "60s",
                             self.echo(lambda server, data, address: came.append(time.monotonic())))
        wait_until(lambda: came and time.monotonic() > came[0] + 1.2, "a probe of more than a second")
        self.interrupt_twice(process)
        done = self.ends(process.finish(), 130)
        self.assertRegex(done.stdout, r"(?m)^\d+ sent, 0 answered, [1-9]\d* lost \(100%\)")

    def test_sigquit_prints_a_line(self):
        process = self.start("-i", "10ms", self.echo())
        while "seq=3 " not in process.line():
            pass
        process.signal(SIGQUIT)
        self.assertRegex(process.error_line(),
                         r"^\d+/\d+ answered, 0% loss, median/p99/max [\d.]+/-/[\d.]+ ms\n$")
        process.signal(SIGQUIT)
        self.assertRegex(process.error_line(), r"^\d+/\d+ answered, ")
        process.signal(SIGINT)
        self.ends(process.finish(), 0)

    def test_sigquit_prints_a_line_for_each_endpoint(self):
        first, second = self.echo(), self.echo()
        process = self.start("-j", "-i", "10ms", first, second)
        process.await_handlers((SIGINT, SIGQUIT))
        self.await_answers(process, endpoints=2)
        process.signal(SIGQUIT)
        lines = [process.error_line(), process.error_line()]
        for endpoint, line in zip((first, second), lines):
            self.assertTrue(line.startswith(endpoint + ": "), line)
        process.signal(SIGINT)
        self.ends(parse_json(process.finish()), 0)

    def test_a_deadline_ends_it(self):
        began = time.monotonic()
        done = self.ends(run_json("ping", "-j", "-w", "1s", "-i", "50ms", self.echo()), 0)
        self.assertGreaterEqual(time.monotonic() - began, 1)
        counts = done.json["endpoints"][0]["counts"]
        self.assertGreaterEqual(counts["answered"], 1)
        self.assertLessEqual(counts["sent"], 21)

    def test_a_deadline_does_not_wait_for_the_timeout_of_pending_probes(self):
        # With a timeout of an hour it would not end before the test gives up.
        for endpoint in (self.hole(), self.stream_echo(self.echo_of_some),
                         self.keep(Backlog()).endpoint):
            # If the machine is so busy that nothing was sent by then, there is nothing to wait for.
            for deadline in (0.3, 1, 4, 16):
                began = time.monotonic()
                done = run("ping", "-w", f"{deadline * 1000:.0f}ms", "-i", "10ms", "-W", "1m", endpoint)
                self.assertEqual(done.returncode, 1, str(done))
                self.assertGreaterEqual(time.monotonic() - began, deadline)
                if re.search(r"(?m)^[1-9]\d* sent", done.stdout):
                    break
            self.assertRegex(done.stdout, r"[1-9]\d* lost \(")
            self.assertNotIn("undecided", done.stdout)

    @staticmethod
    def echo_of_some(connection):
        """Echoes three probes, then stalls."""
        for _ in range(3):
            connection.sendall(connection.recv(56, socket.MSG_WAITALL))
        while connection.recv(1 << 16):
            pass

    def test_probes_pending_on_a_stalled_stream_are_lost(self):
        for arguments, stop in ((("-c", 20), None), (("-w", "500ms"), None), ((), SIGINT), ((), SIGTERM)):
            with self.subTest(arguments=arguments, stop=stop):
                process = self.start("-j", "-i", "10ms", "-W", "60s", *arguments,
                                     self.stream_echo(self.echo_of_some))
                if stop:
                    process.await_handlers((SIGINT, SIGQUIT))
                    self.await_answers(process, count=3)
                    process.signal(stop)
                done = parse_json(process.finish())
                counts = done.json["endpoints"][0]["counts"]
                self.assertEqual(counts["undecided"], 0)
                self.assertEqual(counts["sent"], counts["answered"] + counts["lost"])
                self.assertEqual(done.returncode, 1 if counts["lost"] else 0)
                if not stop:
                    self.assertGreater(counts["lost"], 0)

    def test_quiet_prints_only_the_summary(self):
        done = self.ends(run("ping", "-q", "-c", 3, "-i", "10ms", self.echo()), 0)
        self.assertNotIn("seq=", done.stdout)
        self.assertIn("3 sent, 3 answered", done.stdout)

    def test_time_stamps(self):
        before = time.time()
        done = self.ends(run("ping", "-D", "-c", 3, "-i", "10ms", self.echo()), 0)
        stamps = [float(stamp) for stamp in
                  re.findall(r"^\[(\d+\.\d{6})\] 56 bytes from", done.stdout, re.M)]
        self.assertEqual(len(stamps), 3, done.stdout)
        self.assertEqual(stamps, sorted(stamps))
        self.assertGreaterEqual(stamps[0], int(before))
        self.assertLessEqual(stamps[-1], time.time() + 1)

    def test_a_line_is_printed_when_its_reply_arrives(self):
        # Standard output is a pipe: its reader sees each line when it is printed.
        process = self.start("-i", "60s", self.echo())
        self.assertTrue(process.line().startswith("PING "))
        self.assertIn("seq=1 ttl=", process.line())
        process.signal(SIGINT)
        self.ends(process.finish(), 0)

    def test_it_ends_silently_when_its_reader_closes_the_pipe(self):
        # By SIGPIPE, as head(1) ends other programs. If that was ignored from the start, it is an error.
        for ignored, code, line in ((False, -SIGPIPE, b""),
                                    (True, 2, b"riposte: standard output: broken pipe\n")):
            with self.subTest(ignored=ignored):
                preexec = (lambda: signal(SIGPIPE, SIG_IGN)) if ignored else None
                process = self.start("-i", "5ms", self.echo(), preexec=preexec)
                process.line()
                process.process.stdout.close()
                process.process.stdout = None
                self.assertEqual(process.process.wait(client.WAIT), code)
                self.assertEqual(process.process.stderr.read(), line)

    def test_head_gets_its_lines(self):
        done = subprocess.run(
            ["sh", "-c", '"$0" "$@" | head -n 2', client.RIPOSTE, "ping", "-i", "5ms", self.echo()],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=client.WAIT)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(done.stdout.count(b"\n"), 2)

    def test_an_inherited_signal_mask_blocks_no_signal(self):
        process = self.start("-i", "10ms", self.echo(),
                             preexec=lambda: pthread_sigmask(SIG_BLOCK, (SIGINT, SIGTERM, SIGQUIT)))
        while "seq=3 " not in process.line():
            pass
        process.signal(SIGQUIT)
        self.assertRegex(process.error_line(), r"^\d+/\d+ answered, ")
        process.signal(SIGINT)
        self.assertIn("ping statistics ---\n", self.ends(process.finish(), 0).stdout)

    def test_a_full_disk_is_reported(self):
        for arguments in ((), ("-q",), ("-j",)):
            with open("/dev/full", "wb") as full, self.subTest(arguments=arguments):
                done = run("ping", *arguments, "-c", 2, "-i", "10ms", self.echo(), stdout=full)
                self.ends(done, 2, "riposte: standard output: no space left on device\n")

    def test_an_invalid_count_is_refused_in_one_line(self):
        for arguments, message in [
            (("-c", "0"), r"-c|--count"),
            (("-i", "0"), r"-i|--interval"),
            (("-s", "23"), r"-s|--size"),
            (("-s", "65508"), r"-s|--size"),
            (("-W", "0"), r"--timeout"),
        ]:
            with self.subTest(arguments=arguments):
                done = run("ping", *arguments, "udp://127.0.0.1:9")
                self.assertEqual((done.returncode, done.stdout), (2, ""), str(done))
                self.assertRegex(done.stderr, rf"^riposte: .*({message}).*\n$")


class FailIf(Case):
    def ping(self, condition, endpoint, code, **keywords):
        done = run_json("ping", "-j", "-c", 10, "-i", "10ms", "-W", "2s", "--fail-if", condition,
                        endpoint, **keywords)
        self.assertEqual(done.returncode, code, str(done))
        self.assertEqual(done.json["exit"], code)
        return done.json["endpoints"][0]["fail_if"]

    def test_a_condition_that_is_met_fails(self):
        checks = self.ping("max>=1us", self.echo(), 1)
        self.assertTrue(checks[0]["met"])
        self.assertGreater(checks[0]["value"], 0)

    def test_a_condition_that_is_not_met_passes(self):
        checks = self.ping(" p99 > 60s , loss>0.1%,answered<10", self.echo(), 0)
        self.assertEqual([check["condition"] for check in checks],
                         ["p99 > 60s", "loss>0.1%", "answered<10"])
        self.assertEqual([check["met"] for check in checks], [False] * 3)

    def test_loss_may_be_tolerated(self):
        # Two of ten are lost, which fails the run without a condition; "loss>50%" allows it.
        done = run("ping", "-c", 10, "-i", "10ms", "-W", "2s", self.losing({2, 5}))
        self.assertEqual(done.returncode, 1, str(done))
        self.assertIn("2 lost (20%)", done.stdout)
        self.assertEqual(self.ping("loss>50%", self.losing({2, 5}), 0)[0]["value"], 20)
        self.ping("loss>=20%", self.losing({2, 5}), 1)
        self.ping("loss>20%", self.losing({2, 5}), 0)

    def test_a_figure_that_was_not_measured_fails(self):
        checks = self.ping("p50>60s,loss>100%", self.hole(), 1)
        self.assertTrue(checks[0]["met"])
        self.assertNotIn("value", checks[0])

    def test_a_condition_that_is_met_is_reported(self):
        done = run("ping", "-q", "-c", 10, "-i", "10ms", "--fail-if", "answered>5", self.echo())
        self.assertEqual(done.returncode, 1, str(done))
        self.assertIn("answered is 10 (--fail-if answered>5)", done.stdout + done.stderr)

    def test_an_invalid_condition_is_reported_with_its_column(self):
        for condition, column in (("p99>2", 5), ("loss>0.1%,pp>1ms", 11), ("", 1), ("p99", 4)):
            with self.subTest(condition=condition):
                done = run("ping", "-c", 1, "--fail-if", condition, "udp://127.0.0.1:9")
                self.assertEqual((done.returncode, done.stdout), (2, ""), str(done))
                self.assertRegex(done.stderr, rf"^riposte: --fail-if .*column {column}\b.*\n")


class Pictures(Case):
    def test_a_histogram_fits_the_terminal(self):
        for columns in (80, 120, 60):
            with self.subTest(columns=columns):
                done = self.ends(run("ping", "--histogram", "-q", "-c", 30, "-i", "5ms", self.echo(),
                                     env={"COLUMNS": str(columns)}), 0)
                chart = done.stdout
                self.assertLessEqual(max(map(len, chart.splitlines())), max(columns, 80))
                for mark in ("p50", "p99"):
                    self.assertRegex(chart, rf"(?i){mark}|median")

    def test_a_plot_is_well_formed_and_names_its_units(self):
        path = self.path("plot.svg")
        name = "tcp://" + self.stream_echo().partition("//")[2]
        self.ends(run("ping", "-q", "-c", 30, "-i", "5ms", "--plot", path, name), 0)
        root = xml.etree.ElementTree.parse(path).getroot()
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        text = " ".join("".join(element.itertext()) for element in root.iter())
        self.assertRegex(text, r"\b(us|µs|μs|ms|s)\b")
        self.assertRegex(text, r"(?i)latency|rtt")
        self.assertIn(name, text)
        # Self-contained: nothing to fetch, nothing to run.
        with open(path, encoding="utf-8") as file:
            source = file.read()
        self.assertNotRegex(source.replace("http://www.w3.org/", ""), r"https?://")
        self.assertNotIn("<script", source)

    def test_the_table_of_the_distribution_counts_every_reply(self):
        path = self.path("rtt.hgrm")
        self.ends(run("ping", "-q", "-c", 30, "-i", "5ms", "--hist", path, self.echo()), 0)
        with open(path, encoding="ascii") as file:
            text = file.read()
        self.assertRegex(text, r"^\s*Value\s+Percentile\s+TotalCount\s+1/\(1-Percentile\)\n")
        self.assertRegex(text, r"#\[Max\s*=\s*[\d.]+, Total count\s*=\s*30\]")
        rows = re.findall(r"^\s*([\d.]+)\s+([\d.]+)\s+(\d+)", text, re.M)
        self.assertEqual(int(rows[-1][2]), 30)
        self.assertEqual([row[2] for row in rows], sorted((row[2] for row in rows), key=int))

    def test_an_unwritable_file_stops_it_before_anything_is_sent(self):
        for option in ("--plot", "--hist"):
            with self.subTest(option=option):
                questions = []
                endpoint = self.echo(lambda server, data, address: questions.append(data))
                done = run("ping", "-c", 1, option, "/nonexistent/file", endpoint)
                self.assertEqual((done.returncode, done.stdout), (2, ""), str(done))
                self.assertRegex(done.stderr, r"^riposte: .*/nonexistent/file.*no such file")
                self.assertEqual(questions, [])

    def test_a_disk_that_fills_up_is_reported(self):
        for option in ("--plot", "--hist"):
            with self.subTest(option=option):
                done = run("ping", "-q", "-c", 1, option, "/dev/full", self.echo())
                self.ends(done, 2, "riposte: /dev/full: no space left on device\n")
                self.assertIn("1 answered", done.stdout)  # the figures are printed all the same
                done = run_json("ping", "-j", "-c", 1, option, "/dev/full", self.echo())
                self.ends(done, 2, "riposte: /dev/full: no space left on device\n")
                self.assertEqual(done.json["exit"], 2)

    def test_a_file_that_may_not_grow_is_reported(self):
        # ulimit -f: SIGXFSZ would end it without a message.
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

        for option in ("--plot", "--hist"):
            path = self.path("figures")
            with self.subTest(option=option):
                done = run("ping", "-q", "-c", 1, option, path, self.echo(), preexec=limit)
                self.ends(done, 2, f"riposte: {path}: file too large\n")
                self.assertIn("1 answered", done.stdout)
        for arguments in (("ping", "-c", 3, "-i", "10ms", self.echo()),
                          ("load", "-n", 10, self.echo()),
                          ("load", "-j", "-n", 10, self.echo()),
                          ("send", self.echo(), "x" * 100),
                          ("ping", "--help"), ("--help",)):
            with self.subTest(arguments=arguments), tempfile.TemporaryFile() as output:
                self.ends(run(*arguments, stdout=output, preexec=limit), 2,
                          "riposte: standard output: file too large\n")


class Documents(Case):
    """Every document that riposte prints is one that its schema allows."""

    def test_documents_are_validated_against_their_schema(self):
        # run_json() and parse_json() validate in all tests; this one reports if they cannot.
        done = self.ends(run_json("ping", "-j", "-c", 2, "-i", "10ms", self.echo()), 0)
        client.validate(done.json)
        self.assertEqual(done.json["schema"], "riposte/ping/2")
        # The schema also rejects invalid documents.
        del done.json["endpoints"][0]["counts"]["sent"]
        with self.assertRaisesRegex(AssertionError, "sent"):
            client.validate(done.json)

    def test_standard_output_is_only_the_document(self):
        for arguments in ((), ("-q",), ("-D",), ("--color", "always")):
            done = self.ends(run_json("ping", "-j", *arguments, "-c", 2, "-i", "10ms", self.echo()), 0)
            self.assertEqual(done.json["endpoints"][0]["counts"]["answered"], 2)

    def test_figures_agree_with_each_other(self):
        done = self.ends(run_json("ping", "-j", "-c", 50, "-i", "5ms", self.stream_echo()), 0)
        found = done.json["endpoints"][0]
        for name in ("rtt", "lateness", "ipdv", "pdv", "connect"):
            each = found[name]
            order = [each[key] for key in ("min", "median", "p95", "p99", "p99_9", "max") if key in each]
            # A percentile of too few values is absent.
            least = {"p95": 20, "p99": 100, "p99_9": 1000}
            self.assertEqual([key for key in least if key in each],
                             [key for key in least if each["count"] >= least[key]], name)
            self.assertEqual(order, sorted(order), name)
            self.assertEqual(sum(row[2] for row in each["histogram"]), each["count"], name)
            for low, high, count in each["histogram"]:
                self.assertLessEqual(low, high)
                self.assertGreater(count, 0)
        self.assertEqual(found["rtt"]["count"], 50)
        self.assertEqual(found["connect"]["count"], found["connections"])
        self.assertEqual(found["ipdv"]["count"], 49)
        self.assertEqual((found["pdv"]["count"], found["pdv"]["min"]), (50, 0))
        spread = found["rtt"]["max"] - found["rtt"]["min"] + 1e-10  # for rounding
        self.assertAlmostEqual(found["pdv"]["max"], spread)
        self.assertAlmostEqual(found["pdv"]["mean"], found["rtt"]["mean"] - found["rtt"]["min"])
        self.assertLessEqual(found["ipdv"]["max"], spread)
        self.assertLessEqual(found["rfc3550_jitter"], spread)


if __name__ == "__main__":
    unittest.main()
