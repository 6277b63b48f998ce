"""Measurements other than one generator over all servers: the gate, growth with connections, memory, start."""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

import figures
import rows
import scraped
from subjects import BARE_EPOLL, BARE_IO_URING, EPOLL, IO_URING, PEERS, Server, Unavailable

HELD = 10_000
STARTS = 21
PACKAGES = ("libasio-dev", "libuv1-dev", "libevent-dev", "golang-go", "librust-tokio-dev", "nodejs",
            "xinetd", "sockperf", "irtt", "liburing-dev")


def versions():
    try:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\\n", *PACKAGES],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return {}
    lines = (line.split() for line in done.stdout.splitlines())
    return {fields[1]: fields[2] for fields in lines if fields[0] == "ii"}


def run_tool(bench, name, *arguments):
    client = bench.run_generator([bench.programs.tool(name), *map(str, arguments)])
    out, error = client.communicate(timeout=120)
    try:
        return json.loads(out)
    except ValueError as reason:
        raise SystemExit(f"compare.py: {name} said:\n{out}{error}") from reason


def gate(bench):
    """{name: passed}. 24 MiB, read late."""
    print("\nThe gate: 24 MiB, read from half a second late on, byte exact, others not stalled")
    passed = {}
    for subject in (IO_URING, EPOLL, *PEERS):
        if not figures.chosen(subject.name, bench.options.servers) or not subject.serves("echo"):
            continue
        server = bench.start(subject, "echo")
        if server is None:
            continue
        try:
            found = run_tool(bench, "late_reader", "-p", server.port)
        finally:
            server.close()
        passed[subject.name] = bool(found["exact"]) and found["others"] > 0
        print(f"{subject.name:<27}{'passed' if passed[subject.name] else 'FAILED':<8}"
              f"{found['others']} other echoes, the longest {found['others_longest_ms']:.1f} ms",
              flush=True)
    return passed


def growth(bench):
    """{name: ratios of each round}. CPU of a request with 10,000 connections to that with 50."""
    few = next(row for row in rows.ROWS if row.name == "tcp-64-50")
    many = next(row for row in rows.ROWS if row.name == "tcp-64-10000")
    print("\nTCP, 64 bytes: CPU of a request with 10,000 connections, to that with 50")
    found = {}
    for subject in (IO_URING, EPOLL, *PEERS, BARE_EPOLL, BARE_IO_URING):
        if not subject.serves(many.mode, many.connections) \
                or not figures.chosen(subject.name, bench.options.servers):
            continue
        server = bench.start(subject, "echo")
        if server is None:
            continue
        try:
            ratios = []
            for _ in range(bench.options.rounds):
                runs = [bench.measure(row, server).cpu for row in (few, many, many, few)]
                ratios.append((runs[1] + runs[2]) / (runs[0] + runs[3]))
        except Unavailable as reason:
            print(f"left out: {subject.name}: {reason}", flush=True)
            continue
        finally:
            server.close()
        found[subject.name] = ratios
        print(f"{subject.name:<27}{statistics.median(ratios):.3f} "
              f"({min(ratios):.3f}..{max(ratios):.3f})", flush=True)
    return found


def hold(bench, subject, size):
    """Bytes for each of the connections that are held after one echo of `size` each, or None."""
    server = bench.start(subject, "echo")
    if server is None:
        return None
    client = None
    try:
        time.sleep(0.3)
        before = server.memory_bytes()
        client = subprocess.Popen(
            [bench.programs.tool("hold_connections"), "-p", str(server.port), "-c", str(HELD), "-s",
             str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        held = json.loads(client.stdout.readline())["held"]
        time.sleep(1.5)
        return (server.memory_bytes() - before) / held
    except (ValueError, Unavailable):
        return None
    finally:
        if client is not None:
            client.communicate("")
        server.close()


def memory(bench):
    """{name: {bytes of the message: bytes of memory for each connection}}"""
    sizes = (0, 64, 16_384)
    print(f"\nMemory of the process for each of {HELD:,} idle connections, above its start, in bytes")
    print(f"{'':<27}{'no message':>14}{'64 bytes':>14}{'16 KiB':>14}")
    found = {}
    for subject in (IO_URING, EPOLL, *PEERS):
        if not subject.serves("echo", HELD) or not figures.chosen(subject.name, bench.options.servers):
            continue
        values = {size: hold(bench, subject, size) for size in sizes}
        if any(value is None for value in values.values()):
            continue
        found[subject.name] = values
        print(f"{subject.name:<27}" + "".join(f"{values[size]:>14.0f}" for size in sizes), flush=True)
    return found


def start_once(bench, backend):
    """Seconds from exec to READY=1, with the embedded default's limits."""
    with tempfile.TemporaryDirectory(prefix="riposte-bench-") as directory, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        path = os.path.join(directory, "notify")
        notify.bind(path)
        notify.settimeout(30)
        command = [bench.programs.riposted, "--backend", backend, "--listen", "hello=127.0.0.1:0"]
        with open(os.devnull, "wb") as null:
            actions = [(os.POSIX_SPAWN_DUP2, null.fileno(), fd) for fd in (0, 1, 2)]
            began = time.monotonic()
            pid = os.posix_spawn(command[0], command, {**os.environ, "NOTIFY_SOCKET": path},
                                 file_actions=actions)
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
            return time.monotonic() - began
        finally:
            os.kill(pid, 15)
            os.waitpid(pid, 0)


def ready(bench):
    """{backend: seconds of each start}"""
    print("\nFrom exec to READY=1, ms")
    found = {}
    for subject in (IO_URING, EPOLL):
        if not figures.chosen(subject.name, bench.options.servers):
            continue
        times = [start_once(bench, subject.backend) for _ in range(STARTS)]
        found[subject.name] = times
        print(f"{subject.name:<27}{1e3 * statistics.median(times):.2f} "
              f"({1e3 * min(times):.2f}..{1e3 * max(times):.2f})", flush=True)
    return found


class OwnServer(Server):
    """One whose client is its own: sockperf, irtt."""

    def __init__(self, bench, name, *arguments):
        program = shutil.which(name)
        if not program:
            raise Unavailable(f"{name} is not installed")
        self.arguments = [program, *arguments]
        super().__init__(self, bench.programs, "udp", {bench.server_core})

    def command(self, programs, mode, port, directory):
        return [argument.format(port=port) for argument in self.arguments]


def sample(bench, server, command):
    """What the client printed, and the server's CPU seconds for all of it."""
    before = server.cpu_seconds()
    out, error = bench.run_generator(command).communicate(timeout=60)
    return out + error, server.cpu_seconds() - before


def sockperf(bench):
    """(datagrams/s, CPU seconds of one, median round trip in seconds), one at a time, at full speed."""
    server = OwnServer(bench, "sockperf", "server", "-i", "127.0.0.1", "-p", "{port}")
    try:
        out, cpu = sample(bench, server, [
            "sockperf", "ping-pong", "-i", "127.0.0.1", "-p", str(server.port), "-m", "64", "-t", "2",
            "--mps=max", "--full-rtt"])
    finally:
        server.close()
    seconds = float(re.search(r"RunTime=([0-9.]+) sec", out)[1])
    received = int(re.search(r"ReceivedMessages=(\d+)", out)[1])
    median = float(re.search(r"percentile 50.000 =\s*([0-9.]+)", out)[1])
    return received / seconds, cpu / received, median / 1e6


def irtt(bench):
    """The same, at one a millisecond."""
    server = OwnServer(bench, "irtt", "server", "-b", "127.0.0.1:{port}", "-i", "0")
    try:
        path = os.path.join(server.directory.name, "irtt.json")
        _, cpu = sample(bench, server, [
            "irtt", "client", "-i", "1ms", "-l", "64", "-d", "2s", "-q", "-o", path,
            f"127.0.0.1:{server.port}"])
        with open(path, encoding="utf-8") as file:
            stats = json.load(file)["stats"]
    finally:
        server.close()
    received = stats["packets_received"]
    return received / 2.0, cpu / received, stats["rtt"]["median"] / 1e9


def beside(bench, subject, row):
    """riposted under the same kind of load."""
    server = bench.start(subject, "udp")
    try:
        run = bench.measure(row, server)
    finally:
        server.close()
    return run.rate, run.cpu, run.p50


def own(bench):
    """{name: figures}. UDP, 64 bytes, one at a time: servers that only their own clients can load."""
    print("\nUDP, 64 bytes, one at a time, with their own clients; ours with round_trip\n"
          f"{'':<34}{'CPU us of a datagram':>22}{'datagrams/s':>14}{'p50 us':>10}")
    rows_of = {"at full speed": rows.RoundTrip("", "", "datagram", "udp", ()),
               "one a millisecond": rows.RoundTrip("", "", "datagram", "udp", (), interval_us=1000)}
    runs = [("sockperf, at full speed", lambda: sockperf(bench)),
            ("irtt, one a millisecond", lambda: irtt(bench))]
    runs += [(f"{subject.name}, {pace}", lambda s=subject, r=row: beside(bench, s, r))
             for pace, row in rows_of.items() for subject in (IO_URING, EPOLL)]
    found = {}
    for name, measure in sorted(runs, key=lambda run: run[0].partition(", ")[2]):
        try:
            values = [measure() for _ in range(bench.options.rounds)]
        except Unavailable as reason:
            print(f"left out: {name}: {reason}", flush=True)
            continue
        rate, cpu, p50 = (statistics.median(value[i] for value in values) for i in range(3))
        found[name] = {"rate": rate, "cpu": cpu, "p50": p50}
        print(f"{name:<34}{1e6 * cpu:>22.2f}{rate:>14,.0f}{1e6 * p50:>10.1f}", flush=True)
    return found


MEASURES = {"growth": growth, "memory": memory, "ready": ready, "metrics": scraped.metrics,
            "own-clients": own}
NAMES = ["gate", *MEASURES]
