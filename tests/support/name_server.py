"""A name server of a test's own, which answers when the test says so.

    server = NameServer(test)              # in a network namespace of the test's own
    self.daemon(..., in_child=server.ask)  # whose /etc has nothing but it
"""

import ctypes
import os
import socket
import tempfile

from daemon import WAIT, libc
from network import enter_network

CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000


def cover_etc(directory):
    """For in_child: this process sees that directory in place of the machine's own /etc."""
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    for what, where, flags in ((None, b"/", MS_REC | MS_PRIVATE), (directory.encode(), b"/etc", MS_BIND)):
        if libc.mount(what, where, None, ctypes.c_ulong(flags), None):
            raise OSError(ctypes.get_errno(), where)


class NameServer:
    def __init__(self, test):
        enter_network(test)
        self.socket = test.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.socket.settimeout(WAIT)
        self.socket.bind(("127.0.0.1", 53))
        self.waiting = []
        directory = tempfile.TemporaryDirectory(prefix="riposte-etc-")
        test.addCleanup(directory.cleanup)
        self.etc = directory.name
        for name, text in (("resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:9\n"),
                           ("nsswitch.conf", "hosts: files dns\n"), ("hosts", "127.0.0.1 localhost\n")):
            with open(os.path.join(self.etc, name), "w", encoding="ascii") as file:
                file.write(text)

    def ask(self):
        """For in_child."""
        cover_etc(self.etc)

    def question(self):
        """Waits for one, which is answered by answer_all()."""
        self.waiting.append(self.socket.recvfrom(512))

    def answer_all(self, address="127.0.0.1"):
        """Every question so far: this address to one for IPv4, nothing to one for IPv6."""
        self.socket.setblocking(False)
        while True:
            try:
                self.question()
            except BlockingIOError:
                break
        self.socket.settimeout(WAIT)
        for query, peer in self.waiting:
            name = query[12:query.index(b"\0", 12) + 5]  # with type and class
            wants_ipv4 = name[-4:-2] == b"\0\1"
            record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address)
            self.socket.sendto(query[:2] + b"\x81\x80\0\1" + (b"\0\1" if wants_ipv4 else b"\0\0") + bytes(4)
                               + name + (record if wants_ipv4 else b""), peer)
        self.waiting = []
