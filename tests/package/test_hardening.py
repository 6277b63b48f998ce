"""The packaged programs have every hardening that the compiler and the linker offer.

The tests read the programs with readelf, and their debugging information for flags that leave no trace in
the program itself. The same checks must all fail for a program that is built without hardening.
"""

import os
import pathlib
import re
import tempfile
import unittest

import pytest

from packages import PROGRAMS, extracted, program, run

pytestmark = pytest.mark.timeout(600)

COMPILER_FLAGS = ("-O2", "-fstack-protector-strong", "-fstack-clash-protection")
X86_FLAGS = ("-fcf-protection",)
ENDBR64 = b"\xf3\x0f\x1e\xfa"


def on_x86(path):
    return re.search(r"Machine:\s+(.*X86-64|Intel 80386)", run("readelf", "-hW", path)) is not None


def start_file():
    return run("gcc", "-print-file-name=Scrt1.o").strip()


def cet_features(path):
    features = re.search(r"x86 feature: (.*)", run("readelf", "-nW", path))
    return set(re.split(r",\s*", features[1].strip())) if features else set()


def missing(path):
    """The names of the hardening features that a program lacks."""
    header = run("readelf", "-hW", path)
    segments = run("readelf", "-lW", path)
    dynamic = run("readelf", "-dW", path)
    symbols = run("readelf", "--dyn-syms", "-W", path)
    found = {
        "position independent": re.search(r"Type:\s+DYN", header) and
                                re.search(r"FLAGS_1.*\bPIE\b", dynamic),
        "read-only relocations": re.search(r"(?m)^\s+GNU_RELRO\s", segments),
        "bound at start": re.search(r"\bBIND_NOW\b|FLAGS_1.*\bNOW\b", dynamic),
        "stack not executable": re.search(r"(?m)^\s+GNU_STACK(\s+0x[0-9a-f]+){5}\s+RW\s", segments),
        "stack protector": re.search(r"\b__stack_chk_fail\b", symbols),
        "fortified": re.search(r"\b__(?!stack_chk_fail)\w+_chk\b", symbols),
    }
    if on_x86(path):
        # The linker marks the program only if every object has the feature, and Debian's start files lack
        # it. The project's own code has it in each function that is a target of indirect branches.
        found["branch targets marked (CET)"] = pathlib.Path(path).read_bytes().count(ENDBR64) > 100
        for feature in cet_features(start_file()) - cet_features(path):
            found[f"noted as {feature} (CET)"] = False
    return {name for name, there in found.items() if not there}


def producers(path):
    """The compiler flags of each unit, as GCC recorded them."""
    text = run("readelf", "--debug-dump=info", "--dwarf-depth=1", "-W", path)
    found = re.findall(r"DW_AT_producer\s*:\s*(?:\(.*?\): )?(GNU C.*)", text)
    return [line for line in found if "GNU AS" not in line]


class Programs(unittest.TestCase):
    def test_no_hardening_is_missing(self):
        for name in PROGRAMS:
            self.assertEqual((name, missing(program(name))), (name, set()))

    def test_libraries_are_loaded_from_system_directories_only(self):
        for name in PROGRAMS:
            self.assertNotRegex(run("readelf", "-dW", program(name)), r"RPATH|RUNPATH")

    def test_every_unit_was_compiled_with_flags_that_leave_no_trace(self):
        for name in PROGRAMS:
            debug = list((extracted(name + "-dbgsym") / "usr/lib/debug").rglob("*.debug"))
            self.assertEqual(len(debug), 1, debug)
            units = producers(debug[0])
            self.assertGreaterEqual(len(units), 3)  # main, common, and the program's own library
            flags = COMPILER_FLAGS + (X86_FLAGS if on_x86(program(name)) else ())
            for unit in units:
                words = unit.split()
                lacking = [flag for flag in flags
                           if not any(word == flag or word.startswith(flag + "=") for word in words)]
                self.assertEqual((lacking, unit), ([], unit))

    def test_assertions_are_enabled(self):
        # A broken invariant must end the daemon; see debian/rules.
        self.assertRegex(run("readelf", "--dyn-syms", "-W", program("riposted")),
                         r"\b__assert_fail\b")


class Checks(unittest.TestCase):
    def test_a_program_without_hardening_fails_the_checks(self):
        with tempfile.TemporaryDirectory(prefix="riposte-soft-") as directory:
            source = pathlib.Path(directory) / "soft.c"
            source.write_text('#include <string.h>\n#include <stdio.h>\n'
                              'int main(int n, char** v) { char b[9]; strcpy(b, v[n - 1]);'
                              ' return printf(b); }\n')
            soft = os.path.join(directory, "soft")
            run("gcc", "-w", "-no-pie", "-fno-pie", "-fno-stack-protector", "-fcf-protection=none"
                if on_x86("/proc/self/exe") else "-O0", "-U_FORTIFY_SOURCE", "-z", "norelro",
                "-z", "lazy", "-z", "execstack", "-o", soft, source)
            expected = {"position independent", "read-only relocations", "bound at start",
                        "stack not executable", "stack protector", "fortified"}
            if on_x86(soft):
                expected |= {"branch targets marked (CET)"}
                expected |= {f"noted as {feature} (CET)" for feature in cet_features(start_file())}
            self.assertEqual(missing(soft), expected)
