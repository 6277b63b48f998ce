"""Networks of the test's own: a namespace for the calling thread and its children, until the test ends.

    enter_network(test)             only loopback, which is up
    ip("link add one type veth")    runs ip(8) in the caller's namespace
    add_address("fd00::1/64", "one")
"""

import fcntl
import os
import socket
import struct
import subprocess

from daemon import await_true, libc

CLONE_NEWNET = 0x40000000
IFF_UP = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFMTU = 0x8913, 0x8914, 0x8922


def enter_network(test, mtu=None):
    """Enters a new namespace with loopback, which has this MTU. Returns a descriptor for it."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    test.addCleanup(os.close, before)
    if libc.unshare(CLONE_NEWNET) != 0:
        test.skipTest("this machine permits no network namespace")
    test.addCleanup(enter, before)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        if mtu:
            fcntl.ioctl(control, SIOCSIFMTU, struct.pack("16si20x", b"lo", mtu))
        flags = struct.unpack("16sh", fcntl.ioctl(control, SIOCGIFFLAGS,
                                                  struct.pack("16sh22x", b"lo", 0))[:18])[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    test.addCleanup(os.close, here)
    return here


def enter(namespace):
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError("this thread cannot change its network namespace")


def ip(arguments):
    """Runs ip(8) and returns its output."""
    return subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True).stdout


def add_address(address, device):
    """Adds an address and waits until it can be used: the kernel adds the local route of an IPv6 address a little
    later, and until then sends packets to this host out on the network."""
    nodad = " nodad" if ":" in address else ""
    ip(f"address add {address} dev {device}{nodad}")
    host = address.partition("/")[0]
    await_true(lambda: ip(f"route get {host}").startswith("local "), f"{host} is an address of this host")
