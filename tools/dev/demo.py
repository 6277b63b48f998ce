"""`./dev demo`: a first look at the programs. Built without optimisation, because it shows no speed."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import textwrap
import time

from tools.dev import packages, trees
from tools.dev.console import Failure, header, say
from tools.dev.stages import QUICK, UNITY
from tools.dev.trees import Tree

TREE = Tree("demo", (*QUICK, *UNITY, "-Dtests=disabled", "-Dman=disabled"))
START_SECONDS_MAX = 30
ENDPOINTS = [("tcp://127.0.0.1:7001", "Hello, i'm client!"), ("udp://127.0.0.1:7001", "Hello!")]


def command(arguments):
    if arguments:
        raise Failure("./dev demo takes no arguments")
    packages.need(packages.BUILD)
    header("Building riposted and riposte")
    trees.show_compiler()
    TREE.build("daemon/riposted", "client/riposte")
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as log:
        with started(log) as daemon:
            converse()
            header("Stopping it (SIGTERM)")
            before = len(text_of(log))
            daemon.send_signal(signal.SIGTERM)
            status = daemon.wait(START_SECONDS_MAX)
        for line in text_of(log)[before:].splitlines():
            say("\n".join(textwrap.wrap(line, 80, initial_indent="    ", subsequent_indent="    ")))
        if status != 0:
            raise Failure(f"riposted ended with status {status}")
        header("Summary")
        for line in re.findall(r"(?m)^riposted: ready: (.*)", text_of(log)):
            say(f"    ran on: {line}")
        say("    TCP and UDP were answered; riposted stopped with status 0.")
    return 0


@contextlib.contextmanager
def started(log):
    header("riposted, with its embedded default")
    daemon = subprocess.Popen([TREE.path / "daemon/riposted"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while "riposted: ready: " not in text_of(log):
            if daemon.poll() is not None or time.monotonic() > deadline:
                _show(text_of(log))
                if "in use" in text_of(log):
                    raise Failure("another program uses port 7001, which the demonstration needs. "
                                  "To find it: ss -lntup 'sport = :7001'")
                raise Failure("riposted did not start")
            time.sleep(0.02)
        _show(text_of(log))
        yield daemon
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()


def text_of(log):
    """The whole log; pread, because the daemon's own position in the file must not move."""
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), size, 0).decode("utf-8", "replace")


def converse():
    for endpoint, question in ENDPOINTS:
        header(f"riposte send {endpoint}")
        done = _riposte("send", endpoint)
        if done.returncode != 0:
            raise Failure(f"no reply from {endpoint}: {done.stderr.strip()}")
        say(f"    sent:  {question}")
        say(f"    reply: {done.stdout.rstrip()}")
    header("riposte ping -c 5 -i 200ms udp://127.0.0.1:7001")
    done = _riposte("ping", "-c", "5", "-i", "200ms", "udp://127.0.0.1:7001")
    _show(done.stdout)
    if done.returncode != 0:
        raise Failure(f"no reply to the ping: {done.stderr.strip()}")


def _riposte(*arguments):
    return subprocess.run([TREE.path / "client/riposte", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=START_SECONDS_MAX, check=False)


def _show(text):
    for line in text.splitlines():
        say(f"    {line}")
