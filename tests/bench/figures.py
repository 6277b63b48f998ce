"""From runs to figures, and their table in the terminal."""

import dataclasses
import statistics

REFERENCE = "riposte io_uring"
BUSY = 0.95  # of a core: from here on there was no time left


def chosen(name, words):
    return not words or any(word in name for word in words)


def as_json(value):
    if dataclasses.is_dataclass(value):
        return dataclasses.asdict(value)
    raise TypeError(repr(value))


def mean(pair, value):
    return statistics.mean(value(run) for run in pair)


def ratios(mine, others, compares):
    """Of each round: mine to theirs."""
    return [mean(a, lambda run: getattr(run, compares)) / mean(b, lambda run: getattr(run, compares))
            for a, b in zip(mine, others)]


def limit(runs):
    """Which of server and generator had no time left."""
    generator = statistics.median(run.generator_share for pair in runs for run in pair) >= BUSY
    server = statistics.median(run.server_share for pair in runs for run in pair) >= BUSY
    return {(True, True): "both", (True, False): "generator", (False, True): "server",
            (False, False): "neither"}[generator, server]


def summarize(row, runs):
    """{"title": ..., "servers": {name: figures}, "runs": as they were}"""
    servers = {}
    kinds = {server.name: server.kind for server in row.servers}
    for name, rounds in runs.items():
        flat = [run for pair in rounds for run in pair]
        figure = {"kind": kinds[name], "limit": limit(rounds),
                  "faults": sum(run.faults for run in flat)}
        for key in ("cpu", "rate", "p50", "p99", "p99_9", "server_share", "generator_share"):
            values = [mean(pair, lambda run, key=key: getattr(run, key)) for pair in rounds]
            figure[key] = statistics.median(values)
            figure[f"{key}_spread"] = [min(values), max(values)]
        # Sampled in ticks, few of which are in one run: only all of them together say something.
        figure["user_share"] = statistics.mean(run.user_share for run in flat)
        if REFERENCE in runs:
            figure["ratio"] = statistics.median(ratios(rounds, runs[REFERENCE], row.compares))
        servers[name] = figure
    return {"title": row.title, "unit": row.unit, "compares": row.compares, "servers": servers,
            "runs": runs}


LINE = "{:<27}{:>7}{:>5}{:>6}{:>5}{:>10}{:>6}{:>6}{:>6} {}"  # 80 columns


def print_head(bench, conditions):
    print(f"Linux {conditions['kernel']}, {conditions['cpu']}, {conditions['cpus']} CPUs; servers on "
          f"core {bench.server_core}, generator on core {bench.generator_core}, over loopback.\n"
          f"{conditions['rounds']} rounds of {conditions['seconds']:g} s, forward and backward; "
          "medians, and how far the rounds are from them.\n"
          "user: of the CPU time, what was not the kernel's.\n"
          "!: the generator had no time left while the server had some. F: wrong answers.", flush=True)


def in_us(seconds):
    us = seconds * 1e6
    if us >= 1e5:
        return f"{us / 1000:.0f}m"
    return f"{us:.0f}" if us >= 100 else f"{us:.1f}"


def rate(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def user_share(figure):
    """The ticks are not significant for a server that mostly waits."""
    return f"{100 * figure['user_share']:.0f}%" if figure["server_share"] >= 0.5 else ""


def print_row(row, result):
    of = "CPU us" if row.compares == "cpu" else "p50 us"
    print(f"\n{row.title}")
    print(LINE.format(f"of a {row.unit}, in us", of.removesuffix(" us"), "", "ratio", "user", "a second",
                      "p50", "p99", "p99.9", "").rstrip())
    for name, figure in sorted(result["servers"].items(),
                               key=lambda item: item[1][row.compares]):
        value, spread = figure[row.compares], figure[f"{row.compares}_spread"]
        remark = ("!" if figure["limit"] == "generator" else "") + ("F" if figure["faults"] else "")
        far = max(spread[1] - value, value - spread[0]) / value
        print(LINE.format(
            name, in_us(value) if value >= 1e-5 else f"{value * 1e6:.3f}", f"±{100 * far:.0f}%",
            f"{figure['ratio']:.3f}" if "ratio" in figure else "",
            user_share(figure), rate(figure["rate"]),
            in_us(figure["p50"]), in_us(figure["p99"]), in_us(figure["p99_9"]), remark).rstrip(),
              flush=True)
