"""Kernels that this machine does not run: the table of them, and a cache of their files.

tests/kernels/expectations.toml has a row for each. A kernel is fetched by its suite, and kept in the
user's cache, like the roots (roots.py): all clones share it, it is locked while it is used, and it is fetched again
after a month. If the mirror does not answer then, the old one is used.

What is kept is a small root in which the kernel itself runs, with the C library of its own Debian: User Mode
Linux of a newer Debian does not start with the library of an older one. guests.py starts it.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import time
import tomllib
from dataclasses import dataclass

from tools.dev import mirror, process
from tools.dev.console import Failure, say

TABLE = pathlib.Path("tests/kernels/expectations.toml")
KEPT_SECONDS = 30 * 24 * 3600
#: Where the guest's files are mounted while it runs; see tests/kernels/start.
MOUNT_POINTS = ("host", "out", "proc", "dev", "sys", "tmp")
#: What the kernel runs with, from its own suite.
LIBRARIES = ["libc6", "libgcc-s1"]
PACKAGE = "user-mode-linux"


class NoKernel(Failure):
    """A kernel is neither cached nor available. The text is the reason."""


@dataclass(frozen=True)
class Kernel:
    """A row of the table."""
    series: str
    origin: str
    suite: str
    form: str
    backend: str
    refusal: str
    lacks: str
    operations: int
    no_systemd: str = ""

    @property
    def title(self):
        return f"Linux {self.series} ({self.origin})"


def table(path=TABLE):
    """Every row, in the order of the file."""
    rows = tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8"))["kernel"]
    return [Kernel(origin=row.pop("from"), **row) for row in rows]


def of_every_run():
    """The rows of `./dev test`, and of `./dev kernels` without a name."""
    return [row for row in table() if row.form == "test"]


def chosen(names, rows=None):
    """The rows of these series. An unknown one is an error."""
    rows = rows if rows is not None else table()
    unknown = set(names) - {row.series for row in rows}
    if unknown:
        raise Failure(f"unknown kernel {', '.join(sorted(unknown))}; known are: "
                      + ", ".join(row.series for row in rows))
    return [row for row in rows if row.series in names]


def cache():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(home) / "riposte/kernels"


def series_of(version):
    """"6.1" of a Debian version like 6.1.164-1 or 6.12-1um4+b2."""
    return ".".join(re.findall(r"\d+", version.rpartition(":")[2])[:2])


class Home:
    """The files of one kernel in the cache. A context manager: others may use them meanwhile, but not replace
    them. `series` is that of the kernel which is there: a suite moves on."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.path = cache() / kernel.suite
        self.series = ""
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        cache().mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context(open(f"{self.path}.lock", "w", encoding="ascii"))
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            while not self._usable():
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not self._usable():
                    self._fetch()
                fcntl.flock(lock, fcntl.LOCK_SH)  # not atomic: another process may have been faster
            self.series = self._mark.read_text(encoding="utf-8").strip()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_):
        self._stack.close()

    @property
    def _mark(self):
        return self.path / ".series"

    def _usable(self):
        return self._mark.exists() and time.time() - self._mark.stat().st_mtime < KEPT_SECONDS

    def _fetch(self):
        """Replaces the files by those of the mirror."""
        fresh = pathlib.Path(f"{self.path}.new")
        remove(fresh)
        try:
            version = self._download(fresh)
            prepare(fresh)
        except mirror.Unreachable as reason:
            remove(fresh)
            if not self._mark.exists():
                raise NoKernel(str(reason)) from None
            say(f"    {self.kernel.title}: the one in the cache is used, because {reason}")
            os.utime(self._mark)
            return
        (fresh / ".series").write_text(series_of(version) + "\n", encoding="utf-8")
        remove(self.path)
        fresh.rename(self.path)

    def _download(self, into):
        suite = mirror.Suite(self.kernel.suite, cache() / "apt")
        suite.state.parent.mkdir(exist_ok=True)
        with open(f"{suite.state}.lock", "w", encoding="ascii") as lock:  # several kernels may be of one suite
            fcntl.flock(lock, fcntl.LOCK_EX)
            say(f"    fetching {self.kernel.title} from {self.kernel.suite}")
            suite.update()
            return suite.fetch([PACKAGE, *LIBRARIES], into)


def prepare(home):
    """Makes what was unpacked a root in which the kernel starts."""
    for name in ("lib", "lib64", "bin", "sbin"):  # packages of newer Debians have /usr/lib alone
        if not (home / name).exists() and (home / "usr" / name).exists():
            (home / name).symlink_to(f"usr/{name}")
    for name in MOUNT_POINTS:
        (home / name).mkdir(exist_ok=True)
    index_modules(home / "usr/lib/uml/modules")


def index_modules(directory):
    """depmod for each version in the directory, which must be called lib/modules for it."""
    if not shutil.which("depmod"):
        raise mirror.Unreachable("depmod is not installed (kmod)")
    for version in directory.iterdir():
        scratch = directory.parent / "depmod"
        (scratch / "lib").mkdir(parents=True)
        (scratch / "lib/modules").symlink_to(directory.resolve())
        process.run(["depmod", "-b", scratch, version.name], log=cache() / "depmod.log")
        remove(scratch)


def remove(directory):
    """Removes a directory below the cache; does not cross into another file system."""
    process.run(["rm", "-rf", "--one-file-system", directory])
