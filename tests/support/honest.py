"""An honest client beside the rest of a test: `riposte ping`, a hundred times a second to each of its
endpoints, until end() is called. It verifies every byte.

    honest = self.keep(Honest(("tcp", host, port), ("udp", host, port)))
    honest.await_answers(10)
    found, faults = honest.end()        faults == []: nothing was lost or wrong
"""

import re
import signal
import time

import client
from daemon import await_true
from patience import RUN as PATIENCE
from patience import WAIT

FAULTS = ("lost", "corrupted", "wrong_size", "refused", "unreachable", "closed", "duplicated", "stray")


def dropped_on_the_way(port):
    """Datagrams that the kernel dropped because a queue was full: that of loopback (netdev_max_backlog, of any
    protocol), in the second column of the first file, or that of a socket of the server on this port or its clients."""
    with open("/proc/net/softnet_stat", encoding="ascii") as file:
        packets = sum(int(line.split()[1], 16) for line in file)
    with open("/proc/thread-self/net/udp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return packets + sum(int(row[-1]) for row in rows
                         if any(end.endswith(f":{port:04X}") for end in row[1:3]))


class Honest:
    """Pings each (transport, host, port), over IPv4. Its timeout is as long as that of a test, so that a busy machine
    loses none: a daemon that ten spinning processes and a storm kept from running answered after 22 s."""

    def __init__(self, *endpoints):
        self.udp_ports = [port for transport, _, port in endpoints if transport == "udp"]
        self.endpoints = len(endpoints)
        self.dropped_before = self._dropped_ever()
        self.process = client.Running(
            "ping", "-j", "-i", "10ms", "-W", f"{PATIENCE:.0f}s",
            *(f"{transport}://{host}:{port}" for transport, host, port in endpoints))
        self.process.await_handlers((signal.SIGINT, signal.SIGQUIT))

    def _dropped(self):
        """Drops since it began. The drops of its own sockets can be read only while it runs."""
        return self._dropped_ever() - self.dropped_before

    def _dropped_ever(self):
        return sum(dropped_on_the_way(port) for port in self.udp_ports)

    def _interim(self):
        """(answered, sent) of each endpoint, which the client prints on request."""
        self.process.signal(signal.SIGQUIT)
        lines = [self.process.error_line() for _ in range(self.endpoints)]
        return [tuple(map(int, re.search(r"(?:^|: )(\d+)/(\d+) answered", line).groups())) for line in lines]

    def await_answers(self, count):
        await_true(lambda: min(answered for answered, _ in self._interim()) >= count,
                   f"{count} answers to honest clients", PATIENCE)

    def _await_all(self):
        """Waits for a moment at which nothing is pending except what the kernel dropped; not for long, because
        once a probe is lost there is no such moment."""
        deadline = time.monotonic() + WAIT
        while any(sent - answered > self._dropped() for answered, sent in self._interim()):
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)

    def end(self):
        """By transport: sent, answered, p99 in milliseconds; and the faults. Datagrams that the kernel dropped
        are no fault.

        A run that ends waits for its last replies only a few times as long as for any before, and a busy machine
        may delay the daemon for longer: so it is ended when hardly anything is pending."""
        self._await_all()
        dropped = self._dropped()
        self.process.signal(signal.SIGINT)
        done = client.parse_json(self.process.finish(2 * PATIENCE))
        dropped = max(dropped, self._dropped())
        found, faults = {}, []
        for endpoint in done.json["endpoints"]:
            counts, transport = endpoint["counts"], endpoint["transport"]
            found[transport] = {"sent": counts["sent"] - counts["undecided"],
                                "answered": counts["answered"],
                                "p99_ms": 1000 * (endpoint.get("rtt") or {}).get("p99", 0)}
            if transport == "udp":
                counts["lost"] = max(0, counts["lost"] - dropped)
            faults += [f"{transport}: {counts[what]} {what}" for what in FAULTS if counts[what]]
        return found, faults

    def close(self):
        self.process.__exit__()
