"""The documents against the tree: links lead somewhere, the layout is the tree's, the README stays short."""

import pathlib
import re

DOCUMENTS = [pathlib.Path(name) for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
DOCUMENTS += sorted(pathlib.Path("docs").glob("*.md"))
README_LINES_MAX = 130


def read(path):
    return pathlib.Path(path).read_text(encoding="utf-8")


def broken_links(path):
    """Relative links of a Markdown file to what is not there."""
    targets = re.findall(r"\]\(([^)#\s]+)", read(path))
    return [target for target in targets
            if "://" not in target and not (path.parent / target).exists()]


def missing_files(text):
    """Files of the tree that the text names in backquotes, by their paths, and that are not there."""
    names = re.findall(r"`((?:daemon|client|common|packaging|tests|tools|docs)/[\w./-]+\.\w+)`", text)
    return sorted({name for name in names if "NAME" not in name and not pathlib.Path(name).exists()})


def layout(text):
    """The paths that the first block below "## Layout" names: one a line, indented below its folder."""
    block = re.search(r"## Layout\n+```\n(.*?)```", text, re.DOTALL)[1]
    folder, paths = None, []
    for line in block.splitlines():
        name = line.split()[0].rstrip("/")
        folder = name if not line.startswith(" ") else folder
        paths.append(name if name == folder and not line.startswith(" ") else f"{folder}/{name}")
    return paths


def test_links_lead_to_what_exists():
    assert {str(path): broken_links(path) for path in DOCUMENTS if broken_links(path)} == {}


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[a](page.md), [b](https://example.org/x), [c](gone.md#part)\n", encoding="utf-8")
    assert broken_links(page) == ["gone.md"]


def test_files_that_the_documents_name_exist():
    assert {str(path): missing_files(read(path)) for path in DOCUMENTS if missing_files(read(path))} == {}
    assert missing_files("`daemon/main.cpp`, `daemon/gone.cpp`, `gone.cpp`") == ["daemon/gone.cpp"]


def test_the_layout_names_what_exists_and_every_folder():
    paths = layout(read("CONTRIBUTING.md"))
    assert len(paths) == len(set(paths))
    assert [path for path in paths if not pathlib.Path(path).exists()] == []
    folders = {str(path) for top in ("daemon", "client", "common", "packaging", "tests", "tools")
               for path in pathlib.Path(top).glob("*/") if path.is_dir() and path.name != "__pycache__"}
    assert folders - set(paths) == set()


def test_the_readme_is_short_and_has_a_picture_and_the_commands():
    text = read("README.md")
    assert len(text.splitlines()) <= README_LINES_MAX
    assert re.search(r"!\[[^]]+\]\(docs/[\w-]+\.svg\)", text)
    for command in ("./dev demo", "./dev test", "./dev deb", "meson setup build && ninja -C build"):
        assert command in text, command


def test_the_changelog_begins_with_the_version_that_is_built():
    version = re.search(r"version: '([^']+)'", read("meson.build"))[1]
    assert re.search(r"(?m)^## (\S+)", read("CHANGELOG.md"))[1] == version
    assert read("packaging/debian/changelog").startswith(f"riposte ({version}) ")
