"""Builds and runs single tests with Meson and Ninja alone, for mutate.py.

Model. Each stage has one build in its copy of the tree, `build`, without optimisation and debugging
information, in which every source is a unit of its own: an edit recompiles one unit. Meson reports the
program of a test. A test is run with the words that choose its case, and prints TAP. The stage package
keeps its objects, too: building the packages again takes seconds.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

from tools.dev import guest_stages, process
from tools.dev.mutate import Outcome, Tree
from tools.dev.process import run_in_session as run
from tools.dev.trees import CLANG

PYTHON = "/usr/bin/python3"  # Debian's own has pytest

# The build options of each stage, and the environment of its programs.
options = {
    "check": [],
    "asan": ["-Db_sanitize=address,undefined", "-Db_lundef=false",
             "-Dcpp_args=['-gline-tables-only','-fno-sanitize=vptr']"],
    "threads": ["-Db_sanitize=thread", "-Dcpp_args=-g1"],
    "minimal": ["-Dio_uring=disabled", "-Dseccomp=disabled", "-Dsystemd=disabled"],
    "tidy": [],
}
compilers = {"asan": CLANG, "tidy": CLANG}
environments = {
    "asan": {"ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1",
             "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"},
    "threads": {"TSAN_OPTIONS": "halt_on_error=1"},
}


def outcome_of(rows, done, program, case):
    """The Outcome of rows (result, name); if the program crashed, the case that it was started for failed."""
    ran = [f"{program}: {name}" for result, name in rows if result != "skipped"]
    failed = [f"{program}: {name}" for result, name in rows if result == "failed"]
    if done.returncode != 0 and not failed and (rows or "Bail out!" not in done.stdout):
        ran.append(f"{program}: {case}: crashed or did not finish")
        failed.append(ran[-1])
    return Outcome(ran, failed, done.stdout)


def module(program, tree):
    """The file of a module of tests."""
    directories = ("tests/integration", "tests/kernels")
    return next((path for path in (f"{directory}/{program}.py" for directory in directories)
                 if (tree / path).exists()), f"{directories[0]}/{program}.py")


def pytest_command(results, options, case, path):
    return [PYTHON, "-B", "-m", "pytest", "--results", str(results), *options, "-k", re.sub(r"\W", "_", case), path]


def rows_of_file(path):
    """The rows (result, name) that a run of pytest wrote."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.split("\t")[:2] for line in lines]


def rows_of_tap(text):
    for no, name in re.findall(r"(?m)^(not )?ok \d+ - (.*)$", text):
        yield ("failed" if no else "skipped" if " # SKIP " in name else "passed"), name


class PlainStages:
    def end_all(self):
        process.end_all()

    def build(self, stage, tests, tree):
        if stage == "package":
            return self.pack(tree)
        if not (tree / "build/build.ninja").exists():
            shutil.rmtree(tree / "build", ignore_errors=True)
            done = run(["meson", "setup", "build", "-Doptimization=0", "-Ddebug=false",
                        *options.get(stage, [])], tree, **compilers.get(stage, {}))
            if done.returncode != 0:
                return done.stdout
        if stage == "tidy": # needs the list of commands only
            done = run(["ninja", "-C", "build", "build.ninja"], tree)
        else:
            targets = {target for test in tests for target in self.targets(test.words[0], tree)}
            done = run(["ninja", "-C", "build", *sorted(targets)], tree)
        return done.stdout if done.returncode != 0 else ""

    def targets(self, program, tree):
        if not program.startswith("test_"):
            found = [target for target in self.introspect("targets", tree)
                     if target["name"] == program and target["type"] == "executable"]
            return [os.path.relpath(found[0]["filename"][0], tree / "build")] if found else [program]
        text = (tree / module(program, tree)).read_text(encoding="utf-8")
        names = {"riposted": "daemon/riposted", "launch": "tests/launch/launch"}
        if re.search(r"(?m)^(from|import) (client|truth_case|netem_case)\b|\bRIPOSTE\b", text):
            names["riposte"] = "client/riposte"
        for word, target in (("PLAIN_LOAD", "tests/bench/plain_load"), ("FORGE", "tests/soak/forge"),
                             ("STORM", "tests/soak/storm")):
            if re.search(rf"\b{word}\b", text):
                names[word] = target
        if re.search(r"(?m)^from (link|truth_case|netem_case) import", text):
            names["link"] = "tests/link/link"
        return list(names.values())

    def introspect(self, what, tree):
        return json.loads((tree / f"build/meson-info/intro-{what}.json").read_text())

    def run(self, stage, words, tree, seconds):
        if stage == "tidy":
            return self.tidy(words, tree)
        if stage == "package":
            return self.test_package(words, tree, seconds)
        backends = [word for word in words[1:2] if word in ("epoll", "io_uring")]
        case = " ".join(words[1 + len(backends):])
        # With strong address space randomisation, ThreadSanitizer of GCC 12 finds no place for its shadow memory.
        prefix = ["setarch", "-R"] if stage == "threads" else []
        environment = environments.get(stage, {})
        if words[0].startswith("test_"):
            runs = [f"--build={tree / 'build'}", *(f"--backends={name}" for name in backends)]
            if guest_stages.is_guest(stage):
                return self.run_module_in_guest(stage, module(words[0], tree), case, tree, seconds, runs)
            return self.run_module(module(words[0], tree), case, tree, seconds, environment, prefix, runs)
        for test in self.introspect("tests", tree):
            if pathlib.Path(test["cmd"][0]).name == words[0]:
                # A replay of a corpus has no cases; in doctest's filters, a comma begins the next one.
                arguments = test["cmd"][1:] or [case.replace(",", "?")]
                if guest_stages.is_guest(stage):
                    done = guest_stages.run(stage, tree, shlex.join([test["cmd"][0], *arguments]), seconds, "tap")
                else:
                    done = run([*prefix, test["cmd"][0], *arguments], tree, seconds, **environment)
                return outcome_of(list(rows_of_tap(done.stdout)), done, words[0], case)
        return Outcome([], [], f"this build has no test program {words[0]}")

    def run_module(self, path, case, tree, seconds, environment, prefix=(), options=()):
        results = tree / "build/results.tsv"
        results.unlink(missing_ok=True)
        done = run([*prefix, *pytest_command(results, options, case, path)], tree, seconds, **environment)
        return outcome_of(rows_of_file(results), done, pathlib.Path(path).stem, case)

    def run_module_in_guest(self, stage, path, case, tree, seconds, options):
        command = shlex.join(pytest_command("/run/riposte/results.tsv", options, case, path))
        done = guest_stages.run(stage, tree, command, seconds, "results.tsv")
        return outcome_of(rows_of_file(tree / "build/results.tsv"), done, pathlib.Path(path).stem, case)

    # --- tidy -------------------------------------------------------------------------------------

    def tidy(self, words, tree):
        name = " ".join(words)
        if words[0] == "format":
            done = run(["clang-format-19", "--dry-run", "-Werror", words[1]], tree)
        elif words[0] == "tidy":
            done = run(["clang-tidy-19", "--quiet", "-p", "build", words[1]], tree)
        elif name == "every source is built":
            done = self.stray_sources(tree)
        else:
            return Outcome([], [], f"no such check: {name}")
        return Outcome([name], [name] if done.returncode != 0 else [], done.stdout)

    def stray_sources(self, tree):
        commands = json.loads((tree / "build/compile_commands.json").read_text())
        built = {os.path.relpath(os.path.join(each["directory"], each["file"]), tree)
                 for each in commands}
        sources = {str(path.relative_to(tree)) for part in ("common", "daemon", "client", "tests")
                   for path in (tree / part).rglob("*.cpp")}
        stray = sorted(path for path in sources - built if not path.startswith("tests/bench/peers/")
                       and not path.endswith("/test_sandbox_absent.cpp"))
        return subprocess.CompletedProcess([], len(stray), "".join(f"{path}\n" for path in stray))

    # --- package ----------------------------------------------------------------------------------

    def pack(self, tree):
        """Builds the packages from a source tree whose objects are kept: debhelper makes the rest again."""
        source = tree / "build/deb/source"
        shutil.rmtree(source / "debian", ignore_errors=True)
        objects = [path for path in source.glob("obj-*") if (path / "build.ninja").exists()]
        kept = tree / "build/deb/objects"
        for path in objects:
            path.rename(kept)
        Tree(tree, source).sync()
        for path in objects:
            kept.rename(path)
        (source / "packaging/debian").rename(source / "debian")
        if objects: # already configured and compiled; the install step compiles changed sources
            (source / "debian/debhelper-build-stamp").touch()
        done = run(["dpkg-buildpackage", "-b", "-nc", "-us", "-uc"], source, DEB_CXXFLAGS_STRIP="-g",
                   DEB_BUILD_OPTIONS=f"nocheck noopt noautodbgsym parallel={os.cpu_count()}")
        return done.stdout if done.returncode != 0 else ""

    def test_package(self, words, tree, seconds):
        return self.run_module(f"tests/package/{words[0]}.py", " ".join(words[1:]), tree, seconds,
                               {"RIPOSTE_PACKAGES": tree / "build/deb"})
