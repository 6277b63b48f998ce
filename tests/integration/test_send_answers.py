"""`riposte send` in scripts: where the answer ends (--first, --until) and what it must be (--expect).

The faults come first: servers that close, reset, stay silent or talk on before the client has what it waits
for. The client's whole output is compared: standard output byte for byte, standard error line by line.
"""

import re
import resource
import socket
import subprocess
import threading
import unittest

from client import SANITIZER
from patience import WAIT as SECONDS_MAX
from peers import reset
from send_case import Case, answering, receive_all, riposte

NEVER = "300s"  # longer than any test may last: the client must not wait for it


class Faults(Case):
    """What the client waits for does not come over TCP."""

    def held(self, *pieces):
        """A server that sends the pieces and then neither sends nor closes."""
        done = threading.Event()

        def serve(connection):
            receive_all(connection)
            for piece in pieces:
                connection.sendall(piece)
            done.wait(SECONDS_MAX)

        return self.tcp_until(done, serve)

    def test_a_server_that_closes_before_the_match_fails_the_check(self):
        for option, line in [
            (("--expect", "PONG"), 'expected "PONG", got 6 bytes: "-ERR\\r\\n"'),
            (("--expect", "/^[+]PONG/"), 'expected /^[+]PONG/, got 6 bytes: "-ERR\\r\\n"'),
            (("--until", "PONG"), 'closed before "PONG" came; got 6 bytes: "-ERR\\r\\n"'),
            (("--until", "7"), 'closed before 7 bytes came; got 6 bytes: "-ERR\\r\\n"'),
            (("--first", "--expect", "PONG"), 'expected "PONG", got 6 bytes: "-ERR\\r\\n"'),
            (("--until", "\\n", "--expect", "PONG"), 'expected "PONG", got 6 bytes: "-ERR\\r\\n"'),
        ]:
            with self.subTest(option=option):
                endpoint = self.tcp(answering(b"-ERR\r\n"))
                self.check(riposte("send", *option, endpoint, "PING"), 1, b"-ERR\r\n",
                           f"riposte: {endpoint}: {line}\n")

    def test_a_server_that_closes_without_an_answer_fails_the_check(self):
        for option in (("--first",), ("--until", "x"), ("--expect", "x"), ("--expect", "/^/")):
            with self.subTest(option=option):
                endpoint = self.tcp(receive_all)
                self.check(
                    riposte("send", *option, endpoint), 1, b"",
                    f"riposte: {endpoint}: closed without an answer; is it the service that you meant?\n")

    def test_a_server_that_stops_before_the_match_times_out(self):
        for option, line in [
            (("--expect", "x"), 'the answer stalled for 300ms; expected "x", got 2 bytes: "ab"; -W waits longer'),
            (("--until", "x"), 'the answer stalled for 300ms before "x" came; got 2 bytes: "ab"; -W waits longer'),
            (("--until", "3"), 'the answer stalled for 300ms before 3 bytes came; got 2 bytes: "ab"; '
                               '-W waits longer'),
        ]:
            with self.subTest(option=option):
                endpoint = self.held(b"ab")
                self.check(riposte("send", "-W", "300ms", *option, endpoint), 1, b"ab",
                           f"riposte: {endpoint}: {line}\n")

    def test_a_reset_before_the_match_fails_the_check(self):
        def serve(connection):
            connection.recv(1024)
            connection.send(b"ab")
            connection.recv(1024)  # to the end, so that the answer has left before the reset
            reset(connection)

        for option, line in [
            (("--expect", "x"), 'connection reset by peer; expected "x", got 2 bytes: "ab"'),
            (("--until", "x"), 'connection reset by peer before "x" came; got 2 bytes: "ab"'),
        ]:
            with self.subTest(option=option):
                endpoint = self.tcp(serve)
                self.check(
                    riposte("send", *option, endpoint, "m"), 1, b"ab",
                    f"riposte: {endpoint}: {line}; the message may have been longer than the peer reads\n")

    def test_output_that_cannot_be_written_is_a_local_error_whatever_is_expected(self):
        with open("/dev/full", "wb") as full:
            done = riposte("send", "--expect", "x", self.tcp(answering(b"x")), stdout=full)
        self.check(done, 2, None, "riposte: standard output: no space left on device\n")


def limit_memory():
    resource.setrlimit(resource.RLIMIT_DATA, (64 << 20, 64 << 20))


@unittest.skipIf(SANITIZER != "none", "a sanitizer's own memory has no such bound")
class Memory(Case):
    """Answers of many megabytes, with 64 MB for the client."""

    def test_a_long_answer_without_the_match_takes_bounded_memory(self):
        chunk = bytes(range(256)) * 4096

        def serve(connection):
            receive_all(connection)
            for _ in range(100):
                connection.sendall(chunk)

        for option in (("--expect", "absent"), ("--until", "absent"), ("--until", "1GiB", "--expect", "absent")):
            with self.subTest(option=option):
                endpoint = self.tcp(serve)
                done = riposte("send", *option, endpoint, stdout=subprocess.DEVNULL, preexec_fn=limit_memory)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr.decode(), r"104857600 bytes: \"\\x00\\x01\\x02.*\"\.\.\.\n$")

    def test_a_long_answer_without_the_regex_takes_bounded_memory(self):
        line = b"HTTP/1.1 200 fine\r\n" * 4096

        def serve(connection):
            receive_all(connection)
            for _ in range(200):
                connection.sendall(line)

        endpoint = self.tcp(serve)
        done = riposte("send", "--expect", "/^HTTP.*absent$/", endpoint, stdout=subprocess.DEVNULL, preexec_fn=limit_memory)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"got {200 * len(line)} bytes", done.stderr.decode())


class Ends(Case):
    """What the client waits for comes over TCP: it waits for nothing else."""

    def talking(self, *pieces, after=lambda connection: None):
        """A server that sends each piece by itself, when the client is known to have read the one before, and then
        neither sends nor closes."""
        done = threading.Event()

        def serve(connection):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            receive_all(connection)
            for piece in pieces:
                try:
                    connection.sendall(piece)
                except (BrokenPipeError, ConnectionResetError):
                    break  # the client has what it wants
            after(connection)
            done.wait(SECONDS_MAX)

        return self.tcp_until(done, serve)

    def test_a_server_that_never_closes_does_not_delay_a_check_that_is_met(self):
        for option, stdout in [
            (("--first",), b"220 ready\r\n"),
            (("--until", "\\r\\n"), b"220 ready\r\n"),
            (("--until", "5"), b"220 r"),
            (("--until", "/[a-z]+/"), b"220 ready"),
            (("--expect", "ready"), b"220 ready\r\n"),
            (("--expect", "/^220 /"), b"220 ready\r\n"),
            (("--until", "\\n", "--expect", "/^220 /"), b"220 ready\r\n"),
        ]:
            with self.subTest(option=option):
                endpoint = self.talking(b"220 ready\r\n")
                self.check(riposte("send", "-W", NEVER, *option, endpoint, ""), 0, stdout)

    def test_a_match_that_comes_in_single_bytes_is_seen(self):
        answer = b"220-a\r\n220 b\r\n"
        for option in (("--until", "220 b\\r\\n"), ("--until", "14"), ("--until", "/^220 .*\\r\\n/")):
            with self.subTest(option=option):
                endpoint = self.talking(*(bytes([each]) for each in answer))
                self.check(riposte("send", "-W", NEVER, *option, endpoint), 0, answer)
        endpoint = self.talking(*(bytes([each]) for each in answer))
        self.check(riposte("send", "-W", NEVER, "--expect", "220 b\\r\\n", endpoint), 0, answer)

    def test_nothing_behind_the_end_is_printed(self):
        endpoint = self.talking(b"one\ntwo\nthree\n")
        self.check(riposte("send", "-W", NEVER, "--until", "\\n", endpoint), 0, b"one\n")

    def test_nothing_behind_the_end_meets_the_check(self):
        endpoint = self.talking(b"-ERR\nOK\n")
        self.check(riposte("send", "-W", NEVER, "--until", "\\n", "--expect", "OK", endpoint), 1, b"-ERR\n",
                   f'riposte: {endpoint}: expected "OK", got 5 bytes: "-ERR\\n"\n')

    def test_nul_bytes_are_bytes(self):
        answer = b"\0a\0\0OK\0rest"
        for option, stdout in [
            (("--until", "\\0\\0"), b"\0a\0\0"),
            (("--until", "/OK/"), b"\0a\0\0OK"),
            (("--until", "7"), b"\0a\0\0OK\0"),
            (("--expect", "OK\\0"), answer),
            (("--expect", "/OK/"), answer),
        ]:
            with self.subTest(option=option):
                endpoint = self.talking(answer)
                self.check(riposte("send", "-W", NEVER, *option, endpoint), 0, stdout)
        endpoint = self.tcp(answering(answer))
        self.check(riposte("send", "--expect", "no", endpoint), 1, answer,
                   f'riposte: {endpoint}: expected "no", got 11 bytes: "\\x00a\\x00\\x00OK\\x00rest"\n')

    def test_a_reset_after_the_match_is_no_failure(self):
        for option in (("--until", "OK"), ("--expect", "OK"), ("--first",)):
            with self.subTest(option=option):
                self.check(riposte("send", "-W", NEVER, *option, self.talking(b"OK", after=reset)), 0, b"OK")

    def test_an_unread_message_does_not_delay_the_end(self):
        # The server takes nothing of the message, which is longer than all buffers.
        done = threading.Event()

        def serve(connection):
            connection.sendall(b"busy\n")
            done.wait(SECONDS_MAX)

        endpoint = self.tcp_until(done, serve)
        self.check(riposte("send", "-W", NEVER, "--until", "\\n", endpoint, "-", input=bytes(32 << 20)),
                   0, b"busy\n")

    def test_a_message_from_standard_input_is_sent_whole_first(self):
        message = bytes(range(256)) * 1024
        endpoint = self.tcp(lambda c: c.sendall(b"%d" % len(receive_all(c))))
        self.check(riposte("send", "--expect", "/^262144$/", endpoint, "-", input=message), 0, b"262144")

    def test_the_end_of_the_answer_is_the_end_of_a_line(self):
        self.check(riposte("send", "--expect", "/^OK$/", self.tcp(answering(b"OK"))), 0, b"OK")
        endpoint = self.tcp(answering(b"OKAY"))
        self.check(riposte("send", "--expect", "/^OK$/", endpoint), 1, b"OKAY",
                   f'riposte: {endpoint}: expected /^OK$/, got 4 bytes: "OKAY"\n')

    def test_q_prints_nothing_but_errors(self):
        self.check(riposte("send", "-q", self.tcp(answering(b"OK"))), 0, b"")
        self.check(riposte("send", "-q", "--expect", "OK", self.talking(b"OK")), 0, b"")
        endpoint = self.tcp(answering(b"no"))
        self.check(riposte("send", "-q", "--expect", "OK", endpoint), 1, b"",
                   f'riposte: {endpoint}: expected "OK", got 2 bytes: "no"\n')


class Datagrams(Case):
    def answering(self, *answers):
        """Replies to the first datagram with these, and stays."""
        def serve(server):
            _, client = server.recvfrom(1 << 16)
            for answer in answers:
                server.sendto(answer, client)

        return self.udp(serve)

    def test_a_lost_datagram_times_out(self):
        for option in (("--first",), ("--until", "x"), ("--expect", "x")):
            with self.subTest(option=option):
                endpoint = self.endpoint(self.socket(socket.SOCK_DGRAM), "udp")
                self.check(riposte("send", "-W", "300ms", *option, endpoint), 1, b"",
                           f"riposte: {endpoint}: no answer after 300ms; is riposted running there? "
                           "-W waits longer\n")

    def test_a_lost_second_datagram_times_out(self):
        for option, line in [
            (("--until", "2"), 'before 2 bytes came; got 1 byte: "a"'),
            (("--until", "b"), 'before "b" came; got 1 byte: "a"'),
        ]:
            with self.subTest(option=option):
                endpoint = self.answering(b"a")
                self.check(riposte("send", "-W", "300ms", *option, endpoint), 1, b"a",
                           f"riposte: {endpoint}: the answer stalled for 300ms {line}; -W waits longer\n")
        endpoint = self.answering(b"a")
        self.check(riposte("send", "-W", "300ms", "--expect", "b", endpoint), 1, b"a",
                   f'riposte: {endpoint}: the answer stalled for 300ms; expected "b", got 1 byte: "a"; '
                   "-W waits longer\n")

    def test_the_first_datagram_is_the_answer_if_nothing_else_is_said(self):
        self.check(riposte("send", "-W", NEVER, self.answering(b"one", b"two")), 0, b"one")
        self.check(riposte("send", "-W", NEVER, "--first", self.answering(b"one", b"two")), 0, b"one")
        endpoint = self.answering(b"one", b"two")
        self.check(riposte("send", "-W", NEVER, "--first", "--expect", "two", endpoint), 1, b"one",
                   f'riposte: {endpoint}: expected "two", got 3 bytes: "one"\n')

    def test_an_answer_may_be_several_datagrams(self):
        for option, stdout in [
            (("--until", "5"), b"onetw"),
            (("--until", "etw"), b"onetw"),
            (("--expect", "two"), b"onetwo"),
            (("--expect", "/^onet/"), b"onetwo"),
            (("--expect", "/two$/"), b"onetwo"),
        ]:
            with self.subTest(option=option):
                endpoint = self.answering(b"one", b"", b"two", b"three")
                self.check(riposte("send", "-W", NEVER, *option, endpoint), 0, stdout)

    def test_an_empty_datagram_is_not_what_is_expected(self):
        endpoint = self.answering(b"")
        self.check(riposte("send", "-W", NEVER, "--first", "--expect", "x", endpoint), 1, b"",
                   f'riposte: {endpoint}: expected "x", got 0 bytes: ""\n')

    def test_v_prints_the_times_of_a_failure_too(self):
        endpoint = self.answering(b"one")
        done = riposte("send", "-v", "--first", "--expect", "two", endpoint)
        self.assertEqual((done.returncode, done.stdout), (1, b"one"))
        self.assertRegex(
            done.stderr.decode(),
            r"\ntimes: lookup \d+\.\d+ ms, first byte \d+\.\d+ ms, whole \d+\.\d+ ms\n"
            rf'riposte: {re.escape(endpoint)}: expected "two", got 3 bytes: "one"\n$')


class Usage(Case):
    def test_usage_errors(self):
        for arguments, message in [
            (("--first", "--until", "x"),
             "--first and --until exclude each other; each says where the answer ends"),
            (("--until", "0"), "--until: must be at least 1 byte; /0/ is the text"),
            (("--until", "10k"), "--until: '10k' has the unknown unit 'k'; the units are B, KiB, MiB or GiB; "
                                 "/10k/ is the text"),
            (("--until", ""), "--until: the TEXT is empty; write what the answer has, like OK or /^2[0-9]/"),
            (("--expect", "/(/"), "--expect: '/(/': Unmatched ( or \\(; see regex(7), and write \\/(/ if it is "
                                  "a TEXT"),
            (("--expect", "a\\q"), "--expect: 'a\\\\q', column 2: unknown escape '\\q'; write \\n, \\r, \\t, \\0, "
                                   "\\x1b, or \\\\ for a backslash"),
        ]:
            with self.subTest(arguments=arguments):
                self.check(riposte("send", *arguments, "127.0.0.1"), 2, b"", f"riposte: {message}\n")
