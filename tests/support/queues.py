"""The bytes queued in the kernel at one end of a TCP connection of this network namespace.

sock_diag(7) finds one connection directly; /proc/net/tcp must be read sequentially, which is slow after
thousands of other connections have just ended, and serves as the fallback for kernels without sock_diag.
"""

import socket
import struct

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1
ALL_STATES = NO_COOKIE = 0xFFFFFFFF
HEADER = struct.Struct("=IHHII")     # length, type, flags, sequence, port
REQUEST = struct.Struct("=BBBBI")    # family, protocol, extensions, -, states
QUEUES = struct.Struct("=II")        # received, sent
QUEUES_AT = HEADER.size + 4 + 48 + 4  # after states, identity and a timer


def queues_at(family, local, remote):
    """(unsent, unread) bytes of the end with this address; None if it does not exist. Unsent bytes are those that
    its peer has not acknowledged; FIN counts as a byte in both."""
    return ask(family, local, remote) or look_up(family, local, remote)


def ask(family, local, remote):
    addresses = b"".join(socket.inet_pton(family, address[0]).ljust(16, b"\0") for address in (local, remote))
    body = (REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, ALL_STATES)
            + struct.pack("!HH", local[1], remote[1]) + addresses
            + struct.pack("=III", 0, NO_COOKIE, NO_COOKIE))
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as diag:
            diag.send(HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + body)
            answer = diag.recv(4096)
    except OSError:
        return None
    if HEADER.unpack_from(answer)[1] != SOCK_DIAG_BY_FAMILY:
        return None
    unread, unsent = QUEUES.unpack_from(answer, QUEUES_AT)
    return unsent, unread


def look_up(family, local, remote):
    """Looks it up by its ports. If the file changes while it is read, an entry may be missing."""
    name = "tcp6" if family == socket.AF_INET6 else "tcp"
    for _ in range(3):
        with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
            for line in list(file)[1:]:
                fields = line.split()
                if [int(end.rpartition(":")[2], 16) for end in fields[1:3]] == [local[1], remote[1]]:
                    return tuple(int(size, 16) for size in fields[4].split(":"))
    return None
