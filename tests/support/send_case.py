"""Shared code of the tests of `riposte send`: runs of the client, and plain servers in the test itself.

Each server is a thread on a loopback port that the kernel chooses, and every wait has a limit.
"""

import os
import socket
import subprocess
import threading
import unittest

from patience import WAIT as SECONDS_MAX

RIPOSTE = os.environ["RIPOSTE"]


def riposte(*arguments, **keywords):
    """Runs the client to its end; keywords as for subprocess.run."""
    keywords.setdefault("stdin", subprocess.DEVNULL if "input" not in keywords else None)
    if keywords["stdin"] is None:
        del keywords["stdin"]
    keywords.setdefault("stdout", subprocess.PIPE)
    keywords.setdefault("stderr", subprocess.PIPE)
    environment = {**os.environ, **keywords.pop("env", {})}
    return subprocess.run([RIPOSTE, *arguments], timeout=SECONDS_MAX, env=environment, **keywords)


def receive_all(connection):
    chunks = []
    while chunk := connection.recv(1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)


def answering(answer):
    """Reads the whole message, so that closing causes no reset, and replies."""
    def serve(connection):
        receive_all(connection)
        connection.sendall(answer)

    return serve


def random_bytes(size):
    return os.urandom(1 << 16) * (size >> 16) + os.urandom(size & 0xFFFF)


class Case(unittest.TestCase):
    maxDiff = 2000

    def socket(self, kind, host="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = socket.socket(family, kind)
        self.addCleanup(server.close)
        server.settimeout(SECONDS_MAX)
        server.bind((host, port))
        return server

    def endpoint(self, server, scheme):
        host, port = server.getsockname()[:2]
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def thread(self, function, *arguments):
        """Runs it in a thread; an exception there fails the test."""
        errors = []

        def run():
            try:
                function(*arguments)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)

        def join():
            thread.join(SECONDS_MAX)
            self.assertFalse(thread.is_alive(), "the server still runs")
            self.assertEqual(errors, [])

        thread.start()
        self.addCleanup(join)
        return join

    def tcp(self, serve, host="127.0.0.1"):
        """Starts a server for one connection and returns its endpoint."""
        server = self.socket(socket.SOCK_STREAM, host)
        server.listen(1)

        def accept():
            connection, _ = server.accept()
            with connection:
                connection.settimeout(SECONDS_MAX)
                serve(connection)

        self.thread(accept)
        return self.endpoint(server, "tcp")

    def tcp_until(self, done, serve):
        """The same, of a server that stays until the event `done`, which the end of the test sets."""
        endpoint = self.tcp(serve)
        self.addCleanup(done.set)
        return endpoint

    def udp(self, serve, host="127.0.0.1"):
        server = self.socket(socket.SOCK_DGRAM, host)
        self.thread(serve, server)
        return self.endpoint(server, "udp")

    def check(self, done, code, stdout=b"", stderr=""):
        """`stderr` is a regular expression where it begins with ^."""
        line = done.stderr.decode()
        if stderr.startswith("^"):
            self.assertRegex(line, stderr)
            stderr = line
        self.assertEqual((done.returncode, done.stdout, line), (code, stdout, stderr))
