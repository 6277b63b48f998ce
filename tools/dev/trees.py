"""The build trees, and the mark of those that ./dev made.

All of them lie in build-dev/, one for each purpose, so that no command overwrites another's:

    build-dev/release   ./dev build          build-dev/check, asan, threads, ...   the stages of ./dev test
    build-dev/demo      ./dev demo           build-dev/dev                         single tests
    build-dev/soak, bench, fuzz              ./dev soak, bench, fuzz

build-dev/ and each tree have a mark, `.made-by-dev`. ./dev never removes or writes to a directory without it:
that is an error, whose message says what to do. A tree whose options have changed is made anew.
"""

import os
import pathlib
import shutil
from dataclasses import dataclass, field

from tools.dev import process
from tools.dev.console import Failure, say

TOP = pathlib.Path(__file__).resolve().parents[2]
ROOM = pathlib.Path("build-dev")
MARK = ".made-by-dev"

#: Clang takes memory from malloc; in huge pages, a unit costs a fifth as many page faults and 5 to 15% less CPU time.
CLANG = {"CC": "clang-19", "CXX": "clang++-19", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclass(frozen=True)
class Tree:
    name: str
    options: tuple = ()
    environment: dict = field(default_factory=dict)

    @property
    def path(self):
        return ROOM / self.name

    @property
    def log(self):
        return ROOM / f"{self.name}.log"

    def configure(self):
        """Configures the tree once, again if a meson.build changed, and from scratch if its options did. Returns
        whether that succeeded."""
        stamp = repr((self.options, sorted(self.environment.items())))
        mark = self.path / MARK
        if ((self.path / "build.ninja").exists() and mark.exists()
                and mark.read_text(encoding="utf-8") == stamp):
            return self.compile("build.ninja", jobs=1)
        make_anew(self.path)
        if not process.quietly(["meson", "setup", self.path, *self.options], self.log,
                               env=self.environment):
            return False
        mark.write_text(stamp, encoding="utf-8")
        return True

    def compile(self, *targets, jobs=None):
        """Builds these targets, by Ninja's names; everything if there are none."""
        return process.quietly(["ninja", "-C", self.path, "-j", jobs or os.cpu_count(), *targets],
                               self.log, env=self.environment)

    def build(self, *targets):
        """Configures and compiles; failure ends the command."""
        if not self.configure():
            raise Failure(f"meson could not configure {self.path}, see {self.log}")
        if not self.compile(*targets):
            raise Failure(f"the build failed, see {self.log}")


def make_room():
    """Makes build-dev/ itself."""
    mark = ROOM / MARK
    if ROOM.exists() and not mark.exists():
        raise Failure(f"{ROOM}/ was not made by ./dev, which keeps its builds there: "
                      "please move it away, or remove it")
    ROOM.mkdir(exist_ok=True)
    mark.touch()


def make_anew(directory):
    """Makes an empty directory with our mark; a directory that it replaces must have the mark, too."""
    make_room()
    remove(directory)
    directory.mkdir(parents=True)
    (directory / MARK).touch()


def remove(directory):
    """Removes a directory that ./dev made; any other directory is an error."""
    if not directory.exists():
        return
    if not (directory / MARK).exists():
        raise Failure(f"{directory} was not made by ./dev, which does not remove it: please move it away")
    shutil.rmtree(directory)


def compiler():
    """The first line of `c++ --version`."""
    text = process.output(["c++", "--version"]) or "no compiler"
    return text.splitlines()[0]


def show_compiler():
    say(f"    {compiler()}")
