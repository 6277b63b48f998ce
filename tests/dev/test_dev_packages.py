"""apt, replaced by a script: which packages ./dev installs, and that it waits for apt's locks."""

import os

import pytest

from tools.dev import packages
from tools.dev.console import Failure


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """A Debian whose apt-get records its calls and fails as often as the file `locked` says."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apt-get").write_text(f"""#!/bin/sh
echo "$*" >>{tmp_path}/calls
locked=$(cat {tmp_path}/locked 2>/dev/null || echo 0)
if [ "$locked" -gt 0 ]; then
    echo $((locked - 1)) >{tmp_path}/locked
    echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)"
    exit 100
fi
if [ -e {tmp_path}/refuses ]; then echo "E: Unable to locate package"; exit 100; fi
""")
    (programs / "dpkg-query").write_text('#!/bin/sh\necho "meson installed"\necho "gone deinstall"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(packages, "on_debian", lambda: True)
    monkeypatch.setattr(packages, "_lists_are_fresh", lambda: True)
    monkeypatch.setattr(packages.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
    return tmp_path


def calls(apt):
    path = apt / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_only_missing_packages_are_installed(apt):
    packages.need(["meson", "fish", "gone", "fish"])
    assert len(calls(apt)) == 1
    assert calls(apt)[0].endswith("install -y -qq --no-install-recommends fish gone")


def test_apt_is_not_called_when_nothing_is_missing(apt):
    packages.need(["meson"])
    assert not calls(apt)


def test_dev_waits_for_a_lock_of_another_program(apt, capsys):
    (apt / "locked").write_text("3")
    packages.need(["fish"])
    assert len(calls(apt)) == 4
    assert capsys.readouterr().out.count("waiting for it") == 1


def test_a_failed_installation_names_its_log(apt):
    (apt / "refuses").touch()
    with pytest.raises(Failure, match="could not install them, see .*apt.log"):
        packages.need(["fish"])


def test_without_root_and_sudo_the_command_is_named(apt, monkeypatch):
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(Failure, match="apt-get install --no-install-recommends fish"):
        packages.need(["fish"])


def test_no_list_names_a_package_twice():
    for name in ("BUILD", "PYTEST", "DEB", "DEB_TESTS", "SYSTEM", "CLANG", "LINT", "BENCH",
                 "BENCH_TRUTH"):
        names = getattr(packages, name)
        assert len(set(names)) == len(names), name
