"""`riposte load --upload` and `--download` against peers of all kinds: what counts as delivered, and what a faulty
peer makes of it. Each peer decides what to do by the number of bytes, never by chance or time.
"""

import os
import re
import socket
import struct
import tempfile
import threading
import xml.etree.ElementTree
from signal import SIGINT, SIGQUIT

import pytest

from client import Running, parse_json, run
from load_case import LoadCase
from peers import bound, echo_datagram, echo_stream, reset, spelled, wait_until

MIB = 1 << 20


def discard(connection):
    while connection.recv(1 << 20):
        pass


def chargen(connection):
    block = bytes(range(32, 127)) * 700
    while True:
        connection.sendall(block)


def after_bytes(count, then):
    """A discard service that calls then(connection) once it has read so many bytes."""
    def serve(connection):
        left = count
        while left > 0:
            data = connection.recv(min(left, 1 << 16))
            if not data:
                return
            left -= len(data)
        then(connection)
    return serve


class Throughput(LoadCase):
    def stream(self, *arguments, code=0, **keywords):
        """Runs it with -j; its document."""
        done = parse_json(run("load", "-j", *arguments, **keywords))
        self.assertEqual((done.returncode, done.json["exit"]), (code, code), str(done))
        return done.json

    def one(self, *arguments, **keywords):
        """Runs it with one direction; that direction's object."""
        document = self.stream(*arguments, **keywords)
        self.assertEqual(len(document["streams"]), 1)
        found = document["streams"][0]
        self.assert_rates(found)
        return found

    def assert_rates(self, found):
        """Intervals without gaps, which add up; bits are eight times bytes."""
        self.assertEqual(sum(each["bytes"] for each in found["intervals"]), found["bytes"])
        at = 0
        for each in found["intervals"]:
            self.assertEqual(each["begin"], at)
            self.assertGreater(each["end"], each["begin"])
            at = each["end"]
            self.assertAlmostEqual(each["bits_per_second"], 8 * each["bytes"] / (each["end"] - each["begin"]),
                                   delta=1e-6 * each["bits_per_second"] + 1)
        if "bits_per_second" in found:
            self.assertAlmostEqual(found["bits_per_second"], 8 * found["bytes"] / found["elapsed"],
                                   delta=1e-6 * found["bits_per_second"] + 1)


class Tcp(Throughput):
    def test_an_upload_counts_what_the_peer_has_acknowledged(self):
        taken = []

        def count(connection):
            total = 0
            while data := connection.recv(1 << 20):
                total += len(data)
            taken.append(total)

        found = self.one("--upload", self.tcp(count), "--bytes", "20MiB")
        wait_until(lambda: taken, "the peer has read all")
        self.assertEqual((found["bytes"], taken, found["unacknowledged_bytes"]), (20 * MIB, [20 * MIB], 0))
        self.assertEqual((found["ended"], found["returned_bytes"], found["errors"]), (0, 0, []))

    def test_several_connections_share_the_bytes(self):
        totals = []

        def count(connection):
            total = 0
            while data := connection.recv(1 << 20):
                total += len(data)
            totals.append(total)

        found = self.one("--upload", self.tcp(count), "--bytes", "24MiB", "-c", 4, "-s", "64KiB")
        wait_until(lambda: len(totals) == 4, "the peer has read all")
        self.assertEqual((found["bytes"], sum(totals), found["connections"]), (24 * MIB, 24 * MIB, 4))
        self.assertEqual(found["tcp"]["connections"], 4)

    def test_a_download_counts_what_was_read(self):
        found = self.one("--download", self.tcp(chargen), "--bytes", "20MiB")
        self.assertGreaterEqual(found["bytes"], 20 * MIB)
        self.assertEqual((found["direction"], found["transport"], found["ended"]), ("download", "tcp", 0))

    def test_both_directions_at_once_with_an_interval_each_second(self):
        document = self.stream("--upload", self.tcp(discard), "--download", self.tcp(chargen), "-d", "2200ms")
        self.assertEqual([each["direction"] for each in document["streams"]], ["upload", "download"])
        for found in document["streams"]:
            self.assert_rates(found)
            self.assertGreater(found["bytes"], MIB)
            self.assertGreaterEqual(len(found["intervals"]), 1)
            self.assertAlmostEqual(found["elapsed"], document["elapsed"], delta=1e-6)
        self.assertGreater(document["generator"]["cpu_seconds_per_gbit"], 0)

    def test_a_direction_that_is_over_leaves_the_other(self):
        """The download's bytes come only after the upload's: the upload ends long before."""
        gate = threading.Event()
        self.addCleanup(gate.set)

        def later(connection):
            connection.sendall(b"x" * 1000)
            gate.wait(1.5)
            chargen(connection)

        document = self.stream("--upload", self.tcp(discard), "--download", self.tcp(later), "--bytes", "2MiB")
        up, down = document["streams"]
        self.assertEqual(up["bytes"], 2 * MIB)
        self.assertGreaterEqual(down["bytes"], 2 * MIB)
        self.assertLess(up["elapsed"], down["elapsed"])
        # A loop that spins while it waits would take a core for all of that time.
        self.assertLess(document["generator"]["cpu_share"], 0.9)

    def test_the_text_has_a_line_for_each_interval_and_fits_80_columns(self):
        done = run("load", "--upload", self.tcp(discard), "--download", self.tcp(chargen), "-d", "2s", "--warmup", 0)
        self.assertEqual(done.returncode, 0, str(done))
        rows = re.findall(r"(?m)^ +\d+\.\d +[\d.]+ +\d+ +[\d.]+$", done.stdout)
        self.assertGreaterEqual(len(rows), 1, str(done))
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80, str(done))
        self.assertIn("seconds  up Mbit/s  retrans  down Mbit/s\n", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^upload +[\d.]+ Mbit/s, [\d.]+ [kMG]?B acknowledged by the peer")
        self.assertRegex(done.stdout, r"(?m)^download +[\d.]+ Mbit/s, [\d.]+ [kMG]?B received")
        self.assertRegex(done.stdout, r"(?m)^generator +CPU \d+% of one core, ")

    def test_quiet_prints_a_line_for_each_direction(self):
        done = run("load", "-q", "--upload", self.tcp(discard), "--download", self.tcp(chargen), "-d", "1s")
        self.assertEqual(done.returncode, 0, str(done))
        text = " ".join(done.stdout.split())
        self.assertRegex(text, r"^tcp://127\.0\.0\.1:\d+ upload: [\d.]+ Mbit/s, \d+ retransmissions? "
                               r"tcp://127\.0\.0\.1:\d+ download: [\d.]+ Mbit/s")

    def test_riposted_serves_both(self):
        daemon = self.daemon("--listen", "discard=tcp://127.0.0.1:0", "--listen", "chargen=tcp://127.0.0.1:0")
        document = self.stream("--upload", f"tcp://127.0.0.1:{daemon.port('discard', 'tcp')}",
                               "--download", f"tcp://127.0.0.1:{daemon.port('chargen', 'tcp')}", "-d", "1s", "-c", 2)
        for found in document["streams"]:
            self.assertGreater(found["bytes"], MIB)


    def test_a_plot_of_the_rate(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "rate.svg")
            self.one("--upload", self.tcp(discard), "--bytes", "4MiB", "--plot", path)
            root = xml.etree.ElementTree.parse(path).getroot()
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("Rate over time", texts)
        self.assertTrue(any("upload tcp://" in text for text in texts), texts)


class Faults(Throughput):
    """Of a peer over TCP."""

    def test_nothing_listens(self):
        port = self.keep(bound(socket.SOCK_STREAM))
        for option in ("--upload", "--download"):
            document = self.stream(option, spelled("tcp", port.getsockname()), code=1)
            self.assertRegex(document["error"], "refused|port unreachable")
            self.assertEqual(document["streams"][0]["bytes"], 0)

    def test_a_peer_that_closes_midway(self):
        found = self.one("--upload", self.tcp(after_bytes(8 * MIB, lambda connection: None)), "-d", 0,
                         "--warmup", 0, code=1)
        self.assertEqual((found["ended"], found["silent_intervals"]), (1, 0))
        self.assertGreaterEqual(found["bytes"], 8 * MIB)
        self.assertIn(found["errors"][0]["kind"], ("closed", "reset"))

    def test_a_peer_that_resets_midway(self):
        found = self.one("--upload", self.tcp(after_bytes(8 * MIB, reset)), "-d", 0, "--warmup", 0, code=1)
        self.assertEqual((found["ended"], found["errors"][0]["kind"]), (1, "reset"))

    def test_one_connection_of_several_that_ends_leaves_the_others(self):
        numbers = iter(range(100))

        def serve(connection):
            if next(numbers) == 1:
                return
            discard(connection)

        found = self.one("--upload", self.tcp(serve), "-d", "500ms", "--warmup", 0, "-c", 3, code=1)
        self.assertEqual(found["ended"], 1)
        self.assertGreater(found["bytes"], MIB)

    def test_a_download_that_ends(self):
        found = self.one("--download", self.tcp(lambda connection: connection.sendall(b"x" * 3 * MIB)), "-d", 0,
                         "--warmup", 0, code=1)
        self.assertEqual((found["ended"], found["errors"][0]["kind"]), (1, "closed"))
        # What came before all was ready to be measured does not count.
        self.assertTrue(MIB < found["bytes"] <= 3 * MIB, found["bytes"])

    def test_an_upload_that_stalls_counts_nothing_that_was_not_acknowledged(self):
        """The peer reads nothing: its receive buffer fills up, and what waits in the send buffer does not count."""
        stop = threading.Event()
        self.addCleanup(stop.set)
        found = self.one("--upload", self.tcp(lambda connection: stop.wait(60)), "-d", "3s", "--warmup", 0)
        stop.set()
        self.assertGreater(found["unacknowledged_bytes"], 0)
        self.assertGreater(found["limited_by_peer"], 0)
        self.assertGreaterEqual(found["silent_intervals"], 1)
        self.assertEqual(found["ended"], 0)

    def test_a_stall_is_reported(self):
        stop = threading.Event()
        self.addCleanup(stop.set)
        done = run("load", "--upload", self.tcp(lambda connection: stop.wait(60)), "-d", "3s", "--warmup", 0)
        stop.set()
        self.assertRegex(" ".join(done.stdout.split()),
                         r"note: upload stalled: nothing was acknowledged in \d of \d intervals; the peer did not read")

    def test_a_slow_discard_is_named_as_the_limit(self):
        def slow(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            while connection.recv(512):
                pass

        document = self.stream("--upload", self.tcp(slow), "-d", "1s", "--warmup", 0)
        self.assertTrue(any("the peer's receive window held the upload back" in note
                            for note in document["generator"]["notes"]), document["generator"])

    def test_a_peer_that_sends_nothing_for_a_download(self):
        for serve in (echo_stream, discard):
            document = self.stream("--download", self.tcp(serve), "-W", "300ms", code=1)
            self.assertRegex(document["error"], r"nothing came within 300ms; is chargen \(port 19\) served there\?")

    def test_a_chargen_that_dribbles(self):
        gate = threading.Event()
        self.addCleanup(gate.set)

        def dribble(connection):
            while True:
                connection.sendall(b"x")
                gate.wait(0.01)

        found = self.one("--download", self.tcp(dribble), "-d", "1s", "--warmup", 0)
        self.assertLess(found["bytes"], 200)
        self.assertGreater(found["bytes"], 0)

    def test_an_echo_for_an_upload_is_reported(self):
        document = self.stream("--upload", self.tcp(echo_stream), "-d", "1s", "--warmup", 0)
        self.assertGreater(document["streams"][0]["returned_bytes"], 0)
        self.assertTrue(any("it is not a discard service" in note for note in document["generator"]["notes"]),
                        document["generator"])

    def test_an_interrupt_ends_with_the_figures_so_far(self):
        with Running("load", "-j", "--upload", self.tcp(discard), "--download", self.tcp(chargen), "-d", 0,
                     "--warmup", 0) as client:
            client.await_handlers()
            client.signal(SIGQUIT)
            line = client.error_line()
            self.assertRegex(line, r"^\d+\.\d+ s: upload [\d.]+ Mbit/s")
            client.signal(SIGINT)
            done = parse_json(client.finish())
        self.assertEqual((done.returncode, done.json["interrupted"]), (0, True), str(done))
        for found in done.json["streams"]:
            self.assertGreater(found["bytes"], 0)


class Datagrams(Throughput):
    def test_an_upload_to_a_sink_has_an_unknown_loss(self):
        sink = self.keep(bound(socket.SOCK_DGRAM))
        document = self.stream("--upload", spelled("udp", sink.getsockname()), "--bitrate", "2M", "--bytes", 28_000)
        found = document["streams"][0]
        self.assertEqual((found["bytes"], found["datagrams"]["sent"], found["datagrams"]["answered"]), (28_000, 20, 0))
        self.assertNotIn("loss_percent", found["datagrams"])
        self.assertTrue(any("loss is unknown" in note for note in document["generator"]["notes"]))

    def test_an_echo_shows_loss_duplicates_and_order(self):
        """Of datagrams 1 to 40: 3 and 7 are dropped, 5 comes twice, 10 comes after 11."""
        held = []

        def serve(server, data, client):
            number = struct.unpack_from(">Q", data, 8)[0]
            if number in (3, 7):
                return
            if number == 10:
                held.append(data)
                return
            server.sendto(data, client)
            if number == 5:
                server.sendto(data, client)
            if number == 11:
                server.sendto(held.pop(), client)

        found = self.one("--upload", self.udp(serve), "--bitrate", "1M", "--bytes", 40 * 500, "-s", 500, code=1)
        counts = found["datagrams"]
        self.assertEqual((counts["sent"], counts["answered"], counts["duplicated"], counts["reordered"],
                          counts["service"]), (40, 38, 1, 1, "echo"))
        self.assertEqual(counts["loss_percent"], 5)

    def test_a_condition_on_loss_replaces_the_rule(self):
        def serve(server, data, client):
            if struct.unpack_from(">Q", data, 8)[0] != 3:
                server.sendto(data, client)

        endpoint = self.udp(serve)
        arguments = ("--upload", endpoint, "--bitrate", "1M", "--bytes", 40 * 500, "-s", 500)
        self.one(*arguments, "--fail-if", "loss>5%")
        self.one(*arguments, "--fail-if", "loss>1%", code=1)

    def test_a_download_from_chargen(self):
        daemon = self.daemon("--listen", "chargen=udp://127.0.0.1:0")
        found = self.one("--download", f"udp://127.0.0.1:{daemon.port('chargen', 'udp')}", "--bitrate", "5M",
                         "--bytes", 512 * 200)
        self.assertEqual((found["datagrams"]["sent"], found["datagrams"]["answered"]), (200, 200))
        self.assertEqual((found["datagrams"]["service"], found["datagrams"]["loss_percent"]), ("other", 0))

    def test_a_port_that_refuses_ends_the_run(self):
        port = self.keep(bound(socket.SOCK_DGRAM))
        endpoint = spelled("udp", port.getsockname())
        port.close()
        for option in ("--upload", "--download"):
            document = self.stream(option, endpoint, "--bitrate", "1M", code=1)
            self.assertRegex(document["error"], "refused|port unreachable")

    def test_silence_for_a_download(self):
        sink = self.keep(bound(socket.SOCK_DGRAM))
        document = self.stream("--download", spelled("udp", sink.getsockname()), "--bitrate", "1M", "-W", "300ms",
                               code=1)
        self.assertIn("nothing came within 300ms", document["error"])

    def test_several_sockets_keep_the_bitrate_together(self):
        endpoint = self.udp(echo_datagram)
        found = self.one("--upload", endpoint, "--bitrate", "8M", "-c", 4, "-d", "2s", "--warmup", 0)
        counts = found["datagrams"]
        # 2 s at 8 Mbit/s; what this machine was too late for is counted.
        self.assertAlmostEqual(counts["sent"] + counts["unsent"], 2e6 / 1400 * found["elapsed"] / 2, delta=60)


class CommandLine(Throughput):
    def test_faults_are_refused_and_say_what_to_do(self):
        for arguments, message in (
                (("--upload", "h", "x"), "an ENDPOINT of requests does not go with --upload and --download"),
                (("--upload", "h", "-n", "3"), "--bytes ends after so many bytes"),
                (("--upload", "h", "-r", "3"), "--bitrate sets the bits a second"),
                (("--upload", "h", "--live"), "a line is printed for each interval"),
                (("--upload", "h", "-q", "--histogram", "--while-pinging", "h"), "-q and --histogram exclude"),
                (("--upload", "udp://h"), "write --bitrate, like --bitrate 100M"),
                (("--download", "h", "--bitrate", "1M"), "sends as fast as TCP lets it"),
                (("--upload", "h", "--bitrate", "fast"), "is not a number of bits a second"),
                (("--upload", "h", "--bitrate", "1"), "--bitrate: must be from 1k to 1000G bits a second"),
                (("--bitrate", "1M", "h"), "--bitrate is for --upload and --download"),
                (("--upload", "h", "--fail-if", "p99>1ms"), "--upload and --download measure mbits"),
                (("--upload", "h", "--fail-if", "rpm<100"), "--while-pinging only"),
                (("--upload", "h", "--download", "h", "--fail-if", "mbits<1"), "write upload.mbits or download.mbits"),
                (("--upload", "h", "--fail-if", "download.mbits<1"), "there is no --download"),
                (("--upload", "h", "--fail-if", "loss>1%"), "write retransmits"),
                (("--upload", ""), "--upload: no ENDPOINT")):
            with self.subTest(arguments=arguments):
                done = run("load", *arguments)
                self.assertEqual(done.returncode, 2, str(done))
                self.assertIn(message, done.stderr)

    def test_conditions_on_the_rate(self):
        endpoint = self.tcp(discard)
        arguments = ("--upload", endpoint, "--bytes", "1MiB")
        self.stream(*arguments, "--fail-if", "mbits<0.001,upload.mbits<0.001")
        done = run("load", *arguments, "--fail-if", "mbits<1000000000")
        self.assertEqual(done.returncode, 1, str(done))
        self.assertRegex(done.stderr, r"mbits is [\d.]+ Mbit/s \(--fail-if mbits<1000000000\)")


if __name__ == "__main__":
    pytest.main([__file__])
