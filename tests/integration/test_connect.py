"""`riposte ping --connect`: is the port open, how long does connecting take, and what does a refusal say?"""

import json
import socket
import unittest
from signal import SIGINT

from client import Running, run, run_json, validate
from peers import Backlog, TcpPeer, bound, closed_port, has_ipv6, wait_until


class Listener:
    """Accepts connections, and notes what came on each until its end."""

    def __init__(self, test, host="127.0.0.1"):
        self.received = []
        self.peer = TcpPeer(self.take, host)
        self.endpoint = self.peer.endpoint
        test.addCleanup(self.peer.close)

    def take(self, connection):
        text = b""
        while piece := connection.recv(4096):
            text += piece
        self.received.append(text)


class Case(unittest.TestCase):
    maxDiff = None

    def only(self, done):
        self.assertEqual(len(done.json["endpoints"]), 1)
        return done.json["endpoints"][0]

    def closed(self):
        server = closed_port(socket.SOCK_STREAM)
        self.addCleanup(server.close)
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


class OpenPorts(Case):
    def test_each_probe_is_a_connection_on_which_nothing_is_sent(self):
        listener = Listener(self)
        done = run_json("ping", "--connect", "-j", "-c", "5", "-i", "10ms", listener.endpoint)
        found = self.only(done)
        self.assertEqual(done.returncode, 0, str(done))
        self.assertEqual((found["counts"]["sent"], found["counts"]["answered"], found["connections"]), (5, 5, 5))
        self.assertEqual((found["connect_only"], found["payload_bytes"]), (True, 0))
        self.assertEqual(found["rtt"]["count"], 5)
        self.assertNotIn("service", found)
        wait_until(lambda: len(listener.received) == 5, "all connections have ended")
        self.assertEqual(set(listener.received), {b""})

    def test_the_lines_say_that_it_connected(self):
        listener = Listener(self)
        done = run("ping", "--connect", "-c", "2", "-i", "10ms", listener.endpoint)
        address = listener.endpoint.removeprefix("tcp://")
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], f"PING {listener.endpoint}: connections alone, every 10ms")
        self.assertRegex(lines[1], rf"^connected to {address}: seq=1 time=\S+ ms")
        self.assertIn("connect: until the peer accepted", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^connect +\S+")
        self.assertNotRegex(done.stdout, r"(?m)^rtt")

    def test_ipv6(self):
        if not has_ipv6():
            self.skipTest("this machine has no IPv6 loopback")
        done = run("ping", "--connect", "-c", "1", Listener(self, "::1").endpoint)
        self.assertEqual(done.returncode, 0, str(done))

    def test_a_port_whose_queue_of_connections_is_full_makes_no_connection(self):
        queue = Backlog()
        self.addCleanup(queue.close)
        done = run_json("ping", "--connect", "-j", "-c", "1", "-W", "300ms", queue.endpoint)
        self.assertEqual(self.only(done)["counts"]["lost"], 1)
        self.assertEqual([each["kind"] for each in self.only(done)["errors"]], ["no_connection"])
        done = run("ping", "--connect", "-c", "1", "-W", "300ms", queue.endpoint)
        self.assertIn("no connection for seq=1 within 300ms", done.stdout)
        self.assertEqual(done.returncode, 1)


class ClosedPorts(Case):
    def test_a_refusal_says_that_the_port_is_closed_and_has_its_time(self):
        endpoint = self.closed()
        done = run("ping", "--connect", "-c", "2", "-i", "10ms", endpoint)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"(?m)^seq=1 refused in \S+ ms by 127\.0\.0\.1$")
        self.assertIn("the host answers, but the port is closed: it refuses connections", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^refusal +\S+")
        found = self.only(run_json("ping", "--connect", "-j", "-c", "2", "-i", "10ms", endpoint))
        self.assertEqual((found["counts"]["refused"], found["refusal"]["count"]), (2, 2))

    def test_conditions_decide_whether_a_closed_port_is_a_failure(self):
        closed, listener = self.closed(), Listener(self)
        for condition, endpoint, status in (
                ("refused>1000", closed, 0), ("lost>0,refused>1000", closed, 0), ("refused>0", closed, 1),
                ("lost>0", closed, 1), ("refused>0,connect.p50>1h", listener.endpoint, 0),
                ("connect.max>1ns", listener.endpoint, 1)):
            with self.subTest(condition=condition, endpoint=endpoint):
                done = run("ping", "--connect", "-q", "-c", "2", "-i", "10ms", "--fail-if", condition, endpoint)
                self.assertEqual(done.returncode, status, str(done))

    def test_a_port_that_opens_is_seen(self):
        listener = bound(socket.SOCK_STREAM)
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with Running("ping", "--connect", "-i", "20ms", endpoint) as client:
            while "refused" not in client.line():
                pass
            listener.listen()
            while "connected to" not in client.line():
                pass
            client.signal(SIGINT)
            done = client.finish()
        listener.close()
        self.assertEqual(done.returncode, 1, str(done))


class Forms(Case):
    """Lists of open, closed and silent ports in each form of report."""

    def setUp(self):
        self.queue = Backlog()
        self.addCleanup(self.queue.close)
        self.endpoints = (Listener(self).endpoint, self.closed(), self.queue.endpoint)
        self.options = ("--connect", "-c", "3", "-i", "50ms", "-W", "300ms")

    def test_a_table(self):
        done = run("ping", "-q", *self.options, *self.endpoints)
        for endpoint, loss in zip(self.endpoints, ("0%", "100%", "100%")):
            self.assertRegex(done.stdout, rf"(?m)^{endpoint} +{loss}")
        self.assertRegex(done.stdout, rf"{self.endpoints[1]}: 3 refused")

    def test_json_lines_and_intervals(self):
        done = run("ping", "--json-lines", "--every", "100ms", *self.options, *self.endpoints)
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        for document in documents:
            validate(document)
        outcomes = {endpoint: [each["outcome"] for each in documents
                               if each["schema"] == "riposte/ping-probe/1" and each["name"] == endpoint]
                    for endpoint in self.endpoints}
        self.assertEqual(outcomes, dict(zip(self.endpoints, (["answered"] * 3, ["refused"] * 3, ["lost"] * 3))))
        self.assertTrue(any(each["schema"] == "riposte/ping-interval/1" for each in documents))

    def test_lines_of_intervals(self):
        done = run("ping", "-q", "--every", "100ms", *self.options, *self.endpoints)
        self.assertRegex(done.stdout, r"(?m)\d refused$")

    def test_a_plot_and_a_histogram(self):
        done = run("ping", "-q", "--histogram", "--plot", "/dev/null", *self.options, *self.endpoints)
        self.assertEqual((done.returncode, done.stderr), (1, ""), str(done))

    def test_lists(self):
        done = run("ping", "--alive", "--connect", "-i", "10ms", "-W", "300ms", *self.endpoints)
        self.assertEqual((done.returncode, done.stdout), (1, self.endpoints[0] + "\n"))
        done = run("ping", "--unreachable", "--connect", "-i", "10ms", "-W", "300ms", *self.endpoints)
        self.assertEqual((done.returncode, done.stdout), (1, "".join(f"{each}\n" for each in self.endpoints[1:])))


if __name__ == "__main__":
    unittest.main()
