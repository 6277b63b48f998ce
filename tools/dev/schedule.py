"""Steps side by side, within two budgets.

A step states how many processors it keeps busy (a compiler run: all of them) and how many places it takes
among tests that mostly wait (a suite). It begins when the steps that it needs have ended and its budget is
free, in the order of the list: so a build never waits for tests, and tests run while the next build compiles.
An exception fails its step; the steps that need it do not run, and are recorded with that reason.
"""

import os
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Callable

from tools.dev import process
from tools.dev.console import Block, Failure, header, say

#: How many tests may wait at the same time, in all suites together.
WAITING_MAX = 12


@dataclass
class Step:
    """`run` records its results itself. It returns False if the steps that need this one cannot run."""
    stage: str
    name: str
    run: Callable
    needs: tuple = ()
    cpu: int = 0
    waiting: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    began: float = 0.0
    state: str = field(default="new")  # new, running, done, failed, left

    @property
    def key(self):
        return f"{self.stage}: {self.name}"


class Schedule:
    """Runs steps; calls `record(outcome, stage, name, reason)` for those that were left out or raised."""

    def __init__(self, steps, record, processors=None, waiting=WAITING_MAX):
        self.steps = list(steps)
        self.record = record
        self.processors = processors or os.cpu_count()
        self.waiting = waiting
        self._change = threading.Condition()
        self._began = time.monotonic()
        known = {step.key for step in self.steps}
        for step in self.steps:
            missing = [need for need in step.needs if need not in known]
            assert not missing, f"{step.key} needs {missing}, but no step has that key"

    def run(self):
        threads = []
        with self._change:
            while any(step.state in ("new", "running") for step in self.steps):
                if not self._leave_out() and not self._start(threads):
                    self._change.wait(1)  # with a limit, so that signals are handled
        for thread in threads:
            thread.join()

    def _ended(self, keys, *states):
        return [step for step in self.steps if step.key in keys and step.state in states]

    def _leave_out(self):
        for step in self.steps:
            broken = self._ended(step.needs, "failed", "left")
            if step.state == "new" and broken:
                step.state = "left"
                self.record("skipped", step.stage, step.name, f"it needs '{broken[0].key}'")
                return True
        return False

    def _start(self, threads):
        busy = [step for step in self.steps if step.state == "running"]
        free_cpu = self.processors - sum(min(step.cpu, self.processors) for step in busy)
        free_waiting = self.waiting - sum(min(step.waiting, self.waiting) for step in busy)
        for step in self.steps:
            if step.state != "new" or len(self._ended(step.needs, "done")) != len(set(step.needs)):
                continue
            if (min(step.cpu, self.processors) <= free_cpu
                    and min(step.waiting, self.waiting) <= free_waiting):
                step.state = "running"
                step.began = time.monotonic() - self._began
                threads.append(threading.Thread(target=self._carry_out, args=(step,), daemon=True))
                threads[-1].start()
                return True
            if step.cpu:  # first come, first served among builds: a large one must not starve
                free_cpu = 0
        return False

    def _carry_out(self, step):
        began = time.monotonic()
        process.take_cpu()
        good = False
        with Block():
            header(step.key)
            try:
                good = step.run() is not False
            except Failure as problem:
                self.record("failed", step.stage, step.name, str(problem))
            except Exception:  # pylint: disable=broad-except
                say(traceback.format_exc())
                self.record("failed", step.stage, step.name, "the step raised an exception")
            step.seconds = time.monotonic() - began
            step.cpu_seconds = process.take_cpu()
            say(f"    {step.key}: {step.seconds:.0f} s, {step.cpu_seconds:.0f} s of CPU")
        with self._change:
            step.state = "done" if good else "failed"
            self._change.notify_all()
