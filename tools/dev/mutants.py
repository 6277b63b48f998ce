"""The planted faults: what a patch of tests/mutants says, as a list and as a page.

A mutant is a file tests/mutants/NAME.patch: a unified diff that breaks the product, and above it what the
fault would cost and which tests find it.

    Fault: one sentence; further lines are indented.
    Caught-by: STAGE PROGRAM [BACKEND] CASE...

STAGE is one of `stages`. PROGRAM is a program of C++ tests (sim_worker) or a module (test_echo),
BACKEND is epoll or io_uring where the module runs on both, and CASE is a part of the test's name, to
the end of the line. The stage tidy names its checks instead: "tidy FILE", "format FILE", "every
source is built". A stage guest-SERIES runs its test in a guest with that kernel. Each Caught-by names a test that
must fail.
"""

import dataclasses
import pathlib
import re

stages = ("check", "asan", "threads", "minimal", "tidy", "package", "guest-6.1", "guest-7.2")


def plain(text):
    return " ".join(re.sub(r"[_\W]+", " ", text.lower()).split())


@dataclasses.dataclass(frozen=True)
class Test:
    stage: str
    words: tuple  # ("test_echo", "io_uring", "a", "late", "reader")

    def __str__(self):
        return " ".join((self.stage, *self.words))

    def is_named(self, name):
        """Whether that is the name of this test; blanks and underscores are equal."""
        case = [word for word in self.words[1:] if word not in ("epoll", "io_uring")]
        return all(plain(part) in plain(name) for part in (self.words[0], " ".join(case)))


@dataclasses.dataclass
class Mutant:
    name: str
    path: pathlib.Path
    fault: str
    tests: list


class BadMutant(Exception):
    pass


def read_mutant(path):
    head = re.split(r"(?m)^(?=diff |--- )", path.read_text(encoding="utf-8"), maxsplit=1)
    if len(head) != 2:
        raise BadMutant(f"{path}: has no diff")
    fields = re.findall(r"(?m)^([A-Z][a-z-]+): (.*(?:\n[ \t]+\S.*)*)", head[0])
    faults = [" ".join(value.split()) for key, value in fields if key == "Fault"]
    tests = [Test(words[0], tuple(words[1:])) for words in
             (value.split() for key, value in fields if key == "Caught-by")]
    if len(faults) != 1 or not tests or len(faults) + len(tests) != len(fields):
        raise BadMutant(f"{path}: needs one 'Fault: ...' and a 'Caught-by: ...' for each test")
    for test in tests:
        if test.stage not in stages or not test.words:
            raise BadMutant(f"{path}: 'Caught-by: {test}' does not begin with one of "
                            f"{', '.join(stages)}, followed by a test")
    return Mutant(path.stem, path, faults[0], tests)


def read_mutants(directory, names=()):
    paths = {path.stem: path for path in sorted(directory.glob("*.patch"))}
    unknown = [name for name in names if name not in paths]
    if unknown:
        raise BadMutant(f"unknown mutant: {', '.join(unknown)}; --list prints the names")
    mutants = [read_mutant(paths[name]) for name in (names or paths)]
    if not mutants:
        raise BadMutant(f"{directory} has no mutants")
    return mutants


def print_list(mutants, out):
    for mutant in mutants:
        print(f"{mutant.name}\n    {mutant.fault}", file=out)
        for test in mutant.tests:
            print(f"    caught by: {test}", file=out)


PAGE_HEAD = """\
# Planted faults

A test that has never failed may check nothing. Each row is a mistake that a developer could make, kept as a patch in
`tests/mutants`, and the tests that must fail when it is planted. `./dev mutate` plants one after the other in a copy
of the tree, builds what the test needs, and runs just that test; `./dev mutate NAME` plants one. A fault counts as
caught only if the named test fails, not if the tree does not compile or another test fails.

The first word of a test is the build in which it runs: `check` (GCC), `asan` (Clang with AddressSanitizer and
UndefinedBehaviorSanitizer), `threads` (ThreadSanitizer), `minimal` (without optional libraries), `tidy` (formatter and
linters), `package` (the Debian packages), or `guest-SERIES` (built as `check`, and run in a guest with that kernel).

`./dev mutate --page > docs/planted-faults.md` writes this page from the patches; a test compares the two. A change that
adds a promise adds a fault that breaks it.
"""


def room_of(mutant):
    """The folder of the first file that it changes: "daemon/tcp", "client/load", "common"."""
    changed = re.search(r"(?m)^\+\+\+ b/(\S+)", mutant.path.read_text(encoding="utf-8"))
    folders = pathlib.PurePath(changed[1]).parts[:-1] if changed else ()
    return "/".join(folders[:2])


def page(mutants):
    """docs/planted-faults.md."""
    lines = [PAGE_HEAD]
    for room in sorted({room_of(mutant) for mutant in mutants}):
        lines += [f"## {room}\n", "| fault | what it does | caught by |", "|---|---|---|"]
        for mutant in mutants:
            if room_of(mutant) == room:
                tests = "<br>".join(f"`{test}`" for test in mutant.tests)
                fault = mutant.fault.replace("|", "\\|")
                lines.append(f"| [{mutant.name}](../tests/mutants/{mutant.name}.patch) | {fault} | {tests} |")
        lines.append("")
    return "\n".join(lines)
