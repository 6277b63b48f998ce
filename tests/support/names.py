"""Names of a test's own: an /etc with hosts, nsswitch.conf and resolv.conf, which a program sees that is
started with `preexec=names.enter` (client.py), in a mount namespace of its own.

    names = Names(test, {"both.test": ["127.0.0.2", "127.0.0.3"]})
    run("send", "both.test:7001", preexec=names.enter)

    names = Names(test, name_server="silent")     asks 127.0.0.1:53 for all other names, which never answers,
                                                  in a network of the test's own (network.py)

All of /etc is the test's, because a minimal system has no hosts file to cover.
"""

import os
import socket
import subprocess
import tempfile

import network
from daemon import libc

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
        # Without a limit of our own, a name would be asked for for half a minute.
        self._write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
        if name_server:
            network.enter_network(test)
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            test.addCleanup(server.close)
            server.bind(("127.0.0.1", 53))
        try:
            subprocess.run(["true"], preexec_fn=self.enter, check=True)
        except subprocess.SubprocessError:
            test.skipTest("this machine permits no mount namespace")

    def _write(self, name, text):
        with open(os.path.join(self.etc.name, name), "w", encoding="ascii") as file:
            file.write(text)

    def enter(self):
        """In the child that becomes the program."""
        if (libc.unshare(CLONE_NEWNS) != 0
                or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0
                or libc.mount(self.etc.name.encode(), b"/etc", None, MS_BIND, None) != 0):
            raise OSError("no mount namespace")
