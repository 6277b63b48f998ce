"""The completions of bash, zsh and fish against the output of --help, in the shells themselves.

The tests ask each shell what it offers for a line up to the cursor: bash by calling the function with
the words as readline splits them, zsh by a widget in a terminal of its own that records what is added,
fish by `complete -C`. Tests of a shell that is not installed are skipped, with the reason.
"""

import atexit
import fcntl
import functools
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from patience import RUN as SECONDS_MAX

RIPOSTE = os.environ["RIPOSTE"]
RIPOSTED = os.environ["RIPOSTED"]
COMPLETIONS = pathlib.Path(__file__).resolve().parents[2] / "packaging" / "completions"
BASH_COMPLETION = pathlib.Path("/usr/share/bash-completion/bash_completion")


#: The commands that do something, and those that only say something.
WORKING = ("send", "ping", "load", "probe", "status")
TELLING = ("help", "version")


def help_of(*command):
    done = subprocess.run(
        [*command, "--help"], stdout=subprocess.PIPE, check=True, timeout=SECONDS_MAX)
    return done.stdout.decode()


def options_of(*command):
    """Every spelling of every option: from lines that are indented by two or six, up to two blanks."""
    lines = re.findall(r"^ {2}(?: {4})?(-\S.*)$", help_of(*command), re.MULTILINE)
    words = " ".join(line.partition("  ")[0] for line in lines)
    return set(re.findall(r"(?:^|(?<= ))--?[A-Za-z0-9][\w-]*", words))


def commands_of_help():
    section = help_of(RIPOSTE).partition("Commands:\n")[2].partition("\n\n")[0]
    return set(re.findall(r"^  (\w+) ", section, re.MULTILINE))


class Terminal:
    """A program in a terminal of its own; its output is recorded."""

    def __init__(self, arguments, directory):
        self.process, self.descriptor = pty.fork()
        if self.process == 0:
            os.chdir(directory)
            environment = {**os.environ, "TERM": "dumb", "HOME": str(directory), "PS1": ""}
            os.execvpe(arguments[0], arguments, environment)
        self.output = b""

    def type(self, text):
        os.write(self.descriptor, text.encode())

    def wait(self, what, is_there):
        deadline = time.monotonic() + SECONDS_MAX
        while not is_there():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come; the terminal: {self.output!r}")
            if select.select([self.descriptor], [], [], 0.02)[0]:
                try:
                    self.output += os.read(self.descriptor, 65536)
                except OSError as error:  # EIO: it has ended
                    raise AssertionError(f"it ended; the terminal: {self.output!r}") from error

    def close(self):
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.descriptor)


class Base(unittest.TestCase):
    maxDiff = None
    shell = ""

    def setUp(self):
        if shutil.which(self.shell) is None:
            self.skipTest(f"{self.shell} is not installed")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        (self.directory / "figures.hgrm").touch()

    def run_shell(self, *arguments):
        done = subprocess.run(
            [self.shell, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, cwd=self.directory, timeout=SECONDS_MAX,
            env={**os.environ, "HOME": str(self.directory)})
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout.decode()

    def complete(self, line):
        """The words that the shell offers in place of the last word of `line`."""
        raise NotImplementedError

    def assert_offers(self, line, words):
        self.assertEqual(sorted(self.complete(line)), sorted(words), line)


class Completion:
    """What every shell must offer."""

    #: A host that the shell is told of, in the file that it reads for them.
    host = "known.example"

    def test_every_command_of_the_help_is_offered_and_no_other(self):
        commands = commands_of_help()
        self.assertEqual(len(commands), len(WORKING) + len(TELLING))
        offered = self.complete("riposte ")
        self.assertEqual({word for word in offered if not word.startswith("-")}, commands)
        self.assert_offers("riposte lo", {"load"})

    def test_the_options_of_riposte_are_those_of_its_help(self):
        self.assert_offers("riposte -", options_of(RIPOSTE))

    def test_the_options_of_each_command_are_those_of_its_help(self):
        for command in WORKING + TELLING:
            with self.subTest(command=command):
                options = options_of(RIPOSTE, command)
                self.assertGreater(len(options), 10 if command in WORKING else 3)
                self.assert_offers(f"riposte {command} -", options)
                operand = {"help": "ping ", "version": "", "probe": ""}.get(command, "host ")
                self.assert_offers(
                    f"riposte {command} {operand}--", {each for each in options if each[:2] == "--"})

    def test_the_options_of_riposted_are_those_of_its_help(self):
        options = options_of(RIPOSTED)
        self.assertGreater(len(options), 8)
        self.assert_offers("riposted -", options)

    def test_the_beginning_of_an_option_is_completed(self):
        self.assert_offers("riposte ping -c 3 udp://host --rec", {"--reconnect"})
        self.assert_offers("riposte load --warm", {"--warmup"})
        self.assert_offers("riposte send --warm", set())

    def test_the_values_of_color_are_offered(self):
        for command in WORKING:
            self.assert_offers(f"riposte {command} --color ", {"auto", "always", "never"})
        self.assert_offers("riposte ping host --color a", {"auto", "always"})
        self.assert_offers("riposte ping --color=a", {"--color=auto", "--color=always"})

    def test_files_are_offered_for_options_that_write_files(self):
        self.assert_offers("riposte ping --hist fig", {"figures.hgrm"})
        self.assert_offers("riposte load host --plot fig", {"figures.hgrm"})
        self.assert_offers("riposted -c fig", {"figures.hgrm"})

    def test_nothing_else_is_offered_after_an_option_that_takes_a_value(self):
        self.assert_offers("riposte ping -c ", set())
        self.assert_offers("riposte ping --interval ", set())
        self.assert_offers("riposte load -r ", set())

    def test_endpoints_begin_with_a_scheme(self):
        for line in ("riposte send ", "riposte send -W 3 ", "riposte ping ", "riposte ping a ",
                     "riposte load "):
            self.assertLessEqual({"tcp://", "udp://"}, self.complete(line), line)
        self.assertIn("udp://", self.complete("riposte ping a u"))
        self.assertNotIn("tcp://", self.complete("riposte ping a u"))

    def test_help_takes_a_command(self):
        self.assert_offers("riposte help ", set(WORKING + TELLING))
        self.assert_offers("riposte help p", {"ping", "probe"})
        for line in ("riposte help ping ", "riposte version "):
            self.assertEqual({word for word in self.complete(line) if not word.startswith("-")}, set(), line)

    def test_hosts_that_the_shell_knows_are_offered(self):
        (self.directory / "hosts").write_text(f"192.0.2.1 {self.host}\n")
        (self.directory / ".ssh").mkdir()
        (self.directory / ".ssh" / "known_hosts").write_text(f"{self.host} ssh-ed25519 AAAA\n")
        for command in ("send", "ping", "load", "status"):
            self.assertIn(self.host, self.complete(f"riposte {command} {self.host[:2]}"))
            self.assertIn(f"tcp://{self.host}", self.complete(f"riposte {command} tcp://{self.host[:2]}"))
        self.assertEqual({self.host}, self.complete(f"riposte ping {self.host[:5]}"))

    def test_the_message_of_send_is_not_completed(self):
        self.assert_offers("riposte send host ", set())
        self.assert_offers("riposte send -u host u", set())

    def test_the_values_of_the_daemon_are_offered(self):
        self.assert_offers("riposted --backend ", {"auto", "io_uring", "epoll"})
        self.assert_offers("riposted --backend=a", {"--backend=auto"})
        self.assert_offers("riposted --log-level ", {"error", "warning", "info", "debug"})
        services = {"hello", "echo", "discard", "chargen", "daytime", "time", "stamp"}
        self.assertEqual(
            {word.rstrip("=") for word in self.complete("riposted --listen ")}, services)
        self.assert_offers("riposted --listen echo=", {"echo=tcp://", "echo=udp://"})
        self.assert_offers("riposted --listen=echo=u", {"--listen=echo=udp://"})


class Bash(Completion, Base):
    shell = "bash"
    before = "HOSTFILE=$PWD/hosts"
    breaks = ":="

    def complete(self, line):
        words = line.split(" ")
        parts = []
        for word in words:
            parts += re.findall(f"[{self.breaks}]+|[^{self.breaks}]+", word) if self.breaks else [word]
            if not word:
                parts.append("")
        parts = [part for part in parts[:-1] if part] + parts[-1:]
        script = f"""{self.before}
            source {COMPLETIONS}/{words[0]}.bash
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            function=$(complete -p {words[0]}) function=${{function#*-F }}
            ${{function%% *}}
            [ ${{#COMPREPLY[@]}} -eq 0 ] || printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        replies = self.run_shell("--norc", "--noprofile", "-c", script, "bash", *parts).splitlines()
        # Readline replaces the last part, unless that is a break itself.
        replaced = "" if re.fullmatch("[:=]+", parts[-1]) and self.breaks else parts[-1]
        standing = words[-1][:len(words[-1]) - len(replaced)]
        return {standing + reply for reply in replies}

    def test_a_scheme_is_completed_after_its_colon(self):
        self.assert_offers("riposte ping tcp:", {"tcp://"})
        self.assert_offers("riposte ping st", {"stamp://"})
        self.assert_offers("riposte ping udp:/", {"udp://"})

    def test_no_option_is_offered_after_two_dashes(self):
        self.assert_offers("riposte ping -- -", set())


class BashThatSplitsNoWords(Bash):
    """As with COMP_WORDBREAKS=' '."""
    breaks = ""


class BashWithItsPackage(Bash):
    """The package bash-completion sets options and defines functions of its own."""
    before = f"shopt -s extglob progcomp; source {BASH_COMPLETION}"

    def setUp(self):
        super().setUp()
        if not BASH_COMPLETION.exists():
            self.skipTest("bash-completion is not installed")


class BashInATerminal(Base):
    """Readline splits and joins the words as the function expects."""
    shell = "bash"

    def typed(self, keys):
        """The words of the command line after these keys."""
        terminal = Terminal(["bash", "--norc", "--noprofile", "-i"], self.directory)
        self.addCleanup(terminal.close)
        terminal.type(f"source {COMPLETIONS}/riposte.bash; echo re''ady\n")
        terminal.wait("readiness", lambda: b"ready" in terminal.output)
        terminal.type(keys)
        terminal.type("\x01show() { printf '<%s>' \"$@\" >words; mv words shown; }; show \n")
        shown = self.directory / "shown"
        terminal.wait("the line", shown.exists)
        return re.findall("<([^>]*)>", shown.read_text())

    def test_a_value_is_completed_after_an_equals_sign(self):
        self.assertEqual(
            self.typed("riposte load --color=al\thost"),
            ["riposte", "load", "--color=always", "host"])

    def test_a_scheme_is_not_followed_by_a_blank(self):
        self.assertEqual(self.typed("riposte ping tc\thost"), ["riposte", "ping", "tcp://host"])

    def test_an_option_is_followed_by_a_blank(self):
        self.assertEqual(self.typed("riposte ping --dead\t1"), ["riposte", "ping", "--deadline", "1"])


class Fish(Completion, Base):
    shell = "fish"

    def complete(self, line):
        program = line.split(" ")[0]
        script = f'source {COMPLETIONS}/{program}.fish; complete -C "{line}"'
        return {each.split("\t")[0] for each in self.run_shell("-N", "-c", script).splitlines()}


@functools.cache
def zsh_dump():
    """The cache of compinit. Writing it takes a second of CPU time, so the first test does it for the whole run,
    whose processes share the file."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    dump = pathlib.Path(tempfile.gettempdir(), f"riposte-zcompdump-{run}")
    made = dump.with_suffix(".made")
    with open(f"{dump}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            subprocess.run(["zsh", "-f", "-c", COMPINIT.replace("DUMP", str(dump))], check=True,
                           stdin=subprocess.DEVNULL, timeout=SECONDS_MAX)
            made.touch()
    for path in (dump, made, lock.name):
        atexit.register(pathlib.Path(path).unlink, missing_ok=True)
    return dump


COMPINIT = f"fpath=({COMPLETIONS} $fpath); autoload -U compinit; compinit -u -d DUMP"


class Zsh(Completion, Base):
    shell = "zsh"
    host = "example"  # SETUP

    # Records every match that is added, but not calls that only filter (-O, -A, -D).
    SETUP = """
        COMPINIT
        zstyle ':completion:*' use-cache no
        zstyle ':completion:*:hosts' hosts example
        compadd() {
            if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then
                builtin compadd "$@"
                return
            fi
            local -a hits
            builtin compadd -O hits "$@"
            local hit
            for hit in $hits; do print -r -- "$IPREFIX$hit" >>offered; done
            builtin compadd "$@"
        }
        capture() { _main_complete; compstate[insert]='' compstate[list]=''; mv offered complete; }
        zle -C capture complete-word capture
        bindkey '^T' capture
        bindkey '^U' kill-whole-line
        : >ready
    """
    terminal = None

    def start(self):
        """One shell for all lines of a test."""
        setup = self.SETUP.replace("COMPINIT", COMPINIT).replace("DUMP", str(zsh_dump()))
        (self.directory / "setup.zsh").write_text(setup)
        self.terminal = Terminal(["zsh", "-f", "-i"], self.directory)
        self.addCleanup(self.terminal.close)
        self.terminal.type("source ./setup.zsh\n")
        self.terminal.wait("readiness", (self.directory / "ready").exists)

    def complete(self, line):
        if self.terminal is None:
            self.start()
        complete = self.directory / "complete"
        complete.unlink(missing_ok=True)
        (self.directory / "offered").touch()
        self.terminal.type("\x15" + line + "\x14")
        self.terminal.wait("completion", complete.exists)
        # An option that takes its value after "=" is offered with it.
        return {re.sub("^(--[\\w-]+)=$", "\\1", each) for each in complete.read_text().splitlines()}


del Base  # no tests of its own

if __name__ == "__main__":
    unittest.main()
