"""What the stage `check` tests is compiled as a package is, so that its programs can be packed."""

import pathlib
import subprocess

import pytest

from tools.dev import packaged, packages, trees


def test_what_is_tested_has_the_options_and_flags_of_a_package():
    if not packages.on_debian():
        pytest.skip("this is not Debian")
    tree = packaged.PackagedTree("a", ("-Dwerror=true",)).as_packaged()
    rules = pathlib.Path("packaging/debian/rules").read_text(encoding="utf-8")
    assert tree.options[-1] == "-Dwerror=true" and "--prefix=/usr" in tree.options
    assert "-Db_ndebug=false" in tree.options and "-Db_ndebug=false" in rules
    flags = tree.environment["CXXFLAGS"].split()
    assert {"-O2", "-g1", "-fstack-protector-strong", "-fstack-clash-protection"} <= set(flags) and "-g" not in flags
    assert "-D_FORTIFY_SOURCE=" in tree.environment["CPPFLAGS"]
    assert "-Wl,-z,now" in tree.environment["LDFLAGS"]


def test_elsewhere_than_on_debian_it_is_a_plain_build(monkeypatch):
    monkeypatch.setattr(packages, "on_debian", lambda: False)
    tree = packaged.PackagedTree("a", ("-Dwerror=true",)).as_packaged()
    assert tree.options == (*packaged.PLAIN, "-Dwerror=true") and tree.environment == {}


def test_only_a_build_can_be_packed(tmp_path):
    done = subprocess.run([trees.TOP / "packaging/build-deb", tmp_path / "out", "--built", tmp_path],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"build-deb: {tmp_path} is not a build: it has no build.ninja\n"
