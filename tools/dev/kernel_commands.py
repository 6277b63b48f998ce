"""`./dev kernels [KERNEL...]`: all suites in guests, also in kernels that `./dev test` leaves out, and in machines that
qemu emulates; and `./dev kernels run KERNEL [COMMAND...]`: a command, or a shell, in a guest."""

import os
import shlex
import sys
import time

from tools.dev import emulated, guests, kernels, packages, process, results, schedule, stages, trees
from tools.dev.console import Failure, header, say
from tools.dev.trees import ROOM

USAGE = """./dev kernels [--list | --all] [KERNEL...]
       ./dev kernels run KERNEL [COMMAND...]"""
#: The limit of a command in a guest.
SECONDS_MAX = 24 * 3600


def command(arguments):
    if {"-h", "--help"} & set(arguments[:1]):
        say("usage: " + USAGE)
        return 0
    if arguments[:1] == ["--list"]:
        return show_table()
    if arguments[:1] == ["run"]:
        return run(arguments[1:])
    return suites(arguments)


def show_table():
    """The kernels, and what the tests know of each."""
    for row in kernels.table():
        backend = row.backend + (f", without {row.lacks}" if row.lacks else "")
        say(f"{row.series:<21}{row.origin:<17}{'./dev test' if row.form == 'test' else '':<12}{backend}")
    for row in emulated.table():
        lacks = f"without {row.lacks}" if row.lacks else ""
        processors = "two processors" if row.processors == 2 else ""
        say(f"{row.name:<21}{row.suite:<17}{'qemu':<12}{', '.join(filter(None, (lacks, processors)))}")
    return 0


def suites(names):
    """The suites in each of these kernels; in those of `./dev test` if no name is given. --all adds those that are
    emulated, which take most of an hour each."""
    machines = [row for row in emulated.table() if row.name in names or names == ["--all"]]
    named = [name for name in names if name != "--all" and name not in {row.name for row in machines}]
    rows = kernels.chosen(named) if named else [] if machines and names != ["--all"] else kernels.of_every_run()
    refusal = guests.refusal()
    if refusal:
        raise Failure(f"guests cannot run here: {refusal}")
    trees.make_room()
    found = results.Results(ROOM / "results.tsv")
    needed = packages.BUILD + packages.KERNELS + packages.SUITES + (emulated.PACKAGES if machines else [])
    steps = [schedule.Step("packages", "install", lambda: packages.need(needed)),
             *stages.guest_steps(found, rows, long=True), *stages.emulated_steps(found, machines)]
    plan = schedule.Schedule(steps, found.add)
    began = time.monotonic()
    plan.run()
    header(f"{(time.monotonic() - began) / 60:.1f} minutes")
    return results.report(found.rows, 5)


def run(arguments):
    """A command in a guest, by this machine's shell rules if it is one word; a shell if there is none."""
    if not arguments:
        raise Failure("which kernel? ./dev kernels --list shows them")
    (row,) = kernels.chosen(arguments[:1])
    text = arguments[1] if len(arguments) == 2 else shlex.join(arguments[1:])
    if not text and not sys.stdin.isatty():
        raise Failure("without a terminal, a command is needed: ./dev kernels run KERNEL COMMAND...")
    refusal = guests.refusal()
    if refusal:
        raise Failure(f"guests cannot run here: {refusal}")
    trees.make_room()
    packages.need(packages.KERNELS)
    out = guests.directory(f"run-{os.getpid()}")
    try:
        with kernels.Home(row) as home:
            return in_guest(home, text, out)
    finally:
        process.run(["rm", "-rf", "--one-file-system", out])


def in_guest(home, text, out):
    if not text:
        return guests.shell(home, out, SECONDS_MAX)
    ended = guests.run(home, guests.job([text]), out, SECONDS_MAX)
    sys.stdout.write(ended.text("job.log"))
    for line in ended.faults():
        say(f"    kernel: {line}")
    if ended.status is None:
        raise Failure(ended.how())
    return ended.status
