"""The cost of an idle daemon, measured so that other processes do not change the verdict: how often it goes to
sleep, and its CPU time compared with that of known work in the same test.

    yardstick = cost_of(daemon, lambda: ...)              some work, in seconds of CPU
    assert_sleeps(test, daemon, times=4, yardstick=yardstick)
"""

import os
import re
import time

from daemon import await_true

#: A thread that wakes up more often than that does so without reason. (The daemon's own timers fire at most four
#: times a second.)
WAKE_UPS_PER_SECOND = 40


def cost_of(daemon, work):
    """The seconds of CPU that the daemon spent on it."""
    before = daemon.cpu_seconds()
    work()
    return daemon.cpu_seconds() - before


def times_asleep(daemon):
    """How often its threads went to sleep, in all. A thread that spins never does; it is only preempted."""
    total = 0
    for task in os.listdir(f"/proc/{daemon.pid}/task"):
        with open(f"/proc/{daemon.pid}/task/{task}/status", encoding="ascii") as file:
            total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", file.read(), re.M)[1])
    return total


def assert_sleeps(test, daemon, times, yardstick):
    """Checks an idle daemon: while it goes to sleep `times` more times, it does so not much more often than its
    timers require, and spends less than `yardstick` seconds of CPU."""
    began, asleep = time.monotonic(), times_asleep(daemon)
    spent = cost_of(daemon, lambda: await_true(lambda: times_asleep(daemon) >= asleep + times,
                                               f"it sleeps {times} times more"))
    test.assertLessEqual(times_asleep(daemon) - asleep,
                         times + WAKE_UPS_PER_SECOND * (time.monotonic() - began))
    test.assertLess(spent, yardstick, "seconds of CPU")
