"""What a child of a test does before it executes a program, as data: for Daemon(in_child=...), which gives it to
tests/launch as words, and callable, for subprocess's preexec_fn.

    self.daemon(..., in_child=limit("MEMLOCK", 0) + become_nobody)
    run(..., preexec=refuse_system_calls((SENDTO,), errno.EPERM))
"""

import ctypes
import errno
import os
import resource
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)
IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER = 425, 426, 427


class Preparation:
    """Steps in their order. `words` are the launcher's; `actions` do the same in this process."""

    def __init__(self, words=(), actions=()):
        self.words = list(words)
        self.actions = list(actions)

    def __add__(self, other):
        return Preparation(self.words + other.words, self.actions + other.actions)

    def __call__(self):
        for action in self.actions:
            action()


def limit(name, soft, hard=None):
    """The limit RLIMIT_name."""
    values = (soft, soft if hard is None else hard)
    number = getattr(resource, "RLIMIT_" + name)
    words = [str(value % (1 << 64)) for value in values]  # RLIM_INFINITY is -1 in Python
    return Preparation(["--limit", str(number), *words], [lambda: resource.setrlimit(number, values)])


def limit_descriptors(count):
    return limit("NOFILE", count)


def become(user):
    """This user and group, without capabilities."""
    def act():
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    return Preparation(["--user", str(user)], [act])


become_nobody = become(65534)

# Filters of system calls

_LOAD, _EQUAL, _GIVE = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
#: Offsets in struct seccomp_data; of an argument, the low half on a little-endian machine.
NUMBER, ARGUMENT_0, ARGUMENT_1 = 0, 16, 24


def _statement(code, jump_true, jump_false, value):
    return struct.pack("HBBI", code, jump_true, jump_false, value)


def _filter(program):
    """A seccomp filter."""
    def install():
        buffer = ctypes.create_string_buffer(program)
        header = ctypes.create_string_buffer(
            struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
        set_no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
        if libc.prctl(set_no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, mode_filter, header):
            raise OSError(ctypes.get_errno(), "seccomp")
    return Preparation(["--filter", program.hex()], [install])


def refuse_system_calls(numbers, error):
    """These calls fail with `error`."""
    program = _statement(_LOAD, 0, 0, NUMBER)
    for index, number in enumerate(numbers):
        program += _statement(_EQUAL, len(numbers) - index, 0, number)
    return _filter(program + _statement(_GIVE, 0, 0, _ALLOW) + _statement(_GIVE, 0, 0, _REFUSE | error))


def refuse_call_with(number, argument, value, error):
    """This call fails with `error` if that argument has this value."""
    return _filter(_statement(_LOAD, 0, 0, NUMBER) + _statement(_EQUAL, 0, 3, number)
                   + _statement(_LOAD, 0, 0, argument) + _statement(_EQUAL, 0, 1, value)
                   + _statement(_GIVE, 0, 0, _REFUSE | error) + _statement(_GIVE, 0, 0, _ALLOW))


#: Behaves like a kernel that was built or started without IPv6.
refuse_ipv6_sockets = refuse_call_with({"x86_64": 41}.get(os.uname().machine, 198), ARGUMENT_0, socket.AF_INET6,
                                       errno.EAFNOSUPPORT)


def refuse_io_uring(error=errno.EPERM):
    return refuse_system_calls((IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER), error)
