"""Meson and pytest, replaced by scripts: how they are called, the rows that come of their output, and which
tests run again."""

import json
import os
import pathlib
import stat
import sys

import pytest

from tools.dev import results, suites
from tools.dev.trees import ROOM, Tree


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(suites, "TOP", tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (ROOM / "t/meson-logs").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def found(elsewhere):
    return results.Results(ROOM / "results.tsv")


def script(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def fake_meson(directory, *runs):
    """A meson whose n-th call logs the n-th of `runs`: program -> (result, TAP)."""
    for number, run in enumerate(runs):
        (directory / f"log{number}").write_text("\n".join(json.dumps(
            {"name": f"riposte:unit / {name}", "result": result, "returncode": 0, "stdout": tap,
             "duration": 1.0}) for name, (result, tap) in run.items()))
    script(directory / "bin/meson", f"""#!/bin/sh
n=$(cat {directory}/count 2>/dev/null || echo 0)
echo $((n + 1)) >{directory}/count
echo "$*" >>{directory}/calls
cp {directory}/log$n {directory}/build-dev/t/meson-logs/testlog.json
""")


def rows(found):
    return [(row.outcome, row.name) for row in found.rows]


def test_programs_that_pass_are_run_once(elsewhere, found):
    fake_meson(elsewhere, {"a": ("OK", "ok 1 - x\n"), "b": ("OK", "ok 1 - y\n")})
    suites.run_programs(found, "s", Tree("t"), suites=["unit", "sim"])
    assert rows(found) == [("passed", "a: x"), ("passed", "b: y")]
    (call,) = (elsewhere / "calls").read_text().splitlines()
    assert "--suite unit --suite sim" in call and "--no-rebuild" in call


def test_a_failed_program_is_run_again_alone(elsewhere, found):
    fake_meson(elsewhere, {"a": ("FAIL", "ok 1 - x\nnot ok 2 - y\n"), "b": ("OK", "ok 1 - z\n")},
               {"a": ("OK", "ok 1 - x\nok 2 - y\n")})
    suites.run_programs(found, "s", Tree("t"))
    assert rows(found) == [("passed", "a: x"), ("retried", "a: y"), ("passed", "b: z")]
    again = (elsewhere / "calls").read_text().splitlines()[1]
    assert "--num-processes 1" in again and again.endswith(" a")


def test_a_program_that_fails_again_has_failed(elsewhere, found):
    bad = {"a": ("FAIL", "ok 1 - x\nnot ok 2 - y\n")}
    fake_meson(elsewhere, bad, bad)
    suites.run_programs(found, "s", Tree("t"))
    assert rows(found) == [("passed", "a: x"), ("failed", "a: y")]


def test_a_crash_that_does_not_recur_is_retried_too(elsewhere, found):
    fake_meson(elsewhere, {"a": ("TIMEOUT", "ok 1 - x\n")}, {"a": ("OK", "ok 1 - x\nok 2 - y\n")})
    suites.run_programs(found, "s", Tree("t"))
    assert rows(found) == [("passed", "a: x"), ("retried", "a")]


def test_when_many_fail_nothing_is_run_again(elsewhere, found):
    fake_meson(elsewhere, {name: ("FAIL", "not ok 1 - x\n") for name in "abcd"})
    suites.run_programs(found, "s", Tree("t"))
    assert [outcome for outcome, _ in rows(found)] == ["failed"] * 4
    assert len((elsewhere / "calls").read_text().splitlines()) == 1


def test_a_meson_that_runs_nothing_has_failed(elsewhere, found):
    script(elsewhere / "bin/meson", "#!/bin/sh\nexit 0\n")
    suites.run_programs(found, "s", Tree("t"))
    assert rows(found) == [("failed", "meson test")]


def fake_pytest(directory, monkeypatch, body, status=0):
    """A Python that writes these rows to the file behind --results."""
    script(directory / "bin/fake-python", f"""#!/bin/sh
for word; do case $word in --results=*) printf '{body}' >"${{word#--results=}}";; esac; done
echo "output of pytest"
exit {status}
""")
    monkeypatch.setattr(sys, "executable", str(directory / "bin/fake-python"))


def test_pytest_s_rows_are_added(elsewhere, found, monkeypatch):
    fake_pytest(elsewhere, monkeypatch, "passed\\ta: x\\t\\t1.5\\nskipped\\ta: y\\tno IPv6\\t0\\n"
                                        "retried\\ta: z\\t\\t0.1\\n")
    suites.run_python(found, "s", ["tests"])
    assert rows(found) == [("passed", "a: x"), ("skipped", "a: y"), ("retried", "a: z")]
    assert found.rows[0].seconds == 1.5 and found.rows[1].reason == "no IPv6"


@pytest.mark.parametrize("body, status", [("", 0), ("", 5), ("passed\\ta: x\\t\\t1\\n", 3)])
def test_a_pytest_that_crashes_or_runs_nothing_has_failed(elsewhere, found, monkeypatch, body, status):
    fake_pytest(elsewhere, monkeypatch, body, status)
    suites.run_python(found, "s", ["tests"])
    assert rows(found)[-1] == ("failed", "pytest python")


def test_no_second_failure_is_added_to_a_failed_row(elsewhere, found, monkeypatch):
    fake_pytest(elsewhere, monkeypatch, "failed\\ta: x\\twhy\\t1\\n", 1)
    suites.run_python(found, "s", ["tests"])
    assert rows(found) == [("failed", "a: x")]


def test_no_two_modules_that_one_run_may_import_have_the_same_name():
    folders = ("support", "integration", "kernels", "package", "system", "dev")
    names = [path.stem for folder in folders for path in pathlib.Path("tests", folder).glob("*.py")]
    assert sorted(names) == sorted(set(names))
