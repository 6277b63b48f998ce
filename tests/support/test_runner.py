"""The promises of tests/conftest.py, from outside: these tests run pytest on small modules that they write."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

from patience import WAIT
from runner.results import RETRIED_MAX, name_of

TREE = pathlib.Path(__file__).resolve().parents[2]
DESCRIPTION = '{"environment": {"RIPOSTE_SANITIZER": "none"}, "backends": "epoll io_uring"}'


class Runs(unittest.TestCase):
    """A tree with the project's conftest.py, a build that has both backends, and the modules of the test."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="riposte-runner-")
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)
        ini = re.sub(r"(?m)^testpaths.*\n", "", (TREE / "pytest.ini").read_text())
        self.write("pytest.ini", ini.replace("tests/support", str(TREE / "tests/support")))
        self.write("conftest.py", (TREE / "tests/conftest.py").read_text())
        self.write("build/tests/integration/integration.json", DESCRIPTION)

    def write(self, name, text):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def module(self, name, text):
        self.write(name, "import unittest, pytest, time, os, pathlib\n" + textwrap.dedent(text))

    def command(self, *arguments):
        return [sys.executable, "-m", "pytest", "--results=results", *arguments]

    def run_them(self, *arguments, status=0):
        """Runs the tests and returns their output; self.lines has the results as lists of three fields, sorted."""
        done = subprocess.run(self.command(*arguments), cwd=self.path, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=3 * WAIT, env=self.environment(), check=False)
        self.assertEqual(done.returncode, status, done.stdout)
        self.lines = self.results()
        return done.stdout

    def environment(self):
        return {key: value for key, value in os.environ.items()
                if not key.startswith(("PYTEST_", "RIPOSTE"))}

    def results(self):
        path = self.path / "results"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        found = []
        for line in lines:
            *fields, seconds = line.split("\t")
            self.assertRegex(seconds, r"^\d+\.\d\d$")
            found.append(fields)
        return sorted(found)

    def outcomes(self):
        return [line[:2] for line in self.lines]


class Results(Runs):
    def test_each_test_has_a_line_with_its_reason(self):
        self.module("test_one.py", """
            class Stream(unittest.TestCase):
                def test_passes(self):
                    print("# a figure")
                def test_is_skipped(self):
                    self.skipTest("no such\\tprogram")
                def test_fails(self):
                    self.assertEqual(1, 2)
        """)
        shown = self.run_them(status=1)
        self.assertEqual(self.lines, [["failed", "one: Stream: fails", "AssertionError: 1 != 2"],
                                      ["passed", "one: Stream: passes", ""],
                                      ["skipped", "one: Stream: is skipped", "no such program"]])
        self.assertNotIn("a figure", shown)

    def test_a_run_without_tests_is_a_failure(self):
        self.run_them(status=5)
        self.module("test_one.py", """
            class Stream(unittest.TestCase):
                def test_passes(self): pass
        """)
        self.run_them("-n1", "-k", "no_such_test", status=5)
        self.assertEqual(self.lines, [])

    def test_a_module_without_tests_is_a_failure_and_the_others_run(self):
        self.module("test_empty.py", "class Stream: pass\n")
        self.module("test_full.py", """
            class Stream(unittest.TestCase):
                def test_passes(self): pass
        """)
        self.run_them("-n1", status=1)
        self.assertEqual(self.outcomes(), [["failed", "empty: no test"],
                                           ["passed", "full: Stream: passes"]])

    def test_a_module_that_cannot_be_imported_is_a_failure_and_the_others_run(self):
        self.module("test_broken.py", "import no_such_module\n")
        self.module("test_full.py", """
            class Stream(unittest.TestCase):
                def test_passes(self): pass
        """)
        self.assertIn("no_such_module", self.run_them("-n2", status=1))
        self.assertEqual(self.lines, [["failed", "broken", "it cannot be imported"],
                                      ["passed", "full: Stream: passes", ""]])

    def test_an_unknown_mark_is_a_failure(self):
        self.module("test_one.py", """
            @pytest.mark.allone
            class Stream(unittest.TestCase):
                def test_passes(self): pass
        """)
        self.run_them(status=1)

    def test_all_subtests_run_and_the_failed_ones_are_named(self):
        self.module("test_one.py", """
            class Stream(unittest.TestCase):
                def test_parts(self):
                    for number in range(4):
                        with self.subTest(number=number):
                            self.assertEqual(number % 2, 0)
                def test_good_parts(self):
                    with self.subTest(number=1):
                        pass
        """)
        shown = self.run_them(status=1)
        self.assertEqual(self.outcomes(), [["failed", "one: Stream: parts"],
                                           ["passed", "one: Stream: good parts"]])
        self.assertEqual(re.findall(r"\(number=\d\)", shown), ["(number=1)", "(number=3)"])

    def test_names_are_derived_from_addresses(self):
        for address, name in (
                ("tests/integration/test_echo.py::Stream[io_uring]::test_a_late_reader",
                 "echo-io_uring: Stream: a late reader"),
                ("test_echo.py::Stream[io_uring-2]::test_a_late_reader",
                 "echo-io_uring: Stream: a late reader (2)"),
                ("tests/package/test_build.py::Lintian[3]::test_it", "build: Lintian: it (3)"),
                ("tests/package/test_build.py", "build")):
            self.assertEqual(name_of(address), name)


class Variants(Runs):
    MODULE = """
        pytestmark = pytest.mark.backends
        class Base(unittest.TestCase):
            backend = None
            def setUp(self):
                print("on", self.backend)
        class Stream(Base):
            def test_runs(self):
                self.assertIn(self.backend, ("epoll", "io_uring"))
                self.assertIn(self.backend, str(os.environ.get("ONLY", self.backend)))
        @pytest.mark.backends("io_uring")
        class Own(Base):
            def test_runs(self):
                self.assertEqual(self.backend, "io_uring")
        class Neither(unittest.TestCase):
            def test_runs(self): pass
    """

    def setUp(self):
        super().setUp()
        self.module("test_one.py", self.MODULE)

    def names(self):
        return [line[1] for line in self.lines]

    def test_a_class_runs_on_each_backend_of_the_build(self):
        self.run_them("-n2", "--build=build")
        self.assertEqual(self.names(), ["one-epoll: Stream: runs", "one-io_uring: Own: runs",
                                        "one-io_uring: Stream: runs", "one: Neither: runs"])

    def test_one_backend_can_be_selected(self):
        self.run_them("--build=build", "-k", "io_uring")
        self.assertEqual(self.names(), ["one-io_uring: Own: runs", "one-io_uring: Stream: runs"])
        self.run_them("--build=build", "--backends=epoll")
        self.assertEqual(self.names(), ["one-epoll: Stream: runs", "one: Neither: runs"])
        self.run_them("--build=build", "--backends=kqueue", status=4)
        self.run_them("-n1", "--build=build", "test_one.py::Stream[io_uring]::test_runs")
        self.assertEqual(self.names(), ["one-io_uring: Stream: runs"])

    def test_a_directory_that_is_no_build_tree_is_refused(self):
        self.assertIn("integration.json", self.run_them("--build=elsewhere", status=4))

    def test_the_client_may_come_from_another_tree(self):
        for tree in ("build", "other"):
            self.write(f"{tree}/tests/integration/integration.json", f"""{{"backends": "epoll", "environment":
                {{"RIPOSTED": "{tree}", "RIPOSTE": "{tree}", "RIPOSTE_SANITIZER": "{tree}"}}}}""")
        self.module("test_whose.py", """
            def test_of_build_and_other():
                assert [os.environ[name] for name in ("RIPOSTED", "RIPOSTE", "RIPOSTE_SANITIZER")] == [
                    "build", "other", "build"]
            """)
        self.run_them("--build=build", "--tools=other")
        self.assertIn("--tools", self.run_them("--build=build", "--tools=elsewhere", status=4))

    def test_each_test_is_repeated_as_requested(self):
        self.run_them("--build=build", "--repeat=3", "-k", "Own or Neither")
        self.assertEqual(self.names(), [
            "one-io_uring: Own: runs", "one-io_uring: Own: runs (2)", "one-io_uring: Own: runs (3)",
            "one: Neither: runs", "one: Neither: runs (2)", "one: Neither: runs (3)"])


class Limited(Runs):
    def test_a_test_that_hangs_is_named_and_the_others_run(self):
        self.module("test_one.py", """
            class Stream(unittest.TestCase):
                @pytest.mark.timeout(1)
                def test_a_hangs(self):
                    for part in range(2):
                        with self.subTest(part=part):
                            try:
                                time.sleep(1000)
                            except Exception:
                                pass
                def test_b_passes(self): pass
        """)
        shown = self.run_them(status=1)
        self.assertEqual(self.outcomes(), [["failed", "one: Stream: a hangs"],
                                           ["passed", "one: Stream: b passes"]])
        self.assertIn("Timeout >1.0s", shown)
        self.assertIn("(part=0)", shown)

    def test_a_test_that_cannot_be_ended_is_named_and_the_others_run(self):
        self.module("test_one.py", """
            import signal
            class Stream(unittest.TestCase):
                @pytest.mark.timeout(0.5)
                def test_a_hangs(self):
                    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
                    time.sleep(1000)
                def test_b_passes(self): pass
        """)
        shown = self.run_them("-n1", status=1)
        self.assertEqual(self.outcomes(), [["failed", "one: Stream: a hangs"],
                                           ["passed", "one: Stream: b passes"]])
        self.assertIn("in test_a_hangs", shown)


class Machine(Runs):
    def test_tests_marked_alone_run_alone_and_last(self):
        self.module("test_one.py", """
            def times(name):
                began = time.monotonic()
                time.sleep(0.2)
                with open("times", "a") as file:
                    file.write(f"{began} {time.monotonic()} {name}\\n")
            @pytest.mark.alone
            class Alone(unittest.TestCase):
                def test_a(self): times("alone")
                def test_b(self): times("alone")
            class Others(unittest.TestCase):
                def test_a(self): times("other")
                def test_b(self): times("other")
                def test_c(self): times("other")
                @pytest.mark.first
                def test_d(self): times("first")
        """)
        self.run_them("-n3")
        spans = sorted((float(began), float(ended), name) for began, ended, name in
                       (line.split() for line in (self.path / "times").read_text().splitlines()))
        self.assertEqual(sorted(name for *_, name in spans),
                         ["alone"] * 2 + ["first"] + ["other"] * 3)
        for (_, ended, before), (began, _, name) in zip(spans, spans[1:]):
            if "alone" in (name, before):
                self.assertLessEqual(ended, began)
        (self.path / "times").unlink()
        self.run_them()
        order = [line.split()[2] for line in (self.path / "times").read_text().splitlines()]
        self.assertEqual(order, ["first"] + ["other"] * 3 + ["alone"] * 2)

    def test_there_are_three_workers_per_processor(self):
        self.module("test_one.py", """
            class Stream(unittest.TestCase):
                def test_tells(self):
                    pathlib.Path("workers").write_text(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        """)
        self.run_them("-nauto")
        self.assertEqual(int((self.path / "workers").read_text()), 3 * len(os.sched_getaffinity(0)))

    LOADED = """
        class Stream(unittest.TestCase):
            def test_tells(self):
                import subprocess
                parents = [os.getpid(), os.getppid()]
                found = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True,
                                       text=True).stdout
                spinning = [line.split()[0] for line in found.splitlines()
                            if "while True: pass" in line and int(line.split()[1]) in parents]
                pathlib.Path("pids").write_text(" ".join(spinning))
                {then}
    """

    def spinning(self):
        return [int(pid) for pid in (self.path / "pids").read_text().split()]

    def alive(self):
        return [pid for pid in self.spinning() if os.path.exists(f"/proc/{pid}")]

    def test_the_load_lasts_as_long_as_the_run(self):
        self.module("test_one.py", self.LOADED.format(then="pass"))
        self.run_them("-n1", "--load=2")
        self.assertEqual((len(self.spinning()), self.alive()), (2, []))

    def test_the_load_ends_with_an_interrupted_run_too(self):
        self.module("test_one.py", self.LOADED.format(then="time.sleep(1000)"))
        process = subprocess.Popen(self.command("--load=2"), cwd=self.path, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=self.environment())
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        pids = self.path / "pids"
        deadline = time.monotonic() + WAIT
        while not (pids.exists() and pids.read_text()):
            self.assertLess(time.monotonic(), deadline, "the test runs")
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(WAIT), 2)
        self.assertEqual((len(self.spinning()), self.alive()), (2, []))


class Retried(Runs):
    FLAKY = """
        class Stream(unittest.TestCase):
            def flaky(self, name):
                mark = pathlib.Path(__file__).with_name(name)
                if not mark.exists():
                    mark.touch()
                    self.fail("too busy")
            def test_passes(self): pass
            def test_fails(self):
                {fails}
    """ + "".join(f"""
            def test_flaky_{number}(self):
                self.flaky("mark{number}")
    """ for number in range(RETRIED_MAX + 1))

    def test_a_test_that_passes_alone_counts_as_retried_and_is_reported(self):
        self.module("test_one.py", self.FLAKY.format(fails="pass"))
        shown = self.run_them("-n2", "--retry-alone", "-k", "not flaky_0")
        self.assertEqual(self.outcomes(), [
            ["passed", "one: Stream: fails"], ["passed", "one: Stream: passes"],
            *(["retried", f"one: Stream: flaky {number}"] for number in range(1, RETRIED_MAX + 1))])
        *retried, last = shown.splitlines()[-RETRIED_MAX - 1:]
        for number, line in enumerate(sorted(retried), 1):
            self.assertRegex(line, f"^retried: one: Stream: flaky {number}: .*too busy")
        self.assertRegex(last, f"2 passed, .*{RETRIED_MAX} retried")

    def test_too_many_retried_tests_fail_the_run(self):
        self.module("test_one.py", self.FLAKY.format(fails="pass"))
        shown = self.run_them("--retry-alone", status=1)
        self.assertEqual([line[0] for line in self.lines], ["failed"] * (RETRIED_MAX + 1) + ["passed"] * 2)
        self.assertIn(f"{RETRIED_MAX + 1} is more than {RETRIED_MAX}", shown)

    def test_a_test_that_fails_again_has_failed(self):
        self.module("test_one.py", self.FLAKY.format(fails='self.fail("broken")'))
        self.run_them("--retry-alone", "-k", "fails or passes or flaky_2", status=1)
        self.assertEqual(self.outcomes(), [["failed", "one: Stream: fails"],
                                           ["passed", "one: Stream: passes"],
                                           ["retried", "one: Stream: flaky 2"]])

    def test_a_worker_that_crashes_fails_its_test_and_the_others_run(self):
        self.module("test_one.py", self.FLAKY.format(fails="os._exit(3)"))
        self.run_them("-n2", "-k", "fails or passes", status=1)
        self.assertEqual(self.outcomes(), [["failed", "one: Stream: fails"],
                                           ["passed", "one: Stream: passes"]])
