"""One test by its name: what to install, build and run for it.

A word names a suite ("timers", "test_handover", "unit_daemon") or a test ("a slow reader"); upper and lower
case are equal, and so are blanks and underscores. The names are read from the sources, so that listing them,
or reporting an unknown one, needs no build.

A C++ source belongs to one or more Meson tests; Meson reports which tests and programs these are once the
tree `dev` is configured.
"""

import functools
import json
import pathlib
import re
from dataclasses import dataclass

from tools.dev import packages, process
from tools.dev.trees import Tree

#: The tree of single tests: no optimisation, no debug information, no unity build, so that an edit recompiles
#: one unit.
TREE = Tree("dev", ("-Doptimization=0", "-Ddebug=false"))

PYTHON_ROOMS = ("tests/integration", "tests/support", "tests/dev")
#: Tests that need more than a build tree run only in their stage.
STAGE_ROOMS = {"deb": "tests/package", "kernels": "tests/kernels", "system": "tests/system"}
CPP_ROOMS = ("tests/unit", "tests/conformance", "tests/sim", "tests/fuzz")
#: doctest's macro, and our own macros that are based on it.
_CASE = re.compile(r'(?m)^[A-Z_]*_CASE(?:_[A-Z]+)?\(\s*(?:[A-Za-z_:]+,\s*)?((?:"(?:[^"\\]|\\.)*"\s*)+)')
_CLASS = re.compile(r"^class (\w+)")
_METHOD = re.compile(r"^    def (test_\w+)|^def (test_\w+)")


@dataclass(frozen=True)
class Found:
    """A test, or a whole source if `case` is None."""
    path: str
    case: str = None     # C++: the case's name; Python: the function's
    group: str = None    # Python: the class

    @property
    def cpp(self):
        return self.path.endswith(".cpp")

    def __str__(self):
        stem = pathlib.Path(self.path).stem.removeprefix("test_")
        if self.case is None:
            return stem
        name = self.case.removeprefix("test_").replace("_", " ") if not self.cpp else self.case
        return f"{stem}: {self.group + ': ' if self.group else ''}{name}"


def plain(text):
    return " ".join(re.sub(r"[_\W]+", " ", text.lower()).split())


@functools.cache
def every_test():
    """All tests, in the order of the sources."""
    return list(_read_tests())


def _read_tests():
    for room in CPP_ROOMS:
        for path in sorted(pathlib.Path(room).rglob("*.cpp")):
            for found in _CASE.finditer(path.read_text(encoding="utf-8")):
                case = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found[1]))
                yield Found(str(path), case.replace('\\"', '"'))
            if room == "tests/fuzz" and path.stem.startswith("fuzz_"):
                yield Found(str(path), path.stem)
    for room in PYTHON_ROOMS:
        for path in sorted(pathlib.Path(room).glob("test_*.py")):
            group = None
            for line in path.read_text(encoding="utf-8").splitlines():
                if found := _CLASS.match(line):
                    group = found[1]
                elif found := _METHOD.match(line):
                    yield Found(str(path), found[1] or found[2], group if found[1] else None)


def matching(words):
    """(the tests that the words name, the words that name no test)."""
    tests, lost = {}, []
    catalog = every_test()
    for word in words:
        wanted = plain(word.removesuffix(".py").removesuffix(".cpp"))
        hits = [test for test in catalog if plain(pathlib.Path(test.path).stem)
                in (wanted, f"test {wanted}", f"fuzz {wanted}")
                or _program(test.path) == wanted.removeprefix("unit ")]
        hits = hits or [test for test in catalog if wanted in plain(str(test)) or
                        wanted in plain(test.case)]
        if not hits:
            lost.append(word)
        tests.update(dict.fromkeys(hits))
    return list(tests), lost


def stage_of(word):
    """The only stage that runs the module of that name, or None."""
    name = word.removesuffix(".py").removeprefix("test_")
    for stage, room in STAGE_ROOMS.items():
        if pathlib.Path(f"{room}/test_{name}.py").exists():
            return stage
    return None


def _program(path):
    """A suite that is one program as a whole: common, daemon, conformance, sim."""
    room = pathlib.Path(path).parts[1:]
    return room[1] if room[0] == "unit" else room[0]


# --- What a test needs ------------------------------------------------------------------------------

def packages_for(tests):
    needed = list(packages.BUILD)
    if any(not test.cpp for test in tests):
        needed += packages.PYTEST
    for test in tests:
        needed += packages.MODULES.get(pathlib.Path(test.path).stem.removeprefix("test_"), [])
    return needed


def programs_of(tree):
    """C++ source -> [(Meson's name of the test, the program, its target)] of a configured tree."""
    targets = json.loads(process.output(["meson", "introspect", "--targets", tree.path]))
    sources, files = {}, {}
    for target in targets:
        own = [source for group in target["target_sources"] for source in group.get("sources", ())]
        for name in target["filename"]:
            sources[name] = own
            files[name] = pathlib.Path(name).relative_to(tree.path.resolve())
    table = {}
    for test in json.loads(process.output(["meson", "introspect", "--tests", tree.path])):
        if all(suite.endswith("threads") for suite in test["suite"]):
            continue # tests of another program, chosen for ThreadSanitizer
        program = test["cmd"][0]
        for source in sources.get(program, ()):
            path = str(pathlib.Path(source).resolve().relative_to(pathlib.Path.cwd()))
            table.setdefault(path, []).append((test["name"], program, str(files[program]), test["cmd"][1:]))
    return table
