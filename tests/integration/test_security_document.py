"""The tests that SECURITY.md names for each promise exist.

Promises stand in tables whose last column is `shown by`. It has, in backquotes, a module of the
integration tests, which its classes may follow; a file below tests/; or a suite of Meson.
"""

import ast
import pathlib
import re
import unittest

TESTS = pathlib.Path(__file__).resolve().parents[1]
DOCUMENT = TESTS.parent / "SECURITY.md"


def promises(text):
    """(promise, tests that show it) of every row of the tables."""
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return [row for row in cells if row[-1] != "shown by" and set("".join(row)) != {"-"}]


def classes_of(path):
    """The classes in a file that have a test."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)
            and any(isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
                    for each in node.body)}


def missing(shown_by):
    """The names in a last column that do not exist."""
    names = re.findall(r"`([^`]+)`([^`;]*)", shown_by)
    if not names and shown_by != "all of these":
        return [f"no test: {shown_by!r}"]
    found = []
    for name, after in names:
        path = TESTS / name
        if re.fullmatch(r"test_\w+", name):
            path = TESTS / "integration" / (name + ".py")
        if not path.exists():
            found.append(name)
            continue
        wanted = set(re.findall(r"\b[A-Z]\w+", after))
        found += sorted(wanted - classes_of(path)) if wanted else []
    return found


class Promises(unittest.TestCase):
    def test_every_promise_is_shown_by_tests_that_exist(self):
        rows = promises(DOCUMENT.read_text(encoding="utf-8"))
        self.assertGreater(len(rows), 15)
        for row in rows:
            self.assertEqual(len(row), 2, row)
            self.assertEqual(missing(row[1]), [], row[0])

    def test_a_missing_test_is_found(self):
        self.assertEqual(missing("`test_limits` Limits, Nonsense; `sim`"), ["Nonsense"])
        self.assertEqual(missing("`test_nothing` Limits"), ["test_nothing"])
        self.assertEqual(missing("`unit/daemon/test_nothing.cpp`"), ["unit/daemon/test_nothing.cpp"])
        self.assertEqual(missing("nobody"), ["no test: 'nobody'"])
        self.assertEqual(missing("`test_limits` Limits, Descriptors; `system/test_service.py` Units"), [])


if __name__ == "__main__":
    unittest.main()
