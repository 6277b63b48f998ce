"""The output of `riposte load`: the summary, the live line on a terminal, charts, files and colours."""

import fcntl
import os
import pty
import re
import shutil
import struct
import tempfile
import termios
import threading
import unittest
import xml.etree.ElementTree

from client import Running, run
from load_case import LoadCase, Requests, after_first

ERASE = "\r\x1b[K"
SVG = "{http://www.w3.org/2000/svg}"


class Terminal:
    """A pseudo-terminal that records what was written to it. It passes that on with some delay: a mark at the
    end shows that everything is there."""

    MARK = b"\x1e"

    def __init__(self, columns=100):
        self.inner, self.outer = pty.openpty()
        fcntl.ioctl(self.outer, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.written = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while not self.written.endswith(self.MARK):
            self.written += os.read(self.inner, 1 << 16)

    def close(self):
        """Everything that was written, as text."""
        os.write(self.outer, self.MARK)
        self._thread.join(30)
        os.close(self.inner)
        os.close(self.outer)
        return self.written.removesuffix(self.MARK).decode()


class Case(LoadCase):
    def path(self, name):
        directory = tempfile.mkdtemp(prefix="riposte-")
        self.addCleanup(shutil.rmtree, directory)
        return os.path.join(directory, name)

    def on_terminal(self, *arguments, env=None, columns=100):
        """A run whose standard error is a terminal: its result, and what was written there."""
        terminal = Terminal(columns)
        with Running("load", *arguments, stderr=terminal.outer,
                     env={"TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})}) as process:
            done = process.finish()
        return done, terminal.close()


class LiveLine(Case):
    def lines(self, written):
        """The successive contents of the live line."""
        self.assertTrue(written.startswith(ERASE), repr(written))
        return written.split(ERASE)[1:]

    def drawn(self, *arguments, **keywords):
        """A run of 600 ms: its result and its lines; repeated with more time if it drew none on a busy machine."""
        for factor in (1, 4, 16):
            done, written = self.on_terminal(
                "-d", f"{600 * factor}ms", "--warmup", 0, *arguments, self.echo(), **keywords)
            if written.count(ERASE) > 1:
                break
        return done, written

    def test_it_is_redrawn_in_place_and_erased_at_the_end(self):
        # The run, with its warm-up, is longer than the time between two lines.
        for factor in (1, 4, 16):
            done, written = self.on_terminal(
                "-d", f"{2 * factor}s", "--warmup", f"{factor}s", self.echo())
            *lines, last = self.lines(written)
            measured = [line for line in lines if "warming up" not in line]
            if len(measured) < len(lines) and any("p99" in line for line in measured):
                break
        self.assertEqual(done.returncode, 0, str(done))
        self.assertEqual(last, "", "it is erased")
        self.assertGreaterEqual(len(lines), 2)
        self.assertNotIn("\n", written)
        for line in lines:
            self.assertRegex(line, r"^[━┄]+  (warming up  )? *[\d.]+( [kM])?/s")
            self.assertLessEqual(len(line), 100)
            self.assertRegex(line, r"\d s left$")
        self.assertTrue(any("warming up" in line for line in lines))
        self.assertTrue(any(re.search(r"p99 +[\d.]+ (ns|us|ms|s)", line) for line in measured), lines)
        self.assertIn("load statistics", done.stdout)
        self.assertNotIn("\x1b", done.stdout)

    def test_it_fits_the_terminal(self):
        for columns in (20, 40, 60):
            with self.subTest(columns=columns):
                _, written = self.drawn(columns=columns)
                for line in self.lines(written):
                    self.assertLessEqual(len(line), columns)

    def test_it_is_ascii_where_the_locale_is(self):
        _, written = self.drawn(env={"LC_ALL": "C"})
        self.assertTrue(written.isascii())
        self.assertRegex(self.lines(written)[0], r"^\[[= ]+\]  ")

    def test_with_json_it_is_shown_too_and_standard_output_is_only_the_document(self):
        done, written = self.drawn("-j")
        self.lines(written)
        self.assertEqual((done.stdout[0], done.stdout[-2:], done.stdout.count("\n")), ("{", "}\n", 1))

    def test_without_a_terminal_there_is_none(self):
        self.load_for(600, "--warmup", 0, self.echo(), env={"TERM": "xterm"})  # checks that standard error is empty

    def test_a_dumb_terminal_has_none(self):
        _, written = self.on_terminal("-d", "600ms", "--warmup", 0, self.echo(), env={"TERM": "dumb"})
        self.assertEqual(written, "")

    def test_requested_lines_and_messages_do_not_mix_with_it(self):
        # The live line is erased before other output is written to the terminal.
        done, written = self.drawn("--fail-if", "answered>0")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(written, r"\r\x1b\[K(\x1b\[[\d;]*m)*riposte:(\x1b\[[\d;]*m)* [^\r]*answered is \d+")


class Summary(Case):
    def test_every_figure_has_its_line(self):
        endpoint = self.echo()
        text = self.text("-n", 100, "-c", 2, endpoint)
        for pattern in (rf"^--- {re.escape(endpoint)} load statistics ---$",
                        r"^requests +100 sent, 100 answered, 0 lost$",
                        r"^rate +\d+\.\d requests/s$",
                        r"^payload +\S+ \S+B/s sent, \S+ \S+B/s received$",
                        r"^generator +CPU \d+% of one core",
                        r"^no errors$"):
            self.assertRegex(text, re.compile(pattern, re.M))
        for line in text.splitlines():
            self.assertLessEqual(len(line), 80, line)
        self.assertNotIn("\x1b", text)

    def test_the_summary_of_datagrams_has_its_own_lines(self):
        text = self.text("-n", 100, "-c", 2, self.echo("udp"))
        self.assertRegex(text, re.compile(r"^datagrams +0% loss$", re.M))

    def test_colour_is_used_only_on_request(self):
        endpoint = self.echo()
        self.assertIn("\x1b[", self.text("-n", 10, "--color", "always", endpoint))
        for arguments, env in (((), {}), (("--color", "never"), {}),
                               ((), {"NO_COLOR": "1"}), (("--color", "auto"), {})):
            self.assertNotIn("\x1b", self.text("-n", 10, *arguments, endpoint, env=env))

    def test_no_color_is_honoured_on_a_terminal(self):
        endpoint = self.echo()
        for env, colored in (({}, True), ({"NO_COLOR": "1"}, False)):
            terminal = Terminal()
            with Running("load", "-n", "10", endpoint, stdout=terminal.outer,
                         env={"TERM": "xterm", "LC_ALL": "C.UTF-8", **env}) as process:
                self.assertEqual(process.finish().returncode, 0)
            written = terminal.close()
            self.assertIn("load statistics", written)
            self.assertEqual("\x1b[" in written, colored)

    def test_a_full_standard_output_is_reported(self):
        with open("/dev/full", "wb") as full:
            done = run("load", "-n", 10, self.echo(), stdout=full)
        self.assertEqual((done.returncode, done.stderr),
                         (2, "riposte: standard output: no space left on device\n"))


class Pictures(Case):
    def test_a_histogram_fits_the_terminal(self):
        text = self.text("-n", 500, "--histogram", self.echo(), env={"COLUMNS": "60"})
        chart = text.rpartition("\n\n")[2].splitlines()
        self.assertGreater(len(chart), 2)
        for line in chart:
            self.assertLessEqual(len(line), 60)
        for mark in ("p50", "p99"):
            self.assertIn(mark, "\n".join(chart))

    def test_a_plot_is_well_formed_and_names_its_units(self):
        path = self.path("load.svg")
        endpoint = self.echo()
        self.text("-n", 500, "--plot", path, endpoint)
        with open(path, encoding="utf-8") as file:
            svg = file.read()
        root = xml.etree.ElementTree.fromstring(svg)
        self.assertEqual(root.tag, SVG + "svg")
        words = " ".join(text for element in root.iter(SVG + "text") for text in element.itertext())
        self.assertIn(endpoint, words)
        self.assertRegex(words, r"\((ns|us|µs|ms|s)\)|\d (us|µs|ms|s)\b")
        self.assertIn("prefers-color-scheme", svg)
        self.assertNotRegex(svg, r"(href|src|url)\s*[=(]\s*[\"']?(https?:|//)")
        self.assertNotIn("<script", svg)

    def test_a_plot_of_a_run_in_which_requests_failed(self):
        path = self.path("load.svg")

        def answer(connection, request, index):
            connection.sendall(request)
            return index % 10 != 9

        endpoint = self.tcp(after_first(Requests(64, answer)))
        done = run("load", "-n", 100, "-c", 1, "--depth", 2, "--plot", path, endpoint)
        self.assertIn(done.returncode, (0, 1))
        self.assertEqual(xml.etree.ElementTree.parse(path).getroot().tag, SVG + "svg")

    def test_the_table_of_the_distribution_counts_every_reply(self):
        path = self.path("load.hgrm")
        self.text("-n", 500, "--hist", path, self.echo())
        with open(path, encoding="ascii") as file:
            text = file.read()
        rows = re.findall(r"^ *([\d.]+) +([\d.]+) +(\d+) +([\d.]+|inf)? *$", text, re.M)
        self.assertGreater(len(rows), 1)
        self.assertEqual(int(rows[-1][2]), 500)
        self.assertEqual([float(row[0]) for row in rows], sorted(float(row[0]) for row in rows))
        self.assertRegex(text, r"Total count *= *500")

    def test_with_json_the_files_are_written_too(self):
        plot, table = self.path("load.svg"), self.path("load.hgrm")
        self.load("-n", 50, "--plot", plot, "--hist", table, self.echo())
        for path in (plot, table):
            self.assertGreater(os.path.getsize(path), 100)

    def test_an_unwritable_file_stops_it_before_anything_is_sent(self):
        seen = []
        endpoint = self.tcp(seen.append)
        for option in ("--plot", "--hist"):
            line = self.refuses("-n", 10, option, "/nonexistent/load", endpoint, code=2)
            self.assertEqual(line, "riposte: /nonexistent/load: no such file or directory\n")
        self.assertEqual(seen, [])


if __name__ == "__main__":
    unittest.main()
