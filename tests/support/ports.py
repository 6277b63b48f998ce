"""Ports that a test may name in advance, each given once.

A reload must find the same port again, so that it cannot be 0. What a test was given stays its own until
its process ends, against every other test on this machine: an abstract socket of that number is held, a
name that the kernel gives to one process of a network namespace at a time, as it does with the port itself
later on. The range is below the one that the kernel gives clients' ports from.
"""

import random
import socket

RANGE = range(10_000, 32_000)

_held = []


def reserve(port):
    """Whether it was free, and is ours from now on."""
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
