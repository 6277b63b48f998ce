"""What all commands have in common: help, version, -q, endpoints by name, and a standard output that is closed."""

import os
import signal
import socket
import subprocess
import unittest

from client import environment, run
from load_case import LoadCase
from patience import WAIT

RIPOSTE = os.environ["RIPOSTE"]
RIPOSTED = os.environ["RIPOSTED"]
COMMANDS = ("send", "ping", "load", "status")
VERSION = "riposte 0.2.0\n"


class Words(unittest.TestCase):
    def test_version(self):
        for arguments in (["version"], ["-V"], ["--version"],
                          *([command, "-V"] for command in (*COMMANDS, "help", "version"))):
            with self.subTest(arguments=arguments):
                done = run(*arguments)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, VERSION, ""))

    def test_the_daemon_prints_its_version_too(self):
        long, short = (subprocess.run([RIPOSTED, option], capture_output=True, text=True, timeout=WAIT, check=False)
                       for option in ("--version", "-V"))
        self.assertEqual((short.returncode, short.stdout, short.stderr), (0, long.stdout, ""))
        self.assertTrue(long.stdout.startswith("riposted 0.2.0"))

    def test_help_of_each_command_is_its_help_option_and_80_columns_wide(self):
        for command in ((), *((each,) for each in COMMANDS)):
            with self.subTest(command=command):
                done = run("help", *command)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertEqual(done.stdout, run(*command, "--help").stdout)
                self.assertTrue(done.stdout.startswith("Usage: riposte "))
                self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80)
                self.assertTrue(done.stdout.isascii())

    def test_help_of_an_unknown_command_names_the_nearest(self):
        done = run("help", "pnig")
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (2, "", "riposte: help: unknown command 'pnig'; did you mean ping?\n"))

    def test_an_endpoint_without_a_command_gets_a_hint(self):
        done = run("127.0.0.1", "7007")
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (2, "", "riposte: unknown command '127.0.0.1'; did you mean 'riposte send "
                                 "127.0.0.1:7007'?\n"))


class Names(unittest.TestCase):
    """Names of services for ports."""

    def test_a_name_is_the_port_that_the_service_has(self):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(server.close)
        try:
            server.bind(("127.9.0.78", 7))  # an address of loopback that nothing else uses
        except PermissionError:
            self.skipTest("ports below 1024 are not permitted here")
        child = subprocess.Popen([RIPOSTE, "send", "-u", "127.9.0.78:echo", "x"], stdout=subprocess.PIPE,
                                 stdin=subprocess.DEVNULL, env=environment())
        with child:
            server.settimeout(WAIT)
            message, peer = server.recvfrom(100)
            server.sendto(message, peer)
            self.assertEqual((child.communicate(timeout=WAIT)[0], child.returncode), (b"x", 0))

    def test_a_port_alone_is_on_this_host(self):
        # Nothing listens there, unless a daemon runs on this machine; the name of the endpoint shows what was meant.
        done = run("ping", "-c", 1, "-W", "1s", ":hello")
        self.assertIn("tcp://localhost:7001", done.stdout + done.stderr)

    def test_the_names_of_riposted_s_services_are_known_without_a_file(self):
        # In a mount namespace of its own, with an empty /etc.
        enter = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /etc && exec "$@"', "sh"]
        probe = subprocess.run([*enter, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT,
                               check=False)
        if probe.returncode != 0:
            self.skipTest("no mount namespace is available")
        for name, port in {"echo": 7, "discard": 9, "daytime": 13, "chargen": 19, "time": 37, "stamp": 862,
                           "hello": 7001}.items():
            done = subprocess.run([*enter, RIPOSTE, "send", "-W", "1s", f"127.9.0.79:{name}"],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT, check=False)
            self.assertRegex(done.stderr, rf"^riposte: tcp://127\.9\.0\.79:{port}: connection refused")


class Quiet(LoadCase):
    def test_load_prints_one_line(self):
        done = run("load", "-q", "-n", 100, "-c", 2, self.echo())
        self.assertEqual((done.returncode, done.stderr), (0, ""), str(done))
        lines = [line for line in done.stdout.splitlines() if not line.startswith(("note: ", " "))]
        self.assertEqual(len(lines), 1, done.stdout)
        self.assertRegex(lines[0], r"^tcp://127\.0\.0\.1:\d+: \S+ s: \d+\.\d requests/s, median/p99/max \S+ ms, "
                                   r"no errors$")

    def test_load_without_an_answer_says_why(self):
        done = run("load", "-q", "-n", 10, "-W", "300ms", "-u", self.hole())
        self.assertEqual((done.returncode, done.stdout), (1, ""), str(done))
        self.assertRegex(done.stderr, r"no answer after 300ms")


class ClosedOutput(LoadCase):
    """`riposte ... | head -1`: the end of the reader ends the command, by SIGPIPE and without a message."""

    def piped(self, *arguments):
        """A client whose standard output is a pipe; returns it and our end."""
        reader, writer = os.pipe()
        child = subprocess.Popen([RIPOSTE, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=writer,
                                 stderr=subprocess.PIPE, env=environment(), text=True)
        os.close(writer)
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.wait, WAIT)
        self.addCleanup(child.kill)
        return child, reader

    def assert_ended_by_sigpipe(self, child):
        self.assertEqual(child.wait(WAIT), -signal.SIGPIPE)
        self.assertEqual(child.stderr.read(), "")

    def test_words(self):
        for arguments in (("help",), ("version",), *(("help", command) for command in COMMANDS)):
            with self.subTest(arguments=arguments):
                child, reader = self.piped(*arguments)
                os.close(reader)
                # It may have written before that: then it has ended well.
                self.assertIn(child.wait(WAIT), (0, -signal.SIGPIPE))
                self.assertEqual(child.stderr.read(), "")

    def test_ping_ends_with_the_reader_of_its_lines(self):
        child, reader = self.piped("ping", "-i", "10ms", self.echo())
        self.assertTrue(os.read(reader, 1).startswith(b"P"))
        os.close(reader)
        self.assert_ended_by_sigpipe(child)

    def test_load_ends_with_the_reader_of_its_summary(self):
        for quiet in ((), ("-q",)):
            with self.subTest(quiet=quiet):
                child, reader = self.piped("load", "-n", 1000, *quiet, self.echo())
                if not quiet:
                    self.assertTrue(os.read(reader, 1).startswith(b"L"))
                os.close(reader)
                self.assert_ended_by_sigpipe(child)

    def test_a_client_that_ignores_sigpipe_reports_an_error(self):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as broken:
            done = subprocess.run([RIPOSTE, "ping", "-c", "1", self.echo()], stdin=subprocess.DEVNULL, stdout=broken,
                                  stderr=subprocess.PIPE, text=True, timeout=WAIT, check=False, restore_signals=False,
                                  preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN), env=environment())
        self.assertEqual((done.returncode, done.stderr), (2, "riposte: standard output: broken pipe\n"))


if __name__ == "__main__":
    unittest.main()
