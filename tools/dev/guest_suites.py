"""What runs in a guest, and the rows of it: `KERNEL suite: case`.

A guest runs the conformance suite, the daemon's unit tests, and the integration modules in which the kernel
matters; those that are the same for every backend run on io_uring only. The tests of tests/kernels need a guest:
they compare what riposted says with the table of kernels, and make networks (guest_networks.py), of which `./dev
test` makes a few and `./dev kernels` all.
"""

from tools.dev import guest_networks, guests, kernels, results
from tools.dev.console import say
from tools.dev.suites import LINES_SHOWN

#: The modules in which the kernel matters; on a kernel with io_uring they run on it.
MODULES = ["backend", "backpressure", "datagrams", "echo", "handover", "hello", "limits", "reload", "sandbox",
           "tutorial"]
#: Those of them that then also run on epoll.
ON_EPOLL_TOO = ["backend", "echo"]
PROGRAMS = {"conformance": "tests/conformance/conformance", "unit_daemon": "tests/unit/unit_daemon"}
#: What must be built for a guest.
TARGETS = ["integration_programs", *PROGRAMS.values()]
#: A system call costs a hundred times as much as on this machine, and there is one processor.
PATIENCE = 3
#: The limit of everything in one guest.
SECONDS_MAX = 1800


def fetch(rows):
    """Gets the kernels that are not cached; a kernel that is not available is skipped where it would run."""
    if guests.refusal():
        return
    for row in rows:
        try:
            with kernels.Home(row):
                pass
        except kernels.NoKernel as reason:
            say(f"    {row.title} is not available: {reason}")


def run(found, row, tree, long=False, stage="kernels"):
    """Boots this kernel, runs the suites in it, and adds their rows; `long`: with all networks."""
    reason = guests.refusal()
    if reason:
        found.add("skipped", stage, f"{row.series} every suite", reason)
        return
    try:
        with kernels.Home(row) as home:
            if home.series != row.series:
                found.add("skipped", stage, f"{row.series} the kernel of the table",
                          f"{row.suite} has {home.series} now, which runs instead; change {kernels.TABLE}")
            out = guests.directory(row.series)
            ended = guests.run(home, job(row, home.series, tree, long), out, SECONDS_MAX)
    except kernels.NoKernel as reason:
        found.add("skipped", stage, f"{row.series} every suite", f"no such kernel: {reason}")
        return
    collect(found, stage, home.series, ended, runs_of(row))


def runs_of(row):
    """The names of the runs of pytest in a guest."""
    return ["io_uring", "epoll"] if row.backend == "io_uring" else [row.backend]


def job(row, series, tree, long):
    environment = {"RIPOSTE_KERNEL": row.series, "RIPOSTE_KERNEL_SERIES": series,
                   "RIPOSTE_TEST_PATIENCE": PATIENCE,
                   "RIPOSTE_MODULES": " ".join(MODULES),
                   "RIPOSTE_KERNEL_TESTS": " ".join(guest_networks.tests(row, long)),
                   "RIPOSTE_MODULES_EPOLL": " ".join(ON_EPOLL_TOO)}
    runs = " ".join(runs_of(row))
    return guests.job([f"sh tests/kernels/suites {tree.path.resolve()} /run/riposte {runs}"], environment)


def collect(found, stage, name, ended, runs):
    """Adds the rows of a guest that has ended."""
    for program in PROGRAMS:
        for outcome, case, reason, comments in of_program(program, ended):
            for line in comments[-LINES_SHOWN:]:
                say(line)
            found.add(outcome, stage, f"{name} {case}", reason)
    for each in runs:
        for row in of_modules(each, ended):
            found.add(row.outcome, stage, f"{name} {row.name}", row.reason, row.seconds)
    faults = ended.faults()
    found.add("failed" if faults else "passed", stage, f"{name} the kernel's log", "; ".join(faults[:3]), ended.seconds)


def of_program(program, ended):
    status = ended.text(f"{program}.status").strip()
    how = f"exit code {status}" if status else ended.how()
    return results.of_program(program, status == "0", how, ended.text(f"{program}.tap"),
                              ended.text(f"{program}.err"))


def of_modules(name, ended):
    """The rows that pytest wrote; one more if it did not end well and none of them says why."""
    rows = results.of_pytest(ended.out / f"{name}.tsv")
    status = ended.text(f"{name}.status").strip()
    if status == "0" and rows:
        return rows
    if not status:
        return [*rows, results.Row("failed", "", f"pytest {name}", ended.how())]
    if all(row.outcome != "failed" for row in rows):
        return [*rows, results.Row("failed", "", f"pytest {name}", f"exit status {status}")]
    return rows
