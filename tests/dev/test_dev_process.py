"""tools/dev/process.py: no command is left behind, whenever the end comes."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from tools.dev import process  # noqa: E402  pylint: disable=wrong-import-position

SLEEP = ["sleep", "1000"]


@contextlib.contextmanager
def after_each_start(action):
    """Calls action(child) when a command runs, and before anybody is told."""
    start = subprocess.Popen

    def started(*words, **options):
        child = start(*words, **options)
        action(child)
        return child
    with mock.patch.object(subprocess, "Popen", started):
        yield


@pytest.fixture(name="handled")
def handle_signals():
    before = signal.signal(signal.SIGINT, process.interrupt)
    yield
    signal.signal(signal.SIGINT, before)


def has_ended(descriptor):
    try:
        return bool(select.select([descriptor], [], [], 60)[0])
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)


@pytest.mark.parametrize("run", [process.run, lambda words: process.run_in_session(words, TOP)])
def test_an_interrupt_while_a_command_starts_ends_it(run, handled):  # pylint: disable=unused-argument
    children = []

    def interrupt(child):
        children.append(os.pidfd_open(child.pid))
        signal.raise_signal(signal.SIGINT)
    with after_each_start(interrupt), pytest.raises(KeyboardInterrupt):
        run(SLEEP)
    assert len(children) == 1 and has_ended(children[0])
    assert process.run(["true"]).ok  # it counted once


@pytest.mark.parametrize("run", [process.run, lambda words: process.run_in_session(words, TOP)])
def test_ending_all_commands_does_not_miss_one_that_is_starting(run):
    started, ending, children = threading.Event(), threading.Event(), []

    def wait_for_the_end(child):
        children.append(os.pidfd_open(child.pid))
        started.set()
        ending.wait(60)
        threading.Event().wait(0.1)  # the other thread goes on, or waits for this one
    with after_each_start(wait_for_the_end):
        thread = threading.Thread(target=run, args=(SLEEP,))
        thread.start()
        assert started.wait(60)
        ending.set()
        process.end_all()
    assert has_ended(children[0])
    thread.join(60)
    assert not thread.is_alive()
