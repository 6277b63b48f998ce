"""./dev removes and writes to only what it made itself."""

import os

import pytest

from tools.dev import trees
from tools.dev.console import Failure
from tools.dev.trees import MARK, ROOM, Tree


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    # A meson that makes a tree, and fails if an argument is `broken`; it counts its calls.
    (programs / "meson").write_text(
        '#!/bin/sh\necho called >>"$PWD/calls"\ncase "$*" in *broken*) exit 1;; esac\n'
        'mkdir -p "$2" && touch "$2/build.ninja"\n')
    (programs / "meson").chmod(0o755)
    # Ninja's own rule runs Meson again when a meson.build is newer.
    (programs / "ninja").write_text('#!/bin/sh\necho "$*" >>"$PWD/ninja-calls"\n')
    (programs / "ninja").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


def calls(directory):
    return len((directory / "calls").read_text().splitlines())


def test_a_tree_is_configured_once(elsewhere):
    assert Tree("a", ("-Dx=1",)).configure() and Tree("a", ("-Dx=1",)).configure()
    assert calls(elsewhere) == 1


def test_a_configured_tree_follows_a_changed_list_of_sources(elsewhere):
    assert Tree("a").configure() and not (elsewhere / "ninja-calls").exists()
    assert Tree("a").configure()
    assert (elsewhere / "ninja-calls").read_text() == "-C build-dev/a -j 1 build.ninja\n"


def test_a_tree_is_made_anew_when_its_options_change(elsewhere):
    assert Tree("a", ("-Dx=1",)).configure()
    (ROOM / "a/left-over").touch()
    assert Tree("a", ("-Dx=2",)).configure()
    assert calls(elsewhere) == 2
    assert not (ROOM / "a/left-over").exists()


def test_a_tree_that_could_not_be_configured_is_tried_again(elsewhere):
    assert not Tree("a", ("broken",)).configure()
    assert not Tree("a", ("broken",)).configure()
    assert calls(elsewhere) == 2


def test_a_directory_without_the_mark_is_not_changed():
    trees.make_room()
    (ROOM / "a").mkdir()
    (ROOM / "a/precious").write_text("years of work")
    with pytest.raises(Failure, match="was not made by ./dev"):
        Tree("a").configure()
    assert (ROOM / "a/precious").read_text() == "years of work"


def test_a_build_dev_without_the_mark_is_not_written_to():
    ROOM.mkdir()
    (ROOM / "precious").touch()
    with pytest.raises(Failure, match="move it away, or remove it"):
        Tree("a").configure()
    assert os.listdir(ROOM) == ["precious"]


def test_a_directory_with_the_mark_is_removed(elsewhere):
    trees.make_anew(ROOM / "a/b")
    assert (ROOM / "a/b" / MARK).exists()
    trees.remove(ROOM / "a/b")
    assert not (ROOM / "a/b").exists()
    trees.remove(ROOM / "a/b")  # removing it again is no error


def test_no_two_commands_share_a_tree():
    from tools.dev import commands, demo, find, lint, stages
    own = [stages.CHECK, stages.ASAN, stages.THREADS, stages.MINIMAL, stages.SANITIZE, lint.TREE,
           demo.TREE, find.TREE, commands.RELEASE, commands.BENCH, commands.SOAK, commands.FUZZ]
    assert len({tree.path for tree in own}) == len(own)
    assert all(tree.path.parts[0] == "build-dev" for tree in own)
