"""A shell in a terminal of tmux, as a user has it: keys in, what the screen shows out.

    with Tmux(80, 24) as terminal:
        terminal.run("riposte ping --live localhost")
        terminal.wait_for("last minute")
        terminal.type("q")
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

from client import RIPOSTE, environment
from patience import WAIT
from peers import wait_until
from runner.machine import end_with_its_parent

PROMPT = "ready> "


def need_tmux():
    if not shutil.which("tmux"):
        raise unittest.SkipTest("tmux is not installed: no live screen is tested in a terminal (apt install tmux)")


class Tmux:
    def __init__(self, columns, lines, env=None):
        need_tmux()
        self.directory = tempfile.mkdtemp(prefix="riposte-tmux-")
        socket = os.path.join(self.directory, "socket")
        self.client = ["tmux", "-N", "-u", "-S", socket]
        variables = {"ENV": None, "LC_ALL": "C.UTF-8", "TMUX": None,
                     "PATH": f"{os.path.dirname(RIPOSTE)}:{os.environ['PATH']}", **(env or {})}
        self.env = environment(variables)
        self.server = subprocess.Popen(  # no daemon: it ends with this process, however that ends
            ["tmux", "-D", "-u", "-S", socket, "-f", "/dev/null"], env=self.env, stdin=subprocess.DEVNULL,
            preexec_fn=end_with_its_parent)
        wait_until(self.has_server, "tmux")
        self._tmux("new-session", "-d", "-x", columns, "-y", lines,
                   f"exec env 'PS1={PROMPT}' sh")  # the shell between would drop it
        self._tmux("set-option", "-g", "window-size", "manual")
        self._tmux("set-option", "-g", "status", "off")
        self._tmux("resize-window", "-x", columns, "-y", lines)
        self.wait_for(re.escape(PROMPT.strip()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait(WAIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _tmux(self, *words):
        return subprocess.run([*self.client, *map(str, words)], env=self.env, check=True,
                              stdout=subprocess.PIPE, timeout=WAIT).stdout.decode()

    def has_server(self):
        return subprocess.run([*self.client, "show-options", "-g", "status"], env=self.env, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=WAIT).returncode == 0

    def type(self, *keys):
        """Keys as send-keys(1) names them: "q", "C-c", "PageDown"."""
        self._tmux("send-keys", *keys)

    def run(self, line):
        self._tmux("send-keys", "-l", line)
        self.type("Enter")

    def screen(self):
        """The lines that are visible."""
        return self._tmux("capture-pane", "-p").splitlines()

    def history(self):
        """All lines, also those that have scrolled away; of a line that was wrapped, one."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-")

    def state(self, name):
        """A format of tmux(1): "alternate_on", "cursor_flag", "pane_pid"."""
        return self._tmux("display-message", "-p", "#{" + name + "}").strip()

    def resize(self, columns, lines):
        self._tmux("resize-window", "-x", columns, "-y", lines)

    def wait_for(self, pattern, timeout=WAIT):
        """Waits until the screen has it, and returns the screen."""
        last = []

        def has_it():
            last[:] = self.screen()
            return re.search(pattern, "\n".join(last), re.MULTILINE)
        try:
            wait_until(has_it, pattern, timeout)
        except AssertionError as problem:
            raise AssertionError(f"{problem}; the screen:\n" + "\n".join(last)) from None
        return last

    def wait_for_state(self, name, value):
        wait_until(lambda: self.state(name) == value, f"{name} to be {value}")

    def modes(self, label):
        """What stty(1) says of the terminal, when the shell waits for a line."""
        path = os.path.join(self.directory, label)
        self.run(f"stty -a > {path}; echo {label}-$((6 * 7))")  # not what the terminal echoes
        self.wait_for(f"{label}-42")
        with open(path, encoding="ascii") as file:
            return file.read()

    def pid_of(self, name):
        """The process of that name that the shell has started."""
        found = []

        def is_there():
            done = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", self.state("pane_pid")],
                                  stdout=subprocess.PIPE, check=False, timeout=WAIT)
            found[:] = [int(line.split()[0]) for line in done.stdout.decode().splitlines()
                        if line.split()[1] == name]
            return found
        wait_until(is_there, f"a process called {name}")
        return found[0]
