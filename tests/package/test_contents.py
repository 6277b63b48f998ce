"""The contents of the packages: each file is in the correct package, and there are no others."""

import gzip
import os
import re
import unittest

import pytest

from packages import (PACKAGES, PROGRAMS, TREE, extracted, field, files, members, program, run)

pytestmark = pytest.mark.timeout(600)

SHARED = {
    "/usr/bin/{0}",
    "/usr/share/bash-completion/completions/{0}",
    "/usr/share/doc/{0}/README.md.gz",
    "/usr/share/doc/{0}/changelog.gz",
    "/usr/share/doc/{0}/copyright",
    "/usr/share/fish/vendor_completions.d/{0}.fish",
    "/usr/share/zsh/vendor-completions/_{0}",
}
CLIENT = {
    "/usr/share/man/man1/riposte.1.gz",
    "/usr/share/man/man1/riposte-probe.1.gz",
    "/usr/share/man/man7/riposte-probe-metrics.7.gz",
    "/usr/share/man/man7/riposte-stamp.7.gz",
    "/usr/share/riposte/schema/riposte-load-2.schema.json",
    "/usr/share/riposte/schema/riposte-load-interval-1.schema.json",
    "/usr/share/riposte/schema/riposte-mtu-1.schema.json",
    "/usr/share/riposte/schema/riposte-ping-2.schema.json",
    "/usr/share/riposte/schema/riposte-ping-interval-1.schema.json",
    "/usr/share/riposte/schema/riposte-ping-probe-1.schema.json",
    "/usr/share/riposte/schema/riposte-probe-1.schema.json",
    "/usr/share/riposte/schema/riposte-status-1.schema.json",
    "/usr/share/riposte/schema/riposte-throughput-1.schema.json",
}
DAEMON = {
    "/etc/riposte/riposted.toml",
    "/usr/lib/systemd/catalog/riposted.catalog",
    "/usr/share/lintian/overrides/riposted",
    "/usr/share/man/man5/riposted.toml.5.gz",
    "/usr/share/man/man7/riposted-metrics.7.gz",
    "/usr/share/man/man8/riposted.8.gz",
}


def units():
    return {path.name for path in (TREE / "packaging/systemd").iterdir()
            if path.suffix in (".service", ".socket")}


def without_usr(path):
    """Debian 12 has units in /lib, later releases in /usr/lib, which is the same directory."""
    return re.sub("^/usr/lib/systemd/system/", "/lib/systemd/system/", path)


class Files(unittest.TestCase):
    maxDiff = None

    def test_the_client_has_its_files_and_no_other(self):
        expected = {path.format("riposte") for path in SHARED} | CLIENT
        self.assertEqual(files("riposte"), expected)

    def test_the_daemon_has_its_files_and_every_unit_and_no_other(self):
        tree = TREE / "packaging/examples"
        examples = {f"/usr/share/doc/riposted/examples/{path.relative_to(tree)}"
                    for path in tree.rglob("*") if path.is_file()}
        self.assertIn("/usr/share/doc/riposted/examples/prometheus/riposte.rules.yml", examples)
        expected = {path.format("riposted") for path in SHARED} | DAEMON | examples
        expected |= {f"/lib/systemd/system/{unit}" for unit in units()}
        self.assertIn("riposted.socket", units())
        self.assertEqual({without_usr(path) for path in files("riposted")}, expected)

    def test_all_files_belong_to_root_and_only_programs_are_executable(self):
        for name in PROGRAMS:
            for path, (mode, owner) in members(name).items():
                expected = "-rw-r--r--"
                if path.endswith("/"):
                    expected = "drwxr-xr-x"
                elif path.startswith("/usr/bin/"):
                    expected = "-rwxr-xr-x"
                self.assertEqual((path, mode, owner), (path, expected, "root/root"))

    def test_the_configuration_is_the_only_conffile(self):
        conffiles = (extracted("riposted") / "DEBIAN/conffiles").read_text().split()
        self.assertEqual(conffiles, ["/etc/riposte/riposted.toml"])
        self.assertFalse((extracted("riposte") / "DEBIAN/conffiles").exists())

    def test_files_that_are_not_built_are_identical_to_the_tree(self):
        pairs = {
            "riposted": {
                "etc/riposte/riposted.toml": "riposted.toml",
                "usr/share/bash-completion/completions/riposted": "completions/riposted.bash",
                "usr/share/fish/vendor_completions.d/riposted.fish": "completions/riposted.fish",
                "usr/share/zsh/vendor-completions/_riposted": "completions/_riposted",
            },
            "riposte": {
                "usr/share/bash-completion/completions/riposte": "completions/riposte.bash",
                "usr/share/fish/vendor_completions.d/riposte.fish": "completions/riposte.fish",
                "usr/share/zsh/vendor-completions/_riposte": "completions/_riposte",
                "usr/share/riposte/schema/riposte-ping-2.schema.json":
                    "schema/riposte-ping-2.schema.json",
                "usr/share/riposte/schema/riposte-load-2.schema.json":
                    "schema/riposte-load-2.schema.json",
                "usr/share/riposte/schema/riposte-ping-probe-1.schema.json":
                    "schema/riposte-ping-probe-1.schema.json",
            },
        }
        for name, table in pairs.items():
            for installed, source in table.items():
                self.assertEqual((extracted(name) / installed).read_bytes(),
                                 (TREE / "packaging" / source).read_bytes(), installed)

    def test_manual_pages_have_the_correct_name_and_section(self):
        pages = [("riposte", "riposte", "1"), ("riposted", "riposted", "8"),
                 ("riposted", "riposted.toml", "5"), ("riposted", "riposted-metrics", "7")]
        for name, page, section in pages:
            path = extracted(name) / f"usr/share/man/man{section}/{page}.{section}.gz"
            text = gzip.decompress(path.read_bytes()).decode()
            self.assertRegex(text, rf'(?m)^\.TH "{re.escape(page)}" "{section}"')


class Control(unittest.TestCase):
    def test_the_daemon_recommends_the_client_and_neither_depends_on_the_other(self):
        self.assertIn("riposte", re.split(r",\s*", field("riposted", "Recommends")))
        for name, other in (PROGRAMS, reversed(PROGRAMS)):
            needed = re.findall(r"(?:^|, )([^ ,]+)", field(name, "Depends"))
            self.assertIn("libc6", needed)
            self.assertNotIn(other, needed)

    def test_the_programs_have_the_package_s_version_and_every_feature(self):
        version = field("riposted", "Version")
        for name in PROGRAMS:
            self.assertIn(version, run(program(name), "--version"))
        self.assertRegex(run(program("riposted"), "--version"), r"liburing \d")
        self.assertRegex(run(program("riposted"), "--version"), r"libsystemd \d")

    def test_the_changes_file_names_every_package_and_the_source(self):
        changes = [path for path in os.listdir(PACKAGES) if path.endswith(".changes")]
        self.assertEqual(len(changes), 1, changes)
        with open(os.path.join(PACKAGES, changes[0]), encoding="utf-8") as file:
            named = set(re.findall(r"(?m)^ [0-9a-f]{64} \d+ (\S+)$", file.read()))
        self.assertEqual(named, set(os.listdir(PACKAGES)) - set(changes))
        for ending in (".dsc", ".tar.xz", ".buildinfo"):
            self.assertTrue(any(path.endswith(ending) for path in named), ending)


class DebugSymbols(unittest.TestCase):
    def test_debug_symbols_belong_to_these_programs(self):
        for name in PROGRAMS:
            found = re.search(r"Build ID: ([0-9a-f]{40})", run("readelf", "-n", program(name)))
            self.assertIsNotNone(found, name)
            build_id = found[1]
            self.assertEqual(field(name + "-dbgsym", "Build-Ids").split(), [build_id])
            path = f"usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
            symbols = extracted(name + "-dbgsym") / path
            self.assertRegex(run("readelf", "-SW", symbols), r"\.debug_info\s+PROGBITS")

    def test_the_programs_are_stripped(self):
        for name in PROGRAMS:
            sections = run("readelf", "-SW", program(name))
            self.assertNotIn(".symtab", sections)
            self.assertNotIn(".debug_info", sections)
