"""Commands: their output goes to a log and is shown only if they fail; their CPU time is counted; and
no command outlives this program.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

from tools.dev.console import say

_running = set()
_sessions = set()
_lock = threading.Lock()
_local = threading.local()
_starting = False  # in the main thread
_interrupted = False

#: The lines of a failed build that are shown, with those that follow them.
_ERROR_LINE = re.compile(r"error:|ERROR|FAILED|^E: ")


class Done:
    """How a command ended: status (-N: signal N), seconds on the clock, CPU seconds with all children."""

    def __init__(self, status, seconds, cpu):
        self.status, self.seconds, self.cpu = status, seconds, cpu

    @property
    def ok(self):
        return self.status == 0


def interrupt(number, frame):  # pylint: disable=unused-argument
    """The handler of signals that end this program. One that comes while a command is started counts as soon as the
    command is known, so that none is left behind."""
    global _interrupted  # pylint: disable=global-statement
    if not _starting:
        raise KeyboardInterrupt
    _interrupted = True


def _start(kind, words, **options):
    """Popen; the command is in the set `kind` whenever another thread looks."""
    global _starting, _interrupted  # pylint: disable=global-statement
    is_main = threading.current_thread() is threading.main_thread()
    with _lock:
        _starting = _starting or is_main
        try:
            child = subprocess.Popen(words, **options)  # pylint: disable=consider-using-with
            kind.add(child)
        finally:
            _starting = _starting and not is_main
    if is_main and _interrupted:
        _interrupted = False
        _end(child, kind)
        raise KeyboardInterrupt
    return child


def _end(child, kind):
    with contextlib.suppress(ProcessLookupError):
        if kind is _sessions:
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.terminate()


def run(command, log=None, env=None, cwd=None, stdin=subprocess.DEVNULL):
    """Runs a command to its end; its output goes to the file `log`, or to our own output."""
    words = [str(word) for word in command]
    environment = {**os.environ, **{key: str(value) for key, value in (env or {}).items()}}
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        out = None
        if log is not None:
            log = pathlib.Path(log)
            log.parent.mkdir(parents=True, exist_ok=True)
            out = stack.enter_context(open(log, "wb"))
        child = _start(_running, words, stdin=stdin, stdout=out, env=environment, cwd=cwd,
                       stderr=subprocess.STDOUT if out else None)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except KeyboardInterrupt:  # only we may have got the signal
            _end(child, _running)
            child.wait()
            raise
        finally:
            with _lock:
                _running.discard(child)
        child.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    charge(cpu)
    return Done(child.returncode, time.monotonic() - began, cpu)


def run_in_session(command, cwd, seconds=None, **environment):
    """Runs a command in a session of its own, and returns its output. After `seconds`, or when every command is to
    end, the session is killed: the command and what it started."""
    child = _start(
        _sessions, [str(word) for word in command], cwd=cwd, start_new_session=True,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="backslashreplace")
    try:
        output, _ = child.communicate(timeout=seconds)
    except BaseException as problem:
        _end(child, _sessions)
        output, _ = child.communicate()
        if not isinstance(problem, subprocess.TimeoutExpired):
            raise
        output += f"\nkilled after {seconds:.0f} s\n"
    finally:
        with _lock:
            _sessions.discard(child)
    return subprocess.CompletedProcess(command, child.returncode, output)


def charge(cpu):
    """Adds CPU seconds to the account of this thread."""
    _local.cpu = getattr(_local, "cpu", 0.0) + cpu


def take_cpu():
    """The CPU seconds of the commands that this thread has run since the last call."""
    cpu, _local.cpu = getattr(_local, "cpu", 0.0), 0.0
    return cpu


def quietly(command, log, **options):
    """Runs a command; if it fails, shows a part of its log. Returns whether it succeeded."""
    done = run(command, log=log, **options)
    if not done.ok:
        say(f"FAILED: {' '.join(str(word) for word in command)}")
        show_failure(log)
    return done.ok


def show_failure(log, most=40, end=12):
    lines = pathlib.Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    shown = set()
    for number, line in enumerate(lines):
        if _ERROR_LINE.search(line):
            shown.update(range(number, min(number + 9, len(lines))))
    for number in sorted(shown)[:most]:
        say(lines[number])
    say(f"--- the end of {log}:")
    for line in lines[-end:]:
        say(line)


def last_line(log):
    try:
        lines = pathlib.Path(log).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1] if lines else "no output"


def output(command, **options):
    """Standard output of a command; None if the command fails."""
    try:
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              errors="replace", check=False, **options)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def end_all(number=signal.SIGTERM):
    """Sends every running command a signal to end; the commands end their own children. Sessions are killed."""
    with _lock:
        for child in _sessions:
            _end(child, _sessions)
        for child in _running:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)
