"""Peers of a client, as threads of the test on loopback ports that the kernel chooses, and socat as an
independent program.

    with TcpPeer(echo) as peer: ... peer.endpoint         echo(connection) serves one connection
    with UdpPeer(lambda peer, data, client: ...) as peer: each datagram
    closed_port(kind)                                     a port that refuses, and stays reserved

An exception in a handler fails the test at the end of the `with` block, unless the client disconnected.
"""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

from patience import WAIT as SECONDS_MAX


def spelled(scheme, address):
    host, port = address[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def bound(kind, host="127.0.0.1", port=0):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, kind)
    server.bind((host, port))
    return server


class TcpPeer:
    """Serves each connection by calling handler(connection) in a thread of its own."""

    def __init__(self, handler, host="127.0.0.1", listener=None):
        self.handler = handler
        self.problems = []
        self.connections = []
        self._ended = threading.Event()
        self._threads = []
        self.listener = listener or bound(socket.SOCK_STREAM, host)
        self.listener.listen(128)
        self.endpoint = spelled("tcp", self.listener.getsockname())
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # close() shut it down
            connection.settimeout(SECONDS_MAX)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection):
        try:
            with connection:
                self.handler(connection)
        except ConnectionError:
            pass
        except Exception as problem:  # pylint: disable=broad-except
            if not self._ended.is_set():
                self.problems.append(problem)

    def close(self):
        self._ended.set()
        for open_socket in [self.listener, *self.connections]:
            try:
                open_socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already
        self.listener.close()
        for thread in [self._acceptor, *self._threads]:
            thread.join(SECONDS_MAX)
        if self.problems:
            raise self.problems[0]


class UdpPeer:
    """Calls handler(socket, data, client) for each datagram, in one thread."""

    def __init__(self, handler, host="127.0.0.1", listener=None):
        self.handler = handler
        self.problems = []
        self.socket = listener or bound(socket.SOCK_DGRAM, host)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.endpoint = spelled("udp", self.socket.getsockname())
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self):
        try:
            while True:
                data, client = self.socket.recvfrom(1 << 16)
                if self._stopped:
                    return
                self.handler(self.socket, data, client)
        except Exception as problem:  # pylint: disable=broad-except
            self.problems.append(problem)

    def close(self):
        self._stopped = True
        with socket.socket(self.socket.family, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self.socket.getsockname())
        self._thread.join(SECONDS_MAX)
        self.socket.close()
        if self.problems:
            raise self.problems[0]


class EveryAddress(UdpPeer):
    """An echo at every address of this machine, which replies from the one that was asked."""

    IP_PKTINFO = 8

    def __init__(self):
        super().__init__(None, "0.0.0.0")

    def _run(self):
        self.socket.setsockopt(socket.IPPROTO_IP, self.IP_PKTINFO, 1)
        while True:
            data, ancillary, _, client = self.socket.recvmsg(1 << 16, 256)
            if self._stopped:
                return
            if ancillary:
                asked = ancillary[0][2][4:8]  # of struct in_pktinfo: index, local address, destination
                self.socket.sendmsg([data], [(socket.IPPROTO_IP, self.IP_PKTINFO, bytes(4) + asked + bytes(4))],
                                    0, client)


def echo_stream(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def echo_datagram(server, data, client):
    server.sendto(data, client)


def read_exactly(connection, size):
    """`size` bytes, or those that arrived before the end of the stream."""
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            break
        data += part
    return bytes(data)


def swallow(connection):
    """Reads until the client disconnects, and sends nothing."""
    while connection.recv(1 << 16):
        pass


def send_last(connection, data):
    """Sends the data and the end of the stream in one segment, so that the peer cannot see one without the other."""
    connection.sendall(data, socket.MSG_MORE)
    connection.shutdown(socket.SHUT_WR)


def reset(connection):
    """Closes with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closed_port(kind):
    """A socket that reserves a port which refuses connections or datagrams: a TCP socket that does not
    listen; a UDP socket that is connected elsewhere, and receives nothing here."""
    server = bound(kind)
    if kind == socket.SOCK_DGRAM:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.connect(("127.0.0.1", 9))
    return server


def opened_port(closed):
    """A socket on a UDP port of closed_port() that receives datagrams. The port stays reserved
    throughout."""
    server = socket.socket(closed.family, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(closed.getsockname())
    return server


class Backlog:
    """A listening TCP socket whose queue is full: the kernel drops further SYNs instead of refusing them."""

    def __init__(self):
        self.listener = bound(socket.SOCK_STREAM)
        self.listener.listen(0)
        self.endpoint = spelled("tcp", self.listener.getsockname())
        self.fillers = []
        # Connect until a connection stays incomplete.
        for _ in range(16):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.settimeout(0.5)
            self.fillers.append(filler)
            try:
                filler.connect(self.listener.getsockname())
            except TimeoutError:
                return
        raise unittest.SkipTest("this kernel's queue of connections does not get full")

    def close(self):
        for descriptor in [self.listener, *self.fillers]:
            descriptor.close()


class Socat:
    """socat LISTENING-ADDRESS OTHER-ADDRESS, listening on port 0."""

    def __init__(self, scheme, listening, other):
        program = shutil.which("socat")
        if not program:
            raise unittest.SkipTest("socat is not installed")
        self.process = subprocess.Popen([program, "-d", "-d", "-d", listening, other],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, start_new_session=True)
        self.endpoint = f"{scheme}://{self._address()}"
        # It keeps writing to standard error, and would block at a full pipe if nothing read it.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _address(self):
        port = None
        for line in self.process.stderr:
            found = re.search(rb"listening on (?:UDP )?AF=\d+ (\S+:\d+)$", line.rstrip())
            if found:
                port = found[1].decode()
                break
        if not port:
            raise AssertionError("socat did not listen")
        return port

    def _read(self):
        for _ in self.process.stderr:
            pass

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)  # its children, too: it has a session of its own
        self.process.wait(SECONDS_MAX)
        self._reader.join(SECONDS_MAX)
        self.process.stderr.close()


def wait_until(condition, what, timeout=SECONDS_MAX):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.01)
