"""How much CPU time `./dev test` may take, on a machine of this speed.

The budget is in CPU seconds, because other work on the machine does not count towards them. It is scaled by
how long this processor needs for a fixed piece of work: two machines of one kind differ by more than a factor
of two. A run that exceeds its budget by half has failed: a change that adds to the tests cuts elsewhere, or
raises the budget in a commit that says why.
"""

import time

#: CPU seconds of `./dev test` on the reference machine: under 23 minutes on its two processors, and half an hour
#: on a machine that is 1.3 times as slow. The link of known faults and the tests on it (link, truth,
#: load_losses, path, refusals, layout) take some 400 of them, in two stages, and the kernels another 400.
TEST_CPU_SECONDS = 2 * 19 * 60 + 400
EXCESS = 1.5
#: What work() takes on the reference machine.
REFERENCE_SECONDS = 0.053


def work():
    """A fixed piece of work that resembles a compiler's: tables and text."""
    table = {}
    for number in range(200_000):
        key = f"symbol_{number * 2654435761 % 65_536}"
        table[key] = table.get(key, 0) + len(key)
    return sum(table.values())


def slowness():
    """How much longer this machine takes than the reference machine; the best of five, at least 1."""
    best = None
    for _ in range(5):
        began = time.thread_time()
        work()
        took = time.thread_time() - began
        best = took if best is None else min(best, took)
    return max(1.0, best / REFERENCE_SECONDS)


def verdict(cpu_seconds, slow):
    """(whether it is within bounds, a line that says so)."""
    allowed = TEST_CPU_SECONDS * slow
    text = f"{cpu_seconds:.0f} s of CPU, of a budget of {allowed:.0f} s"
    if slow > 1.05:
        text += f" (this machine takes {slow:.1f} times as long as the reference)"
    return cpu_seconds <= allowed * EXCESS, text
