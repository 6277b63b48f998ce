"""What it costs a request that the daemon is being watched: CPU with its metrics scraped once a second,
to CPU without metrics, of the same program on the same core, in turns."""

import contextlib
import dataclasses
import os
import socket
import statistics
import threading

import figures
import rows
from subjects import EPOLL, IO_URING, Unavailable

INTERVAL = 1.0
ROWS = ("tcp-64-50", "udp-64-50")


class Scraper:
    """Fetches /metrics from a unix socket each second, from a thread that is not the server's."""

    def __init__(self, path):
        self.path = path
        self.scrapes = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:  # once at least
            self.scrapes += self.scrape().endswith(b"# EOF\n")
            if self.ended.wait(INTERVAL):
                return

    def scrape(self):
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            connection.connect(self.path)
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n"
                               b"Accept: application/openmetrics-text\r\n\r\n")
            text = b""
            while more := connection.recv(65536):
                text += more
            return text
        return b""

    def close(self):
        self.ended.set()
        self.thread.join()


def compare(bench, subject, row):
    """(ratios of each round, scrapes answered), or None."""
    servers, scraper = [], None
    try:
        for watched in (False, True):
            server = bench.start(dataclasses.replace(subject, metrics=watched), row.mode)
            if server is None:
                return None
            servers.append(server)
        off, on = servers
        scraper = Scraper(os.path.join(on.directory.name, "metrics.sock"))
        ratios = []
        for _ in range(bench.options.rounds):
            runs = [bench.measure(row, server).cpu for server in (off, on, on, off)]
            ratios.append((runs[1] + runs[2]) / (runs[0] + runs[3]))
        return ratios, scraper.scrapes
    finally:
        if scraper is not None:
            scraper.close()
        for server in servers:
            server.close()


def metrics(bench):
    """{name: {row: ratios of each round}}"""
    print("\nCPU of a request with metrics scraped once a second, to that without metrics")
    found = {}
    for subject in (IO_URING, EPOLL):
        if not figures.chosen(subject.name, bench.options.servers):
            continue
        for name in ROWS:
            row = next(row for row in rows.ROWS if row.name == name)
            try:
                compared = compare(bench, subject, row)
            except Unavailable as reason:
                print(f"left out: {subject.name}, {name}: {reason}", flush=True)
                continue
            if compared is None:
                continue
            ratios, scrapes = compared
            found.setdefault(subject.name, {})[name] = {"ratios": ratios, "scrapes": scrapes}
            print(f"{subject.name + ', ' + name:<34}{statistics.median(ratios):.3f} "
                  f"({min(ratios):.3f}..{max(ratios):.3f}), {scrapes} scrapes", flush=True)
    return found
