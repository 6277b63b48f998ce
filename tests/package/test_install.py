"""Installation, upgrade, removal and purge, in a minimal Debian where no service manager runs.

What a running systemd does with the packages is the matter of tests/system. Here systemd's tools are
replaced where a test wants to know what they would be told.
"""

import os
import re
import unittest

import pytest

import root
from packages import TREE, package, repacked

pytestmark = pytest.mark.timeout(600)

CONFIGURATION = "etc/riposte/riposted.toml"
ENABLED = "etc/systemd/system/sockets.target.wants"

# Plays systemctl(1) for the maintainer scripts: enabled is what a link says, active what /active
# says; what it is told to do it writes into /told, and does nothing.
SYSTEMCTL = """#!/bin/sh
verb=
for word; do
    case $word in
        -*) ;;
        *)
            if [ -z "$verb" ]; then verb=$word; else
                case $verb in
                    is-enabled) ls /etc/systemd/system/*.wants/"$word" >/dev/null 2>&1 &&
                        echo enabled && exit 0
                        echo disabled
                        exit 1 ;;
                    is-active) grep -qxF "$word" /active 2>/dev/null || exit 3 ;;
                    preset) mkdir -p /etc/systemd/system/sockets.target.wants
                        ln -s "$(ls /lib/systemd/system/"$word" /usr/lib/systemd/system/"$word" \
                            2>/dev/null | head -n 1)" /etc/systemd/system/sockets.target.wants ;;
                    *) echo "$verb $word" >>/told ;;
                esac
            fi ;;
    esac
done
"""


class InRoot(unittest.TestCase):
    def setUp(self):
        reason = root.why_not()
        if reason is not None:
            self.skipTest(reason)
        self.root = root.Root()
        self.addCleanup(self.root.close)
        self.path = self.root.path

    def install(self, options=()):
        return self.root.install(package("riposted"), package("riposte"), options=options)

    def upgrade(self, version="9.9", edit=None, options=()):
        with repacked("riposted", version, edit) as path:
            return self.root.install(path, options=options)

    def units(self):
        return {os.path.basename(path): path
                for path in self.root.run("dpkg", "-L", "riposted").split()
                if "/systemd/system/" in path}

    def enable_other_sockets(self):
        """As systemctl(1) does it, all that the package left disabled; their names."""
        others = {unit: path for unit, path in self.units().items()
                  if re.fullmatch(r"riposted-\w+\.socket", unit)}
        for unit, path in others.items():
            (self.path / ENABLED / unit).symlink_to(path)
        return set(others)

    def enabled(self):
        """The units of ours that some target wants."""
        return {path.name for path in (self.path / "etc/systemd/system").glob("*.wants/riposte*")}


class Purge(InRoot):
    maxDiff = None

    def setUp(self):
        super().setUp()
        self.before = self.root.files()

    def left_behind(self):
        after = self.root.files()
        return {path: (self.before.get(path), after.get(path))
                for path in self.before.keys() | after.keys()
                if self.before.get(path) != after.get(path)}

    def test_it_leaves_what_was_there_before(self):
        self.install()
        for name in ("riposted", "riposte"):
            self.assertEqual(self.root.state_of(name), "installed")
        self.assertNotEqual(self.left_behind(), {})
        self.root.run("dpkg", "--purge", "riposte", "riposted")
        for name in ("riposted", "riposte"):
            self.assertEqual(self.root.state_of(name), "not-installed")
        self.assertEqual(self.left_behind(), {})

    def test_a_removal_leaves_the_configuration_and_the_purge_takes_it(self):
        self.install()
        changed = (self.path / CONFIGURATION).read_text() + "# ours\n"
        (self.path / CONFIGURATION).write_text(changed)
        self.root.run("dpkg", "--remove", "riposted", "riposte")
        self.assertEqual(self.root.state_of("riposted"), "config-files")
        self.assertEqual((self.path / CONFIGURATION).read_text(), changed)
        self.assertFalse((self.path / "usr/bin/riposted").exists())
        self.install()
        self.assertEqual((self.path / CONFIGURATION).read_text(), changed)
        self.root.run("dpkg", "--purge", "riposted", "riposte")
        self.assertEqual(self.left_behind(), {})

    def test_after_an_upgrade_and_a_downgrade_nothing_is_left_either(self):
        self.install()
        (self.path / CONFIGURATION).write_text("# ours\n")
        self.upgrade("9.8", edit=add_to_the_configuration, options=["--force-confold"])
        self.assertTrue((self.path / (CONFIGURATION + ".dpkg-dist")).exists())
        self.install(options=["--force-confold"])
        self.root.run("dpkg", "--purge", "riposted", "riposte")
        self.assertEqual(self.left_behind(), {})


def add_to_the_configuration(tree):
    path = tree / CONFIGURATION
    path.write_text(path.read_text() + "# new in this version\n")


class Configuration(InRoot):
    def test_one_that_was_changed_survives_an_upgrade(self):
        self.install()
        (self.path / CONFIGURATION).write_text("# ours\n")
        self.upgrade("9.8")
        self.assertEqual((self.path / CONFIGURATION).read_text(), "# ours\n")
        # Now the package's has changed too: whoever upgrades unattended says which to take.
        self.upgrade("9.9", edit=add_to_the_configuration, options=["--force-confold"])
        self.assertEqual((self.path / CONFIGURATION).read_text(), "# ours\n")
        offered = (self.path / (CONFIGURATION + ".dpkg-dist")).read_text()
        self.assertIn("# new in this version\n", offered)

    def test_one_that_was_not_changed_follows_the_package(self):
        self.install()
        self.upgrade(edit=add_to_the_configuration)
        self.assertTrue((self.path / CONFIGURATION).read_text().endswith("# new in this version\n"))


class Units(InRoot):
    def test_only_the_greeting_s_socket_is_enabled(self):
        self.install()
        self.assertEqual({path.name for path in (TREE / "packaging/systemd").iterdir()
                          if path.suffix in (".service", ".socket")}, set(self.units()))
        self.assertEqual(self.enabled(), {"riposted.socket"})
        self.assertEqual(os.listdir(self.path / ENABLED), ["riposted.socket"])

    def test_what_was_disabled_and_enabled_stays_so_through_an_upgrade(self):
        self.install()
        (self.path / ENABLED / "riposted.socket").unlink()
        others = self.enable_other_sockets()
        self.upgrade()
        self.assertEqual(self.enabled(), others)


class Told(InRoot):
    """What the maintainer scripts tell a systemd that runs; a recorder stands in its place."""

    def setUp(self):
        super().setUp()
        (self.path / "run/systemd/system").mkdir(parents=True)
        systemctl = self.path / "usr/bin/systemctl"
        self.assertFalse(systemctl.exists(), "the root is to be without systemd")
        systemctl.write_text(SYSTEMCTL)
        systemctl.chmod(0o755)

    def told(self, verb, scripts):
        """The units that systemctl was told to `verb`, in their order, while `scripts()` ran."""
        path = self.path / "told"
        path.unlink(missing_ok=True)
        scripts()
        self.lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[1] for line in self.lines if line.startswith(verb + " ")]

    def run_units(self, *units):
        (self.path / "active").write_text("".join(unit + "\n" for unit in units))

    def verbs(self):
        return {line.split()[0] for line in self.lines}

    def test_an_installation_starts_the_greeting_s_socket_and_nothing_else(self):
        self.assertEqual(self.told("start", self.install), ["riposted.socket"])
        self.assertEqual(self.verbs(), {"start"})

    def test_an_upgrade_restarts_the_service_that_runs_and_stops_no_socket(self):
        self.install()
        sockets = {"riposted.socket"} | self.enable_other_sockets()
        self.run_units("riposted.service", *sockets)
        self.assertEqual(self.told("restart", self.upgrade), ["riposted.service"])
        # To start what is active is to do nothing; it is there for sockets that a version brings.
        self.assertEqual(self.verbs(), {"restart", "start"})
        self.assertEqual({line.split()[1] for line in self.lines if line.startswith("start ")},
                         sockets)

    def test_an_upgrade_starts_no_service_that_does_not_run(self):
        self.install()
        self.run_units("riposted.socket")
        self.assertEqual(self.told("start", self.upgrade), ["riposted.socket"])
        self.assertEqual(self.verbs(), {"start"})

    def test_a_removal_closes_every_socket_before_it_stops_the_service(self):
        self.install()
        units = set(self.units())
        stopped = self.told("stop", lambda: self.root.run("dpkg", "--remove", "riposted"))
        self.assertEqual(set(stopped), units)
        last_socket = max(at for at, unit in enumerate(stopped) if unit.endswith(".socket"))
        self.assertLess(last_socket, stopped.index("riposted.service"))


class Programs(InRoot):
    def test_they_answer_as_the_package_s_own_test_wants_it(self):
        self.install()
        script = self.root.copy_in(TREE / "packaging/debian/tests/programs", "programs")
        self.assertIn("TCP and UDP were answered", self.root.run("/bin/sh", script))
