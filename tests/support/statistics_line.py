"""What riposted itself counts about datagrams: the line that SIGUSR1 asks for."""

import re
import signal


def counted(daemon):
    """The daemon's own counters: received, answered, and each reason for a drop that occurred."""
    seen = len(daemon.lines("statistics: "))
    daemon.signal(signal.SIGUSR1)
    line = daemon.wait_log(r"^riposted: statistics: (.*)\n", count=seen + 1)[1]
    found = re.search(r"datagrams (\d+) received, (\d+) answered", line)
    counts = {"received": int(found[1]), "answered": int(found[2])}
    for count, reason in re.findall(r"; (\d+) ((?:datagrams|malformed|answers|questions|authenticated) [^;]*)",
                                    line):
        counts[reason] = int(count)
    return counts
