"""Is `riposte load` the bottleneck that hides the server? This compares it with a plain epoll loop of the
same kind (plain_load.cpp), over the same riposted.

    generator.py --riposted PROGRAM --riposte PROGRAM --plain PROGRAM [--backend epoll|io_uring]
                 [--rounds N] [--seconds S] [--rows WORDS] [--json FILE]

The server has a core of its own, and so has the measured generator. A round runs plain, riposte, riposte,
plain: an even drift affects both alike, and a ratio is computed from each round, never from two runs that
are far apart. The figures are the medians of the rounds, with the least and the greatest in brackets. The
last row is plain against plain: the distance of its ratio from 1 is the noise of this machine.

A ratio of requests/s shows which of them drives more only where the generator was the limit; the CPU
shares of generator and server in the same time show whether it was. CPU time for each request, user and
system together, distinguishes them in any case. On loopback a sender's core pays for much of what the
receiver gets, so the time is never the generator's code alone.

Status 0 if all of it ran, for any figures.
"""

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import time

import paired
from pinned import Pinned

WAIT = 60.0
TRIES = 5

CONFIG = """
[limits]
connections = 8192
connections_per_source = 8192
"""


@dataclasses.dataclass(frozen=True)
class Row:
    bytes: int
    connections: int
    depth: int
    verify: bool
    control: bool = False

    @property
    def name(self):
        size = f"{self.bytes // 1024}KiB" if self.bytes % 1024 == 0 else f"{self.bytes}B"
        return (f"{'control-' if self.control else ''}{size}-{self.connections}x{self.depth}"
                f"-{'verify' if self.verify else 'plain'}")


def all_rows():
    shapes = [(64, 50, 1), (64, 50, 16), (64, 1000, 1), (64, 1000, 16), (16384, 50, 1)]
    rows = [Row(*shape, verify) for shape in shapes for verify in (True, False)]
    return rows + [Row(64, 50, 1, True, control=True)]


@dataclasses.dataclass
class Run:
    program: str
    requests: int
    seconds: float
    cpu_seconds: float
    server_share: float

    @property
    def rate(self):
        return self.requests / self.seconds

    @property
    def cpu_per_request(self):
        return self.cpu_seconds / self.requests

    @property
    def share(self):
        return self.cpu_seconds / self.seconds


def write_config(directory):
    path = os.path.join(directory, "riposted.toml")
    with open(path, "w", encoding="ascii") as file:
        file.write(CONFIG)
    return path


class Server(Pinned):
    """riposted with one echo."""

    def __init__(self, program, backend, core):
        super().__init__(lambda directory: [program, "-c", write_config(directory), "--backend", backend,
                                            "--workers", "1", "--listen", "echo=tcp://127.0.0.1:0"], {core})
        try:
            self.port = self._await_port()
        except BaseException:
            self.close()
            raise

    def _await_port(self):
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            text = self.log_text()
            found = re.search(r"listening: echo on tcp://127\.0\.0\.1:(\d+)$", text, re.M)
            if found and "ready: " in text:
                return int(found[1])
            if not self.is_running():
                raise SystemExit(f"generator.py: riposted ended:\n{text}")
            time.sleep(0.01)
        raise SystemExit("generator.py: riposted did not get ready")


class Bench:
    def __init__(self, options):
        self.options = options
        cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.generator_core = cores[0], cores[-1]
        self.shares_core = len(cores) == 1
        self.warmup = min(0.3, options.seconds)
        self.server = Server(options.riposted, options.backend, self.server_core)

    def command(self, program, row):
        seconds, warmup = self.options.seconds, self.warmup
        if program == "plain":
            return [self.options.plain, "-p", str(self.server.port), "-c", str(row.connections),
                    "-s", str(row.bytes), "-D", str(row.depth), "-d", str(seconds),
                    "-w", str(warmup), *(["-V"] if row.verify else [])]
        return [self.options.riposte, "load", "-j", "-c", str(row.connections),
                "-s", str(row.bytes), "--depth", str(row.depth), "-d", f"{seconds * 1000:.0f}ms",
                "--warmup", f"{warmup * 1000:.0f}ms", *([] if row.verify else ["--no-verify"]),
                f"tcp://127.0.0.1:{self.server.port}"]

    def run(self, program, row):
        """One in which nothing came back says nothing of either program: a machine that is busy with
        something else gave one of them no CPU for all of a short run. It is made again."""
        for _ in range(TRIES):
            run = self.try_run(program, row)
            if run.requests > 0:
                return run
        raise SystemExit(f"generator.py: {row.name}: {TRIES} runs of {program}, and no answer in any; "
                         "more --seconds may help")

    def try_run(self, program, row):
        command = self.command(program, row)
        core = self.generator_core
        client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True,
                                  preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        # The middle of the run: connecting and the warm-up's start are left out.
        time.sleep(self.warmup)
        before, start = self.server.cpu_seconds(), time.monotonic()
        time.sleep(self.options.seconds * 0.8)
        share = (self.server.cpu_seconds() - before) / (time.monotonic() - start)
        out, error = client.communicate(timeout=WAIT + self.options.seconds)
        try:
            found = json.loads(out)
        except ValueError as reason:
            raise SystemExit(f"generator.py: {' '.join(command)}\nended with {client.returncode}:\n"
                             f"{out}{error}") from reason
        if program == "plain":
            return Run(program, found["requests"], found["seconds"], found["cpu_seconds"], share)
        counts, seconds = found["counts"], found["elapsed"]
        if client.returncode != 0 and (counts["answered"] or counts["errors"]):
            raise SystemExit(f"generator.py: {' '.join(command)}\nended with {client.returncode}: "
                             f"{counts}\n{error}")
        return Run(program, counts["answered"], seconds,
                   found["generator"]["cpu_share"] * seconds, share)

    def row(self, row):
        """The runs of each round: [plain, other, other, plain]."""
        other = "plain" if row.control else "riposte"
        return [[self.run(program, row) for program in paired.order("plain", other)]
                for _ in range(self.options.rounds)]


def summarize(row, rounds):
    result = {"row": row.name, **dataclasses.asdict(row),
              "rate_ratio": paired.Ratio.of(rounds, lambda run: run.rate),
              "cpu_ratio": paired.Ratio.of(rounds, lambda run: run.cpu_per_request)}
    for name, places in (("plain", paired.FIRST), ("riposte", paired.SECOND)):
        result[name] = {
            "rate": paired.median(rounds, places, lambda run: run.rate),
            "cpu_us_per_request": 1e6 * paired.median(rounds, places, lambda run: run.cpu_per_request),
            "cpu_share": paired.median(rounds, places, lambda run: run.share),
            "server_cpu_share": paired.median(rounds, places, lambda run: run.server_share)}
    result["limit"] = limit_of(result["riposte"])
    return result


def limit_of(side):
    generator, server = side["cpu_share"] >= 0.95, side["server_cpu_share"] >= 0.95
    return {(True, True): "both", (True, False): "generator", (False, True): "server",
            (False, False): "neither"}[generator, server]


LINE = "{:<26}{:>9}{:>9}  {:<19}{:>7}{:>8}  {:<19}{:>8}{:>8}  {}"


def print_head(bench):
    options = bench.options
    print(f"riposte load against a plain epoll loop, on core {bench.generator_core}; riposted "
          f"({options.backend}) on core {bench.server_core}.")
    if bench.shares_core:
        print("There is one core only: generator and server share it.")
    print(f"{options.rounds} rounds of {options.seconds:g} s: plain, riposte, riposte, plain; median "
          "(least..greatest).\nIn the control's second column is plain again. CPU %: "
          "generator/server.\n")
    print("{:<26}{:>18}  {:<19}{:>15}  {:<19}{:>16}".format(
        "", "requests/s", "ratio", "CPU us/request", "ratio", "CPU %"))
    print(LINE.format("row", "plain", "riposte", "(more is better)", "plain", "riposte",
                      "(less is better)", "plain", "riposte", "limit"), flush=True)


def print_row(result):
    plain, riposte = result["plain"], result["riposte"]

    def shares(side):
        return f"{100 * side['cpu_share']:.0f}/{100 * side['server_cpu_share']:.0f}"

    print(LINE.format(
        result["row"], f"{plain['rate']:.0f}", f"{riposte['rate']:.0f}", result["rate_ratio"].text(3),
        f"{plain['cpu_us_per_request']:.3f}", f"{riposte['cpu_us_per_request']:.3f}",
        result["cpu_ratio"].text(3), shares(plain), shares(riposte), result["limit"]), flush=True)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    for program in ("riposted", "riposte", "plain"):
        parser.add_argument(f"--{program}", required=True, type=os.path.abspath)
    parser.add_argument("--backend", default="epoll", choices=("auto", "epoll", "io_uring"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rows", nargs="+", metavar="WORD",
                        help="only rows whose name contains one of these")
    parser.add_argument("--json", metavar="FILE", help="all figures of all runs")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds < 0.05:
        parser.error("at least one round, of at least 0.05 seconds")
    options.chosen = [row for row in all_rows()
                      if not options.rows or any(word in row.name for word in options.rows)]
    if not options.chosen:
        parser.error("no such row; there are: " + " ".join(row.name for row in all_rows()))
    return options


def main(arguments):
    options = parse(arguments)
    bench = Bench(options)
    results = []
    try:
        print_head(bench)
        for row in options.chosen:
            rounds = bench.row(row)
            result = summarize(row, rounds)
            result["rounds"] = rounds
            results.append(result)
            print_row(result)
    finally:
        bench.server.close()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"backend": options.backend, "seconds": options.seconds, "rows": results},
                      file, default=paired.as_json, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
