"""`riposte load` against riposted: what it counts, how long it runs, how many connections it uses, and
how it ends. No test here fails because the machine is slow: only lower bounds of times are asserted.
"""

import resource
import time
import unittest
from signal import SIGCONT, SIGINT, SIGQUIT, SIGSTOP, SIGTERM

import pytest

from client import comment, parse_json
from daemon import await_true, needs_ipv6
from load_case import NO_ANSWER, LoadCase, echo_one
from peers import spelled
from preparation import limit

pytestmark = pytest.mark.backends

CONNECTIONS = 2000
LIMITS = "[limits]\nconnections = 5000\nconnections_per_source = 5000\n"


class Case(LoadCase):
    def service(self, service="echo", transport="tcp", **options):
        daemon, address = self.serve(service, transport=transport, **options)
        return daemon, spelled(transport, address)

    def endpoint(self, *arguments, **options):
        return self.service(*arguments, **options)[1]


class Counts(Case):
    def test_a_count_is_exact(self):
        for connections in (1, 7, 100):
            with self.subTest(connections=connections):
                found = self.load("-n", 1000, "-c", connections, "-s", 100, self.endpoint())
                self.assert_counts(found, sent=1000, answered=1000, bytes_sent=100_000,
                                   bytes_received=100_000, connections=connections)
                self.assertEqual(found["connect"]["count"], connections)
                self.assertEqual((found["warmup"], found["service"]), (0, "echo"))
                self.assertEqual(found["loss_percent"], 0)

    def test_fewer_requests_than_connections(self):
        found = self.load("-n", 3, "-c", 10, self.endpoint())
        self.assert_counts(found, sent=3, answered=3, connections=10)

    def test_all_sizes_come_back(self):
        endpoint = self.endpoint()
        for size in (1, 2, 63, 1460, 65535, 65536, 65537, 1_000_003, 16 << 20):
            with self.subTest(size=size):
                found = self.load("-n", 6, "-c", 2, "-s", size, endpoint)
                self.assert_counts(found, sent=6, answered=6, bytes_received=6 * size)

    def test_all_depths(self):
        endpoint = self.endpoint()
        for depth in (1, 2, 16, 4096):
            with self.subTest(depth=depth):
                found = self.load("-n", 10_000, "-c", 2, "--depth", depth, "-s", 33, endpoint)
                self.assert_counts(found, sent=10_000, answered=10_000)
                self.assertEqual(found["mode"]["depth"], depth)

    def test_deep_and_large_does_not_block(self):
        # 64 MiB in flight: more than all buffers between the two hold.
        found = self.load("-n", 128, "-c", 1, "--depth", 64, "-s", 1 << 20, self.endpoint())
        self.assert_counts(found, sent=128, answered=128)

    def test_datagrams(self):
        endpoint = self.endpoint(transport="udp")
        for size, connections, depth in ((24, 1, 1), (1200, 10, 1), (65507, 2, 1), (64, 4, 8)):
            with self.subTest(size=size, connections=connections, depth=depth):
                found = self.load("-n", 1000, "-c", connections, "--depth", depth, "-s", size,
                                  endpoint)
                self.assert_counts(found, sent=1000, answered=1000)
                self.assertEqual(found["transport"], "udp")
                self.assertNotIn("connect", found)

    def test_a_connection_for_each_request(self):
        found = self.load("-n", 300, "-c", 5, "--reconnect", self.endpoint())
        self.assert_counts(found, sent=300, answered=300, connections=300)
        self.assertEqual(found["connect"]["count"], 300)
        self.assertTrue(found["mode"]["reconnect"])
        self.assertAlmostEqual(found["rates"]["connections"], 300 / found["elapsed"], places=3)

    @needs_ipv6
    def test_ipv6(self):
        for transport in ("tcp", "udp"):
            with self.subTest(transport=transport):
                endpoint = self.endpoint(transport=transport, host="[::1]")
                found = self.load("-6", "-n", 100, endpoint)
                self.assert_counts(found, sent=100, answered=100)
                self.assertEqual(found["address"], endpoint.removeprefix(f"{transport}://"))

    def test_localhost(self):
        port = self.endpoint().rpartition(":")[2]
        found = self.load("-n", 10, f"localhost:{port}")
        self.assertEqual((found["name"], found["address"]),
                         (f"tcp://localhost:{port}", f"127.0.0.1:{port}"))

    def test_the_source_is_what_the_server_sees(self):
        # A source may have only one connection, so load fails unless it uses another source.
        daemon, endpoint = self.service(config="[limits]\nconnections_per_source = 1\n")
        other = self.connect(("127.0.0.1", daemon.port("echo", "tcp")))
        other.send(b"x")
        self.assertEqual(other.recv(1), b"x")
        self.assertRegex(self.refuses("-n", 10, "-c", 1, endpoint),
                         r": (closed without an answer|connection reset by peer before an answer); ")
        # The first request's connection must be gone before the next one arrives, so retry.
        await_true(lambda: self.run_alone(endpoint), "it is the only one from 127.0.0.2")

    def run_alone(self, endpoint):
        process = self.start("-j", "-n", 10, "-c", 1, "--source", "127.0.0.2", endpoint)
        return process.finish().returncode == 0


class Pacing(Case):
    def test_a_duration_is_measured_time(self):
        began = time.monotonic()
        found, seconds = self.load_for(500, "--warmup", "300ms", "-c", 2, self.endpoint())
        self.assertGreaterEqual(time.monotonic() - began, 0.3 + seconds)
        self.assertAlmostEqual(found["elapsed"], seconds, places=9)
        self.assertAlmostEqual(found["warmup"], 0.3, places=9)
        self.assertEqual(found["counts"]["sent"], found["counts"]["answered"])

    def test_the_first_of_count_and_duration_ends_it(self):
        endpoint = self.endpoint()
        found = self.load("-d", "60s", "--warmup", 0, "-n", 50, endpoint)
        self.assert_counts(found, sent=50, answered=50)
        found, _ = self.load_for(200, "-n", 1_000_000_000, endpoint)
        self.assertLess(found["counts"]["sent"], 1_000_000_000)

    def test_a_rate_is_kept_exactly(self):
        # All of them may be in flight at once, so nothing can block. A socket buffer of the default size
        # holds all of the datagrams too, so a process that waits for a CPU loses none.
        for connections, depth in ((1, 4096), (4, 1024)):
            for transport, rate in (("tcp", 2000), ("udp", 200)):
                with self.subTest(connections=connections, transport=transport):
                    bound = ("--depth", depth) if transport == "tcp" else ()
                    found = self.load("-r", rate, "-d", "500ms", "--warmup", "100ms", "-c", connections,
                                      *bound, self.endpoint(transport=transport))
                    self.assert_counts(found, sent=rate // 2, answered=rate // 2)
                    self.assertEqual((found["mode"]["loop"], found["mode"]["rate"]),
                                     ("open", rate))
                    self.assertEqual(found["generator"]["late_blocked"], 0)

    def test_a_rate_and_a_count(self):
        found = self.load("-r", 500, "-n", 100, "--warmup", 0, self.endpoint())
        self.assert_counts(found, sent=100, answered=100)
        # The last of them is due 198 ms after the first.
        self.assertGreaterEqual(found["elapsed"], 0.198)

    def test_a_rate_below_one(self):
        found = self.load("-r", 0.5, "-d", "500ms", "--warmup", 0, self.endpoint())
        self.assert_counts(found, sent=1, answered=1)

    def test_a_rate_with_a_connection_for_each_request(self):
        found = self.load("-r", 200, "-d", "1s", "--warmup", 0, "-c", 200, "--reconnect",
                          self.endpoint())
        self.assert_counts(found, sent=200, answered=200, connections=200)

    def test_the_header_says_that_coordinated_omission_is_corrected(self):
        text = self.text("-r", 100, "-n", 10, self.endpoint())
        self.assertRegex(text.splitlines()[0], r"^LOAD tcp://127\.0\.0\.1:\d+: ")
        self.assertIn("open loop at 100/s", text)
        self.assertIn("latency from the intended time (coordinated omission corrected)\n",
                      text.partition("---")[0])

    def test_the_header_says_closed_loop(self):
        text = self.text("-n", 10, "-c", 3, "--depth", 2, "-s", 100, self.endpoint())
        header = text.partition("---")[0]
        for part in ("100 bytes", "3 connections", "2 outstanding each", "closed loop"):
            self.assertIn(part, header)
        self.assertNotIn("omission", text)


class ManyConnections(Case):
    def established(self, port):
        """Connections to the port whose server side is established."""
        # The file may list a connection twice while others open and close.
        found = set()
        with open("/proc/net/tcp", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if fields[1].endswith(f":{port:04X}") and fields[3] == "01":
                    found.add((fields[1], fields[2]))
        return len(found)

    def test_two_thousand_at_once(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 2 * CONNECTIONS:
            self.skipTest(f"only {hard} open files are allowed here")
        wide, narrow = limit("NOFILE", hard), limit("NOFILE", min(soft, 1024), hard)
        daemon, endpoint = self.service(config=LIMITS, in_child=wide)
        port = daemon.port("echo", "tcp")
        # It needs more descriptors than its soft limit, and raises that as far as it may.
        process = self.start("-j", "-c", CONNECTIONS, "-d", 0, "--warmup", 0, "-s", 100, endpoint,
                             preexec=narrow)
        await_true(lambda: self.established(port) >= CONNECTIONS, "2,000 connections at once")
        self.await_answers(process)
        process.signal(SIGINT)
        found = parse_json(process.finish()).json
        self.assert_consistent(found, 0)
        self.assertEqual(found["counts"]["connections"], CONNECTIONS)
        self.assertEqual(found["counts"]["errors"], 0)
        self.assertEqual(found["connect"]["count"], CONNECTIONS)
        comment(f"{found['rates']['answers']:.0f} requests/s over {CONNECTIONS} connections")

    def test_two_thousand_are_all_answered(self):
        _, endpoint = self.service(config=LIMITS)
        found = self.load("-c", CONNECTIONS, "-n", 3 * CONNECTIONS, endpoint)
        self.assert_counts(found, sent=3 * CONNECTIONS, answered=3 * CONNECTIONS,
                           connections=CONNECTIONS)

    def test_two_thousand_in_an_open_loop(self):
        _, endpoint = self.service(config=LIMITS)
        found = self.load("-c", CONNECTIONS, "-r", 4000, "-n", 4000, endpoint)
        self.assert_counts(found, sent=4000, answered=4000, connections=CONNECTIONS)

    def test_connections_beyond_the_servers_limit_are_reported(self):
        _, endpoint = self.service(config="[limits]\nconnections = 10\n")

        def reported():
            # It detects closes within 20 ms. A slower server closes them while requests are pending.
            process = self.start("-j", "-c", 20, "-n", 100, endpoint)
            done = process.finish()
            self.assertEqual(done.returncode, 1, str(done))
            found = parse_json(done).json
            self.assert_consistent(found, 1)
            self.assertEqual(done.stderr, f"riposte: {found['error']}\n" if "error" in found else "")
            return done.stderr
        self.assertRegex(await_true(reported, "the error is printed"),
                         r"^riposte: \S+: \d+ of 20 connections were opened, the others closed again at "
                         r"once; does the server limit them.*\n$")

    def test_more_connections_than_descriptors_is_an_error(self):
        few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        line = self.refuses("-c", 200, "-n", 100, self.endpoint(), code=2, preexec=few)
        self.assertRegex(line, r"^riposte: 200 connections are not possible here, \d+ are: the "
                               r"limit of open files is 100 \(ulimit -Hn\)\n$")


class OtherServices(Case):
    def test_that_hello_closes_after_each_reply_is_reported_once(self):
        endpoint = self.endpoint("hello")
        stderr = (f"riposte: {endpoint}: not an echo service (its answer: 18 bytes): the "
                  "length of answers is checked, their bytes are not\n"
                  f"riposte: {endpoint}: closes after an answer: a connection for each request\n")
        found = self.load("-n", 200, "-c", 5, endpoint, stderr=stderr)
        self.assert_counts(found, sent=200, answered=200, connections=200,
                           bytes_received=200 * 18)
        self.assertEqual((found["service"], found["mode"]["closes"], found["mode"]["reconnect"]),
                         ("other", True, False))
        text = self.text("-n", 20, "-c", 5, endpoint, stderr=stderr)
        self.assertIn("20 made", text)
        self.assertEqual(text.count("the peer closes after each answer"), 1)
        self.assertEqual(text.count("not an echo service"), 1)

    def test_hello_in_an_open_loop(self):
        found = self.load("-r", 200, "-n", 100, "-c", 100, self.endpoint("hello"), stderr=None)
        self.assert_counts(found, sent=100, answered=100, connections=100)

    def test_hello_over_udp_is_an_echo(self):
        found = self.load("-n", 100, self.endpoint("hello", "udp"))
        self.assert_counts(found, sent=100, answered=100)
        self.assertEqual(found["service"], "echo")

    def test_daytime_replies_before_the_request(self):
        found = self.load("-n", 50, "-c", 2, self.endpoint("daytime"), stderr=None)
        self.assert_counts(found, sent=50, answered=50, connections=50)
        self.assertEqual((found["service"], found["mode"]["closes"]), ("other", True))

    def test_discard_never_replies(self):
        for transport in ("tcp", "udp"):
            with self.subTest(transport=transport):
                endpoint = self.endpoint("discard", transport)
                self.assertRegex(
                    self.refuses("-n", 10, "-W", "300ms", endpoint),
                    rf"^riposte: {endpoint}: {NO_ANSWER[transport]} -W waits longer\n$")

    def test_chargen_replies_endlessly(self):
        endpoint = self.endpoint("chargen")
        self.assertEqual(
            self.refuses("-n", 10, endpoint),
            f"riposte: {endpoint}: answers without end; load needs an answer to each request\n")


class Signals(Case):
    def running(self, *arguments, endpoint=None, **keywords):
        endpoint = endpoint or self.endpoint()
        process = self.start("-d", 0, "--warmup", 0, *arguments, endpoint, **keywords)
        process.await_handlers((SIGINT, SIGTERM, SIGQUIT))
        self.await_answers(process)
        return process

    def test_sigint_ends_it_with_a_summary(self):
        for number in (SIGINT, SIGTERM):
            with self.subTest(signal=number):
                process = self.running("-c", 3)
                process.signal(number)
                done = process.finish()
                self.assertEqual((done.returncode, done.stderr), (0, ""), str(done))
                self.assertIn("load statistics", done.stdout)
                self.assertIn("interrupted", done.stdout)
                self.assertIn("no errors", done.stdout)

    def test_sigint_with_json(self):
        process = self.running("-j", "-c", 3)
        process.signal(SIGINT)
        done = parse_json(process.finish())
        self.assertEqual((done.returncode, done.stderr), (0, ""), str(done))
        self.assert_consistent(done.json, 0)
        self.assertTrue(done.json["interrupted"])
        self.assertGreater(done.json["counts"]["answered"], 0)
        self.assertGreater(done.json["elapsed"], 0)

    def test_sigint_in_an_open_loop(self):
        process = self.running("-j", "-r", 500)
        process.signal(SIGINT)
        done = parse_json(process.finish())
        self.assertEqual(done.returncode, 0, str(done))
        self.assert_consistent(done.json, 0)
        self.assertGreater(done.json["counts"]["answered"], 0)

    def test_sigint_in_the_warm_up_leaves_no_figures(self):
        handler, endpoint = self.requests(echo_one)  # which do not include the very first request
        process = self.start("-j", "-d", "60s", "--warmup", "60s", endpoint)
        await_true(lambda: handler.seen > 0, "requests of the warm-up")
        process.signal(SIGINT)
        done = process.finish()
        self.assertEqual(done.returncode, 1, str(done))
        if done.stdout:
            found = parse_json(done).json
            self.assert_consistent(found, 1)
            self.assertEqual(found["counts"]["sent"], 0)

    def test_sigquit_prints_a_line(self):
        process = self.running("-c", 3)
        for _ in range(2):
            process.signal(SIGQUIT)
            self.assertRegex(
                process.error_line(),
                r"^\S+( \S+)?: \d+\.\d requests/s, (median/p99/max \S+ ms, )?no errors\n$")
        process.signal(SIGINT)
        done = process.finish()
        self.assertEqual((done.returncode, done.stderr), (0, ""), str(done))

    def test_a_second_sigint_ends_it_at_once(self):
        # Both arrive while it is stopped, so it cannot end between them.
        process = self.running("-c", 2)
        process.signal(SIGSTOP)
        await_true(process.is_stopped, "it is stopped")
        for number in (SIGINT, SIGTERM, SIGCONT):
            process.signal(number)
        done = process.finish()
        # With the summary, unless it was about to write the line requested above.
        self.assertEqual(done.returncode, 130, str(done))


if __name__ == "__main__":
    unittest.main()
