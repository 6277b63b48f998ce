"""The log: at debug, what the tutorial prints; whole lines, whatever a peer sends; never a flood."""

import contextlib
import os
import socket
import subprocess

import pytest

from daemon import (ANSWER, GREETING, RIPOSTED, WAIT, RiposteTest, await_true, free_port,
                    receive_all, receive_exactly)

pytestmark = pytest.mark.backends


class Debug(RiposteTest):
    def test_the_connection_and_the_received_message_are_logged(self):
        daemon, address = self.serve("hello", "--log-level", "debug")
        client = self.connect(address)
        peer = "127.0.0.1:%d" % client.getsockname()[1]
        client.send(GREETING)
        self.assertEqual(receive_all(client), ANSWER)
        client.close()
        daemon.wait_log(rf"^riposted: connection from {peer} \(hello on tcp://127\.0\.0\.1:{address[1]}\)$")
        daemon.wait_log(rf'^riposted: received from {peer}: "Hello, i\'m client!"$')
        daemon.wait_log(rf"^riposted: connection from {peer} ended: \S+")

    def test_a_datagram_is_logged_too(self):
        daemon, address = self.serve("hello", "--log-level", "debug", transport="udp")
        client = self.datagram_socket()
        client.sendto(b"Hello!", address)
        client.recv(10)
        daemon.wait_log(rf'^riposted: received from 127\.0\.0\.1:{client.getsockname()[1]}: "Hello!"$')

    def test_at_info_peers_cause_no_lines(self):
        daemon, address = self.serve("hello")
        before = daemon.log()
        for _ in range(20):
            client = self.connect(address)
            client.send(GREETING)
            receive_all(client)
            client.close()
        self.assertEqual(daemon.log(), before)

    def test_at_error_a_successful_start_logs_nothing(self):
        address = ("127.0.0.1", free_port())
        daemon = self.daemon("--listen", f"hello=tcp://127.0.0.1:{address[1]}", "--log-level", "error",
                             ready=False)

        def connected():
            with contextlib.suppress(ConnectionRefusedError):
                return self.connect(address)
        client = await_true(connected, "it listens")
        client.send(GREETING)
        self.assertEqual(receive_all(client), ANSWER)
        client.close()
        await_true(daemon.sleeps, "it has nothing more to do")
        daemon.stop()
        self.assertEqual(daemon.log(), "")


class Injection(RiposteTest):
    NASTY = (b"one\nriposted: stopped\n", b"\x1b[2J\x1b]0;title\x07", b"\r\n\r\n<0>fake", b"\xff\xfe\x00",
             b'"quoted" \\ back', "ünïcode \u2028".encode(), b"%s%n{}{0}", b"x" * 1024)

    def test_what_a_peer_sends_does_not_break_a_line(self):
        daemon = self.daemon("--listen", "hello=127.0.0.1:0", "--log-level", "debug")
        for data in self.NASTY:
            client = self.connect(("127.0.0.1", daemon.port("hello", "tcp")))
            client.send(data)
            receive_all(client)
            client.close()
            client = self.datagram_socket()
            client.sendto(data, ("127.0.0.1", daemon.port("hello", "udp")))
            client.recv(2000)
        daemon.wait_log("^riposted: received from ", count=2 * len(self.NASTY))
        self.assertEqual(daemon.lines("^riposted: stopped"), [])
        self.assertEqual(len(daemon.lines(r"one\\nriposted: stopped\\n")), 2)
        daemon.stop()
        self.assertEqual(len(daemon.lines("^riposted: stopped")), 1)
        self.assert_log_lines_whole(daemon)

    def test_a_long_message_is_cut_and_the_number_of_omitted_bytes_is_logged(self):
        daemon, address = self.serve("hello", "--log-level", "debug")
        client = self.connect(address)
        client.send(b"y" * 1024)
        receive_all(client)
        line = daemon.wait_log("^riposted: received from .*$")[0]
        self.assertLess(len(line), 400)
        self.assertRegex(line, "more bytes")


class Flood(RiposteTest):
    def test_log_lines_that_a_peer_can_trigger_are_rate_limited(self):
        daemon, address = self.serve("echo", config="[limits]\nconnections = 1\n")
        holder = self.connect(address)
        holder.send(b"a")
        receive_exactly(holder, 1)
        before = len(daemon.log().split("\n"))
        for _ in range(500):
            with socket.socket() as client:
                client.settimeout(WAIT)
                client.connect(address)
        holder.send(b"b")
        self.assertEqual(receive_exactly(holder, 1), b"b")
        self.assertLess(len(daemon.log().split("\n")) - before, 60)

    def test_a_closed_standard_error_does_not_end_it(self):
        """The log has no reader any more: lines are lost, and the daemon continues."""
        read, write = os.pipe()
        process = subprocess.Popen(
            [os.path.abspath(RIPOSTED), "--backend", self.backend, "--log-level", "debug", "--listen",
             "hello=tcp://127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=write)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        os.close(write)
        with os.fdopen(read, encoding="ascii", errors="replace") as log:
            port = None
            for line in log:
                if "listening: " in line:
                    port = int(line.rpartition(":")[2])
                if "ready: " in line:
                    break
        for _ in range(3):
            client = self.connect(("127.0.0.1", port))
            client.send(GREETING)
            self.assertEqual(receive_all(client), ANSWER)
            client.close()
        process.terminate()
        self.assertEqual(process.wait(WAIT), 0)


class Prefixes(RiposteTest):
    def test_under_a_service_manager_lines_begin_with_their_priority(self):
        daemon = self.daemon("--listen", "hello=tcp://127.0.0.1:0", ready=False,
                             environment={"INVOCATION_ID": "0123456789abcdef0123456789abcdef",
                                          "SYSTEMD_EXEC_PID": "1"})
        daemon.wait_log(r"ready: ")
        daemon.stop()
        for line in daemon.raw_log().splitlines():
            self.assertRegex(line, r"^<[0-7]>\S")
