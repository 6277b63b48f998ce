"""The fixture of the system tests: a booted machine with the packages installed, and its traffic.

The environment (the stage `system` of ./dev sets it):
    RIPOSTE_RELEASE       bookworm or trixie
    RIPOSTE_PACKAGES      the directory with riposted_*.deb and riposte_*.deb built for it

One boot serves all tests of a module. Each begins with the package as it is after installation, with
echo enabled as well: restore() removes everything that a test leaves behind.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import machine as machines
from daemon import has_failed
from machine import Machine, NoRoot, await_true, dependencies, make_root
from patience import WAIT

RELEASE = os.environ.get("RIPOSTE_RELEASE", "bookworm")
PACKAGES = os.environ.get("RIPOSTE_PACKAGES", "build-deb")
HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = "/etc/riposte/riposted.toml"
HELLO, ECHO = 7001, 7
ANSWER = b"Hello, i'm server!"
ECHO_CONNECTIONS = 20
#: A wait for one reply never takes this long.
PATIENCE = WAIT

#: The entries of a client's books for a time in which nothing went wrong.
FINE = re.compile(r"(hello|datagram) (answered|not begun)|echo (connected|whole|bytes)|\w+ longest")
#: Sends one request from the host's Python in the machine's network: transport, port, request.
ASK = """
import socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
with socket.socket(socket.AF_INET, kind) as client:
    client.settimeout(float(sys.argv[4]))
    client.connect(("127.0.0.1", int(sys.argv[2])))
    client.send(sys.argv[3].encode())
    sys.stdout.buffer.write(client.recv(4096))
"""


def package(name):
    found = glob.glob(os.path.join(PACKAGES, f"{name}_*.deb"))
    if len(found) != 1:
        raise AssertionError(f"{len(found)} packages {name}_*.deb in {PACKAGES}, not one")
    return found[0]


def repacked(deb, version, directory):
    """The same package with another version."""
    tree = os.path.join(directory, "tree")
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True, capture_output=True)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as file:
        text = file.read()
    with open(control, "w", encoding="utf-8") as file:
        file.write(re.sub(r"^Version: .*$", f"Version: {version}", text, flags=re.M))
    target = os.path.join(directory, f"riposted_{version}.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, target], check=True,
                   capture_output=True)
    shutil.rmtree(tree)
    return target


_machines = {}  # at most one entry: the module for which it was booted, and the machine


def the_machine(module):
    """The machine of this module; it ends when another module needs one, or at exit."""
    if module not in _machines:
        for other in list(_machines):
            _machines.pop(other).close()
        Installed.config = None
        refusal = machines.unavailable()
        if refusal:
            raise unittest.SkipTest(refusal)
        needed = dependencies(package("riposted"), package("riposte"))
        try:
            _machines[module] = Machine(make_root(RELEASE, machines.SYSTEM_PACKAGES + needed))
        except NoRoot as reason:
            raise unittest.SkipTest(f"no root of {RELEASE}: {reason}") from reason
    return _machines[module]


class SystemTest(unittest.TestCase):
    """Base: provides a machine, and shows the journal of a failed test."""

    def setUp(self):
        self.machine = the_machine(type(self).__module__)
        self.addCleanup(self._show_journal)
        self.scratch = tempfile.mkdtemp(prefix="riposte-")
        self.addCleanup(shutil.rmtree, self.scratch, True)

    def _show_journal(self):
        if has_failed(self):
            for line in self.machine.journal("-u", "riposted*", "-n", "25").splitlines():
                print("#   " + line.encode("ascii", "backslashreplace").decode()[:300], flush=True)

    def ask(self, transport="tcp", port=HELLO, question="Hello, i'm client!", timeout=PATIENCE):
        """Sends one request from the machine's network; returns the reply, or why there was none."""
        done = subprocess.run(
            self.machine.in_network(sys.executable, "-c", ASK, transport, str(port), question,
                                    str(timeout)), capture_output=True, check=False)
        return done.stdout or done.stderr.splitlines()[-1:]

    def assert_answers(self):
        self.assertEqual(self.ask("tcp"), ANSWER)
        self.assertEqual(self.ask("udp", question="still there?"), b"still there?")

    def is_active(self, unit):
        return self.machine.systemctl("is-active", unit, check=False).stdout.strip()


class Installed(SystemTest):
    """The package is installed; the sockets of hello and echo are open."""

    config = None

    def setUp(self):
        super().setUp()
        if Installed.config is None:
            self.install()
        self.restore()
        self.started = self.now()

    def install(self):
        names = [self.machine.copy_in(package(name)) for name in ("riposted", "riposte")]
        self.machine.run("dpkg", "-i", *names)
        Installed.config = self.machine.read(CONFIG)

    def restore(self):
        run = self.machine.systemctl
        for unit in ("riposted.service", "riposted.socket", "riposted-echo.socket"):
            shutil.rmtree(self.machine.path(f"/etc/systemd/system/{unit}.d"), ignore_errors=True)
        self.machine.write(CONFIG, self.config)
        run("daemon-reload")
        # The sockets too: data that a test left in them would start the service again.
        run("stop", "riposted-standalone.service", "riposted*.socket", "riposted.service")
        run("reset-failed")
        run("start", "riposted.socket", "riposted-echo.socket")

    def now(self):
        """A mark for journal_since()."""
        return self.machine.journal("-n", "0", "--show-cursor").split("cursor:")[1].strip()

    def journal_since(self, cursor=None, unit="riposted.service"):
        """The messages since the test began, as dictionaries."""
        text = self.machine.journal("-u", unit, "-o", "json", "--all",
                                    "--after-cursor", cursor or self.started)
        return [json.loads(line) for line in text.splitlines()]

    def own_messages(self, pattern, priority=None):
        """The messages that the daemon itself logged since the test began."""
        return [entry["MESSAGE"] for entry in self.journal_since()
                if entry.get("SYSLOG_IDENTIFIER") == "riposted" and re.search(pattern, entry["MESSAGE"])
                and priority in (None, entry["PRIORITY"])]

    def drop_in(self, text, unit="riposted.service"):
        """Settings for this test alone."""
        self.machine.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        self.machine.systemctl("daemon-reload")

    def main_pid(self):
        return int(self.machine.show("riposted.service", "MainPID"))

    def status_text(self):
        return self.machine.show("riposted.service", "StatusText")

    def start(self):
        self.machine.systemctl("start", "riposted.service")

    def await_active(self, pid_before=0):
        """Waits until the service runs and is ready, with another process than before."""
        def there():
            pid, state, sub = self.machine.show("riposted.service", "MainPID", "ActiveState", "SubState")
            return (state, sub) == ("active", "running") and int(pid) not in (0, pid_before)
        await_true(there, "the service is active again")

    def assert_sockets_well(self):
        for unit in ("riposted.socket", "riposted-echo.socket"):
            self.assertEqual(self.machine.show(unit, "ActiveState", "Result"), ["active", "success"])

    # Traffic

    def traffic(self):
        traffic = Traffic(self.machine)
        self.addCleanup(traffic.kill)
        traffic.phase("start")
        traffic.progress()
        return traffic

    def books(self, traffic):
        """Ends the traffic, prints its books, and returns them by phase."""
        traffic.phase("end")
        traffic.progress()
        books = traffic.stop()
        for phase, counts in books.items():
            summary = ", ".join(f"{value} {name}" for name, value in sorted(counts.items()))
            print(f"# {RELEASE}: {phase}: {summary}", flush=True)
        return books

    def assert_fine(self, books, connected=ECHO_CONNECTIONS):
        """Checks that nothing went wrong in any phase, that every client was served in each, and that the
        conversations, begun once, continued to the end."""
        for phase, counts in books.items():
            wrong = {name: count for name, count in counts.items() if not FINE.fullmatch(name)}
            self.assertEqual(wrong, {}, f"phase {phase}")
            self.assertGreater(counts.get("hello answered", 0), 0, f"phase {phase}")
            self.assertGreater(counts.get("datagram answered", 0), 0, f"phase {phase}")
        for name, count in (("echo whole", ECHO_CONNECTIONS), ("echo connected", connected)):
            self.assertEqual(sum(counts.get(name, 0) for counts in books.values()), count, name)


class Traffic:
    """traffic.py running in a machine's network."""

    def __init__(self, machine):
        self.process = subprocess.Popen(
            machine.in_network(sys.executable, os.path.join(HERE, "traffic.py"), str(HELLO), str(ECHO),
                               str(PATIENCE)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def order(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if answer != "done\n":
            raise AssertionError(f"the traffic ended: {answer}{self.process.communicate()[1][-2000:]}")

    def phase(self, name):
        self.order("phase " + name)

    def progress(self):
        """Waits until each kind of client, and each conversation, has got new replies."""
        self.order("progress")

    def stop(self):
        return json.loads(self.process.communicate("stop\n")[0])

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
