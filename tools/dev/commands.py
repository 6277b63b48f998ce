"""The smaller commands: build, bench, fuzz, soak, lint."""

import os
import re
import sys

from tools.dev import lint, mutate, packages, process, results, stages, testing, trees
from tools.dev.console import Failure, header, say
from tools.dev.trees import CLANG, ROOM, Tree

RELEASE = Tree("release", ("--buildtype=release",))
BENCH = Tree("bench", ("--buildtype=release", "-Dbench=true"))
SOAK = Tree("soak", stages.UNITY)
FUZZ = Tree("fuzz", stages.ASAN.options, CLANG)
#: Inputs that fuzzing found are kept when the tree is made anew; the next run adds to them.
FUZZ_FOUND = ROOM / "fuzz-found"
BENCHMARKS = {"compare": "tests/bench/compare.py", "generator": "tests/bench/generator.py",
              "truth": "tests/bench/known_link.py", "throughput": "tests/bench/throughput.py",
              "stamp": "tests/bench/stamp.py", "many": "tests/bench/many.py"}


def build(arguments):
    if arguments:
        raise Failure("./dev build takes no arguments")
    packages.need(packages.BUILD)
    header(f"Building riposted and riposte in {RELEASE.path}/")
    trees.show_compiler()
    RELEASE.build("daemon/riposted", "client/riposte")
    say(f"    {RELEASE.path}/daemon/riposted\n    {RELEASE.path}/client/riposte")


def bench(arguments):
    name = arguments[0] if arguments and not arguments[0].startswith("-") else "compare"
    if name not in BENCHMARKS:
        raise Failure(f"unknown benchmark '{name}'; known are: {', '.join(sorted(BENCHMARKS))}")
    rest = arguments[1:] if arguments[:1] == [name] else arguments
    if {"-h", "--help"} & set(rest):
        return _python(BENCHMARKS[name], "--help")
    packages.need(packages.BUILD + ["util-linux"])
    if name == "generator":
        header(f"Building the programs and the yardsticks in {RELEASE.path}/")
        RELEASE.build("daemon/riposted", "client/riposte", "tests/bench/plain_load")
        return _python(BENCHMARKS[name], "--riposted", RELEASE.path / "daemon/riposted",
                       "--riposte", RELEASE.path / "client/riposte",
                       "--plain", RELEASE.path / "tests/bench/plain_load", *rest)
    if name == "truth":
        need_available(packages.BENCH_TRUTH, "its row")
        header(f"Building the programs and the link in {RELEASE.path}/")
        RELEASE.build("daemon/riposted", "client/riposte", "tests/link/link")
        return _python(BENCHMARKS[name], "--riposted", RELEASE.path / "daemon/riposted",
                       "--riposte", RELEASE.path / "client/riposte",
                       "--link", RELEASE.path / "tests/link/link", *rest)
    if name == "stamp":
        need_available(["irtt", "sockperf"], "its row")
        header(f"Building the programs in {RELEASE.path}/")
        RELEASE.build("daemon/riposted", "tests/bench/stamp_questions")
        return _python(BENCHMARKS[name], "--riposted", RELEASE.path / "daemon/riposted",
                       "--questions", RELEASE.path / "tests/bench/stamp_questions", *rest)
    if name == "throughput":
        packages.need(["iperf3"])
        header(f"Building the programs in {RELEASE.path}/")
        RELEASE.build("daemon/riposted", "client/riposte")
        return _python(BENCHMARKS[name], "--riposted", RELEASE.path / "daemon/riposted",
                       "--riposte", RELEASE.path / "client/riposte", *rest)
    if name == "many":
        need_available(["fping"], "its row")
        header(f"Building the programs in {RELEASE.path}/")
        RELEASE.build("daemon/riposted", "client/riposte")
        return _python(BENCHMARKS[name], "--riposted", RELEASE.path / "daemon/riposted",
                       "--riposte", RELEASE.path / "client/riposte", *rest)
    need_available([package for package in packages.BENCH
                    if package != "nodejs" or not process.output(["node", "--version"])], "its server")
    header(f"Building the programs, their peers and the generators in {BENCH.path}/")
    BENCH.build()
    return _python(BENCHMARKS[name], "--riposted", BENCH.path / "daemon/riposted",
                   "--riposte", BENCH.path / "client/riposte", "--tools", BENCH.path / "tests/bench",
                   "--peers", BENCH.path / "tests/bench/peers", *rest)


def need_available(wanted, what):
    """Installs the packages that this Debian has, and prints that `what` is left out for each other."""
    found = []
    for package in wanted:
        if not packages.on_debian() or packages.available(package):
            found.append(package)
        else:
            say(f"This Debian has no package {package}: {what} is left out.")
    packages.need(found)


def fuzz(arguments):
    if not arguments or not re.fullmatch(r"[1-9]\d*", arguments[0]):
        raise Failure("the number of seconds is missing: ./dev fuzz SECONDS [--merge] [TARGET...]")
    packages.need(packages.BUILD + packages.CLANG)
    header(f"Building the fuzz targets in {FUZZ.path}/")
    FUZZ.build("fuzz_targets")
    if not (FUZZ_FOUND / trees.MARK).exists():
        trees.make_anew(FUZZ_FOUND)
    header(f"{arguments[0]} seconds for each target, {os.cpu_count()} at a time")
    return _python("tests/fuzz/run.py", "--build", FUZZ.path, "--found", FUZZ_FOUND,
                   "--jobs", os.cpu_count(), "--seconds", *arguments)


def soak(arguments):
    if not arguments or not re.fullmatch(r"[1-9]\d*", arguments[0]):
        raise Failure("the number of minutes is missing: ./dev soak MINUTES [--json FILE]")
    packages.need(packages.BUILD + packages.SUITES)
    header(f"Building in {SOAK.path}/")
    SOAK.build("integration_programs", "tests/sim/simulate")
    header(f"Storms, attacks and simulated faults for {arguments[0]} minutes, at least one whole round")
    return _python("tests/soak/soak.py", "--build", SOAK.path, "--minutes", *arguments)


def lint_all(arguments):
    if arguments:
        raise Failure("./dev lint takes no arguments")
    trees.make_room()
    packages.need(packages.BUILD + packages.LINT + packages.CLANG)
    found = results.Results(ROOM / "results.tsv")
    if not lint.TREE.configure():
        raise Failure(f"meson could not configure {lint.TREE.path}, see {lint.TREE.log}")
    lint.run_format(found)
    lint.run_stray(found)
    lint.run_arrows(found)
    lint.run_language(found)
    lint.run_tidy(found, "lint", os.cpu_count(), whole=False)
    return results.report(found.rows, 0)


def mutate_all(arguments):
    if not {"--list", "-h", "--help"} & set(arguments):
        packages.need(packages.ALL)
    return mutate.main(arguments)


def install(arguments):
    """`packages [build|suites|deb]...`: prepares the roots of other releases."""
    lists = {"build": packages.BUILD, "suites": packages.SUITES, "deb": packages.DEB}
    trees.make_room()
    packages.need([package for name in arguments for package in lists[name]])


def test(arguments):
    return testing.command(arguments)


def _python(*command):
    return process.run([sys.executable, "-B", *command], stdin=None).status
