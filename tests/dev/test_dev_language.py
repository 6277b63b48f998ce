"""language.py: which phrases it finds, where it looks, and that what it looks at is clean."""

import pathlib

import pytest

from tools.dev import language


def found(text, name="README.md"):
    return list(language.findings_in(name, text))


def test_the_places_that_were_cleaned_up_are_clean():
    assert not list(language.findings())


def test_every_place_exists_and_has_text():
    for place in language.PLACES:
        assert list(language.files(places=[place])), place


@pytest.mark.parametrize("text", [
    "Nobody waits for whoever reads the log.",
    "What it can not do.",
    "Who came while it was off is not told of.",
    "peers that take nothing of what they are owed",
    "a look in vain",
    "at home under systemd",
    "a daemon's own delay laid to them",
    "what it bears",
    "an idle one makes way",
    "It runs for ever.",
    "one in so many datagrams",
    "Who asks twice, is refused.",
])
def test_a_phrase_is_found(text):
    assert found(text)


@pytest.mark.parametrize("text", [
    "Who reads the log?",
    "An attacker who forges a prefix shares its rate.",
    "It was told to stop.",
    "riposted drops the datagram and counts it.",
    "`newcomer_rate` counts them, and newcomer_rate too.",
    "It allowed one, and showed it; the owner knows.",
    "`nobody` is the name of a test, and ``who owes`` another",
    "```\nnobody\n```\n",
])
def test_plain_english_passes(text):
    assert not found(text)


def test_a_finding_has_its_line_and_what_to_write_instead():
    assert found("one\ntwo\nand can not\n") == ["README.md:3: 'can not': cannot"]


def test_a_phrase_goes_on_over_the_end_of_a_line():
    assert found("it can\nnot be\n") == ["README.md:1: 'can not': cannot"]
    assert found("/// it can\n    /// not be\n", "a.h") == ["a.h:1: 'can not': cannot"]
    assert found("# it can\n# not be\n", "a.toml") == ["a.toml:1: 'can not': cannot"]


def test_lines_of_code_count():
    enum = "enum E {\n    one, ///< fine\n    two, ///< can not\n};\nint nobody; // whoever\n"
    assert [line.split(":")[1] for line in found(enum, "a.h")] == ["3", "5"]


def test_in_cpp_only_what_people_read_is_looked_at():
    assert not found("c.owed.bytes = nobody(whoever, owed);\n", "a.cpp")
    assert not found("const char quote = '\"'; int nobody = 0; // plain\n", "a.cpp")
    assert found("log(\"can not read\");\n", "a.cpp") == ["a.cpp:1: 'can not': cannot"]
    assert found("int x = 1'000; // can not, the peer's\n", "a.cpp") == ["a.cpp:1: 'can not': cannot"]
    assert found("int x; // can not\n", "a.cpp") and found("/* whoever */ int x;\n", "a.cpp")
    assert found("auto text = R\"(\n\"whoever\" reads)\";\n", "a.cpp")[0].startswith("a.cpp:2:")


def test_folders_are_searched_and_pictures_are_not(tmp_path):
    for name in ("docs/a.md", "docs/b.svg", "docs/below/c.toml"):
        path = pathlib.Path(tmp_path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("nobody\n", encoding="utf-8")
    names = [line.split(":")[0] for line in language.findings(tmp_path, ["docs"])]
    assert names == ["docs/a.md", "docs/below/c.toml"]
