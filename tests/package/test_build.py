"""The build: reproducible bytes, no complaint of lintian, one list of build dependencies."""

import fnmatch
import os
import pathlib
import re
import shutil
import unittest

import pytest

from packages import (PACKAGES, PACKAGES_AGAIN, TREE, field, repacked, run)
from tools.dev import packages as lists

pytestmark = pytest.mark.timeout(600)

LINT = TREE / "packaging/lint-deb"


class Reproducible(unittest.TestCase):
    def test_a_build_elsewhere_gives_the_same_bytes(self):
        if not PACKAGES_AGAIN:
            self.skipTest("RIPOSTE_PACKAGES_AGAIN names no second build")
        # .buildinfo and .changes record the conditions of the build, which differ.
        names = [{name for name in os.listdir(directory)
                  if fnmatch.fnmatch(name, "*.deb") or fnmatch.fnmatch(name, "*.tar.xz")
                  or fnmatch.fnmatch(name, "*.dsc")} for directory in (PACKAGES, PACKAGES_AGAIN)]
        self.assertEqual(names[0], names[1])
        self.assertEqual(sum(name.endswith(".deb") for name in names[0]), 4, names[0])
        for name in sorted(names[0]):
            one, other = (pathlib.Path(directory, name).read_bytes()
                          for directory in (PACKAGES, PACKAGES_AGAIN))
            if one != other:
                at = next((i for i, pair in enumerate(zip(one, other)) if pair[0] != pair[1]),
                          min(len(one), len(other)))
                self.fail(f"{name}: {len(one)} and {len(other)} bytes, the first difference at {at}")

    def test_the_second_build_was_in_another_directory(self):
        if not PACKAGES_AGAIN:
            self.skipTest("RIPOSTE_PACKAGES_AGAIN names no second build")
        where = [re.search(r"(?m)^Source dir: (.*)", self.log(directory))[1]
                 for directory in (PACKAGES, PACKAGES_AGAIN)]
        self.assertNotEqual(len(where[0]), len(where[1]), where)

    def log(self, directory):
        return pathlib.Path(directory + ".log").read_text(errors="replace")


class Lintian(unittest.TestCase):
    def setUp(self):
        if shutil.which("lintian") is None:
            self.skipTest("lintian is not installed")

    def test_lintian_reports_nothing(self):
        (changes,) = pathlib.Path(PACKAGES).glob("*.changes")
        self.assertEqual(run(LINT, changes), "")

    def test_a_spoiled_package_fails_lintian(self):
        def spoil(tree):
            (tree / "usr/bin/riposte").chmod(0o4777)
            (tree / "usr/share/doc/riposte/copyright").unlink()
        with repacked("riposte", edit=spoil) as path:
            output = run(LINT, path, status=2)
        self.assertIn("riposte: no-copyright-file", output)
        self.assertRegex(output, r"riposte: elevated-privileges.*usr/bin/riposte")

    def test_every_override_has_its_reason(self):
        for path in (TREE / "packaging/debian").rglob("*lintian-overrides"):
            reason = False
            for line in path.read_text().splitlines():
                if line.startswith("#"):
                    reason = len(line) > 20
                elif line.strip():
                    self.assertTrue(reason, f"{path}: {line}")


def providers(pattern):
    """The names of the packages that have a file whose path matches."""
    output = run("dpkg-query", "-S", pattern, status=None)
    return {name.partition(":")[0]
            for line in output.splitlines() if ": " in line and not line.startswith("dpkg-query")
            for name in line.rpartition(": ")[0].split(", ")}


class Needs(unittest.TestCase):
    """tools/dev, meson.build and debian/control each name the build dependencies; the lists must agree."""

    def setUp(self):
        text = (TREE / "packaging/debian/control").read_text()
        block = re.search(r"(?ms)^Build-Depends:(.*?)^\S", text)[1]
        self.control = {}  # package -> the lowest version that suffices, or None
        for item in block.split(","):
            found = re.fullmatch(r"\s*([a-z0-9.+-]+)(?: \((?:>=|=) ([^)]+)\))?(?: <!nocheck>)?\s*", item)
            self.assertIsNotNone(found, item)
            self.control[found[1]] = found[2]
        self.meson = (TREE / "meson.build").read_text()

    def test_dev_installs_the_build_dependencies_of_the_control_file(self):
        # build-essential, which no package names, has the compiler; Meson depends on Python, which also
        # runs the tests of ./dev.
        built = set(lists.BUILD) - {"g++", "python3"}
        self.assertEqual(built, set(self.control) - {"debhelper-compat"})
        self.assertLessEqual({"build-essential", "debhelper"}, set(lists.DEB))

    def test_each_library_of_meson_is_required_in_the_same_version(self):
        libraries = dict(re.findall(
            r"(?<![\w])dependency\('([\w-]+)'(?:, version: '>=([\d.]+)')?", self.meson))
        libraries.pop("threads")
        self.assertGreaterEqual(len(libraries), 6)
        demanded = {"meson": re.search(r"meson_version: '>=([\d.]+)'", self.meson)[1]}
        for library, version in libraries.items():
            packages = providers(f"*/pkgconfig/{library}.pc")
            self.assertEqual(len(packages), 1, f"{library}: {packages}")
            demanded[packages.pop()] = version
        versions = {name: version for name, version in self.control.items()
                    if version is not None and name != "debhelper-compat"}
        self.assertEqual(versions, demanded)

    def test_other_programs_that_meson_uses_are_required(self):
        header = re.search(r"has_header\('([^']+)'", self.meson)[1]
        tool = re.search(r"find_program\('(\w+)'", (TREE / "packaging/meson.build").read_text())[1]
        for pattern in (f"/usr/include/{header}", f"/usr/bin/{tool}", "/usr/bin/ninja",
                        "/usr/bin/pkg-config"):
            self.assertTrue(providers(pattern) & set(self.control), pattern)

    def test_the_version_is_the_same_everywhere(self):
        version = re.search(r"(?m)^  version: '([^']+)'", self.meson)[1]
        self.assertEqual(field("riposted", "Version"), version)
        self.assertEqual(field("riposte", "Version"), version)
