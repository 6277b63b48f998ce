"""./dev as a command: help, errors, signals."""

import contextlib
import os
import select
import signal
import subprocess
import sys

import pytest

from tools.dev.trees import TOP


def dev(*arguments, **options):
    return subprocess.run([TOP / "dev", *arguments], capture_output=True, text=True, timeout=300,
                          stdin=subprocess.DEVNULL, check=False, **options)


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_help_fits_a_terminal(arguments):
    done = dev(*arguments)
    assert done.returncode == 0 and not done.stderr
    assert "./dev demo" in done.stdout and "./dev test" in done.stdout
    assert all(len(line) <= 98 for line in done.stdout.splitlines())


def test_an_unknown_command_is_one_line():
    done = dev("tset")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "./dev: unknown command tset; ./dev help lists them\n"


def test_dev_works_from_any_directory_and_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(TOP / "dev")
    done = subprocess.run([tmp_path / "link", "test", "--list", "timers"], cwd=tmp_path, check=False,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert all(line.startswith("timers: ") for line in done.stdout.splitlines())


@pytest.mark.parametrize("arguments, line", [
    (("test", "no such test"), "no test is named no such test; ./dev test --list shows all"),
    (("test", "timers", "-k", "nothing like it"),
     "no test is named nothing like it; ./dev test --list shows all"),
    (("test", "test_continuity"), "test_continuity runs only in its stage: ./dev test --stage system"),
    (("test", "timers", "--stage", "check"), "name tests, or choose stages, not both"),
    (("fuzz",), "the number of seconds is missing: ./dev fuzz SECONDS [--merge] [TARGET...]"),
    (("fuzz", "none"), "the number of seconds is missing: ./dev fuzz SECONDS [--merge] [TARGET...]"),
    (("soak", "0"), "the number of minutes is missing: ./dev soak MINUTES [--json FILE]"),
    (("bench", "nothing"), "unknown benchmark 'nothing'; known are: compare, generator, many, stamp, "
                           "throughput, truth"),
    (("demo", "now"), "./dev demo takes no arguments"),
])
def test_a_wrong_command_fails_before_anything_is_installed_or_built(arguments, line):
    done = dev(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"./dev: {line}\n"


@pytest.mark.parametrize("benchmark", [(), ("compare",), ("generator",), ("many",), ("stamp",), ("throughput",),
                                       ("truth",)])
def test_the_help_of_a_benchmark_builds_nothing(benchmark):
    done = dev("bench", *benchmark, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")


def test_the_shell_part_only_finds_python():
    text = (TOP / "dev").read_text()
    assert len(text.splitlines()) <= 40
    assert os.access(TOP / "dev", os.X_OK)


def test_signals_that_a_shell_made_us_ignore_reach_the_programs_under_test():
    program = ("import subprocess; from tools.dev.__main__ import restore_signals; restore_signals(); "
               "print(subprocess.run(['sed', '-n', 's/SigIgn:.//p', '/proc/self/status'], text=True, "
               "stdout=subprocess.PIPE).stdout)")
    done = subprocess.run(["sh", "-c", 'trap "" INT QUIT TERM; exec "$@"', "sh", sys.executable, "-c",
                           program], capture_output=True, text=True, timeout=60, check=True,
                          env={**os.environ, "PYTHONPATH": str(TOP)})
    ignored = int(done.stdout, 16)
    assert not ignored & (1 << signal.SIGINT - 1 | 1 << signal.SIGQUIT - 1 | 1 << signal.SIGTERM - 1)


def test_a_command_ends_with_a_signal_that_only_we_get():
    program = ("from tools.dev import process; from tools.dev.__main__ import restore_signals; restore_signals(); "
               "process.run(['sh', '-c', 'echo $$; exec sleep 1000'])")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env={**os.environ, "PYTHONPATH": str(TOP)}) as ours:
        command = os.pidfd_open(int(ours.stdout.readline()))
        try:
            ours.terminate()
            assert select.select([command], [], [], 60)[0], "the command has not ended"
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(command, signal.SIGKILL)
            os.close(command)
