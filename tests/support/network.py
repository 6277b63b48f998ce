"""Networks of a test's own: a namespace for the calling thread and whatever it starts, until the test ends.

    enter_network(test)             nothing but loopback, which is up
    ip("link add one type veth")    the program ip(8), where the caller is
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
    """A new namespace, and loopback in it, with this MTU. Returns a descriptor for it."""
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
        raise OSError("this thread can not change its network namespace")


def ip(arguments):
    """Returns what it prints."""
    return subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True).stdout


def add_address(address, device):
    """One that can be used now: the kernel makes an IPv6 address's own route a little later, and until then
    sends what is meant for this host out on the wire."""
    nodad = " nodad" if ":" in address else ""
    ip(f"address add {address} dev {device}{nodad}")
    host = address.partition("/")[0]
    await_true(lambda: ip(f"route get {host}").startswith("local "), f"{host} is an address of this host")
