"""The kernels of the stage `kernels`: the table and the README, the cache with a mirror that is a script, and the
rows that come of what a guest leaves."""

import contextlib
import dataclasses
import os
import pathlib
import re
import time

import pytest

from tools.dev import emulated, guest_networks, guest_suites, guest_system, guests, kernels, mirror, results, stages
from tools.dev.console import Failure

ROW = kernels.Kernel("6.1", "Debian 12", "bookworm", "test", "io_uring", "", "", 6)


# The table

def test_every_row_has_a_series_of_its_own():
    rows = kernels.table()
    assert len({row.series for row in rows}) == len(rows)
    assert all(row.form in ("test", "named") for row in rows)


def test_a_row_says_why_a_kernel_has_no_ring_or_what_the_ring_permits():
    for row in kernels.table():
        assert row.backend in ("io_uring", "epoll")
        assert bool(row.refusal) == (row.backend == "epoll"), row.series
        assert bool(row.operations) == (row.backend == "io_uring"), row.series


def test_the_readme_names_the_kernels_of_the_table():
    named = {}
    for row in kernels.of_every_run():
        named[row.series] = row.origin
    text = ", ".join(f"{series} ({origin})" for series, origin in named.items())
    readme = " ".join(pathlib.Path("README.md").read_text(encoding="utf-8").split())
    assert f"The tests boot Linux {text}" in readme, text


def test_the_stage_has_a_step_for_each_kernel_of_the_short_form(tmp_path):
    steps = {step.key for step in stages.kernels_steps(results.Results(tmp_path / "results"))}
    assert {key for key in steps if key.rpartition(" ")[2][0].isdigit()} == {
        f"kernels: {row.series}" for row in kernels.of_every_run()}


def test_kernels_are_chosen_by_series():
    newer = dataclasses.replace(ROW, series="6.12")
    assert kernels.chosen(["6.12"], [ROW, newer]) == [newer]
    assert kernels.chosen(["6.1"], [ROW, newer]) == [ROW]
    with pytest.raises(Failure, match="unknown kernel 4.19; known are: 6.1, 6.12"):
        kernels.chosen(["4.19", "6.1"], [ROW, newer])


@pytest.mark.parametrize("version, series", [
    ("6.1-2um-1+b1", "6.1"), ("6.12.33-1", "6.12"), ("1:7.2um1", "7.2"), ("5.10.1um", "5.10")])
def test_the_series_is_in_a_package_s_version(version, series):
    assert kernels.series_of(version) == series


def test_the_modules_in_a_guest_exist():
    assert guest_suites.MODULES == sorted(guest_suites.MODULES)
    assert set(guest_suites.ON_EPOLL_TOO) <= set(guest_suites.MODULES)
    stages.modules_but(guest_suites.MODULES)


def test_the_tests_of_a_guest_exist():
    written = {path.name for path in guest_networks.DIRECTORY.glob("test_*.py")}
    own_guest = pathlib.PurePath(guest_system.TESTS).name
    assert written == {*guest_networks.EVERYWHERE, *guest_networks.NETWORKS, own_guest}
    for name in guest_networks.NETWORKS_SHORT:
        file, cases, case = name.split("::")
        text = (guest_networks.DIRECTORY / file).read_text(encoding="utf-8")
        assert f"class {cases}(" in text and f"    def {case}(self" in text, name


def test_networks_are_tested_in_each_guest_of_the_long_form_and_in_the_newest_one_of_the_short_form():
    newest = next(row for row in kernels.of_every_run() if row.series == guest_networks.newest())
    old = next(row for row in kernels.of_every_run() if row is not newest)
    with_networks = [len(guest_networks.tests(row, long)) > len(guest_networks.EVERYWHERE)
                     for row, long in ((newest, True), (newest, False), (old, True), (old, False))]
    assert with_networks == [True, True, True, False]


def test_a_kernel_with_io_uring_runs_both_backends():
    assert guest_suites.runs_of(ROW) == ["io_uring", "epoll"]
    old = dataclasses.replace(ROW, backend="epoll")
    assert guest_suites.runs_of(old) == ["epoll"]


# The mirror

@pytest.fixture
def apt(tmp_path, monkeypatch):
    """apt-get and dpkg-deb as scripts, which record their calls."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apt-get").write_text(f"""#!/bin/sh
case "$*" in
*indextargets*) cat {tmp_path}/sources 2>/dev/null; exit 0;;
*update*) [ ! -e {tmp_path}/down ] || {{ echo "W: something"; echo "E: Could not resolve"; exit 100; }};;
*download*) [ ! -e {tmp_path}/gone ] || {{ echo "E: Unable to locate package user-mode-linux"; exit 100; }}
            echo fetched >>{tmp_path}/calls
            touch user-mode-linux_1_amd64.deb libc6_2_amd64.deb libgcc-s1_3_amd64.deb;;
esac
""")
    (programs / "dpkg-deb").write_text("""#!/bin/sh
case $1 in
--field) echo 6.1-2um-1+b1;;
--extract) mkdir -p "$3/usr/lib/uml/modules/6.1.0" "$3/usr/bin";;
esac
""")
    (programs / "depmod").write_text("#!/bin/sh\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    (tmp_path / "sources").write_text("https://mirror.invalid/debian/\nhttps://other.invalid/repository/\n")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def fetches(apt):
    path = apt / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_the_mirror_is_that_of_this_machine_s_sources(apt):
    assert mirror.address() == "https://mirror.invalid/debian"
    assert mirror.address(security=True) == "https://mirror.invalid/debian-security"
    (apt / "sources").write_text("https://other.invalid/repository/\n")
    assert mirror.address() == "" and mirror.address(security=True) == ""


def test_a_kernel_is_fetched_once(apt):
    for _ in range(2):
        with kernels.Home(ROW) as home:
            assert home.series == "6.1"
            assert (home.path / "host").is_dir() and (home.path / "lib").is_symlink()
    assert fetches(apt) == 1


def test_an_old_kernel_is_fetched_again(apt):
    with kernels.Home(ROW) as home:
        pass
    make_old(home)
    with kernels.Home(ROW):
        pass
    assert fetches(apt) == 2


def make_old(home):
    long_ago = time.time() - kernels.KEPT_SECONDS - 1
    os.utime(home.path / ".series", (long_ago, long_ago))


def test_an_old_kernel_is_used_while_the_mirror_does_not_answer(apt, capsys):
    with kernels.Home(ROW) as home:
        pass
    make_old(home)
    (apt / "down").touch()
    with kernels.Home(ROW) as home:
        assert home.series == "6.1"
    assert "the one in the cache is used, because the mirror's lists" in capsys.readouterr().out


@pytest.mark.parametrize("change, reason", [
    (lambda apt: (apt / "down").touch(), "E: Could not resolve"),
    (lambda apt: (apt / "sources").write_text(""), "no apt source of this machine names a Debian mirror"),
    (lambda apt: (apt / "gone").touch(), "E: Unable to locate package user-mode-linux")])
def test_a_kernel_that_is_not_available_is_skipped_by_name_and_reason(apt, monkeypatch, change, reason):
    change(apt)
    monkeypatch.setattr(guests, "refusal", lambda: None)
    found = results.Results(apt / "results")
    guest_suites.run(found, ROW, None)
    (row,) = found.rows
    assert (row.outcome, row.name) == ("skipped", "6.1 every suite")
    assert reason in row.reason


def test_where_guests_cannot_run_each_kernel_is_skipped_with_the_reason(apt, monkeypatch):
    monkeypatch.setattr(guests, "refusal", lambda: "needs root")
    found = results.Results(apt / "results")
    guest_suites.run(found, ROW, None)
    assert [row[:4] for row in found.rows] == [("skipped", "kernels", "6.1 every suite", "needs root")]


def test_a_suite_that_has_moved_on_is_reported(apt, monkeypatch):
    monkeypatch.setattr(guests, "refusal", lambda: None)
    monkeypatch.setattr(guests, "directory", lambda name: apt)
    monkeypatch.setattr(guests, "run", lambda *_: guests.Ended(apt, 0, 1.0))
    monkeypatch.setattr(guest_suites, "job", lambda *_: "")
    found = results.Results(apt / "results")
    guest_suites.run(found, dataclasses.replace(ROW, series="6.0"), None)
    assert found.rows[0].outcome == "skipped"
    assert found.rows[0].reason.startswith("bookworm has 6.1 now, which runs instead")
    assert all(row.name.startswith("6.1 ") for row in found.rows[1:])


# What a guest leaves

@pytest.fixture
def left(tmp_path):
    """The directory of a guest in which everything passed."""
    for program in guest_suites.PROGRAMS:
        (tmp_path / f"{program}.tap").write_text("1..2\nok 1 - a\nok 2 - b # SKIP no IPv6\n")
        (tmp_path / f"{program}.status").write_text("0\n")
    for name in ("io_uring", "epoll"):
        (tmp_path / f"{name}.tsv").write_text(f"passed\techo-{name}: Stream: x\t\t1.5\n")
        (tmp_path / f"{name}.status").write_text("0\n")
    (tmp_path / "dmesg").write_text("[    0.1] Linux version 6.1.0\n")
    return tmp_path


def collected(left, status=0):
    found = results.Results(left / "results")
    ended = guests.Ended(left, status, 60.0)
    guest_suites.collect(found, "kernels", "6.1", ended, guest_suites.runs_of(ROW))
    return [(row.outcome, row.name) for row in found.rows]


def test_each_case_is_a_row(left):
    assert collected(left) == [
        ("passed", "6.1 conformance: a"), ("skipped", "6.1 conformance: b"),
        ("passed", "6.1 unit_daemon: a"), ("skipped", "6.1 unit_daemon: b"),
        ("passed", "6.1 echo-io_uring: Stream: x"), ("passed", "6.1 echo-epoll: Stream: x"),
        ("passed", "6.1 the kernel's log")]


@pytest.mark.parametrize("line", [
    "[   12.0] WARNING: CPU: 0 PID: 12 at io_uring/rsrc.c:220", "[    9.9] BUG: kernel NULL pointer dereference",
    "[    1.2] Oops: 0000 [#1]"])
def test_a_warning_of_the_kernel_fails(left, line):
    with open(left / "dmesg", "a", encoding="ascii") as file:
        file.write(line + "\n")
    assert collected(left)[-1] == ("failed", "6.1 the kernel's log")


def test_a_guest_that_ends_early_fails_with_its_last_words(left):
    (left / "unit_daemon.status").unlink()
    for name in ("io_uring.status", "epoll.status", "epoll.tsv", "dmesg"):
        (left / name).unlink()
    (left / "console").write_text("booting\nKernel panic - not syncing: no memory\nmore\n")
    rows = collected(left, None)
    assert ("failed", "6.1 unit_daemon") in rows and ("passed", "6.1 conformance: a") in rows
    assert ("failed", "6.1 pytest io_uring") in rows and ("failed", "6.1 pytest epoll") in rows
    assert rows[-1] == ("failed", "6.1 the kernel's log")
    assert "Kernel panic" in guests.Ended(left, None, 60.0).how()


def test_a_run_without_a_test_has_failed(left):
    (left / "epoll.tsv").unlink()
    assert ("failed", "6.1 pytest epoll") in collected(left)


def test_a_job_keeps_its_words(tmp_path):
    text = guests.job(["true"], {"A": "it's", "B": 3})
    assert text == "export A='it'\"'\"'s'\nexport B=3\ntrue\n"
    assert not re.search(r"^\s", text)


def test_the_guest_s_scripts_are_there_and_executable():
    for name in (guests.START, guests.INIT, "tests/kernels/suites"):
        assert os.access(name, os.X_OK), name


# Emulated machines

def test_the_newest_package_of_a_series_is_taken_by_its_numbers():
    names = ["linux-image-6.17.8+deb13-cloud-amd64", "linux-image-6.17.13+deb13-cloud-amd64",
             "linux-image-6.1.9+deb13-cloud-amd64", "linux-image-7.3.4+deb13-cloud-amd64",
             "linux-image-7.3.4+deb13-amd64", "linux-image-cloud-amd64"]
    assert emulated.newest_package(names, "6.17") == "6.17.13+deb13-cloud-amd64"
    assert emulated.newest_package(names, "6.1") == "6.1.9+deb13-cloud-amd64"
    assert emulated.newest_package(names, emulated.NEWEST) == "7.3.4+deb13-cloud-amd64"
    assert emulated.newest_package(names, "6.16") is None


def test_the_names_of_emulated_machines_are_no_series():
    names = [row.name for row in emulated.table()]
    assert len(set(names)) == len(names)
    assert all(name.startswith("emulated-") for name in names)


def test_what_an_emulated_machine_says_is_compared_with_its_row():
    row = emulated.Emulated("emulated-6.16", "6.16", "suite", 2, "capped multishot receive", 6)
    log = ("6.16.12+deb13-cloud-amd64\n2\n"
           "riposted: this kernel's io_uring lacks capped multishot receive; it works without\n"
           "riposted: sandbox: seccomp on, io_uring limited to 6 operations\n"
           "riposted: ready: backend io_uring, 2 workers, 1 listener\nriposted 0\n")
    assert not any(emulated.expectations(row, log).values())
    for changed in ("6.17.1\n", "1\n", "epoll", "nothing", "limited to 7", "riposted 1"):
        old = {"6.17.1\n": "6.16.12+deb13-cloud-amd64\n", "1\n": "2\n", "epoll": "backend io_uring",
               "nothing": "capped multishot receive", "limited to 7": "limited to 6", "riposted 1": "riposted 0"}
        assert any(emulated.expectations(row, log.replace(old[changed], changed, 1)).values()), changed
    assert all(emulated.expectations(row, "").values())


def test_a_memory_image_is_what_cpio_reads(tmp_path):
    (tmp_path / "file").write_text("content")
    with contextlib.closing(emulated.Image(tmp_path / "image")) as image:
        image.add_file(tmp_path / "file", "a/b/file")
        image.add_file(tmp_path / "file", "a/b/file")
    data = (tmp_path / "image").read_bytes()
    assert len(data) % 4 == 0 and data.count(b"070701") == 4
    positions = [data.index(name) for name in (b"a\0", b"a/b\0", b"a/b/file\0", b"content", b"TRAILER!!!\0")]
    assert positions == sorted(positions)


def test_a_machine_without_qemu_skips_by_name_and_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(guests, "refusal", lambda: None)
    monkeypatch.setattr(emulated.shutil, "which", lambda name: None)
    found = results.Results(tmp_path / "results")
    emulated.run(found, emulated.table()[0], None)
    (row,) = found.rows
    assert (row.outcome, row.name) == ("skipped", f"{emulated.table()[0].name} every suite")
    assert "qemu-system-x86" in row.reason
