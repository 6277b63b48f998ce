"""A minimal Debian for installing the packages: no service manager runs in it, and nothing else is installed.

mmdebstrap makes the base once, with the packages' dependencies, and it is kept in the user's cache for a
month, beside the root of the stage `root`; each test has a copy of it, whose /usr consists of hard
links: dpkg replaces files there, and never writes into one. Commands run in it as root, in namespaces
of their own: no mount remains, and its ports are separate from the host's.
"""

import fcntl
import functools
import hashlib
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import time

from packages import field, run

KEPT_SECONDS = 30 * 24 * 3600

# Files in which dpkg and its helpers keep records, whatever is installed; all others are compared.
BOOKS = re.compile(r"var/lib/dpkg/(status|status-old|lock|lock-frontend|available|available-old"
                   r"|triggers/Lock|triggers/Unincorp|diversions(-old)?|statoverride(-old)?)"
                   r"|var/log/(dpkg|alternatives)\.log|var/cache/debconf/\w+\.dat(-old)?")

ENTER = """
set -e
root=$1
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
ip link set lo up
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive "$@"
"""


def release():
    with open("/etc/os-release", encoding="utf-8") as file:
        return re.search(r"(?m)^VERSION_CODENAME=(\S+)", file.read())[1]


@functools.cache
def why_not():
    """Why no root can be made here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("mmdebstrap", "unshare", "ip"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"],
                      stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return "no namespaces are available"
    try:
        _base()
    except (AssertionError, subprocess.TimeoutExpired) as error:
        lines = str(error).strip().splitlines()
        return "no root could be made, the mirror is not available: " + lines[-1]
    return None


def _dependencies():
    """The dependencies of the packages, without versions; the first of alternatives."""
    names = set()
    for name in ("riposted", "riposte"):
        names |= set(re.findall(r"(?:^|, )([a-z0-9.+-]+)", field(name, "Depends")))
    return sorted(names)


@functools.cache
def _base():
    home = os.environ.get("HOME", "/root")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", home + "/.cache")) / "riposte"
    base = cache / f"{release()}-package"
    complete = base / ".complete"
    wanted = " ".join(_dependencies())
    cache.mkdir(parents=True, exist_ok=True)
    with open(f"{base}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # all clones share one base
        if (complete.exists() and complete.read_text() == wanted
                and time.time() - complete.stat().st_mtime < KEPT_SECONDS):
            return base
        if base.exists():
            run("rm", "-rf", "--one-file-system", base)
        run("mmdebstrap", "--quiet", "--variant=minbase", "--include=" + wanted.replace(" ", ","),
            release(), base)
        complete.write_text(wanted)
    return base


class Root:
    def __init__(self):
        base = _base()
        self.directory = tempfile.TemporaryDirectory(prefix="root-", dir=base.parent)
        self.path = pathlib.Path(self.directory.name) / "root"
        self.path.mkdir(mode=0o755)
        rest = [path for path in base.iterdir() if path.name != "usr"]
        run("cp", "-a", *rest, self.path)
        run("cp", "-al", base / "usr", self.path)

    def close(self):
        self.directory.cleanup()

    def run(self, *command, status=0):
        return run("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child",
                   "--propagation", "private", "sh", "-c", ENTER, "sh", self.path, *command,
                   status=status)

    def copy_in(self, source, name):
        """Copies a file of the host to /NAME in the root."""
        shutil.copy(source, self.path / name)
        return "/" + name

    def install(self, *packages, options=()):
        """Installs .deb files of the host with dpkg -i."""
        names = [self.copy_in(path, f"{number}.deb") for number, path in enumerate(packages)]
        output = self.run("dpkg", *options, "-i", *names)
        for name in names:
            (self.path / name[1:]).unlink()
        return output

    def state_of(self, name):
        """The package's state in dpkg's terms: installed, config-files, or not-installed."""
        output = self.run("dpkg-query", "-W", "-f=${db:Status-Status}", name, status=None)
        return "not-installed" if "no packages found" in output else output

    def files(self):
        """path -> description, for all files of the root except dpkg's own records."""
        table = {}
        for directory, names, files in os.walk(self.path):
            for name in names + files:
                path = os.path.join(directory, name)
                relative = os.path.relpath(path, self.path)
                if not BOOKS.fullmatch(relative):
                    table[relative] = _description(path)
        return table


def _description(path):
    status = os.lstat(path)
    what = (stat.filemode(status.st_mode), status.st_uid, status.st_gid)
    if stat.S_ISLNK(status.st_mode):
        return (*what, os.readlink(path))
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            return (*what, hashlib.file_digest(file, "sha256").hexdigest())
    return what
