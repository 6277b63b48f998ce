"""The figures of a run as a picture: for each row, how far each server is from riposted.

A dot marks the ratio of the server's figure to that of riposted with io_uring, on a logarithmic
axis: to the right of 1 the server costs more. Self-contained SVG, legible in light and dark.
"""

import math
from xml.sax.saxutils import escape

import figures

LEFT, RIGHT, TOP, STEP, BOTTOM = 410, 60, 78, 26, 64
WIDTH = 960
MOST = 6  # what costs more stands at the edge, with how much it is
COLOURS = {  # name: light, dark
    "riposte io_uring": ("#0b62c4", "#6cb2ff"),
    "riposte epoll": ("#0b8a6f", "#4fd1b3"),
    "riposte io_uring, busy_poll": ("#0b62c4", "#6cb2ff"),
    "Asio": ("#b3541e", "#f0a36b"),
    "libuv": ("#8a4fbf", "#c79bf2"),
    "libevent": ("#a8324a", "#f08ba0"),
    "Go": ("#13808f", "#62cfdf"),
    "Tokio": ("#7a6a00", "#d9c84a"),
    "node": ("#3d7a2a", "#93d67c"),
    "xinetd": ("#555555", "#aaaaaa"),
    "bare epoll loop": ("#666666", "#999999"),
    "bare io_uring loop": ("#666666", "#999999"),
    "bare mmsg loop": ("#666666", "#999999"),
}
TICKS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 4, 5, 6)


def style():
    def rules(index):
        return "".join(f".c{i}{{fill:{both[index]};stroke:{both[index]}}}"
                       for i, both in enumerate(COLOURS.values()))

    return ("<style>text{font:13px system-ui,sans-serif;fill:#222}.t{font-size:15px;font-weight:600}"
            ".s{font-size:12px;fill:#555}.g{stroke:#ddd}.o{stroke:#888}rect{fill:#fff}"
            f".hollow{{fill:none;stroke-width:1.6}}{rules(0)}"
            "@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#aaa}.g{stroke:#333}"
            f".o{{stroke:#888}}rect{{fill:#14161a}}{rules(1)}}}</style>")


def mark(name, x, y):
    number = list(COLOURS).index(name)
    title = f"<title>{escape(name)}</title>"
    if name.startswith("bare"):
        size = 5 if "epoll" in name else 4
        shape = {"bare epoll loop": f"M{x - size},{y - size}h{2 * size}v{2 * size}h{-2 * size}z",
                 "bare io_uring loop": f"M{x},{y - 6}l6,6l-6,6l-6,-6z",
                 "bare mmsg loop": f"M{x},{y - 6}l6,10h-12z"}[name]
        return f'<path class="c{number} hollow" style="fill:none" d="{shape}">{title}</path>'
    radius = 5.5 if name.startswith("riposte") else 4.5
    hollow = ' hollow" style="fill:none' if "busy_poll" in name else ""
    return f'<circle class="c{number}{hollow}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{title}</circle>'


def draw(found):
    rows = [row for row in found["rows"].values() if figures.REFERENCE in row["servers"]]
    ratios = [server["ratio"] for row in rows for name, server in row["servers"].items()
              if name in COLOURS]
    if not ratios:
        return ""
    low, high = math.log(min(*ratios, 0.8) * 0.95), math.log(MOST)

    def across(ratio):
        return LEFT + (math.log(min(ratio, MOST)) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    height = TOP + STEP * len(rows) + BOTTOM
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
             f'width="{WIDTH}" height="{height}" role="img" '
             'aria-label="What a request costs, to riposted">',
             style(), f'<rect width="{WIDTH}" height="{height}"/>',
             '<text class="t" x="16" y="24">What the server pays, riposted with io_uring = 1 '
             '(to the right: more)</text>', *legend()]
    bottom = TOP + STEP * len(rows)
    for tick in TICKS:
        if low <= math.log(tick) <= high:
            x = across(tick)
            parts.append(f'<line class="{"o" if tick == 1 else "g"}" x1="{x:.1f}" x2="{x:.1f}" '
                         f'y1="{TOP}" y2="{bottom}"/><text class="s" text-anchor="middle" '
                         f'x="{x:.1f}" y="{bottom + 16}">{tick:g}</text>')
    for index, row in enumerate(rows):
        y = TOP + STEP * (index + 0.5)
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">'
                     f'{escape(row["title"])}</text>')
        servers = [name for name in reversed(COLOURS) if name in row["servers"]]
        found_here = {name: row["servers"][name]["ratio"] for name in servers}
        parts += [mark(name, across(ratio), y) for name, ratio in found_here.items()]
        beyond = sorted(ratio for ratio in found_here.values() if ratio > MOST)
        if beyond:
            span = f"{beyond[0]:.0f}" if len(beyond) == 1 else f"{beyond[0]:.0f}–{beyond[-1]:.0f}"
            parts.append(f'<text class="s" x="{WIDTH - RIGHT + 10}" y="{y + 4:.1f}">{span}</text>')
    what = found["conditions"]
    notes = ("CPU time of the server for a request, datagram, MiB or connection; the median round trip "
             "where one request",
             "goes at a time or in a millisecond. Loopback, Linux "
             f"{what['kernel'].split('-')[0]}, {what['cpu']}, {what['cpus']} cores shared by server and "
             "generator.")
    parts += [f'<text class="s" x="16" y="{height - 26 + 16 * line}">{escape(note)}</text>'
              for line, note in enumerate(notes)]
    parts.append("</svg>\n")
    return "\n".join(parts)


def legend():
    x, y = 24, 44
    for name in COLOURS:
        width = 24 + 7.2 * len(name)
        if x + width > WIDTH - 16:
            x, y = 24, y + 20
        yield mark(name, x, y)
        yield f'<text class="s" x="{x + 10}" y="{y + 4}">{escape(name)}</text>'
        x += width
