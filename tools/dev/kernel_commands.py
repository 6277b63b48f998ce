"""`./dev kernels [KERNEL...]`: all suites in guests, also in kernels that `./dev test` leaves out; and
`./dev kernels run KERNEL [COMMAND...]`: a command, or a shell, in a guest."""

import os
import shlex
import sys
import time

from tools.dev import guests, kernels, packages, process, results, schedule, stages, trees
from tools.dev.console import Failure, header, say
from tools.dev.trees import ROOM

USAGE = """./dev kernels [--list] [KERNEL...]
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
        say(f"{row.series:<6}{row.origin:<17}{'./dev test' if row.form == 'test' else '':<12}{backend}")
    return 0


def suites(names):
    """The suites in each of these kernels; in those of `./dev test` if no name is given."""
    rows = kernels.chosen(names) if names else kernels.of_every_run()
    refusal = guests.refusal()
    if refusal:
        raise Failure(f"guests cannot run here: {refusal}")
    trees.make_room()
    found = results.Results(ROOM / "results.tsv")
    needed = packages.BUILD + packages.KERNELS + packages.SUITES
    steps = [schedule.Step("packages", "install", lambda: packages.need(needed)),
             *stages.guest_steps(found, rows, long=True)]
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
