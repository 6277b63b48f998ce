"""The formatter and the linters.

clang-tidy spends most of its time on parsing headers again for each source that includes them. So it checks
the product in the units of a unity build. The tests, the path-sensitive analyzer, which takes as long as
all other checks together, and the dearest of these belong to the long form.
"""

import json
import pathlib
import re
from concurrent.futures import ThreadPoolExecutor

from tools.dev import arrows, language, process
from tools.dev.console import say
from tools.dev.trees import CLANG, ROOM, Tree

TREE = Tree("tidy", ("-Dunity=on", "-Dunity_size=24", "-Doptimization=0", "-Ddebug=false"), CLANG)
SCRIPTS = ["dev", ".ci/run", "packaging/build-deb", "packaging/lint-deb",
           "packaging/debian/tests/programs", "packaging/debian/tests/socket",
           "packaging/man/with-tables", "tests/kernels/init", "tests/kernels/start",
           "tests/kernels/suites", "tests/system/boot"]
#: Files that are also checked when a generated unit includes them.
HEADERS = r".*/(common|daemon|client|tests)/.*\.(h|cpp)$"
#: Left to the long form: the analyzer, and the checks that take a quarter of the time of all others and have found
#: nothing here.
FAST = ("-clang-analyzer-*,-bugprone-suspicious-include,-performance-unnecessary-value-param,"
        "-bugprone-standalone-empty,-bugprone-reserved-identifier,-bugprone-stringview-nullptr,"
        "-bugprone-undelegated-constructor")
#: Sources that only some builds compile.
NOT_BUILT = re.compile(r"tests/bench/peers/|tests/kernels/|test_sandbox_absent\.cpp$|tests/fuzz/replay\.cpp$")
ROOMS = ("common", "daemon", "client", "tests")


def sources(*suffixes):
    return sorted(path for room in ROOMS for path in pathlib.Path(room).rglob("*")
                  if path.suffix in suffixes)


def run_format(found):
    """clang-format and shellcheck."""
    if process.output(["clang-format-19", "--version"]) is None:
        found.add("skipped", "lint", "format", "clang-format-19 is not installed")
    else:
        for path in sources(".cpp", ".h"):
            good = process.output(["clang-format-19", "--dry-run", "-Werror", path]) is not None
            found.add("passed" if good else "failed", "lint", f"format {path}",
                      "" if good else f"run: clang-format-19 -i {path}")
    if process.output(["shellcheck", "--version"]) is None:
        found.add("skipped", "lint", "shellcheck", "shellcheck is not installed")
        return
    for path in SCRIPTS:
        log = ROOM / "shellcheck.log"
        good = process.run(["shellcheck", path], log=log).ok
        if not good:
            say(log.read_text(encoding="utf-8"))
        found.add("passed" if good else "failed", "lint", f"shellcheck {path}")


def units():
    """The units of the tree `tidy`, each with its sources: a unity unit has the sources that it includes."""
    table = {}
    for entry in json.loads((TREE.path / "compile_commands.json").read_text(encoding="utf-8")):
        path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        text = path.read_text(encoding="utf-8", errors="replace")
        if "-unity" in path.name:
            table[path] = [_relative(name) for name in re.findall(r'#include ?[<"](.*\.cpp)[">]', text)]
        else:
            table[path] = [_relative(path)]
    return table


def _relative(path):
    path = (TREE.path / path).resolve() if not pathlib.Path(path).is_absolute() else pathlib.Path(path)
    return str(path.resolve().relative_to(pathlib.Path.cwd()))


def run_stray(found):
    """Finds sources that no meson.build names: tests that never run."""
    built = {name for names in units().values() for name in names}
    stray = [str(path) for path in sources(".cpp")
             if str(path) not in built and not NOT_BUILT.search(str(path))]
    found.add("failed" if stray else "passed", "lint", "every source is built",
              f"no meson.build names {', '.join(stray)}" if stray else "")


def run_arrows(found):
    """Finds includes that tools/dev/arrows.py does not allow."""
    wrong = list(arrows.forbidden())
    found.add("failed" if wrong else "passed", "lint", "the arrows between rooms", "; ".join(wrong))


def run_language(found):
    """No phrase that a native reader has to read twice, where it was cleaned up."""
    wrong = list(language.findings())
    if wrong:
        say("\n".join(wrong))
    found.add("failed" if wrong else "passed", "lint", "plain English",
              f"{len(wrong)} phrases, above" if wrong else "")


def run_tidy(found, stage, jobs, whole):
    """The product with every check except the analyzer; `whole`: also the tests and the analyzer."""
    if process.output(["clang-tidy-19", "--version"]) is None:
        found.add("skipped", stage, "clang-tidy", "clang-tidy-19 is not installed")
        return
    chosen = [(path, names) for path, names in units().items()
              if whole or not all(name.startswith("tests/") for name in names)]
    chosen.sort(key=lambda item: -len(item[1]))
    with ThreadPoolExecutor(jobs) as pool:
        for (path, names), done in zip(chosen, pool.map(
                lambda item: _tidy(item[0], whole), chosen)):
            good, cpu, log = done
            process.charge(cpu)
            if not good:
                say("\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[:40]))
            for name in names:
                found.add("passed" if good else "failed", stage, f"tidy {name}",
                          "" if good else f"a finding in one of {len(names)}, above",
                          cpu / max(1, len(names)))


def _tidy(path, whole):
    log = ROOM / "tidy-logs" / f"{path.parent.name}-{path.name}.log"
    command = ["clang-tidy-19", "--quiet", "-p", TREE.path, f"--header-filter={HEADERS}"]
    checks = ["--checks=-bugprone-suspicious-include"] if whole else [f"--checks={FAST}"]
    done = process.run([*command, *checks, path], log=log)
    return done.ok, done.cpu, log
