"""mutate.py, with a toy tree and a toy builder: its verdicts on mutants, and the state of the tree afterwards."""

import concurrent.futures
import io
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from tools.dev import mutate, process  # pylint: disable=wrong-import-position

SUM = "def add(a, b):\n    return a + b\n\n\ndef double(a):\n    return add(a, a)\n"
TESTS = textwrap.dedent("""\
    from product import add, double

    def adds():
        assert add(2, 3) == 5

    def doubles():
        assert double(4) == 8

    def is_slow():
        assert add(1, 1) == 2

    def always_fails():
        assert False
    """)


class Python:
    """A builder for trees of Python: building is compiling, and a test is a function."""

    def __init__(self):
        self.built = []
        self.seconds = []

    def build(self, stage, tests, tree):
        self.built.append((stage, [str(test) for test in tests]))
        done = subprocess.run([sys.executable, "-c", "compile(open('product.py').read(), 'p', 'exec')"],
                              cwd=tree, capture_output=True, text=True, check=False)
        return done.stderr

    def run(self, stage, words, tree, seconds):
        self.seconds.append(seconds)
        ran, failed, output = [], [], ""
        for name in ("adds", "doubles", "is_slow", "always_fails"):
            title = f"toy: {name.replace('_', ' ')}"
            if " ".join(words[1:]) not in title:
                continue
            ran.append(title)
            done = subprocess.run([sys.executable, "-Bc", f"import toy; toy.{name}()"], cwd=tree,
                                  capture_output=True, text=True, check=False)
            output += done.stderr
            if done.returncode != 0:
                failed.append(title)
        return mutate.Outcome(ran, failed, output)


def patch_of(old, new, name="product.py"):
    return (f"--- a/{name}\n+++ b/{name}\n@@ -1,3 +1,3 @@\n def add(a, b):\n"
            f"-    return {old}\n+    return {new}\n \n")


class MutateTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="riposte-mutate-")
        self.addCleanup(directory.cleanup)
        self.top = pathlib.Path(directory.name) / "tree"
        (self.top / "tests/mutants").mkdir(parents=True)
        (self.top / "product.py").write_text(SUM)
        (self.top / "toy.py").write_text(TESTS)
        self.builder = Python()

    def plant(self, name, diff, *caught, fault="Fault: the sum is wrong,\n    always.\n"):
        lines = "".join(f"Caught-by: {test}\n" for test in caught)
        (self.top / f"tests/mutants/{name}.patch").write_text(fault + lines + "\n" + diff)

    def mutate(self, *arguments):
        out = io.StringIO()
        status = mutate.main(list(arguments), self.builder, self.top, out)
        return status, out.getvalue()

    def copy(self, stage="check"):
        return self.top / "build-dev/mutate" / stage


class Verdicts(MutateTest):
    def test_a_fault_that_its_test_finds_is_caught(self):
        self.plant("minus", patch_of("a + b", "a - b"), "check toy adds", "asan toy doubles")
        status, out = self.mutate()
        self.assertEqual(status, 0, out)
        self.assertRegex(out, r"(?m)^minus +caught .*check toy adds$")
        self.assertRegex(out, r"(?m)^minus +caught .*asan toy doubles$")
        self.assertTrue(out.endswith("2 of 2 caught\n"), out)

    def test_a_fault_that_no_test_finds_has_survived(self):
        self.plant("same", patch_of("a + b", "b + a"), "check toy adds")
        self.plant("minus", patch_of("a + b", "a - b"), "check toy adds")
        status, out = self.mutate()
        self.assertEqual(status, 1)
        self.assertRegex(out, r"(?m)^same: SURVIVED: check toy adds\n    the sum is wrong, always\.$")
        self.assertRegex(out, r"(?m)^minus +caught")
        self.assertTrue(out.endswith("1 of 2 caught\n"), out)

    def test_a_fault_that_does_not_compile_is_not_caught(self):
        self.plant("broken", patch_of("a + b", "a +"), "check toy adds")
        status, out = self.mutate()
        self.assertEqual(status, 1)
        self.assertIn("broken: does not compile: check toy adds\n", out)
        self.assertIn("SyntaxError", out)

    def test_a_fault_that_only_another_test_finds_is_not_caught(self):
        self.plant("other", patch_of("a + b", "a + b + (a == 4)"), "check toy adds")
        run = self.builder.run
        self.builder.run = lambda stage, words, *rest: run(stage, ("toy", "d"), *rest)
        status, out = self.mutate()  # "adds" passes, "doubles" fails
        self.assertEqual(status, 1)
        self.assertIn("other: another test failed: check toy adds\n", out)

    def test_a_test_that_fails_anyway_catches_nothing(self):
        self.plant("minus", patch_of("a + b", "a - b"), "check toy always fails")
        status, out = self.mutate()
        self.assertEqual(status, 1)
        self.assertIn("minus: fails without the fault: check toy always fails\n", out)

    def test_a_test_that_does_not_exist_catches_nothing(self):
        self.plant("minus", patch_of("a + b", "a - b"), "check toy multiplies")
        status, out = self.mutate()
        self.assertEqual(status, 1)
        self.assertIn("minus: the test did not run: check toy multiplies\n", out)

    def test_a_patch_whose_source_has_changed_is_reported_with_how_to_renew_it(self):
        self.plant("old", patch_of("a * b", "a - b"), "check toy adds")
        self.plant("gone", patch_of("a + b", "a - b", "no_such.py"), "check toy adds")
        self.plant("minus", patch_of("a + b", "a - b"), "check toy adds")
        status, out = self.mutate()
        self.assertEqual(status, 1)
        for name in ("old", "gone"):
            self.assertIn(f"{name}: does not apply: check toy adds\n", out)
            self.assertIn(f"The source that tests/mutants/{name}.patch patches has changed.", out)
        self.assertRegex(out, r"(?m)^minus +caught")


class Trees(MutateTest):
    def test_the_user_s_tree_is_not_changed_and_the_copy_is_restored(self):
        self.plant("minus", patch_of("a + b", "a - b"), "check toy adds")
        self.plant("more", "--- /dev/null\n+++ b/more.py\n@@ -0,0 +1 @@\n+x = 1\n",
                   "check toy adds")
        before = {path: path.read_bytes() for path in self.top.rglob("*") if path.is_file()}
        self.mutate()
        for path, content in before.items():
            self.assertEqual(path.read_bytes(), content)
        self.assertEqual({path.name for path in self.top.iterdir()},
                         {"product.py", "toy.py", "tests", "build-dev"})
        self.assertEqual((self.copy() / "product.py").read_text(), SUM)
        self.assertFalse((self.copy() / "more.py").exists())

    def test_a_copy_within_a_repository_is_patched_as_well(self):
        subprocess.run(["git", "init", "-q", self.top], check=True)
        self.plant("minus", patch_of("a + b", "a - b"), "check toy adds")
        status, out = self.mutate()
        self.assertEqual(status, 0, out)

    def test_only_changed_files_are_copied_and_removed_ones_are_removed(self):
        self.plant("minus", patch_of("a + b", "a - b"), "check toy adds")
        (self.top / "gone.py").write_text("")
        self.mutate()
        built = self.copy() / "build/object"
        built.parent.mkdir()
        built.write_text("")
        os.utime(self.copy() / "toy.py", ns=(1, 1))
        (self.copy() / "product.py").write_text("left by a run that was killed\n")
        (self.top / "gone.py").unlink()
        self.assertEqual(self.mutate()[0], 0)
        self.assertEqual((self.copy() / "toy.py").stat().st_mtime_ns, 1)
        self.assertEqual((self.copy() / "product.py").read_text(), SUM)
        self.assertFalse((self.copy() / "gone.py").exists())
        self.assertTrue(built.exists())

    def test_all_tests_of_a_stage_are_built_at_once_and_then_each_with_its_fault(self):
        self.plant("minus", patch_of("a + b", "a - b"), "check toy adds")
        self.plant("zero", patch_of("a + b", "0"), "check toy doubles")
        self.mutate()
        self.assertEqual(self.builder.built, [
            ("check", ["check toy adds", "check toy doubles"]),
            ("check", ["check toy adds"]), ("check", ["check toy doubles"])])


class Interrupted(MutateTest):
    def test_an_interrupted_run_ends_its_test_and_plants_no_further_fault(self):
        self.plant("minus", patch_of("a + b", "a - b"), "check toy adds")
        self.plant("zero", patch_of("a + b", "0"), "check toy adds")
        run, ended, runs, waits = self.builder.run, threading.Event(), [], []

        def interrupt_the_first_fault(stage, words, tree, seconds):
            runs.append((tree / "product.py").read_text() != SUM)
            if not runs[-1]:
                return run(stage, words, tree, seconds)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            waits.append(ended.wait(300))
            return mutate.Outcome([], [])
        self.builder.run, self.builder.end_all = interrupt_the_first_fault, ended.set
        out = io.StringIO()
        with self.assertRaises(KeyboardInterrupt):
            mutate.main([], self.builder, self.top, out)
        self.assertEqual((runs, waits), ([False, True], [True]))
        self.assertEqual((self.copy() / "product.py").read_text(), SUM)
        self.assertEqual(out.getvalue(), "")

    def test_ending_all_commands_kills_a_session_and_what_it_started(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            done = pool.submit(process.run_in_session, ["sh", "-c", f"sleep 1000 & echo >{self.top}/on; wait"],
                               self.top)
            while not (self.top / "on").exists():
                os.sched_yield()
            process.end_all()
            self.assertEqual(done.result(60).returncode, -signal.SIGKILL)


class Files(MutateTest):
    def refusal(self, *arguments):
        script = ("import pathlib, sys; from tools.dev import mutate; "
                  "sys.exit(mutate.main(sys.argv[2:], None, pathlib.Path(sys.argv[1])))")
        done = subprocess.run([sys.executable, "-c", script, self.top, *arguments], cwd=TOP,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    def test_the_list_has_each_fault_and_its_tests(self):
        self.plant("minus", patch_of("a + b", "a - b"), "check toy adds", "asan toy doubles")
        status, out = self.mutate("--list")
        self.assertEqual(status, 0)
        self.assertEqual(out, "minus\n    the sum is wrong, always.\n"
                              "    caught by: check toy adds\n    caught by: asan toy doubles\n")
        self.assertEqual(self.builder.built, [])

    def test_an_unknown_name_is_refused(self):
        self.plant("minus", patch_of("a + b", "a - b"), "check toy adds")
        self.assertIn("unknown mutant: plus; --list prints the names", self.refusal("minus", "plus"))

    def test_an_incomplete_header_is_refused(self):
        self.plant("head", patch_of("a + b", "a - b"))
        self.assertIn("head.patch: needs one 'Fault: ...' and a 'Caught-by: ...'", self.refusal())
        self.plant("head", patch_of("a + b", "a - b"), "nowhere toy adds")
        self.assertIn("does not begin with one of check, asan,", self.refusal())
        self.plant("head", patch_of("a + b", "a - b"), "check toy adds", fault="")
        self.assertIn("needs one 'Fault: ...'", self.refusal())
        self.plant("head", "", "check toy adds")
        self.assertIn("has no diff", self.refusal())

    def test_the_page_names_each_fault_of_the_product_once_with_its_tests_and_no_other(self):
        mutants = mutate.read_mutants(TOP / "tests/mutants")
        page = (TOP / "docs/planted-faults.md").read_text(encoding="utf-8")
        self.assertEqual(sorted(re.findall(r"(?m)^\| \[([^]]+)\]", page)), [each.name for each in mutants])
        self.assertTrue(page == mutate.page(mutants),
                        "docs/planted-faults.md is not what its patches say; run: "
                        "./dev mutate --page > docs/planted-faults.md")

    def test_the_product_s_mutants_can_be_read_and_applied(self):
        mutants = mutate.read_mutants(TOP / "tests/mutants")
        self.assertGreater(len(mutants), 20)
        tree = mutate.Tree(TOP, pathlib.Path(self.top.parent / "copy"))
        tree.sync()
        for mutant in mutants:
            with self.subTest(mutant.name):
                self.assertEqual(tree.apply(mutant.path), "")
                self.assertNotEqual(tree.before, {})
                tree.revert()
        self.assertEqual({stage for mutant in mutants for stage in
                          (test.stage for test in mutant.tests)}, set(mutate.stages))


if __name__ == "__main__":
    unittest.main()
