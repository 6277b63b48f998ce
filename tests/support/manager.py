"""A minimal service manager for tests of restarts: it listens, starts one riposted after another with the
listening sockets and the descriptors that the previous one stored, and keeps the file descriptor store. The
protocol is that of sd_notify(3) and sd_listen_fds(3); like systemd it keeps its copy of a descriptor that it
passed on until the daemon asks it to remove it.
"""

import io
import os
import random
import socket
import stat
import tempfile
import threading

from daemon import WAIT, await_true


def descriptor(fd):
    """A socket, or the file that it is."""
    return socket.socket(fileno=fd) if stat.S_ISSOCK(os.fstat(fd).st_mode) else io.FileIO(fd)


class Manager:
    def __init__(self, test, *, services=("echo",), datagrams=(), store=100, arguments=()):
        self.test = test
        self.arguments = list(arguments)
        self.store_max = store
        self.messages = []   # each a dict; "fds" is the number of descriptors that came with it
        self.stored = []     # (name, socket)
        self.daemons = []
        self.lock = threading.Lock()
        self.ended = False
        self.listeners = {}
        for service in services:
            listener = test.keep(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", 0))
            listener.listen(1000)
            self.listeners[service] = listener
        for service in datagrams:
            self.listeners[service] = test.datagram_socket()
        self.directory = tempfile.mkdtemp(prefix="riposte-manager-")
        self.path = os.path.join(self.directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(0.1)
        self.thread = threading.Thread(target=self._receive)
        self.thread.start()
        test.addCleanup(self._end)

    def _end(self):
        self.hang_up()
        self.discard()
        os.rmdir(self.directory)

    def hang_up(self):
        """Closes its socket: from now on it cannot be notified."""
        self.ended = True
        self.thread.join()
        self.socket.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def discard(self):
        """Closes the stored descriptors, as at the end of a unit."""
        with self.lock:
            for _, stored in self.stored:
                stored.close()
            self.stored = []

    def _receive(self):
        while not self.ended:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, 65536, 300)
            except TimeoutError:
                continue
            message = dict(line.partition("=")[::2] for line in data.decode().splitlines())
            message["fds"] = len(fds)
            with self.lock:
                self.messages.append(message)
                self._obey(message, fds)

    def _obey(self, message, fds):
        if "FDSTORE" in message:
            for fd in fds:
                if len(self.stored) < self.store_max:
                    self.stored.append((message["FDNAME"], descriptor(fd)))
                else:
                    os.close(fd)
            return
        for fd in fds:  # of BARRIER=1: closing it is the reply
            os.close(fd)
        if "FDSTOREREMOVE" in message:
            for name, stored in self.stored:
                if name == message["FDNAME"]:
                    stored.close()
            self.stored = [item for item in self.stored if item[0] != message["FDNAME"]]

    def keys(self):
        """The first word of each message, in order."""
        with self.lock:
            return [next(iter(message)) for message in self.messages]

    def address(self, service="echo"):
        return self.listeners[service].getsockname()

    def start(self, *arguments, environment=None, services=None, **options):
        """Starts the next riposted, and waits until it is ready."""
        with self.lock:
            sockets = [(listener, name) for name, listener in self.listeners.items()
                       if services is None or name in services]
            sockets += [(stored, name) for name, stored in self.stored]
            self.messages = []
        env = {"NOTIFY_SOCKET": self.path, "FDSTORE": str(self.store_max)}
        env.update(environment or {})
        daemon = self.test.daemon(*self.arguments, *arguments, environment=env, sockets=sockets,
                                  **options)
        self.daemons.append(daemon)
        await_true(lambda: "READY" in self.keys(), "READY=1")
        return daemon

    def stop(self):
        daemon = self.daemons[-1]
        daemon.stop()
        return daemon

    def restart(self, *arguments, **options):
        self.stop()
        return self.start(*arguments, **options)


class Conversation(threading.Thread):
    """A client of echo that checks every byte, on one connection, until finish()."""

    def __init__(self, test, address, seed, size_max=100_000):
        super().__init__()
        self.client = test.connect(address)
        self.random = random.Random(seed)
        self.size_max = size_max
        self.rounds = 0
        self.bytes = 0
        self.going = True
        self.problem = None
        test.addCleanup(self._end)
        self.start()

    def _end(self):
        self.going = False
        self.join()

    def run(self):
        try:
            while self.going:
                data = self.random.randbytes(self.random.randint(1, self.size_max))
                self._exchange(data)
                self.rounds += 1
        except (OSError, AssertionError) as problem:
            self.problem = problem

    def _exchange(self, data):
        """Sends and receives at the same time: with more data than the kernel's buffers hold, one after the
        other would be a deadlock."""
        sender = threading.Thread(target=self._send, args=(data,))
        sender.start()
        try:
            got = 0
            while got < len(data):
                part = self.client.recv(65536)
                if not part:
                    raise AssertionError(f"finished after {self.bytes + got} bytes")
                if part != data[got:got + len(part)]:
                    raise AssertionError(f"wrong bytes after {self.bytes + got}")
                got += len(part)
            self.bytes += got
        finally:
            sender.join()

    def _send(self, data):
        try:
            self.client.sendall(data)
        except OSError as problem:
            self.problem = self.problem or problem

    def await_rounds(self, more):
        goal = self.rounds + more
        await_true(lambda: self.rounds >= goal or self.problem, f"{more} more rounds", 3 * WAIT)
        if self.problem:
            raise AssertionError(f"after {self.rounds} rounds: {self.problem!r}")

    def finish(self):
        """Completes the last round, sends FIN, and waits for the peer's."""
        self._end()
        if self.problem:
            raise AssertionError(f"after {self.rounds} rounds: {self.problem!r}")
        self.client.shutdown(socket.SHUT_WR)
        rest = self.client.recv(1)
        if rest:
            raise AssertionError("more came back than was sent")
