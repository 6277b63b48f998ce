"""`riposte ping --live` and `riposte load --live` in a real terminal (tmux) of 40, 80 and 200 columns: what it
shows, that it follows resizes, and that the terminal is as it was after every way out. Conditions are waited for;
no test knows how long anything takes.
"""

import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import termios
import unittest

from client import RIPOSTE, environment, run
from patience import RUN
from peers import EveryAddress, TcpPeer, UdpPeer, closed_port, echo_datagram, echo_stream, wait_until
from tmux import PROMPT, Tmux, need_tmux

SUMMARY = r"^--- udp://\S+ ping statistics ---"
READY = "^" + re.escape(PROMPT.strip())


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        need_tmux()

    def echo(self, handler=echo_datagram):
        peer = UdpPeer(handler)
        self.addCleanup(peer.close)
        return peer.endpoint

    def silent(self):
        return self.echo(lambda *_: None)

    def stream_echo(self):
        peer = TcpPeer(echo_stream)
        self.addCleanup(peer.close)
        return peer.endpoint

    def terminal(self, columns=80, lines=24, **env):
        return self.enterContext(Tmux(columns, lines, env))

    def assert_restored(self, terminal, modes):
        terminal.wait_for_state("alternate_on", "0")
        terminal.wait_for_state("cursor_flag", "1")
        terminal.wait_for(READY)
        self.assertEqual(terminal.modes("after"), modes)


class Screen(Case):
    def check_width(self, columns, present, absent):
        terminal = self.terminal(columns)
        terminal.run(f"riposte ping --live -i 50ms -W 300ms {self.echo()} {self.silent()}")
        screen = terminal.wait_for(r"100% .*")
        self.assertEqual(terminal.state("alternate_on"), "1")
        self.assertEqual(terminal.state("cursor_flag"), "0")
        self.assertRegex(screen[0], r"^riposte ping: 2 endpoints, every 50ms")
        for word in present:
            self.assertIn(word, screen[1])
        for word in absent:
            self.assertNotIn(word, screen[1])
        self.assertTrue(all(len(line) <= columns for line in screen), screen)
        self.assertRegex("\n".join(screen), r"(?m)^q quit")
        return terminal

    def test_40_columns_have_loss_median_and_p99(self):
        self.check_width(40, ("10s", "loss", "median", "p99"), ("last",))

    def test_80_columns_have_the_minute_and_errors_below_their_rows(self):
        terminal = self.check_width(80, ("10s", "loss", "last", "median", "p99", "last minute"), ("last error",))
        terminal.wait_for(r"^  \d\d:\d\d:\d\dZ no answer")
        terminal.wait_for(r"0% .*[\u2581-\u2588]")

    def test_200_columns_have_errors_in_their_rows(self):
        terminal = self.check_width(200, ("10s", "last minute"), ())
        terminal.wait_for(r"last error$")
        terminal.wait_for(r"^udp://.*100%.*\d\d:\d\d:\d\dZ no answer$")

    def test_a_locale_without_utf_8_has_ascii(self):
        terminal = self.terminal(80, LC_ALL="C")
        terminal.run(f"riposte ping --live -i 50ms {self.echo()}")
        screen = "\n".join(terminal.wait_for(r"0% .* [_.~=+*#-]+$"))
        self.assertTrue(screen.isascii(), screen)

    def test_it_follows_a_resize(self):
        terminal = self.terminal(80)
        terminal.run(f"riposte ping --live -i 50ms {self.echo()} {self.echo()}")
        terminal.wait_for("last minute")
        terminal.resize(40, 10)
        # The terminal cuts what was drawn before, until it is drawn anew.
        screen = terminal.wait_for(r"\A(?![\s\S]*last minute)(.*\n)+udp:.*\nudp:(.*\n)+q quit")
        self.assertEqual(len([line for line in screen if line.startswith("udp:")]), 2, screen)
        self.assertTrue(screen[-1].startswith("q quit"), screen)
        terminal.resize(200, 30)
        terminal.wait_for("last minute")
        wait_until(lambda: terminal.screen()[-1].startswith("q quit"), "the keys on the last line")

    def test_keys_sort_and_scroll(self):
        terminal = self.terminal(80, 8)
        good = [self.echo() for _ in range(6)]
        bad = self.silent()
        terminal.run(f"riposte ping --live -i 50ms -W 200ms {' '.join(good)} {bad}")
        terminal.wait_for(r"1-4 of 7$")
        terminal.type("l")
        terminal.wait_for(r"\A.*by loss\n.*\n" + re.escape(bad) + " +100%")
        terminal.type("Down")
        terminal.wait_for(r"2-5 of 7$")
        terminal.type("PageDown")
        terminal.wait_for(r"4-7 of 7$")
        terminal.type("PageUp")
        terminal.wait_for(r"1-4 of 7$")
        terminal.type("n")
        terminal.wait_for("by name")


class Thousand(Case):
    def test_endpoints_that_fail_are_on_the_screen_and_it_says_how_many_are_not(self):
        everywhere = EveryAddress()
        self.addCleanup(everywhere.close)
        bad = self.silent()
        terminal = self.terminal(80, 24)
        port = everywhere.endpoint.rpartition(":")[2]
        terminal.run(f"riposte ping --live -i 2s -W 500ms udp://127.0.0.0/22:{port} {bad}")
        screen = terminal.wait_for(r"\Ariposte ping: 1023 endpoints.*by loss\n.*\n" + re.escape(bad) + " +100%")
        self.assertTrue(screen[-1].endswith("1-20 of 1023"), screen)
        self.assertEqual(len([line for line in screen if line.startswith("udp://")]), 20, screen)
        terminal.type("End")
        terminal.wait_for(r"1004-1023 of 1023$")
        terminal.type("q")
        terminal.wait_for(READY)


class OpenPorts(Case):
    def test_connections_alone_have_rows_with_their_refusals(self):
        closed = closed_port(socket.SOCK_STREAM)
        self.addCleanup(closed.close)
        terminal = self.terminal(200)
        terminal.run(f"riposte ping --live --connect -i 50ms {self.stream_echo()} "
                     f"tcp://127.0.0.1:{closed.getsockname()[1]}")
        terminal.wait_for(r"^tcp://.* 0% +0% +\d")
        terminal.wait_for(r"^tcp://.*100%.*\d\d:\d\d:\d\dZ refused by 127\.0\.0\.1$")


class WaysOut(Case):
    def start(self, *arguments):
        terminal = self.terminal()
        modes = terminal.modes("before")
        terminal.run(f"riposte ping --live -i 50ms {' '.join(arguments)} {self.echo()}")
        terminal.wait_for("last minute")
        terminal.wait_for(r" 0% +0% +\d")
        return terminal, modes

    def check(self, end, *arguments):
        terminal, modes = self.start(*arguments)
        end(terminal)
        terminal.wait_for(SUMMARY)
        self.assert_restored(terminal, modes)
        self.assertNotIn("last minute", terminal.history())

    def test_q(self):
        self.check(lambda terminal: terminal.type("q"))

    def test_ctrl_c(self):
        self.check(lambda terminal: terminal.type("C-c"))

    def test_sigterm(self):
        self.check(lambda terminal: os.kill(terminal.pid_of("riposte"), signal.SIGTERM))

    def test_the_end_of_the_count(self):
        self.check(lambda terminal: None, "-c", "40")

    def test_sigquit_draws_it_anew(self):
        terminal, modes = self.start()
        terminal.type("C-\\")
        terminal.type("q")
        terminal.wait_for(SUMMARY)
        self.assert_restored(terminal, modes)

    def test_suspended_and_continued(self):
        terminal, modes = self.start()
        terminal.type("C-z")
        self.assert_restored(terminal, modes)
        terminal.run("fg")
        terminal.wait_for_state("alternate_on", "1")
        terminal.wait_for("last minute")
        terminal.type("q")
        terminal.wait_for(SUMMARY)
        terminal.wait_for_state("alternate_on", "0")

    def test_continued_in_the_background_there_is_no_screen(self):
        terminal, modes = self.start()
        terminal.type("C-z")
        terminal.wait_for_state("alternate_on", "0")
        terminal.run("bg")
        self.assert_restored(terminal, modes)
        terminal.run("fg")
        terminal.wait_for("last minute")
        terminal.type("q")
        terminal.wait_for(SUMMARY)

    def test_stopped_behind_its_back_it_draws_all_again(self):
        terminal, modes = self.start()
        pid = terminal.pid_of("riposte")
        os.kill(pid, signal.SIGSTOP)
        terminal.wait_for("Stopped|stopped|" + READY)
        terminal.run("fg")
        # What the shell wrote into the screen is gone: until then, the terminal's keys may be the shell's.
        terminal.wait_for(r"\Ariposte ping: 1 endpoint(?![\s\S]*topped)")
        terminal.type("q")
        terminal.wait_for(SUMMARY)
        self.assert_restored(terminal, modes)

    def test_faults_and_signals_that_end_it_at_once(self):
        for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGHUP):
            with self.subTest(signal=number.name):
                terminal, modes = self.start()
                os.kill(terminal.pid_of("riposte"), number)
                self.assert_restored(terminal, modes)

    def test_a_second_interrupt_while_it_waits_for_the_last_replies(self):
        terminal = self.terminal()
        modes = terminal.modes("before")
        terminal.run(f"riposte ping --live -i 50ms -c 20 -W 100s {self.silent()}")
        terminal.wait_for("waits for the last replies$")
        terminal.type("q")
        terminal.type("C-c")  # last: the shell would take a q that came too late for a command
        terminal.wait_for(SUMMARY)
        self.assert_restored(terminal, modes)


class NoTerminal(Case):
    def test_a_dumb_terminal_is_an_error_that_says_what_to_do(self):
        terminal = self.terminal()
        for command in ("ping", "load"):
            terminal.run(f"clear; TERM=dumb riposte {command} --live {self.echo()}; echo status $?")
            screen = " ".join(terminal.wait_for("status 2$"))
            self.assertIn("--every 10s", screen)
            self.assertIn("TERM is 'dumb'", screen)

    def test_a_pipe_is_an_error_that_says_what_to_do(self):
        for command in ("ping", "load"):
            done = run(command, "--live", self.echo())
            self.assertEqual((done.returncode, done.stdout), (2, ""), str(done))
            self.assertEqual(done.stderr, "riposte: --live: standard output is no terminal; "
                                          f"'riposte {command} --every 10s' prints a line for each interval "
                                          "instead\n")


class Load(Case):
    def test_rate_and_latency_and_then_the_summary(self):
        for columns in (40, 80, 200):
            with self.subTest(columns=columns):
                terminal = self.terminal(columns)
                modes = terminal.modes("before")
                terminal.run(f"riposte load --live -d 0 -c 2 -r 200 {self.stream_echo()}")
                screen = terminal.wait_for(r"^p99 in the last minute, up to [\d.]+ .?s")
                self.assertRegex(screen[0], "^riposte load: ")
                terminal.wait_for("^answers/s in the last minute, up to ")
                terminal.wait_for("[\u2581-\u2588]$")
                self.assertTrue(all(len(line) <= columns for line in screen), screen)
                terminal.type("q")
                terminal.wait_for_state("alternate_on", "0")
                wait_until(lambda: "load statistics" in terminal.history(), "the summary")  # noqa: B023
                self.assert_restored(terminal, modes)


    def test_the_last_error_has_its_time(self):
        answers = iter(range(20))

        def handler(server, data, client):
            if next(answers, None) is not None:
                echo_datagram(server, data, client)

        terminal = self.terminal(80)
        terminal.run(f"riposte load --live -d 0 -c 1 -r 50 -W 300ms {self.echo(handler)}")
        terminal.wait_for(r"\d+ lost, last \d\d:\d\d:\d\dZ no answer")
        terminal.type("q")
        terminal.wait_for("load statistics")


class Stalled(Case):
    def test_a_terminal_that_takes_nothing_holds_back_no_probe(self):
        seen = []

        def handler(server, data, address):
            seen.append(data)
            server.sendto(data, address)

        endpoint = self.echo(handler)
        pid, terminal = pty.fork()
        if pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 1000, 0, 0))
            os.execve(RIPOSTE, [RIPOSTE, "ping", "--live", "-i", "20ms", endpoint],
                      environment({"TERM": "xterm", "LC_ALL": "C.UTF-8"}))
        ended = []
        self.addCleanup(lambda: ended or (os.kill(pid, signal.SIGKILL), os.waitpid(pid, 0)))
        self.addCleanup(os.close, terminal)
        wait_until(lambda: select.select([terminal], [], [], 0.01)[0], "the first frame")
        # Each resize draws a whole frame. Nothing is read: long before the end no more of them fit.
        for number in range(100):
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 1000 - number % 2, 0, 0))
            before = len(seen)
            wait_until(lambda: len(seen) > before, "a further probe")  # noqa: B023
        os.write(terminal, b"q")
        output = b""
        while True:
            try:
                output += os.read(terminal, 65536)
            except OSError:  # EIO: it has ended
                break
        ended.append(os.waitpid(pid, 0))
        self.assertEqual(os.waitstatus_to_exitcode(ended[0][1]), 0, output[-2000:])
        self.assertIn(b"ping statistics", output[output.rindex(b"\033[?1049l"):])
