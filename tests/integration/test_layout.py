"""The layout of the client's text: no wider than the terminal, and only the table where that is requested."""

import fcntl
import os
import pty
import re
import struct
import termios
import threading

from client import Running, run
from load_case import LoadCase


class Terminal:
    """A pseudo-terminal for standard output; returns what was written once the program has ended."""

    def __init__(self, columns):
        self.inner, self.outer = pty.openpty()
        fcntl.ioctl(self.outer, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.written = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        # EIO: the other side is closed.
        try:
            while data := os.read(self.inner, 1 << 16):
                self.written += data
        except OSError:
            pass

    def close(self):
        os.close(self.outer)
        self._thread.join(30)
        os.close(self.inner)
        return re.sub(r"\x1b\[[0-9;]*m", "", self.written.decode().replace("\r\n", "\n"))


class Layout(LoadCase):
    def shown(self, columns, *arguments):
        """The output of a run on a terminal of that width."""
        terminal = Terminal(columns)
        try:
            with Running(*arguments, stdout=terminal.outer,
                         env={"TERM": "xterm", "LC_ALL": "C.UTF-8"}) as process:
                self.assertEqual(process.finish().returncode, 0)
        finally:
            text = terminal.close()
        return text

    def assert_fits(self, *arguments):
        """Runs on terminals of 40 and 80 columns: no line is wider, and both show each kind of figure. Names
        may be cut; the header has them in full."""
        def kinds(text):
            return set(re.findall(r"[A-Za-z][\w.]*\w", text))

        texts = []
        for columns in (40, 80):
            with self.subTest(columns=columns, arguments=arguments):
                text = self.shown(columns, *arguments)
                for line in text.splitlines():
                    self.assertLessEqual(len(line), columns, text)
                texts.append(text)
        return [kinds(text) for text in texts]

    def test_ping_fits_a_narrow_terminal(self):
        several = [self.echo("udp"), self.echo("tcp"), self.echo("udp")]
        for arguments in ((self.echo("tcp"),), several):
            narrow, wide = self.assert_fits("ping", "-q", "-c", "30", "-i", "1ms", "--histogram", *arguments)
            wanted = {"min", "median", "p95", "p99", "max", "ipdv", "answers"}
            self.assertLessEqual(wanted, wide)
            self.assertLessEqual(wanted, narrow)

    def test_load_fits_a_narrow_terminal(self):
        for arguments in ((self.echo("tcp"),), ("-r", "500", self.echo("udp"))):
            narrow, wide = self.assert_fits("load", "-n", "200", "--warmup", "0", "--histogram", *arguments)
            wanted = {"requests", "sent", "answered", "lost", "rate", "payload", "generator", "errors", "latency",
                      "min", "mean", "median", "p95", "p99", "p99.9", "max", "stddev"}
            self.assertLessEqual(wanted, wide)
            self.assertLessEqual(wanted, narrow)

    def test_quiet_with_several_endpoints_prints_only_their_table(self):
        first, second = self.echo("udp"), self.echo("tcp")
        done = run("ping", "-q", "-c", 3, "-i", "1ms", first, second)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        head, *rows = done.stdout.splitlines()
        self.assertRegex(head, r"^in ms +loss +min ")
        self.assertEqual([row.split()[0] for row in rows], [first, second, "*"])
        # With one endpoint -q prints the summary; without -q everything is printed.
        self.assertIn("ping statistics", run("ping", "-q", "-c", 1, first).stdout)
        self.assertEqual(run("ping", "-c", 1, first, second).stdout.count("ping statistics"), 2)

    def test_a_percentile_of_three_replies_is_not_shown(self):
        done = run("ping", "-q", "-c", 3, "-i", "1ms", self.echo("udp"))
        row = next(line for line in done.stdout.splitlines() if line.startswith("rtt "))
        self.assertEqual(row.split()[4:7], ["-", "-", "-"])
        # --fail-if still judges by nearest rank, here the greatest value.
        done = run("ping", "-q", "-c", 3, "-i", "1ms", "--fail-if", "p99>1us", self.echo("udp"))
        self.assertEqual(done.returncode, 1)
