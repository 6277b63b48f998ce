"""The reflector of STAMP beside riposted's own plain UDP echo: `./dev bench stamp`.

    stamp.py --riposted PROGRAM --questions PROGRAM [--backend epoll|io_uring] [--rounds N] [--seconds S]
             [--json FILE]

One riposted with one worker has a core of its own, and serves echo, stamp, and stamp with a key; the generator has
another core. A round asks all three with the same packets (112 bytes, 64 sessions with a question each in flight), in
one order and then in the reverse one, and the echo a second time as the control: the distance of its ratio from 1
is the noise of this machine. Ratios are computed from each round; figures are the medians of the rounds, with the
least and the greatest in brackets.

    CPU      of the server for each answer, user and system; "a core" is what one core answers at that cost
    T3       how much later than the answer says the kernel sent it (its arrival's time, which loopback stamps there)
    residence  T3 - T2

Where irtt and sockperf are installed, their servers are measured as well, by their own clients: a packet's CPU time
alone compares, since each client asks at a pace of its own.

Status 0 if all of it ran, for any figures.
"""

import argparse
import dataclasses
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

import subjects
from throughput import Far

WAIT = 60.0
#: The round in one direction; the generator's options.
KINDS = {"echo": ["-e"], "stamp": [], "authenticated": ["-a"], "control": ["-e"]}
CONFIG = """
[datagrams]
rate_exempt = "127.0.0.1"
[[listen]]
service = "echo"
address = "udp://127.0.0.1:{echo}"
[[listen]]
service = "stamp"
address = "udp://127.0.0.1:{stamp}"
[[listen]]
service = "stamp"
address = "udp://127.0.0.1:{authenticated}"
key_file = "{key}"
"""


@dataclasses.dataclass
class Run:
    answered: int
    seconds: float
    server_cpu_seconds: float
    figures: dict

    @property
    def cpu_us(self):
        """Of the server, for each answer."""
        return 1e6 * self.server_cpu_seconds / self.answered


class Bench:
    def __init__(self, options):
        self.options = options
        cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.client_core = cores[0], cores[-1]
        self.ports = {name: subjects.free_port() for name in ("echo", "stamp", "authenticated")}
        self.directory = tempfile.TemporaryDirectory(prefix="riposte-bench-")
        key = os.path.join(self.directory.name, "key")
        with open(key, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("00" * 32)
        config = os.path.join(self.directory.name, "riposted.toml")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG.format(**self.ports, key=key))
        command = [options.riposted, "-c", config, "--backend", options.backend, "--workers", "1",
                   "--log-level", "warning"]
        self.server = Far(lambda _: command, {self.server_core})
        self.server.await_ports([("udp", port) for port in self.ports.values()])

    def close(self):
        self.server.close()
        self.directory.cleanup()

    def client(self, command):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=WAIT + self.options.seconds,
                              preexec_fn=lambda: os.sched_setaffinity(0, {self.client_core}))
        if done.returncode != 0:
            raise SystemExit(f"stamp.py: {' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def run(self, kind, *more):
        """The server's CPU time is that of the whole run; so are the answers, for which there is no warm-up."""
        port = self.ports["echo" if kind == "control" else kind]
        before = self.server.cpu_seconds()
        found = json.loads(self.client([self.options.questions, "-p", str(port), "-w", "0",
                                        "-d", f"{self.options.seconds:g}", *KINDS[kind], *more]))
        used = self.server.cpu_seconds() - before
        if found["answered"] == 0:
            raise SystemExit(f"stamp.py: {kind}: no answers")
        return Run(found["answered"], found["seconds"], used, found)

    def rounds(self):
        """Of each round the two runs of each kind."""
        for kind in KINDS:
            self.run(kind)  # the first questions of all sessions
        found = []
        for _ in range(self.options.rounds):
            runs = {kind: [] for kind in KINDS}
            for kind in (*KINDS, *reversed(KINDS)):
                runs[kind].append(self.run(kind))
            found.append(runs)
        return found


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def text(values, places=2):
    return "{median:.{0}f} ({least:.{0}f}..{greatest:.{0}f})".format(places, **values)


def summarize(rounds):
    def cpu(runs, kind):
        return sum(run.server_cpu_seconds for run in runs[kind]) / sum(run.answered for run in runs[kind]) * 1e6

    rows = {}
    for kind in KINDS:
        every = [run for runs in rounds for run in runs[kind]]
        rows[kind] = {"cpu_us": spread([cpu(runs, kind) for runs in rounds]),
                      "ratio": spread([cpu(runs, kind) / cpu(runs, "echo") for runs in rounds]),
                      "answers_per_second": spread([run.answered / run.seconds for run in every]),
                      "lost": sum(run.figures["lost"] for run in every)}
        for name in ("p50_t3_error_us", "p99_t3_error_us", "p50_residence_us", "p99_residence_us"):
            if name in every[0].figures:
                rows[kind][name] = spread([run.figures[name] for run in every])
    return rows


LINE = "{:<15}{:<22}{:<20}{:>9}{:>9}  {:<14}{:<14}"


def print_rows(rows):
    print(LINE.format("", "CPU us a packet", "ratio to the echo", "a core/s", "asked/s", "T3 error us", "residence us"))
    print(LINE.format("", "", "", "", "", "p50 / p99", "p50 / p99"))
    for kind, row in rows.items():
        pair = (lambda name, row=row: f"{row[f'p50_{name}']['median']:.1f} / {row[f'p99_{name}']['median']:.1f}"
                if f"p50_{name}" in row else "-")
        print(LINE.format(kind, text(row["cpu_us"]), text(row["ratio"]), f"{1e6 / row['cpu_us']['median']:.0f}",
                          f"{row['answers_per_second']['median']:.0f}", pair("t3_error_us"), pair("residence_us")))
    print(f"lost: {sum(row['lost'] for row in rows.values())}")


def one_at_a_time(bench):
    """T3 waits for the answers before it in a batch; with one question in flight there are none."""
    figures = bench.run("stamp", "-f", "1").figures
    print("one question in flight: " + ", ".join(
        f"{text} {figures[f'p50_{name}']:.1f} / {figures[f'p99_{name}']:.1f} us"
        for name, text in (("t3_error_us", "T3 error"), ("residence_us", "residence"))), flush=True)
    return figures


# Other servers -----------------------------------------------------------------------------------

def irtt_packets(output):
    return json.loads(output)["stats"]["packets_received"]


def sockperf_packets(output):
    return int(re.search(r"ReceivedMessages=(\d+)", output).group(1))


#: Name: the server's and the client's command, and how many packets the client got back.
OTHERS = {
    "irtt": (lambda port: ["irtt", "server", "-b", f"127.0.0.1:{port}", "-i", "0", "-d", "0"],
             lambda port, seconds: ["irtt", "client", "-i", "100us", "-d", f"{seconds:g}s", "-l", "112", "-Q",
                                    "-o", "-", f"127.0.0.1:{port}"], irtt_packets),
    "sockperf": (lambda port: ["sockperf", "server", "-i", "127.0.0.1", "-p", str(port)],
                 lambda port, seconds: ["sockperf", "ping-pong", "-i", "127.0.0.1", "-p", str(port), "-m", "112",
                                        "-t", str(max(1, round(seconds)))], sockperf_packets),
}


def other(bench, name):
    """The server's CPU time for each packet that came back, in microseconds, of each round."""
    serve, ask, packets = OTHERS[name]
    port = subjects.free_port()
    server = Far(lambda _: serve(port), {bench.server_core})
    try:
        server.await_ports([("udp", port)])
        found = []
        for _ in range(bench.options.rounds):
            before = server.cpu_seconds()
            output = bench.client(ask(port, bench.options.seconds))
            found.append(1e6 * (server.cpu_seconds() - before) / packets(output))
        return found
    finally:
        server.close()


def print_others(bench):
    found = {}
    for name in OTHERS:
        if not shutil.which(name):
            print(f"{name}: not installed, left out")
            continue
        found[name] = spread(other(bench, name))
        print(LINE.format(name, text(found[name]), "(by its own client)", f"{1e6 / found[name]['median']:.0f}", "", "",
                          "").rstrip(), flush=True)
    return found


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    for program in ("riposted", "questions"):
        parser.add_argument(f"--{program}", required=True, type=os.path.abspath)
    parser.add_argument("--backend", choices=("epoll", "io_uring"), default="io_uring")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", metavar="FILE", help="all figures")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds < 0.1:
        parser.error("at least one round, of at least 0.1 seconds")
    return options


def main(arguments):
    options = parse(arguments)
    bench = Bench(options)
    try:
        print(f"The reflector of STAMP beside the UDP echo, riposted ({options.backend}) on core {bench.server_core}, "
              f"the questions on core {bench.client_core}.\n{options.rounds} rounds, {options.seconds:g} s a run; "
              "median (least..greatest). The control is the echo again.\n", flush=True)
        rows = summarize(bench.rounds())
        print_rows(rows)
        one = one_at_a_time(bench)
        others = print_others(bench)
    finally:
        bench.close()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"schema": "riposte/bench-stamp/1", "rows": rows, "one": one, "others": others}, file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
