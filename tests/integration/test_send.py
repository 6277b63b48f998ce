"""`riposte send` against plain servers in the test itself: every way in which an exchange can go.

Each server is a thread on a loopback port that the kernel chooses, and every wait has a limit. The
client's whole output is compared: standard output byte for byte, standard error line by line.
"""

import os
import pty
import re
import select
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

from patience import WAIT as SECONDS_MAX
from peers import has_ipv6, reset
from send_case import RIPOSTE, Case, answering, random_bytes, receive_all, riposte


class Stream(Case):
    def test_a_one_shot_server_is_greeted_and_its_reply_printed(self):
        questions = []

        def serve(connection):
            questions.append(connection.recv(1024))
            connection.send(b"Hello, i'm server!")

        self.check(riposte("send", self.tcp(serve)), 0, b"Hello, i'm server!")
        self.assertEqual(questions, [b"Hello, i'm client!"])

    def test_the_connection_is_half_closed_after_the_message(self):
        self.check(
            riposte("send", self.tcp(lambda c: c.sendall(receive_all(c)[::-1])), "abc"), 0, b"cba")

    def test_an_empty_message_is_only_half_closed(self):
        def serve(connection):
            connection.sendall(b"%d bytes" % len(receive_all(connection)))

        self.check(riposte("send", self.tcp(serve), ""), 0, b"0 bytes")

    def test_standard_input_is_sent_byte_for_byte(self):
        message = bytes(range(256)) * 3 + b"\n\0"
        endpoint = self.tcp(lambda c: c.sendall(receive_all(c)))
        self.check(riposte("send", endpoint, "-", input=message), 0, message)

    def test_a_long_reply_is_printed_byte_for_byte(self):
        answer = random_bytes(8 << 20)
        done = riposte("send", self.tcp(answering(answer)))
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertTrue(done.stdout == answer, "the answer differs")

    def test_an_echo_longer_than_all_buffers_does_not_block(self):
        message = random_bytes(32 << 20)

        def echo(connection):
            while chunk := connection.recv(1 << 16):
                connection.sendall(chunk)

        done = riposte("send", self.tcp(echo), "-", input=message)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertTrue(done.stdout == message, "the echo differs")

    def test_a_reply_in_single_bytes_is_read_as_long_as_it_continues(self):
        # The whole reply takes longer than the timeout; no single byte does.
        pause = threading.Event()

        def serve(connection):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            receive_all(connection)
            for byte in b"by and by":
                pause.wait(0.5)
                connection.send(bytes([byte]))

        self.check(riposte("send", "-W", "3s", self.tcp(serve)), 0, b"by and by")

    def test_the_reply_is_printed_as_it_arrives(self):
        seen = threading.Event()

        def serve(connection):
            receive_all(connection)
            connection.send(b"first ")
            self.assertTrue(seen.wait(SECONDS_MAX), "the first part was held back")
            connection.send(b"second")

        client = subprocess.Popen(
            [RIPOSTE, "send", "-W", "30s", self.tcp(serve)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        with client:
            self.assertEqual(os.read(client.stdout.fileno(), 64), b"first ")
            seen.set()
            self.assertEqual(client.stdout.read(), b"second")
            self.assertEqual(client.wait(SECONDS_MAX), 0)

    def test_a_closed_port_is_refused(self):
        endpoint = self.endpoint(self.socket(socket.SOCK_STREAM), "tcp")  # bound, not listening
        self.check(
            riposte("send", endpoint), 1, b"",
            rf"^riposte: {endpoint}: connection refused in \d+\.\d+ ms; is riposted running there\?\n$")

    def test_a_server_that_never_replies_times_out(self):
        done = threading.Event()
        endpoint = self.tcp(lambda _: done.wait(SECONDS_MAX))
        self.addCleanup(done.set)
        self.check(
            riposte("send", "-W", "300ms", endpoint), 1, b"",
            rf"^riposte: {endpoint}: connected in \d+\.\d+ ms, no answer after 300ms; -W waits longer\n$")

    def test_a_server_that_stops_in_its_reply_times_out(self):
        done = threading.Event()

        def serve(connection):
            connection.send(b"Hello, i'")
            done.wait(SECONDS_MAX)

        endpoint = self.tcp(serve)
        self.addCleanup(done.set)
        self.check(
            riposte("send", "-W", "3s", endpoint), 1, b"Hello, i'",
            f"riposte: {endpoint}: the answer stalled for 3s (9 bytes had come); "
            "-W waits longer\n")

    def test_a_server_that_never_reads_times_out(self):
        done = threading.Event()
        endpoint = self.tcp(lambda _: done.wait(SECONDS_MAX))
        self.addCleanup(done.set)
        client = riposte("send", "-W", "300ms", endpoint, "-", input=bytes(32 << 20))
        self.assertEqual((client.returncode, client.stdout), (1, b""))
        self.assertRegex(
            client.stderr.decode(),
            rf"^riposte: {re.escape(endpoint)}: the peer stopped reading the message for 300ms "
            r"\(\d+ of 33554432 bytes sent, 0 bytes of answer\); -W waits longer\n$")

    def test_a_host_that_drops_packets_times_out(self):
        # A full accept queue drops further SYNs, as a firewall would.
        server = self.socket(socket.SOCK_STREAM)
        server.listen(0)
        for _ in range(4):
            filler = self.socket(socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        endpoint = self.endpoint(server, "tcp")
        self.check(
            riposte("send", "-W", "300ms", endpoint), 1, b"",
            f"riposte: {endpoint}: no connection after 300ms; is the address right, or does a "
            "firewall drop it? -W waits longer\n")

    def test_a_server_that_closes_at_once_has_not_replied(self):
        endpoint = self.tcp(receive_all)
        self.check(
            riposte("send", endpoint), 1, b"",
            f"riposte: {endpoint}: closed without an answer; is it the service that you meant?\n")

    def test_a_reset_is_reported(self):
        def serve(connection):
            connection.recv(1024)
            reset(connection)

        endpoint = self.tcp(serve)
        self.check(
            riposte("send", endpoint), 1, b"",
            f"riposte: {endpoint}: connection reset by peer (0 bytes had come)\n")

    def test_data_received_before_a_reset_is_printed(self):
        def serve(connection):
            connection.recv(1024)
            connection.send(b"Hello, i'm server!")
            connection.close()  # with unread input: the kernel resets

        endpoint = self.tcp(serve)
        self.check(
            riposte("send", endpoint, "-", input=bytes(8 << 20)), 1, b"Hello, i'm server!",
            f"riposte: {endpoint}: connection reset by peer (18 bytes had come); the message may "
            "have been longer than the peer reads\n")

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_ipv6(self):
        endpoint = self.tcp(lambda c: c.sendall(receive_all(c)), "::1")
        self.check(riposte("send", "-6", endpoint, "six"), 0, b"six")

    def test_the_source_is_what_the_server_sees(self):
        def serve(connection):
            receive_all(connection)
            connection.sendall(connection.getpeername()[0].encode())

        endpoint = self.tcp(serve)
        self.check(riposte("send", "--source", "127.0.0.3", endpoint), 0, b"127.0.0.3")

    def test_v_prints_each_step(self):
        endpoint = self.tcp(lambda c: c.sendall(receive_all(c)))
        done = riposte("send", "-v", endpoint)
        self.assertEqual((done.returncode, done.stdout), (0, b"Hello, i'm client!"))
        peer = re.escape(endpoint.removeprefix("tcp://"))
        self.assertRegex(
            done.stderr.decode(),
            rf"^connected to tcp://{peer} from 127\.0\.0\.1:\d+\n"
            r"sent 18 bytes\n"
            rf"answer from {peer}: 18 bytes in \d+\.\d ms\n"
            r"times: lookup \d+\.\d+ ms, connect \d+\.\d+ ms, first byte \d+\.\d+ ms, "
            r"whole \d+\.\d+ ms\n$")

    def test_every_address_of_a_name_is_tried(self):
        # With a hosts file of the test's own, in a mount namespace of its own. That namespace replaces all
        # of /etc, because a minimal system has no hosts file to cover.
        if not has_ipv6():
            self.skipTest("no IPv6 here")
        with tempfile.TemporaryDirectory() as etc:
            with open(etc + "/hosts", "w", encoding="ascii") as hosts:
                hosts.write("127.0.0.1 both.test\n::1 both.test\n")
            with open(etc + "/nsswitch.conf", "w", encoding="ascii") as switch:
                switch.write("hosts: files\n")
            with open(etc + "/host.conf", "w", encoding="ascii") as conf:
                conf.write("multi on\n")  # all lines of a name, not the first
            enter = ["unshare", "--mount", "sh", "-c",
                     'mount --bind "$0" /etc && exec "$@"', etc]
            probe = subprocess.run([*enter, "true"], stdin=subprocess.DEVNULL, capture_output=True,
                                   text=True, timeout=SECONDS_MAX, check=False)
            if probe.returncode != 0:
                self.skipTest("no mount namespace is available: " + probe.stderr.strip())
            for host in ("127.0.0.1", "::1"):
                endpoint = self.tcp(lambda c: c.sendall(receive_all(c)), host)
                port = endpoint.rpartition(":")[2]
                done = subprocess.run([*enter, RIPOSTE, "send", f"both.test:{port}", "x"],
                                      stdin=subprocess.DEVNULL, capture_output=True,
                                      timeout=SECONDS_MAX, check=False)
                self.check(done, 0, b"x")

    def test_sigint_ends_it(self):
        waiting = threading.Event()
        done = threading.Event()

        def serve(_):
            waiting.set()
            done.wait(SECONDS_MAX)

        endpoint = self.tcp(serve)
        self.addCleanup(done.set)
        client = subprocess.Popen([RIPOSTE, "send", endpoint], stdin=subprocess.DEVNULL)
        with client:
            self.assertTrue(waiting.wait(SECONDS_MAX))
            client.send_signal(2)
            self.assertEqual(client.wait(SECONDS_MAX), -2)


class Datagram(Case):
    def echo(self, server):
        message, client = server.recvfrom(1 << 16)
        self.questions.append(message)
        server.sendto(message, client)

    def setUp(self):
        self.questions = []

    def test_a_one_shot_server_is_greeted_and_its_reply_printed(self):
        def serve(server):
            message, client = server.recvfrom(200)
            self.questions.append(message)
            server.sendto(message, client)

        self.check(riposte("send", self.udp(serve)), 0, b"Hello!")
        self.assertEqual(self.questions, [b"Hello!"])

    def test_u_replaces_the_scheme(self):
        endpoint = self.udp(self.echo).removeprefix("udp://")
        self.check(riposte("send", "-u", endpoint, "x y"), 0, b"x y")

    def test_empty_datagrams_are_a_request_and_a_reply(self):
        self.check(riposte("send", self.udp(self.echo), ""), 0, b"")
        self.assertEqual(self.questions, [b""])

    def test_the_longest_datagram_is_sent_and_received_whole(self):
        message = random_bytes(65507)
        done = riposte("send", self.udp(self.echo), "-", input=message)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertTrue(done.stdout == message, "the echo differs")

    def test_a_longer_message_names_the_limit(self):
        self.check(
            riposte("send", "udp://127.0.0.1:9", "-", input=bytes(65508)), 2, b"",
            "riposte: a UDP datagram holds at most 65,507 bytes; send a longer message over TCP\n")
        self.check(
            riposte("send", "udp://127.0.0.1:9", "x" * 65508), 2, b"",
            "riposte: a UDP datagram holds at most 65,507 bytes; send a longer message over TCP\n")

    def test_a_closed_port_is_refused(self):
        # A socket that is connected elsewhere keeps the port from other processes, and receives nothing.
        server = self.socket(socket.SOCK_DGRAM)
        server.connect(("127.0.0.1", 9))
        endpoint = self.endpoint(server, "udp")
        self.check(
            riposte("send", endpoint), 1, b"",
            rf"^riposte: {endpoint}: port unreachable \(ICMP from 127\.0\.0\.1\) in \d+\.\d+ ms; "
            r"is riposted running there\?\n$")

    def test_a_server_that_never_replies_times_out(self):
        endpoint = self.endpoint(self.socket(socket.SOCK_DGRAM), "udp")
        self.check(
            riposte("send", "-W", "300ms", endpoint), 1, b"",
            f"riposte: {endpoint}: no answer after 300ms; is riposted running there? "
            "-W waits longer\n")

    def test_a_datagram_from_another_address_is_no_reply(self):
        other = self.socket(socket.SOCK_DGRAM)

        def serve(server):
            _, client = server.recvfrom(200)
            other.sendto(b"forged", client)

        endpoint = self.udp(serve)
        done = riposte("send", "-W", "300ms", endpoint)
        self.assertEqual((done.returncode, done.stdout), (1, b""))

    @unittest.skipUnless(has_ipv6(), "no IPv6 on this machine")
    def test_ipv6(self):
        self.check(riposte("send", self.udp(self.echo, "::1"), "six"), 0, b"six")

    def test_the_source_is_what_the_server_sees(self):
        def serve(server):
            _, client = server.recvfrom(200)
            server.sendto(client[0].encode(), client)

        self.check(riposte("send", "--source", "127.0.0.3", self.udp(serve)), 0, b"127.0.0.3")

    def test_v_prints_each_step(self):
        endpoint = self.udp(self.echo)
        done = riposte("send", "-v", endpoint, "x")
        self.assertEqual((done.returncode, done.stdout), (0, b"x"))
        peer = re.escape(endpoint.removeprefix("udp://"))
        self.assertRegex(
            done.stderr.decode(),
            rf"^connected to udp://{peer} from 127\.0\.0\.1:\d+\n"
            r"sent 1 byte\n"
            rf"answer from {peer}: 1 byte in \d+\.\d ms\n"
            r"times: lookup \d+\.\d+ ms, first byte \d+\.\d+ ms, whole \d+\.\d+ ms\n$")


class Local(Case):
    """Errors on this side: exit code 2."""

    def test_usage_errors(self):
        for arguments, message in [
            ((), "no command; try 'riposte send localhost', or see 'riposte --help'"),
            (("sned", "x"), "unknown command 'sned'; did you mean send?"),
            (("send",), "no ENDPOINT; try 'riposte send localhost', or see 'riposte send --help'"),
            (("send", "-u", "tcp://127.0.0.1"),
             "-u and tcp:// contradict each other; leave one of them out"),
            (("send", "-W", "0", "127.0.0.1"), "--timeout: must be more than zero"),
            (("send", "-4", "-6", "127.0.0.1"), "-4 and -6 exclude each other"),
            (("send", "127.0.0.1", "--tmeout", "1"),
             "unknown option '--tmeout'; did you mean --timeout?"),
        ]:
            with self.subTest(arguments=arguments):
                self.check(riposte(*arguments), 2, b"", f"riposte: {message}\n")

    def test_an_invalid_endpoint_is_reported_with_its_column(self):
        done = riposte("send", "tcp://127.0.0.1:x")
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertRegex(
            done.stderr.decode(), r"^riposte: endpoint 'tcp://127.0.0.1:x', column 17: .+\n$")

    def test_an_impossible_name_is_reported(self):
        # A label longer than 63 bytes is refused before any name server is asked.
        name = "x" * 64 + ".invalid"
        done = riposte("send", f"tcp://{name}:7001")
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertRegex(done.stderr.decode(), rf"^riposte: .*{name}.*\n$")

    def test_a_source_address_of_another_host_is_reported(self):
        # 192.0.2.0/24 is for documentation (RFC 5737): bind(2) refuses, nothing is sent.
        self.check(
            riposte("send", "--source", "192.0.2.1", "tcp://127.0.0.1:9"), 2, b"",
            "riposte: --source 192.0.2.1: cannot assign requested address; it is not an address "
            "of this machine: `ip address` lists those\n")

    def test_a_port_given_alone_gets_a_hint_how_to_write_it(self):
        # As one writes it for nc(1). Other processes may serve port 7001 here, but not at 127.9.0.77.
        done = riposte("send", "127.9.0.77", "7007")
        self.assertEqual(done.returncode, 1)
        hint, _, rest = done.stderr.decode().partition("\n")
        self.assertEqual(hint, "riposte: '7007' is sent as the message, to port 7001; for port 7007 write "
                               "127.9.0.77:7007, and for this -- 7007")
        self.assertIn("connection refused", rest)

    def test_a_full_disk_is_reported(self):
        with open("/dev/full", "wb") as full:
            done = riposte("send", self.tcp(answering(b"x")), stdout=full)
        self.check(done, 2, None, "riposte: standard output: no space left on device\n")

    def test_a_full_disk_is_reported_over_udp_and_for_help(self):
        def serve(server):
            server.sendto(b"x", server.recvfrom(200)[1])

        for arguments in (("send", self.udp(serve)), ("--help",), ("--version",)):
            with open("/dev/full", "wb") as full:
                done = riposte(*arguments, stdout=full)
            self.check(done, 2, None, "riposte: standard output: no space left on device\n")

    def test_a_closed_output_pipe_causes_no_message(self):
        def serve(server):
            server.sendto(b"x", server.recvfrom(200)[1])

        for arguments in (("send", self.tcp(answering(b"x"))), ("send", self.udp(serve)), ("--help",)):
            reader, writer = os.pipe()
            os.close(reader)
            with self.subTest(arguments=arguments), os.fdopen(writer, "wb") as broken:
                self.check(riposte(*arguments, stdout=broken), -signal.SIGPIPE, None, "")

    def test_a_closed_standard_output_is_reported(self):
        # The socket must not get its number: the reply would be sent back to the server.
        done = subprocess.run(
            ["sh", "-c", 'exec "$0" "$@" >&-', RIPOSTE, "send", self.tcp(answering(b"x"))],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SECONDS_MAX)
        self.check(done, 2, None, "riposte: standard output: bad file descriptor\n")

    def test_an_unreadable_standard_input_is_reported(self):
        directory = os.open("/", os.O_RDONLY)
        try:
            done = riposte("send", "tcp://127.0.0.1:9", "-", stdin=directory)
        finally:
            os.close(directory)
        self.check(done, 2, b"", "riposte: standard input: is a directory\n")

    def test_version(self):
        self.check(riposte("--version"), 0, b"riposte 0.2.0\n")

    def test_help_is_on_standard_output(self):
        done = riposte("send", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b"Examples:", done.stdout)


class Terminal(Case):
    def on_terminal(self, *arguments, env=None, both=True):
        """Runs the client on a pseudo-terminal and returns what it showed. `both`: its standard output too."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        environment = {**os.environ, "TERM": "xterm", **(env or {})}
        if env is None or "NO_COLOR" not in env:
            environment.pop("NO_COLOR", None)
        client = subprocess.Popen(
            [RIPOSTE, *arguments], stdin=subprocess.DEVNULL, env=environment,
            stdout=theirs if both else subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], SECONDS_MAX)[0]:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # EIO: the other side is closed
                break
            if not chunk:
                break
            shown += chunk
        client.wait(SECONDS_MAX)
        return shown

    def refused(self):
        return self.endpoint(self.socket(socket.SOCK_STREAM), "tcp")

    def test_a_reply_without_a_newline_gets_one_on_the_terminal(self):
        endpoint = self.tcp(answering(b"no newline"))
        self.assertEqual(self.on_terminal("send", endpoint), b"no newline\r\n")

    def test_a_reply_with_a_newline_is_unchanged(self):
        endpoint = self.tcp(answering(b"newline\n"))
        self.assertEqual(self.on_terminal("send", endpoint), b"newline\r\n")

    def test_no_newline_is_added_if_only_standard_error_is_a_terminal(self):
        endpoint = self.tcp(answering(b"no newline"))
        self.assertEqual(self.on_terminal("send", endpoint, both=False), b"")

    def test_errors_are_coloured_on_a_terminal(self):
        self.assertTrue(
            self.on_terminal("send", self.refused()).startswith(b"\033[1;31mriposte:\033[0m tcp"))

    def test_no_color_is_honoured(self):
        shown = self.on_terminal("send", self.refused(), env={"NO_COLOR": "1"})
        self.assertTrue(shown.startswith(b"riposte: tcp"), shown)

    def test_color_never_is_plain(self):
        shown = self.on_terminal("send", "--color", "never", self.refused())
        self.assertTrue(shown.startswith(b"riposte: tcp"), shown)

    def test_color_always_colours_a_pipe(self):
        done = riposte("send", "--color", "always", self.refused(), env={"NO_COLOR": "1"})
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith(b"\033[1;31mriposte:\033[0m tcp"), done.stderr)


if __name__ == "__main__":
    unittest.main()
