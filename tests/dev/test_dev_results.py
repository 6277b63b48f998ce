"""Rows from TAP, from Meson's log and from pytest, and the verdict on a run."""

import json

import pytest

from tools.dev import results
from tools.dev.results import Row, of_meson, of_program, report, summary


def outcomes(tests):
    return [(outcome, name, reason) for outcome, name, reason, _ in tests]


def test_each_line_of_tap_is_a_test():
    text = "TAP version 13\nok 1 - a\n# why\nnot ok 2 - b\nok 3 - c # SKIP no IPv6\nok 4 - d \\# e\n1..4\n"
    tests = of_program("unit", False, "FAIL", text)
    assert outcomes(tests) == [("passed", "unit: a", ""), ("failed", "unit: b", ""),
                               ("skipped", "unit: c", "no IPv6"), ("passed", "unit: d \\# e", "")]
    assert tests[1][3] == ["# why"]


def test_a_skip_without_a_reason_says_so():
    assert outcomes(of_program("unit", True, "OK", "ok 1 - a # SKIP\n")) == [
        ("skipped", "unit: a", "no reason given")]


@pytest.mark.parametrize("text", ["", "TAP version 13\n1..0\n"])
def test_a_program_that_runs_no_test_has_failed(text):
    assert outcomes(of_program("unit", True, "OK", text)) == [("failed", "unit", "no test ran")]


def test_a_program_that_crashes_after_good_lines_has_failed():
    tests = of_program("unit", False, "FAIL, exit code -11", "ok 1 - a\n", "segmentation fault\n")
    assert outcomes(tests) == [("passed", "unit: a", ""), ("failed", "unit", "FAIL, exit code -11")]
    assert tests[-1][3] == ["# segmentation fault"]


def test_meson_s_log_is_read_program_by_program(tmp_path):
    log = tmp_path / "testlog.json"
    log.write_text("\n".join(json.dumps(entry) for entry in (
        {"name": "riposte:unit / common", "result": "OK", "returncode": 0, "duration": 2.0,
         "stdout": "ok 1 - a\n"},
        {"name": "riposte:sim / sim", "result": "TIMEOUT", "returncode": -15, "duration": 9.0})))
    found = of_meson(log)
    assert found["common"] == ([("passed", "common: a", "", [])], 2.0)
    assert outcomes(found["sim"][0]) == [("failed", "sim", "TIMEOUT, exit code -15")]
    assert of_meson(tmp_path / "none") == {}


def test_rows_are_read_back_from_their_file(tmp_path):
    found = results.Results(tmp_path / "rows.tsv")
    found.add("passed", "check", "a: b", seconds=1.5)
    found.add("failed", "check", "with\ta tab and\na break", "why")
    assert results.read(tmp_path / "rows.tsv") == [
        Row("passed", "check", "a: b", "", 1.5),
        Row("failed", "check", "with a tab and a break", "why", 0.0)]
    other = results.Results(tmp_path / "other.tsv")
    other.add_file(tmp_path / "rows.tsv", "root", "Debian 13: ")
    assert [row.name for row in other.of("root")] == ["Debian 13: a: b",
                                                       "Debian 13: with a tab and a break"]


def test_the_last_line_is_the_summary(capsys):
    rows = [Row("passed", "s", "a", seconds=2.0), Row("skipped", "s", "b", "no root")]
    assert report(rows) == 0
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert lines[-1] == "1 passed, 0 failed, 1 skipped"
    assert "    s: b: no root" in lines
    assert any(line.endswith("s: a") for line in lines)


@pytest.mark.parametrize("rows", [
    [], [Row("skipped", "s", "a", "why")], [Row("passed", "s", "a"), Row("failed", "s", "b")]])
def test_a_run_without_a_passed_test_or_with_a_failed_one_fails(rows):
    assert report(rows) == 1


def test_a_retried_test_counts_as_passed_and_is_named(capsys):
    rows = [Row("passed", "s", "a"), *[Row("retried", "s", f"r{n}") for n in range(results.RETRIED_MAX)]]
    assert report(rows) == 0
    text = capsys.readouterr().out
    assert "s: r0" in text and "s: r1" in text
    assert summary(rows) == "3 passed, 0 failed, 0 skipped"


def test_one_retried_test_too_many_fails_the_run():
    rows = [Row("retried", "s", f"r{n}") for n in range(results.RETRIED_MAX + 1)]
    assert report(rows) == 1
