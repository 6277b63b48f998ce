"""Echoes that answer each probe of riposte(1) after a delay of the test's choice, and record what is certain:
when the probe was sent, by its own time stamp, and between which two moments its reply left. All times are
of CLOCK_MONOTONIC, which the client and the test share.

On loopback a reply has reached its receiver, and has its time stamp, before sendto(2) or send(2) returns.
"""

import heapq
import threading
import time

from patience import FACTOR
from peers import TcpPeer, UdpPeer, read_exactly


class Echoed:
    """One probe, and its reply if there was one."""

    def __init__(self, sent_ns, connection=None):
        self.sent_ns = sent_ns
        self.connection = connection
        self.before_ns = None
        self.after_ns = None
        self.merged_ns = 0  # the latest time at which it may seem to have arrived, if that is later

    def took_ns(self):
        """The shortest and the longest time that the round trip may have taken."""
        return self.before_ns - self.sent_ns, max(self.after_ns, self.merged_ns) - self.sent_ns


def key_of(data):
    """Session and sequence number of a probe."""
    return data[4:8], int.from_bytes(data[8:16], "big")


class DelayedStream:
    """Over TCP, a late reply delays those after it on its connection. A delay of None means no reply to this probe,
    nor to those after it."""

    MERGED_NS = int(2.5e9 * FACTOR)

    def __init__(self, delay, size=56):
        self.delay = delay
        self.size = size
        self.echoed = {}
        self._lock = threading.Lock()
        self.peer = TcpPeer(self._serve)
        self.endpoint = self.peer.endpoint

    def _serve(self, connection):
        silent = False
        while len(data := read_exactly(connection, self.size)) == self.size:
            entry = Echoed(int.from_bytes(data[16:24], "big"), connection)
            with self._lock:
                delay = self.delay(len(self.echoed))
                self.echoed[key_of(data)] = entry
            silent = silent or delay is None
            if silent:
                continue
            time.sleep(delay)
            entry.before_ns = time.monotonic_ns()
            try:
                connection.sendall(data)
            except ConnectionError:  # the client gave it up meanwhile
                entry.before_ns = None
                return
            entry.after_ns = time.monotonic_ns()

    def merge(self):
        """The kernel merges segments that wait in a socket, and gives them the time of the last: so a reply
        may seem to have arrived with any of those after it, as long as the client is stopped."""
        answered = [entry for entry in self.echoed.values() if entry.after_ns]
        for entry in answered:
            entry.merged_ns = max(other.after_ns for other in answered
                                  if other.connection is entry.connection
                                  and 0 <= other.after_ns - entry.after_ns < self.MERGED_NS)

    def close(self):
        self.peer.close()


class DelayedEcho:
    """handler(server, data, client) of UdpPeer; `delay(index)` is in seconds for the
    probe that arrived as the index-th, from 0; None means no reply."""

    def __init__(self, delay):
        self.delay = delay
        self.echoed = {}  # by (session, sequence number)
        self._due = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()
        self.peer = UdpPeer(self._take)
        self.endpoint = self.peer.endpoint

    def _take(self, server, data, client):
        key = key_of(data)
        entry = Echoed(int.from_bytes(data[16:24], "big"))
        with self._changed:
            delay = self.delay(len(self.echoed))
            self.echoed[key] = entry
            if delay is None:
                return
            heapq.heappush(self._due, (time.monotonic() + delay, len(self.echoed), data, client, entry))
            self._changed.notify()

    def _answer(self):
        while True:
            with self._changed:
                while not self._ended and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._ended:
                    return
                _, _, data, client, entry = heapq.heappop(self._due)
            entry.before_ns = time.monotonic_ns()
            self.peer.socket.sendto(data, client)
            entry.after_ns = time.monotonic_ns()

    def close(self):
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()
        self.peer.close()
