"""The stages of `./dev test`.

Each row of the results belongs to a stage. The steps of a stage are builds, which keep the processors busy, and
runs of tests, which mostly wait, so that the tests of one stage run while the next one compiles (schedule.py).
A step records its results; if it returns False, the steps that need it do not run.

    fast   `./dev test`: what every change must pass
    whole  `./dev test --all`: also the tests that rarely find what the fast stages do not find first
"""

import os
import pathlib
import subprocess
from dataclasses import dataclass
from typing import Callable

from tools.dev import (debs, emulated, guest_suites, guest_system, kernels, lint, packages, process, results, roots,
                       suites)
from tools.dev.packaged import PackagedTree
from tools.dev.schedule import Step
from tools.dev.trees import CLANG, ROOM, Tree

UNITY = ("-Dunity=on", "-Dunity_size=24")
QUICK = ("-Doptimization=0", "-Ddebug=false")
#: With a sanitizer, debug information serves its stack traces only.
TRACES = ("-Doptimization=1", "-Ddebug=false")

CHECK = PackagedTree("check", ("-Dwerror=true",))
# Without vptr: that check opens a pipe to probe memory, and reports errors when descriptors have run out.
ASAN = Tree("asan", ("-Dwerror=true", "-Dfuzz=true", "-Db_sanitize=address,undefined",
                     "-Db_lundef=false", *TRACES,
                     "-Dcpp_args=-g1 -fno-sanitize-recover=all -fno-sanitize=vptr", *UNITY),
            CLANG)
THREADS = Tree("threads", ("-Db_sanitize=thread", *TRACES, "-Dcpp_args=-g1", *UNITY))
MINIMAL = Tree("minimal", ("-Dwerror=true", "-Dio_uring=disabled", "-Dseccomp=disabled",
                           "-Dsystemd=disabled", *QUICK, *UNITY))
# Not -Dwerror: under its sanitizers GCC warns of values that cannot occur. Not unity: a missing include would be
# hidden by a neighbour's.
SANITIZE = Tree("sanitize", ("-Db_sanitize=address,undefined", *TRACES,
                             "-Dcpp_args=-g1 -fno-sanitize=vptr"))

ASAN_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1",
                    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
WITHOUT_LEAKS = {"ASAN_OPTIONS": "detect_leaks=0:strict_string_checks=1"}
TSAN_ENVIRONMENT = {"TSAN_OPTIONS": "halt_on_error=1"}
#: The simulator is forty times slower under a sanitizer; all seeds run in the stage `check` and in the long form.
FEW_SEEDS = {"RIPOSTE_SIM_SEEDS": "400"}

#: Modules in which the main thread reads what workers write.
THREADED_MODULES = ["datagrams", "echo", "handover", "life", "limits", "listeners", "reload", "sandbox",
                    "scrape", "status"]
#: The daemon only: a simulated worker has one thread, and the client uses a second one only to resolve names, which
#: the long form tests.
THREADED_PROGRAMS = ["daemon/riposted", "tests/launch/launch", "tests/unit/unit_daemon_threads",
                     "tests/conformance/conformance"]
MINIMAL_MODULES = ["backend", "sandbox"]
#: Modules that run under a sanitizer only in the long form: they test figures, scripts or the tests' own tools, and
#: the other modules and the unit suites run the same product code.
NOT_UNDER_ASAN = ["bench", "bench_generators", "bench_peers", "bench_stamp", "bench_truth", "completions", "idle", "link",
                  "load_losses", "memory", "prometheus", "security_document", "truth_load", "truth_ping",
                  "tutorial"]
#: Modules that look for leaks in the fast form: in them the daemon takes over, changes and gives back everything
#: that it owns. A search at the end takes two thirds of the CPU time of a process that lives as briefly as most
#: do here; the C++ suites always search, and every module does in the long form.
LEAK_MODULES = ["access", "handover", "life", "listeners", "reload", "scrape"]
#: What the stage `minimal` builds: the daemon, and what starts it. Nothing of the client depends on a library that
#: such a build lacks.
MINIMAL_PROGRAMS = ["daemon/riposted", "tests/launch/launch"]


@dataclass(frozen=True)
class Stage:
    name: str
    title: str
    steps: Callable  # steps(found) -> list of Step
    packages: list
    fast: bool = True


def modules(names):
    return [f"tests/integration/test_{name}.py" for name in names]


def modules_but(names):
    """Every integration module except these, each of which must exist."""
    existing = {path.stem.removeprefix("test_") for path in pathlib.Path("tests/integration").glob("test_*.py")}
    assert set(names) <= existing, set(names) - existing
    return modules(sorted(existing - set(names)))


def build_steps(found, stage, tree, targets=(), needs=("packages: install",)):
    """Configure on one processor, compile on all."""
    def configure():
        if tree.configure():
            return True
        found.add("failed", stage, "configure")
        return False

    def build():
        good = tree.compile(*targets)
        found.add("passed" if good else "failed", stage, "compile")
        return good
    return [Step(stage, "configure", configure, needs, cpu=1),
            Step(stage, "compile", build, (f"{stage}: configure",), cpu=os.cpu_count())]


def tests_step(stage, name, run, waiting, needs=None):
    return Step(stage, name, run, needs or (f"{stage}: compile",), waiting=waiting)


def check_steps(found):
    def programs():
        suites.run_programs(found, "check", CHECK, suites=["unit", "conformance", "sim", "fuzz"])

    def python():
        suites.run_python(found, "check", ["tests/integration", "tests/support", "tests/dev"], CHECK,
                          arguments=["--retry-alone"])
    return build_steps(found, "check", CHECK, needs=("packages: build",)) + [
        tests_step("check", "programs", programs, 4,
                   ("check: compile", "packages: install")),
        tests_step("check", "python", python, suites.MODULES_AT_ONCE,
                   ("check: compile", "packages: install"))]


def asan_steps(found):
    def programs():
        suites.run_programs(found, "asan", ASAN, suites=["unit", "conformance", "sim", "fuzz"],
                            environment=ASAN_ENVIRONMENT | FEW_SEEDS, patience=3)

    def python(name, paths, environment):
        suites.run_python(found, "asan", paths, ASAN, environment=environment, name=name,
                          arguments=["--backends=io_uring", "--retry-alone"])

    def leaks():
        python("leaks", modules(LEAK_MODULES), ASAN_ENVIRONMENT)

    def rest():
        python("python", modules_but(NOT_UNDER_ASAN + LEAK_MODULES), ASAN_ENVIRONMENT | WITHOUT_LEAKS)

    def fuzz():
        fuzz_targets(found, "asan", ASAN, 20_000)
    return build_steps(found, "asan", ASAN) + [
        tests_step("asan", "programs", programs, 4),
        tests_step("asan", "python", rest, suites.MODULES_AT_ONCE),
        tests_step("asan", "leaks", leaks, suites.MODULES_AT_ONCE, ("asan: programs",)),
        tests_step("asan", "fuzz", fuzz, 1)]


def fuzz_targets(found, stage, tree, runs):
    """Runs each target for a few seconds, not to find faults but to keep the targets working. The number of
    inputs is the limit, and they are the same each time; the limit in seconds is for busy machines."""
    log = tree.path / "fuzz.tap"
    done = process.run(["python3", "tests/fuzz/run.py", "--build", tree.path, "--found",
                        tree.path / "fuzz-found", "--seconds", 5, "--runs", runs, "--jobs", 1, "--tap"],
                       log=log)
    for outcome, name, reason, comments in results.of_program(
            "fuzz", done.ok, f"exit code {done.status}", log.read_text(encoding="utf-8")):
        found.add(outcome, stage, name, reason or " ".join(comments)[:300])


def threads_prefix():
    """With strong address space randomisation, ThreadSanitizer of GCC 12 finds no place for its shadow memory."""
    trial = subprocess.run(["setarch", "-R", "true"], capture_output=True, check=False)
    return ["setarch", "-R"] if trial.returncode == 0 else []


def client_step(found, stage):
    """The client and the tests' own tools of the stage `check`, for a build that has only a daemon."""
    def tools():
        good = CHECK.configure() and CHECK.compile("integration_programs")
        if not good:
            found.add("failed", stage, "compile the client")
        return good
    return Step(stage, "client", tools, (f"{stage}: compile",), cpu=os.cpu_count())


def threads_steps(found):
    def programs():
        suites.run_programs(found, "threads", THREADS, suites=["threads"], prefix=threads_prefix(),
                            environment=TSAN_ENVIRONMENT, patience=3)

    def python():
        suites.run_python(found, "threads", modules(THREADED_MODULES), THREADS, prefix=threads_prefix(),
                          environment=TSAN_ENVIRONMENT, arguments=["--backends=io_uring", "--retry-alone"],
                          tools=CHECK)
    return build_steps(found, "threads", THREADS, THREADED_PROGRAMS) + [
        client_step(found, "threads"),
        tests_step("threads", "programs", programs, 2),
        tests_step("threads", "python", python, 4, ("threads: client",))]


def minimal_steps(found):
    def python():
        suites.run_python(found, "minimal", modules(MINIMAL_MODULES), MINIMAL,
                          arguments=["--retry-alone"], at_once=2, tools=CHECK)
    return build_steps(found, "minimal", MINIMAL, MINIMAL_PROGRAMS) + [
        client_step(found, "minimal"),
        tests_step("minimal", "python", python, 2, ("minimal: client",))]


def deb_steps(found):
    def build():
        good = CHECK.configure() and CHECK.compile()
        if not good:
            found.add("failed", "deb", "compile the programs")
        return good and debs.pack(found, CHECK)
    return [Step("deb", "build", build, ("packages: install",), cpu=os.cpu_count()),
            tests_step("deb", "tests", lambda: debs.inspect(found), 3, ("deb: build",))]


def root_steps(found):
    return [Step("root", "install", lambda: debs.prepare_other(found), ("packages: install",), waiting=1),
            Step("root", "demo", lambda: debs.demo_in_root(found), ("root: install",),
                 cpu=os.cpu_count())]


def system_steps(found):
    own, other = roots.own_release(), roots.other_release()
    return [Step("system", "build for the other Debian", lambda: debs.build_other(found),
                 ("root: install", "root: demo"), cpu=os.cpu_count()),
            tests_step("system", f"boot {own}", lambda: debs.boot(found, own, debs.OWN), 3,
                       ("deb: build",)),
            tests_step("system", f"boot {other}",
                       lambda: debs.boot(found, other, ROOM / f"deb-{other}"), 3,
                       ("system: build for the other Debian",))]


def guest_steps(found, rows, long):
    """Each guest keeps a processor busy: they run beside tests that wait."""
    def programs():
        good = CHECK.configure() and CHECK.compile(*guest_suites.TARGETS)
        if not good:
            found.add("failed", "kernels", "compile the programs")
        return good
    ready = ("kernels: fetch", "kernels: compile")
    return [Step("kernels", "fetch", lambda: guest_suites.fetch(rows), ("packages: install",), waiting=1),
            Step("kernels", "compile", programs, ("packages: install",), cpu=os.cpu_count()),
            *(tests_step("kernels", row.series, lambda row=row: guest_suites.run(found, row, CHECK, long), 3,
                         ready) for row in rows),
            *(system_guest_steps(found, rows, ready) if long else ())]


def system_guest_steps(found, rows, needs):
    return [tests_step("kernels", f"{row.series} with systemd",
                       lambda row=row: guest_system.run(found, row, CHECK), 3, needs) for row in rows]


def emulated_steps(found, rows):
    return [Step("kernels", row.name, lambda row=row: emulated.run(found, row, CHECK), ("kernels: compile",),
                 cpu=min(row.processors, os.cpu_count())) for row in rows]


def kernels_steps(found):
    return guest_steps(found, kernels.of_every_run(), long=False)


def lint_steps(found):
    def configure():
        return lint.TREE.configure() or bool(found.add("failed", "lint", "configure")) and False

    def tidy():
        lint.run_tidy(found, "lint", os.cpu_count(), whole=False)
    return [Step("lint", "configure", configure, ("packages: install",), cpu=1),
            Step("lint", "format", lambda: lint.run_format(found), ("packages: install",), cpu=1),
            Step("lint", "sources", lambda: lint.run_stray(found), ("lint: configure",)),
            Step("lint", "arrows", lambda: lint.run_arrows(found), ()),
            Step("lint", "language", lambda: lint.run_language(found), ()),
            Step("lint", "tidy", tidy, ("lint: configure",), cpu=os.cpu_count())]


# --- The long form ----------------------------------------------------------------------------------

def sanitize_steps(found):
    def programs():
        suites.run_programs(found, "sanitize", SANITIZE, suites=["unit", "conformance", "sim", "fuzz"],
                            environment=ASAN_ENVIRONMENT, patience=3)

    def python():
        suites.run_python(found, "sanitize", ["tests/integration"], SANITIZE,
                          environment=ASAN_ENVIRONMENT, arguments=["--retry-alone"])
    return build_steps(found, "sanitize", SANITIZE) + [
        tests_step("sanitize", "programs", programs, 4),
        tests_step("sanitize", "python", python, suites.MODULES_AT_ONCE)]


def whole_steps(found):
    """Tests that the fast stages leave out, in the trees that those stages have built."""
    def asan_rest():
        suites.run_python(found, "asan", modules(NOT_UNDER_ASAN), ASAN, environment=ASAN_ENVIRONMENT,
                          arguments=["--backends=io_uring", "--retry-alone"], name="rest")

    def asan_epoll():
        suites.run_python(found, "asan", ["tests/integration"], ASAN, environment=ASAN_ENVIRONMENT,
                          arguments=["--backends=epoll", "--retry-alone"], name="epoll")

    def threads_built():
        good = THREADS.compile("tests/sim/sim_worker", "tests/unit/unit_daemon", "integration_programs")
        found.add("passed" if good else "failed", "threads", "compile the rest")
        return good

    def threads_all():
        suites.run_programs(found, "threads", THREADS, names=["daemon"], prefix=threads_prefix(),
                            environment=TSAN_ENVIRONMENT, patience=3)
        suites.run_programs(found, "threads", THREADS, suites=["sim", "conformance"], prefix=threads_prefix(),
                            environment=TSAN_ENVIRONMENT, patience=3)
        suites.run_python(found, "threads", modules_but([*THREADED_MODULES, "bench_peers"]), THREADS,
                          prefix=threads_prefix(), environment=TSAN_ENVIRONMENT, arguments=["--retry-alone"],
                          name="rest")
        suites.run_python(found, "threads", modules(THREADED_MODULES), THREADS, prefix=threads_prefix(),
                          environment=TSAN_ENVIRONMENT, arguments=["--backends=epoll", "--retry-alone"],
                          name="epoll")

    def minimal_programs():
        if MINIMAL.compile():
            suites.run_programs(found, "minimal", MINIMAL, suites=["unit", "conformance", "sim", "fuzz"])
            suites.run_python(found, "minimal", modules(["config", "hello", "listeners", "services",
                                                         "tutorial"]), MINIMAL, name="rest",
                              arguments=["--retry-alone"])
        else:
            found.add("failed", "minimal", "compile everything")

    def storms():
        suites.run_python(found, "storms", modules(["storms", "memory"]), CHECK, at_once=1,
                          environment={"RIPOSTE_STORMS": "full"}, arguments=["--retry-alone"])
        debs.boot(found, roots.own_release(), debs.OWN, full=True)
    rows = kernels.of_every_run()
    cpu = os.cpu_count()
    return [*(tests_step("kernels", f"{row.series}, every network",
                         lambda row=row: guest_suites.run(found, row, CHECK, long=True), 3,
                         (f"kernels: {row.series}",)) for row in rows),
            *system_guest_steps(found, rows, ("kernels: compile",)),
            tests_step("asan", "rest", asan_rest, 6, ("asan: python",)),
            tests_step("asan", "python on epoll", asan_epoll, 6, ("asan: rest",)),
            Step("threads", "compile the rest", threads_built, ("threads: python",), cpu=cpu),
            tests_step("threads", "rest", threads_all, 6, ("threads: compile the rest",)),
            Step("minimal", "everything", minimal_programs, ("minimal: python",), cpu=cpu),
            tests_step("storms", "full", storms, 12, ("check: python", "deb: tests")),
            Step("reproducible", "build twice", lambda: debs.build_twice(found), ("deb: tests",), cpu=cpu),
            tests_step("reproducible", "tests",
                       lambda: debs.inspect(found, "reproducible", debs.FULL, debs.AGAIN), 3,
                       ("reproducible: build twice",)),
            Step("root", "every suite", lambda: debs.suites_in_root(found),
                 ("root: demo", "system: build for the other Debian"), cpu=cpu),
            Step("analyzer", "tidy", lambda: lint.run_tidy(found, "analyzer", cpu, whole=True),
                 ("lint: tidy",), cpu=cpu)]


STAGES = {stage.name: stage for stage in (
    Stage("check", "every suite, built as it is shipped; warnings are errors", check_steps, packages.SUITES),
    Stage("asan", "Clang with ASan, UBSan, libFuzzer: every suite", asan_steps,
          packages.CLANG + packages.SUITES),
    Stage("threads", "multi-threaded tests under TSan", threads_steps, packages.SUITES),
    Stage("minimal", "built without io_uring, seccomp and systemd", minimal_steps, packages.SUITES),
    Stage("deb", "the Debian packages: lintian, hardening, install and purge", deb_steps,
          packages.DEB + packages.DEB_TESTS + packages.PYTEST),
    Stage("root", "./dev demo in a fresh root of the other Debian", root_steps, packages.SYSTEM),
    Stage("system", "Debian 12 and 13 booted: restarts, crashes, upgrades under load", system_steps,
          packages.SYSTEM + packages.PYTEST),
    Stage("kernels", "the kernels that users run, booted: conformance, and where the kernel matters", kernels_steps,
          packages.KERNELS + packages.SUITES),
    Stage("lint", "formatter, shellcheck, clang-tidy", lint_steps, packages.LINT + packages.CLANG),
    Stage("sanitize", "GCC's ASan and UBSan: every suite", sanitize_steps, packages.SUITES, fast=False),
    Stage("whole", "the long form of the stages above", whole_steps, packages.ALL, fast=False),
)}
#: Stages that need the results of others.
NEEDS = {"system": ("deb", "root"), "whole": tuple(name for name in STAGES if STAGES[name].fast)}
