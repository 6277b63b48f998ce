"""The Debian packages under test, as packaging/build-deb made them.

The environment (stage `deb` of ./dev sets it):
    RIPOSTE_PACKAGES         a directory of packages
    RIPOSTE_PACKAGES_AGAIN   the same, built again elsewhere and under other conditions

dpkg itself reads the contents of packages. Nothing here needs root.
"""

import contextlib
import functools
import glob
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from patience import seconds

TREE = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = os.environ.get("RIPOSTE_PACKAGES", "build-deb")
PACKAGES_AGAIN = os.environ.get("RIPOSTE_PACKAGES_AGAIN", "")

#: The time limit of a command.
SECONDS_MAX = seconds(500)

PROGRAMS = ("riposted", "riposte")
PLAIN = {**os.environ, "LC_ALL": "C.UTF-8"}


def run(*command, status=0, **options):
    """The output of a command, both streams; it must end with `status` (None: any)."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=SECONDS_MAX,
                          env=PLAIN, check=False, **options)
    output = done.stdout.decode(errors="replace")
    if status is not None and done.returncode != status:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}\n{output}")
    return output


def package(name, directory=PACKAGES):
    """The path of the package of that name; there must be exactly one."""
    found = glob.glob(os.path.join(directory, f"{name}_*.deb"))
    if len(found) != 1:
        raise AssertionError(f"{directory} has not one package {name}: {found}")
    return found[0]


def field(name, key):
    return run("dpkg-deb", "-f", package(name), key).strip()


@functools.cache
def extracted(name):
    """A directory with the package's files, and its control files in DEBIAN/."""
    directory = os.path.join(_scratch(), name)
    if not os.path.exists(directory):
        run("dpkg-deb", "-R", package(name), directory)
    return pathlib.Path(directory)


def program(name):
    return extracted(name) / "usr/bin" / name


@functools.cache
def _scratch():
    directory = tempfile.TemporaryDirectory(prefix="riposte-package-")
    _keep.append(directory)  # removed when the interpreter ends
    return directory.name


_keep = []


def members(name):
    """path -> (mode string, owner) of each member, directories with a slash at their end."""
    lines = run("dpkg-deb", "-c", package(name)).splitlines()
    table = {}
    for line in lines:
        mode, owner, _size, _day, _time, path = line.split(None, 5)
        table[path.partition(" -> ")[0].removeprefix(".")] = (mode, owner)
    return table


def files(name):
    return {path for path in members(name) if not path.endswith("/")}


@contextlib.contextmanager
def repacked(name, version=None, edit=None):
    """A copy of the package with another version, and with the changes that `edit(directory)` makes to its files."""
    with tempfile.TemporaryDirectory(prefix="riposte-repacked-") as directory:
        tree = pathlib.Path(directory) / "tree"
        shutil.copytree(extracted(name), tree, symlinks=True)
        if version is not None:
            control = tree / "DEBIAN/control"
            text = re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text())
            control.write_text(text)
        if edit is not None:
            edit(tree)
        path = os.path.join(directory, f"{name}_{version or 'edited'}.deb")
        run("dpkg-deb", "--root-owner-group", "-b", tree, path)
        yield path
