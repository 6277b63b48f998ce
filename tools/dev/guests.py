"""Starts a guest: one of the kernels (kernels.py) with this machine's root, read-only, as its own.

So a guest has the programs of this machine, and the tree and its builds by the same paths; what it writes is in
memory, except for one directory, in which it finds its job and leaves results. It has no network but its
loopback interface. It ends with the command that started it: everything runs in a process namespace of its own.
"""

import os
import pathlib
import re
import shlex
import shutil
from dataclasses import dataclass

from tools.dev import kernels, process, roots, trees
from tools.dev.trees import ROOM, TOP

START = "tests/kernels/start"
INIT = "tests/kernels/init"
MEMORY_MIB = 1536
#: What the kernel itself needs to start and to end, besides the job.
SECONDS_AROUND = 60
#: Lines of the kernel's log that are a fault of it, or one that we caused.
FAULT = re.compile(r"\b(?:WARNING|BUG|Oops|Kernel panic|Call Trace)\b|general protection|hung task")


@dataclass(frozen=True)
class Ended:
    """How a guest ended: what is in its directory, and whether its job ran to the end."""
    out: pathlib.Path
    status: int | None  # of the job; None if the guest ended first
    seconds: float

    def text(self, name):
        path = self.out / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def how(self):
        """Why the guest has no result, in a line."""
        lines = [line for line in self.text("console").splitlines() if line.strip()]
        fault = next((line for line in lines if FAULT.search(line)), lines[-1] if lines else "it printed nothing")
        return f"the guest ended before its job did: {fault.strip()[:200]}"

    def faults(self):
        """The lines of the kernel's log that must not be there."""
        text = self.text("dmesg") or self.text("console")
        return [line for line in text.splitlines() if FAULT.search(line)]


def refusal():
    """The reason why guests cannot run here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if os.uname().machine != "x86_64":
        return f"the kernels are for x86_64, and this is {os.uname().machine}"
    if not shutil.which("apt-get"):
        return "this is not Debian"
    if " " in str(TOP):
        return "the path of the tree has a blank"
    return roots.no_namespaces()


def directory(name):
    """An empty directory for the results of a guest."""
    path = ROOM / "kernels" / name
    trees.make_anew(path)
    return path.resolve()


def job(commands, environment=None):
    """The text of a job, which the guest's shell runs in the tree."""
    exports = [f"export {key}={shlex.quote(str(value))}" for key, value in (environment or {}).items()]
    return "\n".join([*exports, *commands]) + "\n"


def run(home, text, out, seconds):
    """Runs a job in a guest, to its end."""
    (out / "job").write_text(text, encoding="utf-8")
    done = process.run([*_on_one_processor(home), *_alone(seconds + SECONDS_AROUND), *_kernel(home, out, seconds)],
                       log=out / "console")
    status = (out / "job.status").read_text(encoding="ascii").strip() if (out / "job.status").exists() else ""
    return Ended(out, int(status) if status else None, done.seconds)


def shell(home, out, seconds):
    """A shell in a guest, on this terminal."""
    (out / "job").write_text("exec bash -i\n", encoding="utf-8")
    (out / "shell").touch()
    try:
        return process.run([*_on_one_processor(home), *_alone(seconds, "--foreground"),
                            *_kernel(home, out, seconds, terminal=True)],
                           stdin=None).status
    finally:
        process.run(["stty", "sane"], stdin=None)


def _on_one_processor(home):
    """User Mode Linux is two processes of which one always waits for the other: on one processor they need not wake
    a second one for each system call. Guests that run side by side are spread."""
    processors = sorted(os.sched_getaffinity(0))
    number = [row.series for row in kernels.table()].index(home.kernel.series)
    return ["taskset", "--cpu-list", processors[number % len(processors)]]


def _alone(seconds, *options):
    """Runs a command in namespaces that end with it."""
    return ["timeout", *options, "-k", 5, seconds, "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child",
            "--propagation", "private"]


def _kernel(home, out, seconds, terminal=False):
    """The command that runs the kernel."""
    return ["sh", START, home.path, out, f"mem={MEMORY_MIB}M", "root=/dev/root", "rootfstype=hostfs",
            "rootflags=/host", "ro", f"init={TOP}/{INIT}", "panic=-1",
            "seccomp=on",  # from 6.16 on it makes system calls cheaper; older kernels ignore it
            f"riposte.tree={TOP}", f"riposte.seconds={seconds}",
            "con=null", "con0=fd:0,fd:1" if terminal else "con0=null,fd:1", "quiet"]
