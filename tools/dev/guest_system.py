"""A guest that boots systemd, with riposted as a service in it: tests/kernels/system. There the kernel enforces the
limits of control groups, which containers on most build machines only accept.

The root is that of the tests of tests/system, with the libraries that riposted needs.
"""

import pathlib
import re
import sys

from tools.dev import guest_suites, guests, kernels, process, roots
from tools.dev.trees import ROOM, TOP

TESTS = "tests/kernels/test_control_groups.py"
PACKAGES = ["systemd", "systemd-sysv", "dbus"]
NAME = "systemd"
LOG = ROOM / "kernels.root.log"
#: The log of a process that a control group's limit ends has a call trace, which is no fault.
OUT_OF_MEMORY = re.compile(r"(?ms)^[^\n]*invoked oom-killer.*?Memory cgroup out of memory[^\n]*$")


def run(found, row, tree, stage="kernels"):
    """Boots this kernel with systemd, runs the tests there, and adds their rows."""
    reason = row.no_systemd or guests.refusal() or roots.refusal()
    if reason:
        found.add("skipped", stage, f"{row.series} {NAME}", reason)
        return
    root = make_root(tree)
    if not root:
        found.add("skipped", stage, f"{row.series} {NAME}",
                  f"no root with systemd: {process.last_line(LOG)}")
        return
    out = guests.directory(f"{row.series}-{NAME}")
    (out / "system").write_text(f"{root} {tree.path.resolve()}\n", encoding="utf-8")
    try:
        with kernels.Home(row) as home:
            ended = guests.run(home, job(row, home.series, tree), out, guest_suites.SECONDS_MAX)
    except kernels.NoKernel as missing:
        found.add("skipped", stage, f"{row.series} {NAME}", f"no such kernel: {missing}")
        return
    for each in guest_suites.of_modules(NAME, ended):
        found.add(each.outcome, stage, f"{home.series} {each.name}", each.reason, each.seconds)
    faults = faults_of(ended)
    found.add("failed" if faults else "passed", stage, f"{home.series} the kernel's log, with systemd",
              "; ".join(faults[:3]), ended.seconds)


def job(row, series, tree):
    environment = {"RIPOSTE_KERNEL": row.series, "RIPOSTE_KERNEL_SERIES": series,
                   "RIPOSTE_TEST_PATIENCE": guest_suites.PATIENCE}
    return guests.job([f"python3 -B -m pytest -q --build={tree.path.resolve()} --results=/run/riposte/{NAME}.tsv "
                       f"{TESTS} >/run/riposte/{NAME}.log 2>&1", f"echo $? >/run/riposte/{NAME}.status"], environment)


def faults_of(ended):
    """The lines of the kernel's log that must not be there."""
    text = OUT_OF_MEMORY.sub("", ended.text("dmesg") or ended.text("console"))
    return [line for line in text.splitlines() if guests.FAULT.search(line)]


def make_root(tree):
    """The directory of the root, or None if it cannot be made."""
    done = process.run([sys.executable, "-B", "tests/system/machine.py", roots.own_release(),
                        *sorted({*PACKAGES, *libraries(tree.path / "daemon/riposted")})], log=LOG, cwd=TOP,
                       env={"PYTHONPATH": "tests/support"})
    return pathlib.Path(process.last_line(LOG)) if done.ok else None


def libraries(program):
    """The packages of the libraries that a program names."""
    dynamic = process.output(["readelf", "--dynamic", program]) or ""
    names = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    owners = process.output(["dpkg-query", "--search", *(f"*-linux-gnu/{name}" for name in names)]) or ""
    return {line.partition(":")[0] for line in owners.splitlines() if line.rpartition("/")[2] in names}
