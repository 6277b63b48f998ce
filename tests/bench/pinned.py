"""A process that a benchmark measures, with cores of its own."""

import contextlib
import os
import resource
import signal
import subprocess
import tempfile

WAIT = 10.0


def raise_descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Pinned:
    """Runs `command(directory)` on `cores`, with a directory for its files, which goes with it."""

    def __init__(self, command, cores):
        self.directory = tempfile.TemporaryDirectory(prefix="riposte-bench-")
        self.log = os.path.join(self.directory.name, "log")
        try:
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen(
                    command(self.directory.name), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    preexec_fn=lambda: (raise_descriptors(), os.sched_setaffinity(0, cores)))
        except BaseException:
            self.directory.cleanup()
            raise

    def is_running(self):
        return self.process.poll() is None

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def processes(self):
        """Its own and its children's, which is where xinetd's streams are."""
        found, new = [], [self.process.pid]
        while new:
            pid = new.pop()
            found.append(pid)
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                        new += map(int, file.read().split())
        return found

    def tasks(self, name):
        """The text of this file of /proc, of each of its threads."""
        for pid in self.processes():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                            open(f"/proc/{pid}/task/{task}/{name}", encoding="ascii") as file:
                        yield file.read()

    def cpu_seconds(self):
        """User and system time of all its threads, by the scheduler."""
        return sum(int(text.split()[0]) for text in self.tasks("schedstat")) / 1e9

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.directory.cleanup()
