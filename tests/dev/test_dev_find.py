"""A word finds the tests that it names; a word that names none is reported."""

import pathlib
import re

import pytest

from tools.dev import find, packages
from tools.dev.trees import TOP


@pytest.fixture(autouse=True)
def at_the_top(monkeypatch):
    monkeypatch.chdir(TOP)


def sources(words):
    tests, lost = find.matching(words)
    assert not lost
    return {test.path for test in tests}


@pytest.mark.parametrize("word, path", [
    ("timers", "tests/unit/daemon/test_timers.cpp"),
    ("test_timers", "tests/unit/daemon/test_timers.cpp"),
    ("test_timers.cpp", "tests/unit/daemon/test_timers.cpp"),
    ("handover", "tests/integration/test_handover.py"),
    ("test_handover.py", "tests/integration/test_handover.py"),
    ("fuzz_units", "tests/fuzz/fuzz_units.cpp"),
])
def test_a_suite_is_found_by_its_name(word, path):
    assert path in sources([word])


def test_a_whole_program_is_found_by_its_name():
    assert sources(["conformance"]) == {str(path) for path in pathlib.Path("tests/conformance").glob(
        "test_*.cpp")}
    assert len(sources(["daemon"])) > 30


def test_a_test_is_found_by_part_of_its_name():
    tests, lost = find.matching(["a slow reader is not reset"])
    assert not lost
    assert [(test.path, test.group, test.case) for test in tests] == [
        ("tests/integration/test_backpressure.py", "LateReader",
         "test_a_slow_reader_is_not_reset_while_it_reads")]
    assert sources(["AN EMPTY wheel_needs"]) == {"tests/unit/daemon/test_timers.cpp"}


def test_words_add_up_and_a_word_without_tests_is_named():
    tests, lost = find.matching(["timers", "no such test", "test_cidr"])
    assert lost == ["no such test"]
    assert {pathlib.Path(test.path).name for test in tests} == {"test_timers.cpp", "test_cidr.cpp"}


def test_a_suite_s_name_does_not_find_tests_that_mention_it():
    assert all("test_echo" in path for path in sources(["echo"]))


def test_every_case_of_every_source_is_known():
    """The cases of a macro that the search does not know would be hidden."""
    for room in find.CPP_ROOMS:
        for path in pathlib.Path(room).rglob("test_*.cpp"):
            text = path.read_text(encoding="utf-8")
            macros = len(re.findall(r"(?m)^\w+_CASE\w*\(", text))
            assert len([test for test in find.every_test() if test.path == str(path)]) == macros, path


def test_only_what_a_test_needs_is_installed():
    cpp, _ = find.matching(["timers"])
    assert find.packages_for(cpp) == packages.BUILD
    completions, _ = find.matching(["test_completions"])
    assert "fish" in find.packages_for(completions)
    assert "prometheus" not in find.packages_for(completions)


def test_packages_of_modules_name_modules_that_exist():
    for module in packages.MODULES:
        assert pathlib.Path(f"tests/integration/test_{module}.py").exists(), module
