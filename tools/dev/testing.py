"""`./dev test`: stages side by side, and single tests by name."""

import argparse
import resource
import time

from tools.dev import budget, packages, results, schedule, single
from tools.dev.console import Failure, header, say
from tools.dev.stages import NEEDS, STAGES
from tools.dev.trees import ROOM, make_room

USAGE = """./dev test [--all] [--stage STAGE]...
       ./dev test WORD... [-k TEXT] [--list] [--repeat N] [--load N] [--durations N]"""


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./dev test", usage=USAGE, description="runs the tests")
    parser.add_argument("words", nargs="*", metavar="WORD",
                        help="only the tests that these words name: a suite, a source, part of a name")
    parser.add_argument("--all", action="store_true", help="the long form, before a release")
    parser.add_argument("--stage", action="append", choices=list(STAGES), metavar="STAGE",
                        help="only this stage: " + ", ".join(STAGES))
    parser.add_argument("-k", metavar="TEXT", help="of the named tests, those whose name contains it")
    parser.add_argument("--list", action="store_true", help="print the names instead of running them")
    parser.add_argument("--durations", type=int, default=10, metavar="N", help="the N slowest (10)")
    parser.add_argument("--repeat", type=_count, default=1, metavar="N", help="run them N times")
    parser.add_argument("--load", type=_count, default=0, metavar="N", help="beside N spinning processes")
    return parser.parse_args(arguments)


def _count(text):
    value = int(text)
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError("0 to 1000")
    return value


def command(arguments):
    options = parse(arguments)
    if options.words or options.k or options.list:
        if options.stage or options.all:
            raise Failure("name tests, or choose stages, not both")
        return single.run(options.words, options)
    make_room()
    with single.spinning(options.load):
        return run_stages(chosen_stages(options), options)


def chosen_stages(options):
    """Their names, in the order of the table, with the stages that they need."""
    if not options.stage:
        return [name for name, stage in STAGES.items() if stage.fast or options.all]
    wanted = set(options.stage)
    for name in options.stage:
        wanted.update(NEEDS.get(name, ()))
    return [name for name in STAGES if name in wanted]


def run_stages(names, options):
    slow = budget.slowness()
    began, cpu_before = time.monotonic(), _cpu_of_children()
    found = results.Results(ROOM / "results.tsv")
    steps = package_steps(names)
    for name in names:
        steps += STAGES[name].steps(found)
        say(f"    {name:<12} {STAGES[name].title}")
    plan = schedule.Schedule(steps, found.add)
    plan.run()
    say()
    for line in timetable(plan.steps, found):
        say(line)
    minutes = (time.monotonic() - began) / 60
    good, text = budget.verdict(_cpu_of_children() - cpu_before, slow)
    header(f"{minutes:.1f} minutes; {text}")
    if names == [name for name, stage in STAGES.items() if stage.fast] and not options.load:
        found.add("passed" if good else "failed", "all", "the CPU time of the tests",
                  "" if good else "it exceeds its budget by more than half")
    return results.report(found.rows, options.durations)


def package_steps(names):
    """First the packages that the build needs, so that compiling begins while the others are installed."""
    rest = packages.BUILD + [package for name in names for package in STAGES[name].packages]
    return [schedule.Step("packages", "build", lambda: packages.need(packages.BUILD)),
            schedule.Step("packages", "install", lambda: packages.need(rest), ("packages: build",))]


def timetable(steps, found):
    """A line for each step: when it began, how long it took, and how much CPU time it used."""
    yield f"{'step':<42}{'began':>8}{'seconds':>9}{'CPU':>8}   rows"
    shown = set()
    for step in sorted((step for step in steps if step.state in ("done", "failed")),
                       key=lambda step: step.began):
        rows = "" if step.stage in shown or not found.of(step.stage) else results.summary(
            found.of(step.stage))
        shown.add(step.stage)
        yield (f"{step.key:<42}{step.began:>8.0f}{step.seconds:>9.0f}{step.cpu_seconds:>8.0f}   "
               f"{rows}").rstrip()


def _cpu_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
