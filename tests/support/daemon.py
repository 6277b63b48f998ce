"""The fixture of the integration tests: a riposted of the test's own, observed from outside.

A test may start any number of daemons; each gets port 0 and logs which ports it bound, so that tests can
run side by side. Every daemon is ended with its test, and that end is a test too: it must exit with
status 0 and without a sanitizer's report in its log.

The environment (tests/support/runner/build.py sets it):
    RIPOSTED, RIPOSTE     the two programs
    LAUNCH                the one that starts riposted; see ../launch/main.cpp
    RIPOSTE_SANITIZER     none, address,undefined or thread: bounds on memory and time are wider then
    RIPOSTE_FEATURES      what the build has: "io_uring seccomp systemd"
"""

import contextlib
import ctypes
import fcntl
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
import unittest

from patience import RUN, SANITIZER, WAIT  # noqa: F401
from peers import reset  # noqa: F401
from ports import free_port  # noqa: F401
from preparation import (IO_URING_SETUP, Preparation, become_nobody, libc, limit_descriptors,  # noqa: F401
                         refuse_io_uring, refuse_ipv6_sockets, refuse_system_calls)
from queues import queues_at

RIPOSTED = os.environ.get("RIPOSTED", "build/daemon/riposted")
RIPOSTE = os.environ.get("RIPOSTE", "build/client/riposte")
LAUNCH = os.path.abspath(os.environ.get("LAUNCH", "build/tests/launch/launch"))
FEATURES = os.environ.get("RIPOSTE_FEATURES", "io_uring seccomp systemd").split()

#: In seconds: a test that fails even with this timeout has failed (RiposteTest.never_timed_out).
LONGEST_TIMEOUT = 16

GREETING = b"Hello, i'm client!"
ANSWER = b"Hello, i'm server!"

_SANITIZER_REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                      "WARNING: ThreadSanitizer", "Assertion `", "terminate called")
_LISTENING = re.compile(
    r"listening: (?P<service>\w+) on (?P<transport>tcp|udp)://(?P<host>.*):(?P<port>\d+)$", re.M)


#: Of io_uring_setup(2): SUBMIT_ALL, COOP_TASKRUN, TASKRUN_FLAG. riposted needs what came with the last of them,
#: in 5.19; before that a ring can be set up, but not used.
RING_FLAGS = 1 << 7 | 1 << 8 | 1 << 9


def io_uring_refusal():
    """Why riposted may not use io_uring in this process, or None."""
    parameters = ctypes.create_string_buffer(struct.pack("3I", 0, 0, RING_FLAGS), 120)
    fd = libc.syscall(IO_URING_SETUP, 4, parameters)
    if fd < 0:
        return f"io_uring_setup: {os.strerror(ctypes.get_errno())}"
    os.close(fd)
    return None


def await_true(condition, what, timeout=WAIT):
    """Waits until condition() is true, and returns what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)


def descriptors_of(pid):
    """{number: target, as readlink(1) shows it} of a process, without descriptors that are closed while the
    directory is read."""
    found = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
    return found


class Daemon:
    """One riposted. `sockets` are (socket, name) to inherit; `in_child` is what it does before: a
    Preparation, or a function that runs between fork and exec. (Prefer the former: see ../launch/main.cpp.)"""

    def __init__(self, *arguments, config=None, backend=None, sockets=(), notify=False,
                 environment=None, in_child=None, directory=None):
        self.directory = directory or tempfile.mkdtemp(prefix="riposte-")
        os.chmod(self.directory, 0o755)
        self.log_path = os.path.join(self.directory, "log")
        self.config_path = None
        self.status = None
        self.expected = (0,)
        self.notifications = None
        argv = [os.path.abspath(RIPOSTED)]
        if backend:
            argv += ["--backend", backend]
        if config is not None:
            self.config_path = os.path.join(self.directory, "riposted.toml")
            self.write_config(config)
            argv += ["-c", self.config_path]
        argv += arguments
        env = {key: value for key, value in os.environ.items()
               if not key.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_", "FDSTORE", "JOURNAL_STREAM",
                                      "RIPOSTE"))}
        env.update(environment or {})
        if notify:
            self._open_notify_socket(env)
        self.argv = argv
        self.pid = self._spawn(argv, env, list(sockets), in_child)
        self.pidfd = os.pidfd_open(self.pid)

    # Starting

    def _open_notify_socket(self, env):
        path = os.path.join(self.directory, "notify")
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notifications.bind(path)
        os.chmod(path, 0o777)
        self.notifications.settimeout(WAIT)
        env["NOTIFY_SOCKET"] = path

    def _spawn(self, argv, env, sockets, in_child):
        preparation = in_child if isinstance(in_child, Preparation) else Preparation()
        words = [LAUNCH, *preparation.words]
        if sockets:
            words += ["--sockets", str(len(sockets)), ":".join(name for _, name in sockets)]
        if "WATCHDOG_USEC" in env:
            words += ["--watchdog"]
        words += ["--parent", str(os.getpid()), "--", *argv]
        with contextlib.ExitStack() as stack:
            log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
            null = os.open("/dev/null", os.O_RDWR)
            high = []  # beyond all targets, so that none is replaced before it is used
            for fd in [null, null, log, *(item[0].fileno() for item in sockets)]:
                high.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100))
                stack.callback(os.close, high[-1])
            os.close(log)
            os.close(null)
            if in_child is None or preparation is in_child:
                return os.posix_spawn(LAUNCH, words, env, file_actions=[
                    (os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(high)])
            return self._fork(words, env, high, in_child)

    @staticmethod
    def _fork(words, env, descriptors, in_child):
        pid = os.fork()
        if pid:
            return pid
        try:
            for target, fd in enumerate(descriptors):
                os.dup2(fd, target)
            os.closerange(len(descriptors), 65536)
            in_child()
            os.execve(LAUNCH, words, env)
        except BaseException as problem:  # pylint: disable=broad-except
            os.write(2, f"cannot start: {problem!r}\n".encode())
        finally:
            os._exit(121)

    def ready(self):
        """Waits for the ready line."""
        self.wait_log(r"riposted: ready: ")
        return self

    # The log

    def raw_log(self):
        """The whole lines of the log: an incomplete one is included only once the daemon has ended."""
        ended = self.poll() is not None
        with open(self.log_path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            text = file.read()
        return text if ended else text[:text.rfind("\n") + 1]

    def log(self):
        """The log as on a terminal: under a service manager (NOTIFY_SOCKET is set), each line begins with its
        priority instead of the program's name."""
        return re.sub(r"^<[0-7]>(riposted: )?", "riposted: ", self.raw_log(), flags=re.M)

    def lines(self, pattern):
        return [line for line in self.log().split("\n") if re.search(pattern, line)]

    def wait_log(self, pattern, count=1, timeout=WAIT):
        """Waits until `count` lines match, and returns the last of them as a match."""
        def found():
            matches = list(re.finditer(pattern, self.log(), re.M))
            if len(matches) >= count:
                return matches[count - 1]
            if self.poll() is not None:
                raise AssertionError(f"riposted ended with {self.status} before it logged {pattern!r}")
            return None
        return await_true(found, f"{count} x {pattern!r} in the log", timeout)

    def addresses(self, service=None, transport=None):
        """(service, transport, host, port) of each listening line."""
        return [(found["service"], found["transport"], found["host"].strip("[]"), int(found["port"]))
                for found in _LISTENING.finditer(self.log())
                if service in (None, found["service"]) and transport in (None, found["transport"])]

    def port(self, service, transport):
        found = self.addresses(service, transport)
        if not found:
            raise AssertionError(f"no {service} on {transport}")
        return found[-1][3]

    # State of the process

    def _proc(self, name):
        with open(f"/proc/{self.pid}/{name}", encoding="ascii", errors="replace") as file:
            return file.read()

    def status_kib(self, key):
        return int(re.search(rf"^{key}:\s+(\d+) kB", self._proc("status"), re.M)[1])

    def rss_kib(self):
        return self.status_kib("VmRSS")

    def peak_rss_kib(self):
        return self.status_kib("VmHWM")

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def descriptors(self):
        """{number: target, as readlink(1) shows it}, without descriptors that are closed meanwhile."""
        return descriptors_of(self.pid)

    def cpu_ticks(self):
        fields = self._proc("stat").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def cpu_seconds(self):
        """CPU time to the nanosecond, by the clock of clock_getcpuclockid(3)."""
        return time.clock_gettime(((~self.pid) << 3) | 2)

    def awaits_signals(self):
        """Whether SIGTERM is blocked so that the daemon can read it; before that, it ends the process."""
        return self._signal_is("SigBlk", signal.SIGTERM)

    def _signal_is(self, key, number):
        """Whether a signal is in one of the masks of proc(5)."""
        mask = int(re.search(rf"^{key}:\s+([0-9a-f]+)$", self._proc("status"), re.M)[1], 16)
        return bool(mask >> (number - 1) & 1)

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def sleeps(self):
        """Whether every thread is waiting."""
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                if self._state(f"task/{task}") != "S":
                    return False
        return True

    def is_stopped(self):
        """Whether a signal has stopped its main thread."""
        return self._state(".") == "T"

    def _state(self, task):
        return self._proc(f"{task}/stat").rpartition(")")[2].split()[0]

    @staticmethod
    def queues(client):
        """(unsent, unread) bytes at the other end of this client's connection: bytes written there that the client
        has not acknowledged, and bytes that arrived there and were not read. None if that end is gone."""
        try:
            there = client.getpeername()
        except OSError:  # this end is gone, too
            return None
        return queues_at(client.family, there, client.getsockname())

    def has_read_all(self, client):
        """Whether the daemon has read everything that this client wrote, or its end is gone."""
        unacknowledged = struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0]
        queues = self.queues(client)
        return unacknowledged == 0 and (queues is None or queues[1] == 0)

    def waits_for_reader(self, client):
        """Whether it sleeps while this client has not acknowledged everything."""
        queues = self.queues(client)
        return queues is not None and queues[0] > 0 and self.sleeps()

    def reads_no_more(self, client):
        """Whether it sleeps while data from this client is unread."""
        queues = self.queues(client)
        return queues is not None and queues[1] > 0 and self.sleeps()

    # Ending

    def signal(self, number):
        if self.status is None:
            signal.pidfd_send_signal(self.pidfd, number)

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def wait(self, timeout=WAIT):
        """The exit status; -N if signal N ended it."""
        if not self._ended_within(timeout):
            raise AssertionError(f"riposted still runs after {timeout:g} s")
        return self.status

    def _ended_within(self, timeout):
        if self.poll() is None:
            poller = select.poll()
            poller.register(self.pidfd, select.POLLIN)
            poller.poll(timeout * 1000)
        return self.poll() is not None

    def stop(self, timeout=WAIT):
        """Sends SIGTERM, upon which it must end with status 0."""
        self.signal(signal.SIGTERM)
        status = self.wait(timeout)
        if status != 0:
            raise AssertionError(f"riposted ended with {status} on SIGTERM")

    def fails(self, status):
        """Checks that it ends by itself with this status; returns its log."""
        self.expected = (status,)
        found = self.wait()
        if found != status:
            raise AssertionError(f"riposted ended with {found}, not {status}")
        return self.log()

    def close(self):
        """Ends the daemon with its test, in any case. Raises if it did not end properly."""
        try:
            if self.poll() is None:
                self.signal(signal.SIGCONT)
                self.signal(signal.SIGTERM)
                # A second signal would merge with a first one that is not read yet.
                await_true(lambda: self.poll() is not None
                           or not self._signal_is("ShdPnd", signal.SIGTERM), "SIGTERM is read")
                if not self._ended_within(0.2):
                    self.signal(signal.SIGTERM)  # so that it does not wait for connections that the test left open
                self.wait()
            if self.status not in self.expected:
                raise AssertionError(f"riposted ended with {self.status}, not {self.expected}")
            report = [line for line in self.log().split("\n")
                      if any(mark in line for mark in _SANITIZER_REPORTS)]
            if report:
                raise AssertionError("riposted complained: " + report[0])
        finally:
            if self.poll() is None:
                self.signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
            os.close(self.pidfd)
            if self.notifications:
                self.notifications.close()

    def write_config(self, text):
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(text)


def has_failed(test):
    """Whether a test has failed, in its body or in an earlier clean-up."""
    return test._outcome is not None and not test._outcome.success


class RiposteTest(unittest.TestCase):
    """Base of the tests: starts daemons, connects clients, shows the log of a failed test."""

    #: In a module marked `backends`, each class runs as two subclasses; see runner/variants.py.
    backend = "epoll"

    def setUp(self):
        refusal = io_uring_refusal() if self.backend == "io_uring" else None
        if refusal:
            self.skipTest(refusal)
        self.random = random.Random(int(os.environ.get("RIPOSTE_SEED", "7001")))

    def daemon(self, *arguments, ready=True, **options):
        """Starts a daemon, which ends with the test."""
        daemon = Daemon(*arguments, **{"backend": self.backend, **options})
        self.addCleanup(self._end, daemon)
        return daemon.ready() if ready else daemon

    def serve(self, service="hello", *more, transport="tcp", host="127.0.0.1", **options):
        """Starts a daemon for one service on a free port; returns it and the address."""
        daemon = self.daemon("--listen", f"{service}={transport}://{host}:0", *more, **options)
        return daemon, (host.strip("[]"), daemon.port(service, transport))

    def _end(self, daemon):
        failed = True
        try:
            daemon.close()
            failed = has_failed(self)
        finally:
            if failed:
                self._show_log(daemon)
            shutil.rmtree(daemon.directory, ignore_errors=True)

    @staticmethod
    def _show_log(daemon):
        lines = daemon.log().split("\n")
        print("# " + " ".join(daemon.argv))
        for line in lines if len(lines) <= 60 else lines[:30] + ["..."] + lines[-30:]:
            print("#   " + line.encode("ascii", "backslashreplace").decode())

    def keep(self, closable):
        self.addCleanup(closable.close)
        return closable

    # Clients

    def connect(self, address, timeout=WAIT, source=None, receive_buffer=None):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        client = self.keep(socket.socket(family, socket.SOCK_STREAM))
        client.settimeout(timeout)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            client.bind((source, 0))
        client.connect(address)
        return client

    def datagram_socket(self, address=("127.0.0.1", 0), timeout=WAIT):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        client = self.keep(socket.socket(family, socket.SOCK_DGRAM))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        client.settimeout(timeout)
        client.bind(address)
        return client

    def assert_silent(self, client, daemon=None, seconds=0.3):
        """Checks that no data arrives once this daemon is idle, or for a while without one. (Too short a while
        can hide a fault, but never report a false one.)"""
        if daemon is not None:
            await_true(daemon.sleeps, "it has nothing more to do")
        client.settimeout(0.01 if daemon is not None else seconds)
        with self.assertRaises(TimeoutError):
            received = client.recv(65536)
            self.fail(f"{len(received)} unexpected bytes: {received[:60]!r}")
        client.settimeout(WAIT)

    # Timeouts that must not expire

    def never_timed_out(self, action, shortest=0.5, share=1.0):
        """action(timeout) talks to a daemon of its own that has this timeout in seconds, and must not be ended by
        it, because each reply arrives within that share of it. It calls in_time() after each reply.

        If it was ended and the test itself was late, that proves nothing: the action is repeated with twice the
        timeout, until the machine is fast enough for it."""
        timeout = shortest
        while True:
            self.answers_at, self.longest_pause = [time.monotonic()] * 2, 0
            try:
                return action(timeout)
            except (AssertionError, ConnectionError):
                self.in_time()
                if self.longest_pause < timeout * share or timeout >= LONGEST_TIMEOUT:
                    raise
            timeout *= 2

    def in_time(self):
        # The daemon got this request after the previous reply had arrived, at the earliest.
        now = time.monotonic()
        self.longest_pause = max(self.longest_pause, now - self.answers_at[0])
        self.answers_at = [self.answers_at[1], now]

    def assert_log_lines_whole(self, daemon):
        """Checks that every line of the log is the daemon's own, and printable."""
        for line in daemon.log().split("\n")[:-1]:
            self.assertRegex(line, r"^riposted: ")
            self.assertRegex(line, r"^[\x20-\x7e]*$")


def receive_all(client, limit=1 << 30):
    """All data until the peer's FIN."""
    parts = []
    size = 0
    while True:
        part = client.recv(1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > limit:
            raise AssertionError(f"more than {limit} bytes came")


def receive_exactly(client, size):
    data = bytearray()
    while len(data) < size:
        part = client.recv(min(1 << 16, size - len(data)))
        if not part:
            raise AssertionError(f"the peer finished after {len(data)} of {size} bytes")
        data += part
    return bytes(data)


def listen_section(service, address, **options):
    lines = [f"[[listen]]\nservice = '{service}'\naddress = '{address}'"]
    lines += [f"{key} = '{value}'" for key, value in options.items()]
    return "\n".join(lines) + "\n"


def run_riposte(*arguments, timeout=RUN, input=None):
    env = {key: value for key, value in os.environ.items() if not key.startswith("RIPOSTE")}
    return subprocess.run([os.path.abspath(RIPOSTE), *arguments], capture_output=True,
                          timeout=timeout, input=input if input is not None else b"", env=env,
                          check=False)


def run_riposted(*arguments, timeout=RUN, **options):
    """Runs a riposted that ends by itself: --check, --print-config, a usage error."""
    return subprocess.run([os.path.abspath(RIPOSTED), *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=timeout, check=False, **options)


def needs_root(test):
    return unittest.skipUnless(os.geteuid() == 0, "needs root")(test)


def needs_program(name):
    return unittest.skipUnless(shutil.which(name), f"the program {name} is not installed")


def needs_systemd(test):
    return unittest.skipUnless("systemd" in FEATURES, "built without libsystemd")(test)


def needs_ipv6(test):
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError as problem:
        return unittest.skip(f"no IPv6 loopback: {problem.strerror}")(test)
    return test
