"""`riposte ping` of many endpoints beside fping: `./dev bench many`.

    many.py --riposted PROGRAM --riposte PROGRAM [--endpoints N] [--seconds S] [--rounds N] [--json FILE]

Each endpoint is an address of 127.0.0.0/8, and gets a probe a second. riposte asks riposted's echo over UDP, bound to
all addresses, on another core; fping can only send ICMP, which the kernel answers itself, without another process:
its figures are of an easier job. Both run on one core, in turn, in each round. A loss is false: nothing on loopback
loses a packet, and riposted says how many datagrams it has dropped.

CPU is user and system of the whole process, for each second of the run. RSS is its resident memory after a quarter of
the run, and shortly before its end: memory is flat if they are equal. The figures are the medians of the rounds; losses
are summed up.

Needs fping, and root for it; without it its row is left out. Status 0 if all of it ran, for any figures.
"""

import argparse
import ipaddress
import json
import os
import re
import shutil
import socket
import statistics
import sys
import time

from pinned import Pinned

FIRST = ipaddress.IPv4Address("127.1.0.1")

def addresses(count):
    return f"{FIRST}-{FIRST + count - 1}"


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        return taken.getsockname()[1]


def rss_kib(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return int(re.search(r"^VmRSS:\s+(\d+) kB", status.read(), re.M)[1])
    except (OSError, TypeError):
        return 0


def measure(command, core, seconds):
    """The output of a run on that core, and its figures."""
    begun = time.monotonic()
    client = Pinned(lambda _: [str(word) for word in command], {core})
    try:
        rss = []
        for moment in (seconds / 4, seconds * 0.95):
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            rss.append(rss_kib(client.process.pid))
        _, status, usage = os.wait4(client.process.pid, 0)
        client.process.returncode = os.waitstatus_to_exitcode(status)
        text = client.log_text()
    finally:
        client.close()
    return text, {"cpu_percent": 100 * (usage.ru_utime + usage.ru_stime) / seconds, "rss_kib": rss}


def run_riposte(options, port):
    text, found = measure(
        [options.riposte, "ping", "-j", "-c", options.seconds, f"udp://{addresses(options.endpoints)}:{port}"], 0,
        options.seconds)
    try:
        endpoints = json.loads(text)["endpoints"]
    except ValueError:
        raise SystemExit(f"riposte ping printed no document: {text[-500:]}") from None
    found["sent"] = sum(each["counts"]["sent"] for each in endpoints)
    found["answered"] = sum(each["counts"]["answered"] for each in endpoints)
    found["late_p99_ms"] = statistics.median(each["lateness"].get("p99", each["lateness"]["max"])
                                             for each in endpoints) * 1e3
    return found


def run_fping(options):
    # -i is the least time between two packets to any host: its default would take 10 s for 1,000 hosts.
    apart = max(0.0, 900 / options.endpoints)
    text, found = measure(["fping", "-q", "-c", options.seconds, "-p", 1000, "-t", 5000, "-i", f"{apart:.3f}", "-g",
                           FIRST, FIRST + options.endpoints - 1], 0, options.seconds)
    counts = re.findall(r"xmt/rcv/%loss = (\d+)/(\d+)/", text)
    if len(counts) != options.endpoints:
        raise SystemExit(f"fping's output was not understood: {text[-500:]}")
    found["sent"] = sum(int(sent) for sent, _ in counts)
    found["answered"] = sum(int(answered) for _, answered in counts)
    return found


def row(name, runs):
    sent, answered = (sum(run[key] for run in runs) for key in ("sent", "answered"))
    cpu = statistics.median(run["cpu_percent"] for run in runs)
    first, last = (statistics.median(run["rss_kib"][at] for run in runs) / 1024 for at in (0, 1))
    return f"{name:<24}{sent:>9}{answered:>10}{sent - answered:>8}{cpu:>9.1f}%{first:>10.1f}{last:>10.1f}"


def parse(arguments):
    parser = argparse.ArgumentParser(usage=__doc__)
    for program in ("riposted", "riposte"):
        parser.add_argument(f"--{program}", required=True)
    parser.add_argument("--endpoints", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args(arguments)
    if options.seconds < 2 or options.rounds < 1 or not 2 <= options.endpoints <= 65536:
        parser.error("--seconds from 2, --rounds from 1, --endpoints from 2 to 65536")
    return options


def main(arguments):
    options = parse(arguments)
    with_fping = shutil.which("fping") is not None and os.geteuid() == 0
    port = free_port()
    others = sorted(os.sched_getaffinity(0) - {0}) or [0]
    server = Pinned(lambda _: [options.riposted, "--log-level", "error", "--listen", f"echo=udp://0.0.0.0:{port}"],
                    {others[0]})
    try:
        print(f"{options.endpoints} endpoints, a probe a second to each, {options.rounds} rounds of {options.seconds} s, "
              "on one core")
        runs = {"riposte ping, UDP": []}
        for _ in range(options.rounds):
            if with_fping:
                runs.setdefault("fping, ICMP (only)", []).append(run_fping(options))
            runs["riposte ping, UDP"].append(run_riposte(options, port))
    finally:
        server.close()
    print(f"{'':<24}{'sent':>9}{'answered':>10}{'lost':>8}{'CPU':>10}{'RSS, MiB':>10}{'at end':>10}")
    for name in sorted(runs):
        print(row(name, runs[name]))
    late = statistics.median(run["late_p99_ms"] for run in runs["riposte ping, UDP"])
    print(f"riposte's probes left late by {late:.3f} ms at most (p99 or maximum of an endpoint, median)")
    if not with_fping:
        print("left out: fping: it is not installed, or this is not root")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"endpoints": options.endpoints, "seconds": options.seconds, "runs": runs}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
