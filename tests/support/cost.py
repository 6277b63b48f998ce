"""What a daemon costs while it has nothing to do, told so that no other process changes the verdict: by how
often it falls asleep, and by its own CPU time against that of work which the same test gave it.

    yardstick = cost_of(daemon, lambda: ...)              some work, in seconds of CPU
    assert_sleeps(test, daemon, times=4, yardstick=yardstick)
"""

import os
import re
import time

from daemon import await_true

#: A thread that wakes up more often than that has nothing to do so often. (What riposted does by itself, it
#: does four times a second at most.)
WAKE_UPS_PER_SECOND = 40


def cost_of(daemon, work):
    """How many seconds of CPU the daemon spent on it."""
    before = daemon.cpu_seconds()
    work()
    return daemon.cpu_seconds() - before


def times_asleep(daemon):
    """How often its threads gave the CPU away by themselves, in all. One that spins never does, and loses it to
    others instead."""
    total = 0
    for task in os.listdir(f"/proc/{daemon.pid}/task"):
        with open(f"/proc/{daemon.pid}/task/{task}/status", encoding="ascii") as file:
            total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", file.read(), re.M)[1])
    return total


def assert_sleeps(test, daemon, times, yardstick):
    """The daemon has nothing that it could do. It falls asleep so many times more, not much more often than it
    has a reason to, and spends less than `yardstick` seconds of CPU."""
    began, asleep = time.monotonic(), times_asleep(daemon)
    spent = cost_of(daemon, lambda: await_true(lambda: times_asleep(daemon) >= asleep + times,
                                               f"it sleeps {times} times more"))
    test.assertLessEqual(times_asleep(daemon) - asleep,
                         times + WAKE_UPS_PER_SECOND * (time.monotonic() - began))
    test.assertLess(spent, yardstick, "seconds of CPU")
