"""Ports that a test may name in advance, each handed out once.

A reload must find the same port again, so it cannot be 0. A port stays reserved against all other tests on
this machine until the process ends: the process holds an abstract socket with that number as its name, which
the kernel gives to one process of a network namespace at a time, as it does with the port itself later. The
range is below that of the kernel's ephemeral ports.
"""

import random
import socket

RANGE = range(10_000, 32_000)

_held = []


def reserve(port):
    """Reserves the port; returns whether it was free."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(f"\0riposte-test-port-{port}")
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
    except OSError:
        holder.close()
        return False
    _held.append(holder)
    return True


def free_port():
    """A port that is free for both transports."""
    chance = random.SystemRandom()
    while not reserve(port := chance.choice(RANGE)):
        pass
    return port
