"""Installation, upgrade, removal and purge, in a minimal Debian where no service manager runs.

tests/system covers a running systemd. Here a stand-in replaces systemctl where a test needs to know how the
maintainer scripts call it.
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

# Stands in for systemctl(1) in the maintainer scripts: a unit is enabled if a link exists, and active if
# /active lists it; other verbs are recorded in /calls without any effect.
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
                    *) echo "$verb $word" >>/calls ;;
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
        """Enables all units that the package left disabled, as systemctl(1) does, and returns their names."""
        others = {unit: path for unit, path in self.units().items()
                  if re.fullmatch(r"riposted-\w+\.socket", unit)}
        for unit, path in others.items():
            (self.path / ENABLED / unit).symlink_to(path)
        return set(others)

    def enabled(self):
        """The project's units that some target wants."""
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

    def test_a_purge_restores_the_previous_files(self):
        self.install()
        for name in ("riposted", "riposte"):
            self.assertEqual(self.root.state_of(name), "installed")
        self.assertNotEqual(self.left_behind(), {})
        self.root.run("dpkg", "--purge", "riposte", "riposted")
        for name in ("riposted", "riposte"):
            self.assertEqual(self.root.state_of(name), "not-installed")
        self.assertEqual(self.left_behind(), {})

    def test_a_removal_keeps_the_configuration_and_a_purge_removes_it(self):
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

    def test_a_purge_after_an_upgrade_and_a_downgrade_leaves_nothing(self):
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
    def test_a_changed_configuration_survives_an_upgrade(self):
        self.install()
        (self.path / CONFIGURATION).write_text("# ours\n")
        self.upgrade("9.8")
        self.assertEqual((self.path / CONFIGURATION).read_text(), "# ours\n")
        # Now the package's file has changed too: for unattended upgrades an option decides.
        self.upgrade("9.9", edit=add_to_the_configuration, options=["--force-confold"])
        self.assertEqual((self.path / CONFIGURATION).read_text(), "# ours\n")
        offered = (self.path / (CONFIGURATION + ".dpkg-dist")).read_text()
        self.assertIn("# new in this version\n", offered)

    def test_an_unchanged_configuration_follows_the_package(self):
        self.install()
        self.upgrade(edit=add_to_the_configuration)
        self.assertTrue((self.path / CONFIGURATION).read_text().endswith("# new in this version\n"))


class Units(InRoot):
    def test_only_the_hello_socket_is_enabled(self):
        self.install()
        self.assertEqual({path.name for path in (TREE / "packaging/systemd").iterdir()
                          if path.suffix in (".service", ".socket")}, set(self.units()))
        self.assertEqual(self.enabled(), {"riposted.socket"})
        self.assertEqual(os.listdir(self.path / ENABLED), ["riposted.socket"])

    def test_an_upgrade_keeps_units_disabled_or_enabled(self):
        self.install()
        (self.path / ENABLED / "riposted.socket").unlink()
        others = self.enable_other_sockets()
        self.upgrade()
        self.assertEqual(self.enabled(), others)


class SystemctlCalls(InRoot):
    """The calls of the maintainer scripts to a running systemd, recorded by a stand-in."""

    def setUp(self):
        super().setUp()
        (self.path / "run/systemd/system").mkdir(parents=True)
        systemctl = self.path / "usr/bin/systemctl"
        self.assertFalse(systemctl.exists(), "the root must be without systemd")
        systemctl.write_text(SYSTEMCTL)
        systemctl.chmod(0o755)

    def called(self, verb, scripts):
        """The units that `systemctl verb` was called for while `scripts()` ran, in order."""
        path = self.path / "calls"
        path.unlink(missing_ok=True)
        scripts()
        self.lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[1] for line in self.lines if line.startswith(verb + " ")]

    def run_units(self, *units):
        (self.path / "active").write_text("".join(unit + "\n" for unit in units))

    def verbs(self):
        return {line.split()[0] for line in self.lines}

    def test_an_installation_starts_the_hello_socket_and_nothing_else(self):
        self.assertEqual(self.called("start", self.install), ["riposted.socket"])
        self.assertEqual(self.verbs(), {"start"})

    def test_an_upgrade_restarts_a_running_service_and_stops_no_socket(self):
        self.install()
        sockets = {"riposted.socket"} | self.enable_other_sockets()
        self.run_units("riposted.service", *sockets)
        self.assertEqual(self.called("restart", self.upgrade), ["riposted.service"])
        # Starting an active unit has no effect; the call is for sockets that a new version adds.
        self.assertEqual(self.verbs(), {"restart", "start"})
        self.assertEqual({line.split()[1] for line in self.lines if line.startswith("start ")},
                         sockets)

    def test_an_upgrade_starts_no_service_that_is_not_running(self):
        self.install()
        self.run_units("riposted.socket")
        self.assertEqual(self.called("start", self.upgrade), ["riposted.socket"])
        self.assertEqual(self.verbs(), {"start"})

    def test_a_removal_closes_every_socket_before_it_stops_the_service(self):
        self.install()
        units = set(self.units())
        stopped = self.called("stop", lambda: self.root.run("dpkg", "--remove", "riposted"))
        self.assertEqual(set(stopped), units)
        last_socket = max(at for at, unit in enumerate(stopped) if unit.endswith(".socket"))
        self.assertLess(last_socket, stopped.index("riposted.service"))


class Programs(InRoot):
    def test_the_programs_pass_the_packages_own_test(self):
        self.install()
        script = self.root.copy_in(TREE / "packaging/debian/tests/programs", "programs")
        self.assertIn("TCP and UDP were answered", self.root.run("/bin/sh", script))
