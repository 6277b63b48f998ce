"""Host names of the test's own: an /etc with hosts, nsswitch.conf and resolv.conf, which programs started with
`preexec=names.enter` (client.py) see, in a mount namespace of their own.

    names = Names(test, {"both.test": ["127.0.0.2", "127.0.0.3"]})
    run("send", "both.test:7001", preexec=names.enter)

    names = Names(test, name_server="silent")     other names are asked of 127.0.0.1:53, which never answers,
                                                  in a network of the test's own (network.py)
    names = NameServer(test)                      the same, but it answers when the test says so

The directory replaces all of /etc, because a minimal system has no hosts file to cover.
"""

import os
import socket
import subprocess
import tempfile

import network
from daemon import WAIT, libc

CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000


class Names:
    def __init__(self, test, hosts=None, name_server=None):
        self.etc = tempfile.TemporaryDirectory(prefix="riposte-etc-")
        test.addCleanup(self.etc.cleanup)
        self._write("hosts", "".join(f"{address} {name}\n" for name, addresses in (hosts or {}).items()
                                     for address in addresses))
        self._write("host.conf", "multi on\n")  # all lines of a name, not the first
        self._write("nsswitch.conf", f"hosts: files{' dns' if name_server else ''}\n")
        # The resolver itself would wait for half a minute.
        self._write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
        if name_server:
            network.enter_network(test)
            self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            test.addCleanup(self.server.close)
            self.server.bind(("127.0.0.1", 53))
        try:
            subprocess.run(["true"], preexec_fn=self.enter, check=True)
        except subprocess.SubprocessError:
            test.skipTest("this machine permits no mount namespace")

    def _write(self, name, text):
        with open(os.path.join(self.etc.name, name), "w", encoding="ascii") as file:
            file.write(text)

    def enter(self):
        """Runs in the child before it executes the program."""
        if (libc.unshare(CLONE_NEWNS) != 0
                or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0
                or libc.mount(self.etc.name.encode(), b"/etc", None, MS_BIND, None) != 0):
            raise OSError("no mount namespace")


class NameServer(Names):
    def __init__(self, test):
        super().__init__(test, name_server="scripted")
        self.server.settimeout(WAIT)
        self.waiting = []

    def question(self):
        """Waits for a query, which answer_all() will answer."""
        self.waiting.append(self.server.recvfrom(512))

    def answer_all(self, address="127.0.0.1"):
        """Answers every query so far: with this address if it asks for IPv4, with nothing if for IPv6."""
        self.server.setblocking(False)
        while True:
            try:
                self.question()
            except BlockingIOError:
                break
        self.server.settimeout(WAIT)
        for query, peer in self.waiting:
            name = query[12:query.index(b"\0", 12) + 5]  # with type and class
            wants_ipv4 = name[-4:-2] == b"\0\1"
            record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address)
            self.server.sendto(query[:2] + b"\x81\x80\0\1" + (b"\0\1" if wants_ipv4 else b"\0\0") + bytes(4)
                               + name + (record if wants_ipv4 else b""), peer)
        self.waiting = []
