"""The stages `guest-SERIES` of ./dev mutate: single tests in a guest with that kernel (guests.py), for faults that only
such a kernel shows. All of them share one copy of the tree and one build."""

import shlex
import subprocess

from tools.dev import guest_suites, guests, kernels

PREFIX = "guest-"


def is_guest(stage):
    return stage.startswith(PREFIX)


def run(stage, tree, command, seconds, results):
    """Runs a command of the shell in the copy of the tree, in a guest. Returns its end as subprocess does, with its
    output; what it wrote to the guest's /run/riposte/`results` comes to the file `results` of the build, too."""
    target = tree / "build" / results
    target.unlink(missing_ok=True)
    refusal = guests.refusal()
    if refusal:
        return subprocess.CompletedProcess(command, 1, f"Bail out! guests cannot run here: {refusal}\n")
    (row,) = kernels.chosen([stage.removeprefix(PREFIX)])
    out = guests.directory(f"mutate-{row.series}")
    try:
        with kernels.Home(row) as home:
            environment = {"RIPOSTE_KERNEL": row.series, "RIPOSTE_KERNEL_SERIES": home.series,
                           "RIPOSTE_TEST_PATIENCE": guest_suites.PATIENCE}
            ended = guests.run(home, guests.job([f"cd {shlex.quote(str(tree.resolve()))}", command], environment), out,
                               round(seconds))
    except kernels.NoKernel as reason:
        return subprocess.CompletedProcess(command, 1, f"Bail out! no such kernel: {reason}\n")
    if (out / results).exists():
        target.write_bytes((out / results).read_bytes())
    text = ended.text("job.log") + "".join(f"kernel: {line}\n" for line in ended.faults())
    if ended.status is None:
        return subprocess.CompletedProcess(command, 1, f"{text}{ended.how()}\n")
    return subprocess.CompletedProcess(command, ended.status, text)
