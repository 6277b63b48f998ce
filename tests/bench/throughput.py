"""`riposte load --upload` and `--download` beside iperf3: `./dev bench throughput`.

    throughput.py --riposted PROGRAM --riposte PROGRAM [--backend epoll|io_uring] [--rounds N] [--seconds S]
                  [--rows WORD...] [--json FILE]

The far side has a core of its own, and so has the client; for riposte it is riposted's discard and chargen, for
iperf3 its own server. A round runs iperf3, riposte, riposte, iperf3: an even drift affects both alike, and a ratio is
computed from each round, never from runs that are far apart. The figures are the medians of the rounds, with the
least and the greatest in brackets. The control is iperf3 against itself: the distance of its ratio from 1 is the
noise of this machine.

The rate is what was received: iperf3's count of its receiver, riposte's of what was acknowledged (upload) or read
(download). CPU time is user and system of the whole client process, and of the far side, for each Gbit of the rate.

Needs iperf3. Status 0 if all of it ran, for any figures.
"""

import argparse
import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
import time

import figures
import paired
import subjects
from pinned import Pinned

WAIT = 60.0
#: An iperf3 server that still closes the test before says this.
BUSY = "the server is busy running a test"


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    upload: bool
    download: bool
    connections: int = 1
    bitrate: float = 0  # UDP; 0: TCP
    control: bool = False

    def iperf3(self, port, seconds):
        direction = ["--bidir"] if self.upload and self.download else ["-R"] if self.download else []
        datagrams = ["-u", "-b", f"{self.bitrate / self.connections:.0f}", "-l", "1400"] if self.bitrate else []
        return ["iperf3", "-J", "-c", "127.0.0.1", "-p", str(port), "-t", f"{seconds:g}", "-P", str(self.connections),
                *direction, *datagrams]

    def riposte(self, program, ports, seconds):
        scheme = "udp" if self.bitrate else "tcp"
        words = [program, "load", "-j", "-d", f"{seconds * 1000:.0f}ms", "--warmup", "0", "-c", str(self.connections)]
        if self.upload:
            words += ["--upload", f"{scheme}://127.0.0.1:{ports['discard']}"]
        if self.download:
            words += ["--download", f"{scheme}://127.0.0.1:{ports['chargen']}"]
        return words + (["--bitrate", f"{self.bitrate:.0f}"] if self.bitrate else [])


ROWS = (
    Row("upload-1", True, False),
    Row("upload-4", True, False, 4),
    Row("download-1", False, True),
    Row("download-4", False, True, 4),
    Row("both-1", True, True),
    Row("udp-1G", True, False, bitrate=1e9),
    Row("control-upload-1", True, False, control=True),
)


@dataclasses.dataclass
class Run:
    program: str
    gbits: float
    seconds: float
    cpu_seconds: float       # of the client
    far_cpu_seconds: float

    @property
    def rate(self):
        return self.gbits / self.seconds

    @property
    def cpu(self):
        """The client's CPU seconds for each Gbit."""
        return self.cpu_seconds / self.gbits

    @property
    def both_cpu(self):
        return (self.cpu_seconds + self.far_cpu_seconds) / self.gbits


class Far(Pinned):
    def await_ports(self, ports):
        deadline = time.monotonic() + WAIT
        while not all(subjects.is_bound(mode, port) for mode, port in ports):
            if not self.is_running() or time.monotonic() > deadline:
                raise SystemExit(f"throughput.py: the far side is not there:\n{self.log_text()}")
            time.sleep(0.01)


class Bench:
    def __init__(self, options):
        self.options = options
        cores = sorted(os.sched_getaffinity(0))
        self.far_core, self.client_core = cores[0], cores[-1]
        self.far = {}
        self.ports = {name: subjects.free_port() for name in ("iperf3", "discard", "chargen")}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        self.far["iperf3"] = Far(lambda _: ["iperf3", "-s", "-p", str(self.ports["iperf3"])], {self.far_core})
        listen = [word for service in ("discard", "chargen") for transport in ("tcp", "udp")
                  for word in ("--listen", f"{service}={transport}://127.0.0.1:{self.ports[service]}")]
        riposted = [self.options.riposted, "--backend", self.options.backend, "--workers", "1",
                    "--log-level", "warning", *listen]
        self.far["riposte"] = Far(lambda _: riposted, {self.far_core})
        self.far["iperf3"].await_ports([("tcp", self.ports["iperf3"])])
        self.far["riposte"].await_ports([("tcp", self.ports["discard"]), ("tcp", self.ports["chargen"]),
                                         ("udp", self.ports["discard"])])

    def close(self):
        for far in self.far.values():
            far.close()

    def run(self, program, row):
        seconds = self.options.seconds
        command = (row.iperf3(self.ports["iperf3"], seconds) if program == "iperf3"
                   else row.riposte(self.options.riposte, self.ports, seconds))
        far = self.far[program]
        deadline = time.monotonic() + WAIT
        while True:
            far_before, before = far.cpu_seconds(), resource.getrusage(resource.RUSAGE_CHILDREN)
            client = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                                    timeout=WAIT + seconds,
                                    preexec_fn=lambda: os.sched_setaffinity(0, {self.client_core}))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if program != "iperf3" or BUSY not in client.stdout or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        far_used = far.cpu_seconds() - far_before
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        try:
            found = json.loads(client.stdout)
            gbits, took = (iperf3_gbits if program == "iperf3" else riposte_gbits)(found)
        except (ValueError, KeyError, IndexError) as reason:
            raise SystemExit(f"throughput.py: {' '.join(command)}\nended with {client.returncode} ({reason!r}):\n"
                             f"{client.stdout[-500:]}{client.stderr}") from reason
        if gbits <= 0:
            raise SystemExit(f"throughput.py: {' '.join(command)}: nothing went through; more --seconds may help")
        return Run(program, gbits, took, used, far_used)

    def row(self, row):
        """The runs of each round: [iperf3, other, other, iperf3]."""
        other = "iperf3" if row.control else "riposte"
        return [[self.run(program, row) for program in paired.order("iperf3", other)]
                for _ in range(self.options.rounds)]


def iperf3_gbits(found):
    """What the receivers counted, of both directions; the time."""
    end = found["end"]
    sums = [end[name] for name in ("sum_received", "sum_received_bidir_reverse") if name in end]
    if not any(each["bytes"] for each in sums):  # UDP: the sum has the bytes that were sent
        sums = [end["sum"]]
        return sums[0]["bytes"] * 8e-9 * (1 - sums[0].get("lost_percent", 0) / 100), sums[0]["seconds"]
    return sum(each["bytes"] for each in sums) * 8e-9, max(each["seconds"] for each in sums)


def riposte_gbits(found):
    return (sum(stream["bytes"] for stream in found["streams"]) * 8e-9,
            max(stream["elapsed"] for stream in found["streams"]))


def summarize(row, rounds):
    found = {**dataclasses.asdict(row), "rate_ratio": paired.Ratio.of(rounds, lambda run: run.rate),
             "cpu_ratio": paired.Ratio.of(rounds, lambda run: run.cpu),
             "both_cpu_ratio": paired.Ratio.of(rounds, lambda run: run.both_cpu)}
    for name, places in (("iperf3", paired.FIRST), ("riposte", paired.SECOND)):
        found[name] = {"gbit_per_second": paired.median(rounds, places, lambda run: run.rate),
                       "cpu_ms_per_gbit": 1e3 * paired.median(rounds, places, lambda run: run.cpu),
                       "far_and_near_cpu_ms_per_gbit": 1e3 * paired.median(rounds, places, lambda run: run.both_cpu)}
    return found


LINE = "{:<17}{:>8}{:>9}  {:<18}{:>7}{:>9}  {:<18}  {}"


def print_head(bench):
    options = bench.options
    print(f"riposte load beside iperf3, on core {bench.client_core}; the far side on core {bench.far_core} "
          f"(riposted: {options.backend}).\n{options.rounds} rounds of {options.seconds:g} s: iperf3, riposte, riposte, "
          "iperf3; median (least..greatest).\nIn the control's second column is iperf3 again.\n")
    print(LINE.format("", "Gbit/s", "", "ratio", "CPU ms", "/Gbit", "ratio", "ratio of CPU"))
    print(LINE.format("row", "iperf3", "riposte", "(more is better)", "iperf3", "riposte", "(less is better)",
                      "with the far side"), flush=True)


def print_row(found):
    iperf3, riposte = found["iperf3"], found["riposte"]
    print(LINE.format(found["name"], f"{iperf3['gbit_per_second']:.2f}", f"{riposte['gbit_per_second']:.2f}",
                      found["rate_ratio"].text(2), f"{iperf3['cpu_ms_per_gbit']:.1f}", f"{riposte['cpu_ms_per_gbit']:.1f}",
                      found["cpu_ratio"].text(2), found["both_cpu_ratio"].text(2)), flush=True)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    for program in ("riposted", "riposte"):
        parser.add_argument(f"--{program}", required=True, type=os.path.abspath)
    parser.add_argument("--backend", choices=("epoll", "io_uring"), default="io_uring")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rows", nargs="+", metavar="WORD", help="only rows whose name contains one of these")
    parser.add_argument("--json", metavar="FILE", help="all figures of all runs")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds < 0.1:
        parser.error("at least one round, of at least 0.1 seconds")
    options.chosen = [row for row in ROWS if figures.chosen(row.name, options.rows)]
    if not options.chosen:
        parser.error("no such row; there are: " + " ".join(row.name for row in ROWS))
    if not shutil.which("iperf3"):
        parser.error("iperf3 is not installed")
    return options


def main(arguments):
    options = parse(arguments)
    bench = Bench(options)
    found = []
    try:
        print_head(bench)
        for row in options.chosen:
            rounds = bench.row(row)
            found.append({**summarize(row, rounds), "rounds": rounds})
            print_row(found[-1])
    finally:
        bench.close()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"schema": "riposte/bench-throughput/1", "rows": found}, file, default=paired.as_json, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
