"""The packages on a booted machine, from installation to purge: what runs and which files remain.
(Tests that need no systemd, such as those of conffiles and contents, are in tests/package.)"""

import re

import pytest

from installed import ANSWER, CONFIG, SystemTest, package, repacked

pytestmark = pytest.mark.timeout(600)

#: Files that change on a machine by themselves, or are dpkg's own records.
NOT_OURS = re.compile(r"/(var/log|var/lib/dpkg|var/cache|var/lib/systemd/(catalog|timers|random-seed)|root"
                      r"|etc/\.pwd\.lock|var/lib/private$|var/cache/private$|var/log/private$|etc/ld\.so\.cache)")
SOCKETS = [f"riposted-{name}.socket" for name in ("chargen", "daytime", "discard", "echo", "stamp", "time")]


class Package(SystemTest):
    """Each test ends as it began: without the packages."""

    def setUp(self):
        super().setUp()
        self.before = self.files()
        self.addCleanup(self.purge)

    def files(self):
        listed = self.machine.run("find", "/", "-ignore_readdir_race", "-xdev", "-printf",
                                  r"%p %m %u %l\n").stdout.splitlines()
        return {line for line in listed if not NOT_OURS.match(line.split(" ")[0])}

    def install(self, *debs):
        debs = debs or (package("riposted"), package("riposte"))
        self.machine.run("dpkg", "--force-downgrade", "-i", *map(self.machine.copy_in, debs))

    def purge(self):
        self.machine.run("dpkg", "--purge", "riposted", "riposte")

    def assert_port_closed(self):
        self.assertIn(b"refused", self.ask("tcp")[0])

    def test_after_installation_the_hello_socket_is_open_and_nothing_runs(self):
        self.install()
        self.assertEqual(self.is_active("riposted.socket"), "active")
        self.assertEqual(self.is_active("riposted.service"), "inactive")
        states = {unit: self.machine.systemctl("is-enabled", unit, check=False).stdout.strip()
                  for unit in ["riposted.socket", "riposted.service", "riposted-standalone.service"] + SOCKETS}
        self.assertEqual(states, {"riposted.socket": "enabled", "riposted.service": "disabled",
                                  "riposted-standalone.service": "disabled",
                                  **{unit: "disabled" for unit in SOCKETS}})
        self.assert_answers()
        self.assertEqual([self.is_active(unit) for unit in SOCKETS], ["inactive"] * len(SOCKETS))
        self.assertEqual(self.machine.run("riposte", "send", "127.0.0.1:7001").stdout.strip().encode(),
                         ANSWER)

    def test_an_upgrade_does_not_start_a_service_that_is_not_running(self):
        self.install()
        self.install(repacked(package("riposted"), "99.0", self.scratch))
        self.assertEqual(self.is_active("riposted.service"), "inactive")
        self.assertEqual(self.is_active("riposted.socket"), "active")
        self.assert_answers()

    def test_an_upgrade_leaves_a_disabled_socket_disabled(self):
        self.install()
        self.machine.systemctl("disable", "--now", "riposted.socket")
        self.install(repacked(package("riposted"), "99.0", self.scratch))
        self.assertEqual(self.machine.systemctl("is-enabled", "riposted.socket", check=False).stdout.strip(),
                         "disabled")
        self.assertEqual(self.is_active("riposted.socket"), "inactive")
        self.assert_port_closed()

    def test_removal_stops_the_service_and_keeps_the_configuration(self):
        self.install()
        self.machine.systemctl("enable", "--now", "riposted-echo.socket")
        self.assert_answers()
        self.machine.write(CONFIG, self.machine.read(CONFIG) + "# mine\n")
        self.machine.run("dpkg", "--remove", "riposted")
        self.assert_port_closed()
        self.assertIn(b"refused", self.ask("tcp", 7)[0])
        self.assertEqual(self.processes(), [])
        self.assertTrue(self.machine.read(CONFIG).endswith("# mine\n"))

    def test_a_purge_leaves_nothing(self):
        self.install()
        self.machine.systemctl("enable", "--now", "riposted-echo.socket")
        self.assert_answers()
        self.install(repacked(package("riposted"), "99.0", self.scratch))
        self.purge()
        self.machine.systemctl("daemon-reload")
        self.assertEqual(self.files() - self.before, set())
        self.assertEqual(self.before - self.files(), set())
        self.assertEqual(self.processes(), [])
        units = self.machine.systemctl("list-units", "--all", "--plain", "--no-legend", "riposte*").stdout
        # systemd has no record of failed or open units any more, either.
        self.assertEqual(units.strip(), "")
        self.assert_port_closed()

    def processes(self):
        """The names of the project's running processes."""
        # A process that ends meanwhile has no name any more.
        found = self.machine.run("sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null || :").stdout.split("\n")
        return [name for name in found if name.startswith("riposte")]
