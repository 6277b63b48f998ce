"""The build trees, and who made them.

All of them lie in build-dev/, one a purpose, so that no command wipes another's:

    build-dev/release   ./dev build          build-dev/check, asan, threads, ...   the stages of ./dev test
    build-dev/demo      ./dev demo           build-dev/dev                         single tests
    build-dev/soak, bench, fuzz              ./dev soak, bench, fuzz

build-dev/ and each tree bear a mark, `.made-by-dev`. A directory without it was made by somebody else, and
is never removed or written to: that is an error which says what to do. A tree whose options have changed
is made anew.
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

CLANG = {"CC": "clang-19", "CXX": "clang++-19"}


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
        """Once, and again from nothing if the options changed. Returns whether it went well."""
        stamp = repr((self.options, sorted(self.environment.items())))
        mark = self.path / MARK
        if ((self.path / "build.ninja").exists() and mark.exists()
                and mark.read_text(encoding="utf-8") == stamp):
            return True
        make_anew(self.path)
        if not process.quietly(["meson", "setup", self.path, *self.options], self.log,
                               env=self.environment):
            return False
        mark.write_text(stamp, encoding="utf-8")
        return True

    def compile(self, *targets, jobs=None):
        """Builds these targets, by ninja's names; none: everything."""
        return process.quietly(["ninja", "-C", self.path, "-j", jobs or os.cpu_count(), *targets],
                               self.log, env=self.environment)

    def build(self, *targets):
        """For a command that cannot go on without it."""
        if not self.configure():
            raise Failure(f"meson could not configure {self.path}, see {self.log}")
        if not self.compile(*targets):
            raise Failure(f"the build failed, see {self.log}")


def make_room():
    """build-dev/ itself."""
    mark = ROOM / MARK
    if ROOM.exists() and not mark.exists():
        raise Failure(f"{ROOM}/ was not made by ./dev, which keeps its builds there: "
                      "please move it away, or remove it")
    ROOM.mkdir(exist_ok=True)
    mark.touch()


def make_anew(directory):
    """An empty directory with our mark; what stood there must bear it, too."""
    make_room()
    remove(directory)
    directory.mkdir(parents=True)
    (directory / MARK).touch()


def remove(directory):
    """Removes a directory that we made; anything else is an error."""
    if not directory.exists():
        return
    if not (directory / MARK).exists():
        raise Failure(f"{directory} was not made by ./dev, and is not removed: please move it away")
    shutil.rmtree(directory)


def compiler():
    """The first line of what the compiler says of itself."""
    text = process.output(["c++", "--version"]) or "no compiler"
    return text.splitlines()[0]


def show_compiler():
    say(f"    {compiler()}")
