"""Minimal roots of Debian 12 and 13 in the user's cache, in which commands run as on a fresh machine.

mmdebstrap makes a root once a month. All clones share it: it is locked while it is used. It is entered in
mount, network and process namespaces of its own, so that nothing stays mounted and no port collides. The
tree is copied to /riposte there.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import time

from tools.dev import process
from tools.dev.console import say
from tools.dev.packages import os_release
from tools.dev.trees import ROOM, TOP

KEPT_SECONDS = 30 * 24 * 3600
VERSIONS = {"bookworm": "12", "trixie": "13"}

ENTER = """
set -e
root=$1 network=$2
shift 2
mount --rbind "$root" "$root" # so that "/" is a mount point there, as it is everywhere else
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
if [ "$network" = own ]; then ip link set lo up; fi
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \\
    CI="${CI:-}" /riposte/dev "$@"
"""


def own_release():
    return os_release("VERSION_CODENAME")


def other_release():
    return "bookworm" if own_release() == "trixie" else "trixie"


def refusal():
    """The reason why roots cannot be made here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("mmdebstrap"):
        return "mmdebstrap is not installed"
    return no_namespaces()


def no_namespaces():
    """The reason why a root, or a guest, cannot be entered here, or None."""
    if process.output(["unshare", "--mount", "--pid", "--fork", "true"]) is None:
        return "this machine permits no mount namespaces"
    return None


class NoRoot(Exception):
    """A root could not be made: the package mirror is not reachable."""


class Root:
    """The root of one release. A context manager: the root is locked within it."""

    def __init__(self, release):
        self.release = release
        self.version = VERSIONS.get(release, release)
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.path = pathlib.Path(cache) / "riposte" / release
        self.log = ROOM / f"root-{release}.log"
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context(open(f"{self.path}.lock", "w", encoding="ascii"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            self._make()
            self._copy_tree()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _make(self):
        mark = self.path / ".complete"
        if mark.exists() and time.time() - mark.stat().st_mtime < KEPT_SECONDS:
            return
        _remove(self.path)
        say(f"    making a minimal root of {self.release} in {self.path}")
        if not process.run(["timeout", 400, "mmdebstrap", "--quiet", "--variant=minbase", self.release,
                            self.path], log=self.log).ok:
            raise NoRoot(process.last_line(self.log))
        mark.touch()

    def _copy_tree(self):
        with contextlib.suppress(OSError):
            shutil.copyfile("/etc/resolv.conf", self.path / "etc/resolv.conf")
        _remove(self.path / "riposte")
        (self.path / "riposte").mkdir()
        with subprocess.Popen(["tar", "-cf", "-", "--exclude=./.git", "--exclude=./build*",
                               "--exclude=__pycache__", "."], cwd=TOP, stdout=subprocess.PIPE) as tar:
            subprocess.run(["tar", "-xf", "-", "-C", self.path / "riposte"], stdin=tar.stdout, check=True)

    def dev(self, *arguments, network="own", log=None):
        """Runs ./dev in the root; `network="host"` for commands that install packages."""
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        namespaces += ["--net"] if network == "own" else []
        return process.run(["unshare", *namespaces, "sh", "-c", ENTER, "sh", self.path, network,
                            *arguments], log=log or self.log)


def _remove(directory):
    """Removes a directory below the cache; does not cross into another file system."""
    subprocess.run(["rm", "-rf", "--one-file-system", directory], check=True)
