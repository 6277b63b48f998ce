"""The marks that were set before the work, and how far they were reached.

The best peer of a row is the one with the least median among those that passed the gate and made no
error. If the generator was the limit of it or of riposted, the output says so: neither was then seen at its
best. (A connection costs its client more than its server, so one core of clients never fills one of a
server. Omitting such peers would leave the slowest as the best.) A mark's figure is the median over the
rounds of the ratio within each round.

Beside it is the figure of the best bare loop for the same mark. Bare loops only move bytes, and ignore peers
that read late: a mark that they miss too depends on the kernel.
"""

import dataclasses
import statistics

import figures
from subjects import BARE_EPOLL, BARE_IO_URING

OURS = ("riposte io_uring", "riposte epoll")
BARE = (BARE_EPOLL.name, BARE_IO_URING.name)


@dataclasses.dataclass(frozen=True)
class Mark:
    row: str
    limit: float
    against: str  # "best peer" or a server's name
    ours: tuple = OURS


MARKS = (
    Mark("tcp-64-50", 0.92, "best peer"),
    Mark("tcp-64-50", 1.03, "bare io_uring loop"),
    Mark("tcp-64-1000", 0.92, "best peer"),
    Mark("tcp-64-1000", 1.03, "bare io_uring loop"),
    Mark("tcp-16k", 0.95, "best peer"),
    Mark("tcp-512-pipelined", 0.95, "best peer"),
    Mark("tcp-bulk", 0.95, "best peer"),
    Mark("tcp-hello", 0.80, "best peer"),
    Mark("udp-64-50", 0.85, "best peer"),
    Mark("udp-trains-gso", 0.20, "best peer"),
    Mark("udp-trains", 0.80, "best peer"),
    Mark("one-at-a-time", 1.00, "best peer"),
    Mark("one-at-a-time", 0.60, "best peer",
         ("riposte io_uring, busy_poll", "riposte epoll, busy_poll")),
)
MEMORY_BYTES = 300
READY_SECONDS = 0.010
GROWTH = 1.15


def best_peer(row, gate):
    """The name of the row's best peer, or None."""
    fit = {name: figure[row["compares"]] for name, figure in row["servers"].items()
           if figure["kind"] == "peer" and gate.get(name, True) and not figure["faults"]}
    return min(fit, key=fit.get, default=None)


def judge_mark(mark, row, gate):
    against = best_peer(row, gate) if mark.against == "best peer" else mark.against
    found = []
    bare = [statistics.median(figures.ratios(row["runs"][name], row["runs"][against], row["compares"]))
            for name, figure in row["servers"].items()
            if figure["kind"] == "limit" and against in row["runs"]]
    for ours in mark.ours:
        if against not in row["runs"] or ours not in row["runs"]:
            continue
        ratios = figures.ratios(row["runs"][ours], row["runs"][against], row["compares"])
        ratio = statistics.median(ratios)
        held_back = row["compares"] == "cpu" and any(
            row["servers"][name]["limit"] == "generator" for name in (ours, against))
        found.append({"mark": f"{mark.row} against {against}", "ours": ours, "limit": mark.limit,
                      "figure": ratio, "least": min(ratios), "greatest": max(ratios),
                      "reached": ratio <= mark.limit, "generator_bound": held_back,
                      "bare": min(bare, default=None)})
    return found


def plain(name, ours, limit, values, bare=None):
    figure = statistics.median(values)
    return {"mark": name, "ours": ours, "limit": limit, "figure": figure, "least": min(values),
            "greatest": max(values), "reached": figure <= limit, "generator_bound": False,
            "bare": bare}


def judge(found):
    judged = []
    for mark in MARKS:
        if mark.row in found["rows"]:
            judged += judge_mark(mark, found["rows"][mark.row], found.get("gate", {}))
    for ours in OURS:
        if ours in found.get("memory", {}):
            values = [max(found["memory"][ours].values())]  # whatever was said before
            judged.append(plain("bytes of an idle connection", ours, MEMORY_BYTES, values))
        if ours in found.get("ready", {}):
            judged.append(plain("seconds from exec to READY", ours, READY_SECONDS,
                                found["ready"][ours]))
        if ours in found.get("growth", {}):
            bare = [statistics.median(ratios) for name, ratios in found["growth"].items()
                    if name in BARE]
            judged.append(plain("10,000 connections to 50", ours, GROWTH, found["growth"][ours],
                                min(bare, default=None)))
    return judged


def show(judged):
    if not judged:
        return
    print("\nMarks: riposte's figure, to the other's, and that of the best bare loop\n"
          "(!: the generator was the limit)\n"
          f"{'':<28}{'':<20}{'at most':>8}{'is':>7}{'bare':>7}")
    for mark in judged:
        remark = "reached" if mark["reached"] else "MISSED"
        if mark["generator_bound"]:
            remark += "!"
        places = 4 if mark["limit"] < 0.1 else 0 if mark["limit"] > 10 else 3
        what = mark["mark"].replace(" against ", " / ").removesuffix(" loop")
        bare = "" if mark["bare"] is None else f"{mark['bare']:.{places}f}"
        print(f"{what:<28}{mark['ours'].removeprefix('riposte '):<20}{mark['limit']:>8g}"
              f"{mark['figure']:>7.{places}f}{bare:>7}  {remark}", flush=True)
