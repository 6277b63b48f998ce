"""Network namespaces that only descriptors refer to, and what a link between two of them needs: they end with the
process that made them, however that ends. link.py joins them by a link of known faults, tests/kernels/netem_link.py
by the kernel's own netem.
"""

import array
import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import unittest

from daemon import await_true
from patience import RUN, WAIT

CLONE_NEWNET = 0x40000000
RTF_LOCAL = 0x80000000
SIOCETHTOOL, ETHTOOL_STXCSUM, ETHTOOL_SGSO = 0x8946, 0x17, 0x24

libc = ctypes.CDLL(None, use_errno=True)


class Side:
    """A namespace at an end of the link. Inside `with side:` the calling thread is in it."""

    def __init__(self, namespace, ipv4, ipv6):
        self.namespace = namespace
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        self._before = []
        self._started = []

    def address(self, family):
        return self.ipv4 if family == 4 else self.ipv6

    def __enter__(self):
        self._before.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        enter(self.namespace)
        return self

    def __exit__(self, *_):
        before = self._before.pop()
        enter(before)
        os.close(before)

    def run(self, command, timeout=RUN, **options):
        with self:
            return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=timeout, check=False, **options)

    def start(self, command, **options):
        """Starts a process that is ended with the link, if it has not ended before."""
        with self:
            process = subprocess.Popen([str(word) for word in command], **options)
        self._started.append(process)
        return process

    def socket(self, family, kind):
        """A socket of this side; 4 or 6."""
        with self:
            return socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind)

    def close(self):
        for process in self._started:
            process.kill()
            process.wait(WAIT)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        os.close(self.namespace)


def enter(namespace):
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(namespace, close=False):
    """Moves the calling thread into a namespace, and back afterwards."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(namespace)
        yield
    finally:
        enter(before)
        os.close(before)
        if close:
            os.close(namespace)


def new_namespace():
    """A new namespace, which only a descriptor refers to."""
    with inside(os.open("/proc/thread-self/ns/net", os.O_RDONLY), close=True):
        if libc.unshare(CLONE_NEWNET) != 0:
            raise unittest.SkipTest("this machine permits no network namespace: "
                                    + os.strerror(ctypes.get_errno()))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def ip_batch(*commands):
    """Runs commands of ip(8). The IPv6 addresses that they add to devices that are up can be used afterwards: the
    kernel adds the local route of such an address a little later, and loses packets to it until then."""
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", capture_output=True,
                          text=True, check=False)
    if done.returncode == 0:
        added = {word.partition("/")[0] for command in commands if command.startswith("address add ")
                 for word in command.split()[2:3] if ":" in word}
        if added:
            await_true(lambda: added <= local_ipv6(), f"{sorted(added)} are addresses of this namespace")
        return
    if "not permitted" in done.stderr or "not supported" in done.stderr or "Unknown device type" in done.stderr:
        raise unittest.SkipTest(f"this machine permits no link between namespaces: {done.stderr.strip()}")
    raise AssertionError(f"ip: {commands}: {done.stderr}")


def local_ipv6():
    """The IPv6 addresses that packets to this namespace may have, by the routes of the calling thread's."""
    with open("/proc/thread-self/net/ipv6_route", encoding="ascii") as routes:
        rows = [line.split() for line in routes]
    return {socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0]))
            for row in rows if row[1] == "80" and int(row[8], 16) & RTF_LOCAL}


def no_offload(device):
    """Checksums and segmentation are done before a packet leaves: the link sees packets as on a real network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for feature in (ETHTOOL_STXCSUM, ETHTOOL_SGSO):
            value = array.array("I", [feature, 0])
            request = struct.pack("16sP16x", device.encode(), value.buffer_info()[0])
            try:
                fcntl.ioctl(control, SIOCETHTOOL, request)
            except OSError as problem:
                if problem.errno != errno.EOPNOTSUPP:
                    raise


def silent_ipv6(device, disable=True):
    """Prevents router solicitations and automatic addresses; with `disable`, IPv6 altogether."""
    keys = {"disable_ipv6": 1} if disable else {"accept_ra": 0, "router_solicitations": 0, "accept_dad": 0}
    for key, value in keys.items():
        path = f"/proc/sys/net/ipv6/conf/{device}/{key}"
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(str(value))
        except OSError as problem:
            raise unittest.SkipTest(f"this machine permits no IPv6 settings: {path}: "
                                    f"{problem.strerror}") from None
