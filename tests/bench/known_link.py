"""What probers report about a link whose every fault is known, beside the truth: `./dev bench truth`.

    known_link.py --riposted PROGRAM --riposte PROGRAM --link PROGRAM [--count N] [--interval MS]
                  [--seed N] [--tools WORD...] [--json FILE]

Each prober has a link of its own with the same faults and the same seed (tests/support/link.py): in either
direction 1.5% are lost, 1% come twice, 1% are overtaken, and the delay of 10 ms varies. The far side runs the
server that the prober needs. The truth is taken from the link's log of the same run: which requests entered
it, which of their replies left it, and when. So each prober has its own truth, and only a pair of lines can be
compared. Times end when the link released a reply: delays within the prober count against the prober.

"-" stands for a figure that a prober does not report. Jitter is what each prober means by it, and the truth
beside it likewise:
ipdv (mean difference of neighbouring round trips), mdev (standard deviation), rfc3550 (the smoothed value at
the end of the run; of iperf3 one way, and so are its losses).

Needs root. Status 0 if all of it ran, for any figures.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import link as known  # noqa: E402

WAIT = 60.0
COLUMNS = ("sent", "answered", "loss", "duplicated", "reordered", "median", "mean", "jitter")


@dataclasses.dataclass
class Figures:
    """None: not said. Times in ms, the loss in percent."""
    sent: int | None = None
    answered: int | None = None
    loss: float | None = None
    duplicated: int | None = None
    reordered: int | None = None
    median: float | None = None
    mean: float | None = None
    jitter: float | None = None


@dataclasses.dataclass(frozen=True)
class Prober:
    name: str
    protocol: int
    port: int | None
    server: object          # (options, host) -> command or None
    client: object          # (options, host) -> command
    read: object            # output -> Figures
    key: object             # packet -> what it has in common with its answer; None: it is no request
    jitter: str = ""        # what it means by that
    one_way: bool = False


def milliseconds(nanoseconds):
    return nanoseconds / 1e6


def read_riposte(output):
    found = json.loads(output)["endpoints"][0]
    counts = found["counts"]
    return Figures(counts["sent"], counts["answered"], found["loss_percent"], counts["duplicated"],
                   counts["reordered"], found["rtt"]["median"] * 1e3, found["rtt"]["mean"] * 1e3,
                   found["ipdv"]["mean"] * 1e3 if "ipdv" in found else None)


def read_ping(output):
    counts = re.search(r"(\d+) packets transmitted, (\d+) received,(?: \+(\d+) duplicates,)? ([\d.]+)% packet loss",
                       output)
    times = re.search(r"= [\d.]+/([\d.]+)/[\d.]+/([\d.]+) ms", output)
    return Figures(int(counts[1]), int(counts[2]), float(counts[4]), int(counts[3] or 0),
                   mean=float(times[1]), jitter=float(times[2]))


def read_fping(output):
    found = re.search(r"xmt/rcv/%loss = (\d+)/(\d+)/([\d.]+)%(?:, min/avg/max = [\d.]+/([\d.]+)/[\d.]+)?", output)
    return Figures(int(found[1]), int(found[2]), float(found[3]), mean=float(found[4]) if found[4] else None)


def read_irtt(output):
    found = json.JSONDecoder().raw_decode(output[output.index("{"):])[0]["stats"]
    return Figures(found["packets_sent"], found["packets_received"] - found["duplicates"],
                   found["packet_loss_percent"], found["duplicates"], found["late_packets"],
                   milliseconds(found["rtt"]["median"]), milliseconds(found["rtt"]["mean"]),
                   milliseconds(found["ipdv_round_trip"]["mean"]))


def read_iperf3(output):
    found = json.loads(output)["end"]
    udp = found["streams"][0]["udp"]
    return Figures(udp["packets"], udp["packets"] - udp["lost_packets"], udp["lost_percent"],
                   reordered=udp["out_of_order"], jitter=udp["jitter_ms"])


def read_sockperf(output):
    output = re.sub(r"\x1b\[[\d;]*m", "", output)
    total = re.search(r"\[Total Run\].*SentMessages=(\d+); ReceivedMessages=(\d+)", output)
    oddities = re.search(r"dropped messages = (\d+); # duplicated messages = (\d+); # out-of-order messages = (\d+)",
                         output)
    mean = re.search(r"avg-(?:rtt|latency)=([\d.]+)", output)
    median = re.search(r"percentile 50.000 =\s+([\d.]+)", output)
    sent = int(total[1])
    return Figures(sent, int(total[2]), 100 * int(oddities[1]) / sent if oddities else None,
                   int(oddities[2]) if oddities else None, int(oddities[3]) if oddities else None,
                   float(median[1]) / 1e3 if median else None, float(mean[1]) / 1e3 if mean else None)


def echo_key(packet):
    return packet.tcp_seq if packet.icmp_type in (0, 8) else None


def riposte_key(packet):
    header = packet.probe()
    return header[:2] if header else None


def irtt_key(packet):
    """Magic, flags (1: open, 4: close), token, number."""
    data = packet.payload
    return data[4:16] if data[:3] == b"\x14\xa7\x5b" and not data[3] & 5 else None


def iperf3_key(packet):
    """Seconds, microseconds, number; not the greeting, which is shorter, nor its answer."""
    return packet.payload[:12] if packet.payload_length >= 64 and packet.direction == 0 else None


def sockperf_key(packet):
    return packet.payload[:8] if packet.payload_length >= 14 else None


def seconds_of(options):
    return options.count * options.interval / 1000


PROBERS = (
    Prober("riposte", known.UDP, 7,
           lambda options, host: [options.riposted, "--listen", f"echo=udp://{host}:7"],
           lambda options, host: [options.riposte, "ping", "-j", "-c", options.count, "-i",
                                  f"{options.interval}ms", f"udp://{host}:7"],
           read_riposte, riposte_key, "ipdv"),
    Prober("ping", known.ICMP, None, lambda options, host: None,
           lambda options, host: ["ping", "-q", "-c", options.count, "-i", options.interval / 1000, host],
           read_ping, echo_key, "mdev"),
    # Without -t fping waits for each answer no longer than until its next request is due.
    Prober("fping", known.ICMP, None, lambda options, host: None,
           lambda options, host: ["fping", "-q", "-c", options.count, "-p", options.interval, "-t", 2000, host],
           read_fping, echo_key),
    Prober("irtt", known.UDP, 2112, lambda options, host: ["irtt", "server"],
           lambda options, host: ["irtt", "client", "-q", "-i", f"{options.interval}ms", "-d",
                                  f"{seconds_of(options):g}s", "-o", "-", host],
           read_irtt, irtt_key, "ipdv"),
    Prober("iperf3", known.UDP, 5201, lambda options, host: ["iperf3", "-s"],
           lambda options, host: ["iperf3", "-J", "-u", "-l", 64, "-b", round(64 * 8 * 1000 / options.interval),
                                  "-t", max(1, round(seconds_of(options))), "-c", host],
           read_iperf3, iperf3_key, "rfc3550", one_way=True),
    Prober("sockperf", known.UDP, 11111, lambda options, host: ["sockperf", "server", "-i", host],
           lambda options, host: ["sockperf", "under-load", "-i", host, "--mps", round(1000 / options.interval),
                                  "--reply-every", 1, "-t", max(1, round(seconds_of(options))), "--full-rtt"],
           read_sockperf, sockperf_key),
)


def faults():
    return known.Faults(loss=0.015, duplicate=0.01, hold=0.01, hold_for=2, hold_max_ms=200, delay_ms=10,
                        jitter_ms=2, jitter="exponential", keep_order=True)


def truth_of(prober, log):
    """From the log of its run."""
    requests, first = {}, []
    for packet in log.select(known.FORWARD, prober.protocol, port=prober.port):
        key = prober.key(packet)
        if key is not None and not packet.copy and key not in requests:
            requests[key] = len(first)
            first.append(packet)
    way = known.FORWARD if prober.one_way else known.BACKWARD
    arrivals = sorted((packet for packet in log.select(way, prober.protocol, port=prober.port)
                       if packet.arrived()), key=lambda packet: packet.out_before_ns)
    times, duplicated, reordered, highest, order = {}, 0, 0, -1, []
    for packet in arrivals:
        number = requests.get(prober.key(packet))
        if number is None:
            continue
        if number in times:
            duplicated += 1
            continue
        times[number] = milliseconds(packet.out_before_ns - first[number].in_ns)
        order.append(number)
        reordered += number < highest
        highest = max(highest, number)
    figures = Figures(len(first), len(times), 100 * (1 - len(times) / max(1, len(first))), duplicated, reordered)
    if times:
        figures.median = statistics.median(times.values())
        figures.mean = statistics.fmean(times.values())
        figures.jitter = jitter_of(prober.jitter, times, order)
    return figures


def jitter_of(kind, times, order):
    if kind == "mdev":
        return statistics.pstdev(times.values())
    if kind == "ipdv":
        pairs = [abs(times[number] - times[number - 1]) for number in times if number - 1 in times]
        return statistics.fmean(pairs) if pairs else None
    if kind == "rfc3550":
        smoothed = 0.0
        for one, other in zip(order, order[1:]):
            smoothed += (abs(times[other] - times[one]) - smoothed) / 16
        return smoothed
    return None


def listens(side, prober):
    """Whether a process has its port."""
    done = side.run(["ss", "-Hlnu" if prober.name != "iperf3" else "-Hlnt", f"sport = :{prober.port}"])
    return bool(done.stdout.strip())


def measure(prober, options):
    """(what it says, what was so), or why not."""
    program = prober.client(options, "")[0]
    if not shutil.which(str(program)):
        return f"the program {program} is not installed"
    with known.Link(faults(), faults(), seed=options.seed) as link:
        host = link.server.ipv4
        server = prober.server(options, host)
        if server:
            process = link.server.start(server, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + WAIT
            while not listens(link.server, prober):
                if process.poll() is not None or time.monotonic() > deadline:
                    return f"its server {server[0]} did not start"
                time.sleep(0.02)
        try:
            done = link.client.run(prober.client(options, host), timeout=WAIT + 3 * seconds_of(options))
            link.settle()
            return prober.read(done.stdout + (done.stderr if prober.name == "fping" else "")), \
                truth_of(prober, link.log)
        except subprocess.TimeoutExpired:
            return "it did not end"
        except (ValueError, KeyError, TypeError, IndexError) as problem:
            return (f"its output was not understood ({problem!r}); status {done.returncode}: "
                    f"{(done.stderr or done.stdout).strip()[-200:]}")


LINE = "{:<10}{:<6}{:>6}{:>10}{:>9}{:>12}{:>11}{:>10}{:>10}{:>10}  {}"


def print_pair(prober, said, true):
    for name, what, figures in ((prober.name, "says", said), ("", "true", true)):
        cells = []
        for column in COLUMNS:
            value = getattr(figures, column)
            if value is None or (what == "true" and getattr(said, column) is None):
                cells.append("-")
            else:
                cells.append(str(value) if isinstance(value, int) else
                             f"{value:.2f}%" if column == "loss" else f"{value:.3f}")
        print(LINE.format(name, what, *cells, prober.jitter if what == "says" else "").rstrip(), flush=True)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    for program in ("riposted", "riposte", "link"):
        parser.add_argument(f"--{program}", required=True, type=os.path.abspath)
    parser.add_argument("--count", type=int, default=1000, help="requests of each prober [1000]")
    parser.add_argument("--interval", type=int, default=10, help="between them, in ms [10]")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--tools", nargs="+", metavar="WORD", help="only probers whose name contains one of these")
    parser.add_argument("--json", metavar="FILE", help="all figures")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.interval < 1:
        parser.error("at least one request, and a millisecond")
    options.chosen = [prober for prober in PROBERS
                      if not options.tools or any(word in prober.name for word in options.tools)]
    if not options.chosen:
        parser.error("no such prober; there are: " + " ".join(prober.name for prober in PROBERS))
    known.LINK = options.link
    return options


def main(arguments):
    options = parse(arguments)
    print(f"{options.count} requests every {options.interval} ms over a link that loses 1.5%, doubles 1% and lets 1% "
          f"be overtaken\nin either direction, seed {options.seed}. Times in ms.\n")
    print(LINE.format("", "", *COLUMNS, ""), flush=True)
    found, absent = {}, {}
    try:
        for prober in options.chosen:
            result = measure(prober, options)
            if isinstance(result, str):
                absent[prober.name] = result
                print(f"left out: {prober.name}: {result}", flush=True)
                continue
            print_pair(prober, *result)
            found[prober.name] = dict(zip(("says", "true"), map(dataclasses.asdict, result)),
                                      jitter=prober.jitter)
    except unittest.SkipTest as reason:
        print(f"known_link.py: {reason}", file=sys.stderr)
        return 1
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"schema": "riposte/bench-truth/1", "seed": options.seed, "count": options.count,
                       "interval_ms": options.interval, "probers": found, "absent": absent}, file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
