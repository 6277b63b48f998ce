"""The Debian packages: built, inspected, installed and purged; and both Debian releases booted with them.

For the release of this machine, the programs of the stage `check` are packed, which that stage compiles with the
flags of a package; for the other release, packages are built in a root (roots.py). The long form builds those of
this release twice, in two directories, compares the two builds byte by byte, and runs the tests that the package
build itself runs.
"""

import os
import pathlib
import re
import shutil

from tools.dev import packages, process, roots, suites, trees
from tools.dev.console import Failure, header, say
from tools.dev.roots import NoRoot, Root
from tools.dev.trees import ROOM

#: Where `./dev deb` and the stage leave them.
DIRECTORY = ROOM / "deb"
OWN = DIRECTORY / "packages"
FULL, AGAIN = DIRECTORY / "full/packages", DIRECTORY / "again/elsewhere/packages"
WITHOUT_TESTS = "nocheck"


def build(directory, options, log, environment=None, arguments=()):
    """packaging/build-deb into a directory of its own. Returns whether it succeeded."""
    directory.mkdir(parents=True, exist_ok=True)
    return process.quietly(["packaging/build-deb", directory, *arguments], log,
                           env={**(environment or {}), "DEB_BUILD_OPTIONS": options})


def pack(found, tree):
    """Packs the programs of `tree`, a PackagedTree that is built."""
    if not packages.on_debian():
        found.add("skipped", "deb", "the packages", "this is not Debian")
        return False
    trees.make_anew(DIRECTORY)
    good = build(OWN, WITHOUT_TESTS, pathlib.Path(f"{OWN}.log"), arguments=["--built", tree.path])
    found.add("passed" if good else "failed", "deb", "pack the programs of the stage check")
    return good


def build_quick(directory):
    """`./dev quick_debs DIRECTORY`, in the other release's root: without debug information, which changes no
    byte of the code and takes a fifth of the time, and with the optimisation that takes two thirds of the rest.
    The long form compiles there what is shipped (suites_in_root)."""
    if not build(pathlib.Path(directory), f"{WITHOUT_TESTS} noautodbgsym parallel={os.cpu_count()}",
                 pathlib.Path(f"{directory}.log"),
                 {"DEB_CXXFLAGS_STRIP": "-g -O2", "DEB_CXXFLAGS_APPEND": "-O1"}):
        raise Failure(f"the packages could not be built, see {directory}.log")


def build_twice(found):
    """As packagers build them, with debug information; then in another directory, with another umask and time
    zone, and with the tests of the package build."""
    good = build(FULL, f"{WITHOUT_TESTS} parallel={os.cpu_count()}", pathlib.Path(f"{FULL}.log"))
    found.add("passed" if good else "failed", "reproducible", "build the packages")
    scratch = AGAIN.parent
    scratch.mkdir(parents=True, exist_ok=True)
    log = pathlib.Path(f"{AGAIN}.log")
    again = good and process.quietly(
        ["sh", "-c", 'umask 077; exec "$@"', "sh", "packaging/build-deb", AGAIN], log,
        env={"TMPDIR": scratch.resolve(), "TZ": "Asia/Tokyo", "DEB_BUILD_OPTIONS": "parallel=3"})
    found.add("passed" if again else "failed", "reproducible", "build the packages again")
    if again:
        ran = re.search(r"(?m)^Ok: +[1-9]", log.read_text(encoding="utf-8", errors="replace"))
        found.add("passed" if ran else "failed", "reproducible", "the tests of the package build",
                  "" if ran else f"no test ran, see {log}")
    return again


def inspect(found, stage="deb", directory=OWN, again=None):
    """tests/package: contents, hardening, lintian, installation and purge in a root."""
    environment = {"RIPOSTE_PACKAGES": directory.resolve(),
                   "RIPOSTE_PACKAGES_AGAIN": again.resolve() if again else ""}
    suites.run_python(found, stage, ["tests/package"], arguments=["--retry-alone"], environment=environment,
                      at_once=3)


def prepare_other(found, lists=("build", "deb"), stage="root"):
    """Makes a root of the other Debian and installs what a build needs; it mostly waits for the mirror."""
    release = roots.other_release()
    name = f"a fresh Debian {roots.VERSIONS[release]}"
    refusal = roots.refusal()
    if refusal:
        found.add("skipped", stage, name, refusal)
        return False
    try:
        with Root(release) as root:
            if root.dev("packages", *lists, network="host").ok:
                return True
            found.add("skipped", stage, name, "its packages cannot be installed: "
                      + process.last_line(root.log))
    except NoRoot as reason:
        found.add("skipped", stage, name, f"no root of it: {reason}")
    return False


def build_other(found, stage="system"):
    """The packages of the other Debian, in its root."""
    release = roots.other_release()
    target = ROOM / f"deb-{release}"
    trees.make_anew(target)
    with Root(release) as root:
        good = root.dev("quick_debs", "build-dev/deb-other").ok
        if good:
            for package in (root.path / "riposte/build-dev/deb-other").glob("*.deb"):
                shutil.copy(package, target)
        else:
            process.show_failure(root.log)
    found.add("passed" if good else "failed", stage,
              f"build the packages for Debian {roots.VERSIONS[release]}")
    return good


def boot(found, release, directory, full=False):
    """Tests the service under the real systemd of a release, with the packages in that directory; `full`:
    restarted and killed as often as SECURITY.md promises."""
    name = f"Debian {roots.VERSIONS.get(release, release)} booted"
    refusal = roots.refusal()
    if not refusal and not shutil.which("systemd-nspawn"):
        refusal = "systemd-nspawn is not installed (systemd-container)"
    if refusal:
        found.add("skipped", "system", name, refusal)
        return
    environment = {"RIPOSTE_RELEASE": release, "RIPOSTE_PACKAGES": directory.resolve()}
    if full:
        suites.run_python(found, "storms", ["tests/system/test_continuity.py"], at_once=1, name=f"{release}-full",
                          environment=environment | {"RIPOSTE_STORMS": "full"})
    else:
        suites.run_python(found, "system", ["tests/system"], at_once=1, name=release, environment=environment)


def demo_in_root(found):
    """`./dev demo` on a fresh machine of the other Debian."""
    with Root(roots.other_release()) as root:
        good = root.dev("demo").ok
        if not good:
            process.show_failure(root.log)
        found.add("passed" if good else "failed", "root", f"a fresh Debian {root.version}: ./dev demo")
    return good


def suites_in_root(found):
    """Every suite of a GCC build, in the root of the other Debian."""
    if not prepare_other(found, ("build", "suites")):
        return
    with Root(roots.other_release()) as root:
        root.dev("test", "--stage", "check")
        rows = root.path / "riposte/build-dev/results.tsv"
        if rows.exists():
            found.add_file(rows, "root", f"Debian {root.version}: ")
        else:
            process.show_failure(root.log)
            found.add("failed", "root", f"a fresh Debian {root.version}: every suite",
                      f"it did not finish, see {root.log}")


def command(arguments):
    """`./dev deb`."""
    if arguments:
        raise Failure("./dev deb takes no arguments")
    if not packages.on_debian():
        raise Failure("the packages can be built on Debian only")
    packages.need(packages.BUILD + packages.DEB + packages.DEB_TESTS)
    header(f"Building the Debian packages, with their tests, in {OWN}/")
    trees.make_anew(DIRECTORY)
    if not build(OWN, f"parallel={os.cpu_count()}", pathlib.Path(f"{OWN}.log")):
        raise Failure(f"the build failed, see {OWN}.log")
    header("lintian, pedantic")
    if not process.quietly(["packaging/lint-deb", *sorted(OWN.glob("*.changes"))],
                           ROOM / "lintian.log"):
        raise Failure("lintian reported problems")
    say("    no problems")
    header(f"The packages in {OWN}/")
    for package in sorted(OWN.glob("*.deb")):
        fields = process.output(["dpkg-deb", "--show", "--showformat",
                                 "${Package} ${Version} ${Architecture}", package]).split()
        say("    {:<24} {:<20} {:<8} {:8.0f} KB".format(*fields, package.stat().st_size / 1000))
    say(f"\nTo install: apt install ./{OWN}/riposted_*.deb ./{OWN}/riposte_*.deb")
