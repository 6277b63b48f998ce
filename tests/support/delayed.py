"""A UDP echo that answers each probe of riposte(1) after a delay of the test's choice, and keeps for each
what nobody can argue about: when it was sent, as the probe itself says, and between which two moments its
answer left. All of them are of CLOCK_MONOTONIC, which the client and the test share.

On loopback an answer is with its receiver, and has its stamp, before sendto(2) returns.
"""

import heapq
import threading
import time

from peers import UdpPeer


class Echoed:
    """One probe, and its answer if it was given one."""

    def __init__(self, sent_ns):
        self.sent_ns = sent_ns
        self.before_ns = None
        self.after_ns = None

    def took_ns(self):
        """The least and the most that the answer took from the sending of its probe on."""
        return self.before_ns - self.sent_ns, self.after_ns - self.sent_ns


class DelayedEcho:
    """handler(server, data, client) of UdpPeer; `delay(index)` is in seconds for the
    probe that came as the index-th, from 0; None is no answer."""

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
        key = (data[4:8], int.from_bytes(data[8:16], "big"))
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
