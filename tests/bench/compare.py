"""riposted against its peers and against bare loops: `./dev bench`.

    compare.py --riposted PROGRAM --riposte PROGRAM --tools DIRECTORY --peers DIRECTORY
               [--rounds N] [--seconds S] [--rows WORD...] [--servers WORD...] [--json FILE]
               [--picture FILE]

Every server has core 0 for itself, and the generator has the last core. Within a row all servers run
from the first to the last; a round measures each of them twice, forward and then backward (A/B/C/C/B/A),
so that an even drift affects all alike. A figure is the median over the rounds of the mean of the two; a
ratio is computed within each round, never from runs that are far apart. The control is riposted once more:
the distance of its ratio from 1 is the noise of this machine.

The measure is the server's CPU time for each request, of all of its threads, by the scheduler's
accounting, over nine tenths of the measured time. On loopback it includes the kernel's work to bring the
reply to the client, which is most of it and the same for all. A server that had time left while its generator
had none is marked: its rate is the generator's, and such a run is not used for a mark.

Before any number counts, every TCP server has to pass the gate: 24 MiB whose sender begins to read late
come back byte exact, while another connection is served. A server that fails is shown, and is not a peer.

Status 0 if all of it ran, for any figures.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time

import figures
import marks
import picture
import rows
import special
from pinned import raise_descriptors
from subjects import Server, Unavailable

WAIT = 90.0
WARMUP_MAX = 0.3
TRIES = 5


class Bench:
    def __init__(self, options):
        self.options = options
        self.programs = rows.Programs(options.riposted, options.riposte, options.tools,
                                      options.peers)
        cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.generator_core = cores[0], cores[-1]
        self.warmup = min(WARMUP_MAX, options.seconds)
        self.absent = {}  # name: why

    def start(self, subject, mode):
        """The server, or None if it cannot run here; the reason is printed once."""
        if subject.name in self.absent:
            return None
        try:
            return Server(subject, self.programs, mode, {self.server_core})
        except Unavailable as reason:
            self.absent[subject.name] = str(reason)
            print(f"left out: {subject.name}: {reason}", flush=True)
            return None

    def run_generator(self, command):
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, preexec_fn=lambda: (raise_descriptors(),
                                           os.sched_setaffinity(0, {self.generator_core})))

    def measure(self, row, server):
        """A run; one in which nothing was done says nothing, and is made again: a machine that is busy
        with something else gave one of the two no CPU for all of it."""
        for _ in range(TRIES - 1):
            try:
                run = self.measure_once(row, server)
                if run.units > 0 and run.server_share > 0:
                    return run
            except Unavailable:
                pass
        return self.measure_once(row, server)

    def measure_once(self, row, server):
        seconds = self.options.seconds
        command = row.command(self.programs, server.port, seconds, self.warmup)
        client = self.run_generator(command)
        await_descriptors(client, row.connections)
        time.sleep(self.warmup + 0.05 * seconds)
        user, before, start = server.user_seconds(), server.cpu_seconds(), time.monotonic()
        time.sleep(0.9 * seconds)
        used, took = server.cpu_seconds() - before, time.monotonic() - start
        user = server.user_seconds() - user
        out, error = client.communicate(timeout=WAIT + seconds)
        try:
            run = row.read(json.loads(out))
        except (ValueError, KeyError, ZeroDivisionError) as reason:
            raise Unavailable(f"{os.path.basename(command[0])} ended with {client.returncode} "
                              f"({reason!r}): {(error or out).strip()[-200:]}") from reason
        run.server_share = used / took
        run.user_share = min(user / used, 1.0) if used > 0 else 0.0
        return run

    def try_measure(self, row, server, runs):
        """A run, or None: one that fails leaves the row, which is said."""
        try:
            return self.measure(row, server)
        except Unavailable as reason:
            print(f"left out of {row.name}: {server.subject.name}: {reason}", flush=True)
            del runs[server.subject.name]
            return None

    def row(self, row):
        """{server's name: [[forward, backward] of each round]}"""
        wanted = [s for s in row.servers if s.serves(row.mode, row.connections)
                  and figures.chosen(s.name, self.options.servers)]
        servers = [server for server in (self.start(s, row.mode) for s in wanted) if server]
        runs = {server.subject.name: [] for server in servers}
        try:
            for _ in range(self.options.rounds):
                forward = {}
                for server in [s for s in servers if s.subject.name in runs]:
                    forward[server.subject.name] = self.try_measure(row, server, runs)
                for server in [s for s in reversed(servers) if s.subject.name in runs]:
                    backward = self.try_measure(row, server, runs)
                    if backward:
                        runs[server.subject.name].append([forward[server.subject.name], backward])
        finally:
            for server in servers:
                server.close()
        return runs


def await_descriptors(client, count):
    """Until the generator has made its connections; those that it does not make at once are few."""
    deadline = time.monotonic() + WAIT
    while client.poll() is None and time.monotonic() < deadline:
        try:
            if len(os.listdir(f"/proc/{client.pid}/fd")) > count:
                return
        except FileNotFoundError:
            return
        time.sleep(0.002)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    for program in ("riposted", "riposte", "tools", "peers"):
        parser.add_argument(f"--{program}", required=True, type=os.path.abspath)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rows", nargs="+", metavar="WORD",
                        help="only rows whose name contains one of these")
    parser.add_argument("--servers", nargs="+", metavar="WORD",
                        help="only servers whose name contains one of these")
    parser.add_argument("--json", metavar="FILE", help="all figures of all runs")
    parser.add_argument("--picture", metavar="FILE", help="the figures as SVG")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds < 0.1:
        parser.error("at least one round, of at least 0.1 seconds")
    options.chosen = [row for row in rows.ROWS if figures.chosen(row.name, options.rows)]
    options.special = [name for name in special.NAMES if figures.chosen(name, options.rows)]
    if not options.chosen and not options.special:
        parser.error("no such row; there are: "
                     + " ".join([row.name for row in rows.ROWS] + special.NAMES))
    return options


def conditions(options):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.partition(":")[2].strip() for line in file
                      if line.startswith("model name")), "unknown")
    return {"kernel": platform.release(), "cpu": model, "cpus": os.cpu_count(),
            "rounds": options.rounds, "seconds": options.seconds,
            "versions": special.versions()}


def main(arguments):
    options = parse(arguments)
    raise_descriptors()
    bench = Bench(options)
    found = {"schema": "riposte/bench/1", "conditions": conditions(options), "rows": {}}
    figures.print_head(bench, found["conditions"])
    if "gate" in options.special:
        found["gate"] = special.gate(bench)
    for row in options.chosen:
        runs = bench.row(row)
        found["rows"][row.name] = figures.summarize(row, runs)
        figures.print_row(row, found["rows"][row.name])
    for name in options.special:
        if name != "gate":
            found[name] = special.MEASURES[name](bench)
    found["absent"] = bench.absent
    found["marks"] = marks.judge(found)
    marks.show(found["marks"])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, default=figures.as_json, indent=1)
            file.write("\n")
    if options.picture:
        with open(options.picture, "w", encoding="utf-8") as file:
            file.write(picture.draw(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
