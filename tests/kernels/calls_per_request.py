"""What a request costs the daemon on a kernel: system calls, and how often a thread of it goes to sleep or is
preempted. Both are exact in a guest too, where times are not:

    ./dev kernels run 6.1 /usr/bin/python3 -B tests/kernels/calls_per_request.py build-dev/check [LOAD]

A run counts the switches; another one, under strace, the system calls. strace delays the daemon, so with many
connections a turn then serves more of them than it would otherwise, whatever the backend.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
#: Name, the service's transport, number of requests, and options of `riposte load`.
LOADS = [("TCP, 1 connection", "tcp", 500, ("-c", "1")),
         ("TCP, 64 connections", "tcp", 2000, ("-c", "64")),
         ("TCP, 4 connections, 16 KiB", "tcp", 500, ("-c", "4", "-s", "16KiB")),
         ("TCP, 1 connection, 1 MiB", "tcp", 20, ("-c", "1", "-s", "1MiB")),
         ("UDP, 1 at a time", "udp", 500, ("-u", "-c", "1")),
         ("UDP, 64 at a time", "udp", 1000, ("-u", "-c", "64"))]


def use(build):
    """The environment that daemon.py reads."""
    description = json.loads((pathlib.Path(build).resolve() / "tests/integration/integration.json").read_text())
    os.environ.update(description["environment"])
    os.environ.setdefault("RIPOSTE_TEST_PATIENCE", "3")
    sys.path.insert(0, str(TOP / "tests/support"))
    return [name for name in ("io_uring", "epoll") if name in description["backends"].split()]


def switches(daemon):
    """(voluntary, involuntary) of all threads."""
    found = [0, 0]
    for task in os.listdir(f"/proc/{daemon.pid}/task"):
        text = pathlib.Path(f"/proc/{daemon.pid}/task/{task}/status").read_text(encoding="ascii")
        for index, key in enumerate(("voluntary", "nonvoluntary")):
            found[index] += int(re.search(rf"(?m)^{key}_ctxt_switches:\s+(\d+)$", text)[1])
    return found


def load(daemon, transport, requests, options):
    """Puts a load on the daemon; returns how many requests it answered."""
    port = daemon.port("echo", transport)
    done = subprocess.run([os.environ["RIPOSTE"], "load", "-j", "-n", str(requests), "--warmup", "0", *options,
                           f"127.0.0.1:{port}"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["counts"]["answered"]


def traced(daemon, work):
    """work() while strace counts; returns its result and how many system calls the daemon made."""
    from daemon import await_true  # pylint: disable=import-outside-toplevel
    table = os.path.join(daemon.directory, "calls")
    with subprocess.Popen([shutil.which("strace"), "-f", "-qq", "-c", "-U", "calls,name", "-o", table, "-p",
                           str(daemon.pid)], stdin=subprocess.DEVNULL) as trace:
        status = pathlib.Path(f"/proc/{daemon.pid}/task")
        await_true(lambda: all("TracerPid:\t0\n" not in (task / "status").read_text() for task in status.iterdir()),
                   "strace has attached")
        result = work()
        trace.terminate()
        trace.wait()
    calls = {name: int(count) for count, name in
             re.findall(r"(?m)^\s*(\d+) (\w+)$", pathlib.Path(table).read_text(encoding="ascii"))}
    for name in ("total", "clock_gettime"):  # the latter is no system call where there is a vDSO clock
        calls.pop(name, None)
    return result, calls


def measure(backend, name, transport, requests, options):
    from daemon import Daemon  # pylint: disable=import-outside-toplevel
    daemon = Daemon("--listen", "echo=127.0.0.1:0", backend=backend).ready()
    try:
        load(daemon, transport, requests, options)
        before = switches(daemon)
        count = load(daemon, transport, requests, options)
        voluntary, other = (after - old for after, old in zip(switches(daemon), before))
        counted, calls = traced(daemon, lambda: load(daemon, transport, requests, options))
    finally:
        daemon.close()
        shutil.rmtree(daemon.directory)
    largest = ", ".join(f"{call} {number / counted:.2f}" for call, number in
                        sorted(calls.items(), key=lambda item: -item[1])[:4])
    print(f"| {os.uname().release} | {name} | {backend} | {sum(calls.values()) / counted:.2f} | "
          f"{voluntary / count:.2f} | {other / count:.2f} | {largest} |", flush=True)


def main():
    build, wanted = (*sys.argv[1:], "")[:2]
    backends = use(build)
    print("| kernel | load | backend | system calls a request | sleeps | preemptions | most frequent |")
    print("|---|---|---|---|---|---|---|")
    for load_row in LOADS:
        for backend in backends if wanted in load_row[0] else ():
            measure(backend, *load_row)


if __name__ == "__main__":
    main()
