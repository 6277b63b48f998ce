"""Which backend the daemon uses, and what it does where io_uring is not available."""

import errno
import json
import os

import pytest

from daemon import (ANSWER, FEATURES, RiposteTest, become_nobody, free_port, io_uring_refusal,
                    needs_root, receive_all, receive_exactly, refuse_io_uring, refuse_system_calls,
                    run_riposte)
from preparation import IO_URING_REGISTER, become, limit

pytestmark = pytest.mark.backends

LISTEN = ("--listen", "echo=127.0.0.1:0")
NOT_AVAILABLE = r"^riposted: warning: io_uring is not available \((?P<reason>.+)\); using epoll$"


class Choice(RiposteTest):
    def works(self, daemon):
        client = self.connect(("127.0.0.1", daemon.port("echo", "tcp")))
        data = self.random.randbytes(200_000)
        client.sendall(data[:50_000])
        self.assertTrue(receive_exactly(client, 50_000) == data[:50_000])
        datagram = self.datagram_socket()
        datagram.sendto(b"x", ("127.0.0.1", daemon.port("echo", "udp")))
        self.assertEqual(datagram.recv(10), b"x")
        client.close()

    def test_the_requested_backend_is_the_one_that_runs(self):
        daemon = self.daemon(*LISTEN)
        self.assertRegex(daemon.log(), rf"(?m)^riposted: ready: backend {self.backend}, ")
        self.works(daemon)
        rings = [link for link in daemon.descriptors().values() if "io_uring" in link]
        if self.backend == "epoll":
            self.assertEqual(rings, [])
        self.assertEqual(daemon.lines("not available"), [])


class Fallback(RiposteTest):
    """What `auto` and `io_uring` do; these tests do not depend on the backend that the module runs for."""

    def check_falls_back(self, reason, in_child, exactly=True):
        daemon = self.daemon(*LISTEN, backend="auto", in_child=in_child)
        self.assertRegex(daemon.log(), r"(?m)^riposted: ready: backend epoll, ")
        warnings = daemon.lines("io_uring")
        self.assertEqual(len(warnings), 1, daemon.log())
        self.assertRegex(warnings[0], NOT_AVAILABLE)
        self.assertRegex(warnings[0], reason)
        Choice.works(self, daemon)
        daemon.stop()

    def test_auto_uses_io_uring_where_it_is_available(self):
        if "io_uring" not in FEATURES:
            self.skipTest("built without liburing")
        refusal = io_uring_refusal()
        if refusal:
            self.skipTest(refusal)
        daemon = self.daemon(*LISTEN, backend="auto")
        self.assertRegex(daemon.log(), r"ready: backend io_uring, ")

    def test_auto_falls_back_with_one_line_when_io_uring_is_not_permitted(self):
        reason = "(?i)not permitted|EPERM" if "io_uring" in FEATURES else "this build has no liburing"
        self.check_falls_back(reason, refuse_io_uring(errno.EPERM))

    def test_auto_falls_back_with_one_line_when_the_kernel_lacks_io_uring(self):
        reason = "(?i)not implemented|ENOSYS" if "io_uring" in FEATURES else "this build has no liburing"
        self.check_falls_back(reason, refuse_io_uring(errno.ENOSYS))

    def test_auto_falls_back_when_registration_is_not_permitted(self):
        if "io_uring" not in FEATURES:
            self.skipTest("built without liburing")
        if refusal := io_uring_refusal():
            self.skipTest(refusal)
        self.check_falls_back("(?i)not permitted|EPERM",
                              refuse_system_calls((IO_URING_REGISTER,), errno.EPERM))

    def test_two_workers_fall_back_with_one_line(self):
        if "io_uring" not in FEATURES:
            self.skipTest("built without liburing")
        daemon = self.daemon(*LISTEN, "--workers", "2", backend="auto",
                             in_child=refuse_io_uring(errno.EPERM))
        self.assertEqual(len(daemon.lines("io_uring")), 1)
        Choice.works(self, daemon)

    @needs_root
    def test_the_log_says_how_many_workers_got_no_io_uring(self):
        """The memory that may be locked suffices for some rings and not for all. The kernel decides where that limit
        is, so the test searches for it. Newer kernels lock nothing for a ring."""
        if "io_uring" not in FEATURES or io_uring_refusal():
            self.skipTest("no io_uring here")
        for kib in range(16, 1024, 16):
            # A user that no other process has: locked memory is charged to the user, and released late.
            poor = limit("MEMLOCK", kib << 10) + become(1_000_000 + os.getpid() * 64 + kib // 16)
            metrics = free_port()
            daemon = self.daemon(*LISTEN, "--workers", "2", backend="auto", in_child=poor,
                                 config=f"[metrics]\nlisten = ['tcp://127.0.0.1:{metrics}']\n")
            ready = daemon.wait_log("^riposted: ready: backend (.*), 2 workers, ")[1]
            if ready == "epoll":
                daemon.stop()
                continue
            if ready == "io_uring":
                rings = [link for link in daemon.descriptors().values() if "io_uring" in link]
                self.assertEqual(len(rings), 2, "each worker has a ring if the log says io_uring")
                self.skipTest("this kernel gives both workers a ring as soon as it gives one")
            self.assertEqual(ready, "mixed (io_uring in 1 worker, epoll in 1)")
            self.assertEqual(len(daemon.lines(r"io_uring is not available to 1 of 2 workers \(.*\); using epoll")), 1)
            status = json.loads(run_riposte("status", "-j", f"tcp://127.0.0.1:{metrics}").stdout)
            self.assertEqual((status["backend"]["name"], status["backend"]["workers"]),
                             ("mixed", {"io_uring": 1, "epoll": 1}))
            self.assertIn("epoll in 1 of 2 workers: ", status["backend"]["reason"])
            self.assertIn(b"backend  mixed (epoll in 1 of 2 workers: ",
                          run_riposte("status", f"tcp://127.0.0.1:{metrics}").stdout)
            return

    def test_exit_status_69_if_io_uring_is_required_and_not_available(self):
        for error in (errno.EPERM, errno.ENOSYS):
            daemon = self.daemon(*LISTEN, backend="io_uring", in_child=refuse_io_uring(error),
                                 ready=False)
            log = daemon.fails(69)
            self.assertRegex(log, r"(?m)^riposted: .*io_uring")
            self.assertNotIn("ready", log)

    @needs_root
    def test_it_still_serves_with_little_lockable_memory(self):
        """Without CAP_IPC_LOCK a ring counts against RLIMIT_MEMLOCK."""
        for count in (8 << 20, 1 << 20, 128 << 10, 64 << 10, 4096, 0):
            daemon = self.daemon(*LISTEN, backend="auto", in_child=limit("MEMLOCK", count) + become_nobody)
            Choice.works(self, daemon)
            if daemon.lines("ready: backend epoll"):
                self.assertEqual(len(daemon.lines("io_uring")), 1, daemon.log())
                self.assertRegex(daemon.lines("io_uring")[0], NOT_AVAILABLE)
            daemon.stop()

    @needs_root
    def test_io_uring_required_without_lockable_memory_works_or_exits_69(self):
        if "io_uring" not in FEATURES or io_uring_refusal():
            self.skipTest("no io_uring here")
        daemon = self.daemon(*LISTEN, backend="io_uring", in_child=limit("MEMLOCK", 0) + become_nobody,
                             ready=False)
        daemon.expected = (0, 69)
        try:
            daemon.ready()
        except AssertionError:
            self.assertEqual(daemon.wait(), 69)
            self.assertRegex(daemon.log(), "io_uring")
            return
        Choice.works(self, daemon)

    def test_exit_status_78_for_an_unknown_backend_in_the_file(self):
        daemon = self.daemon(*LISTEN, backend=None, config="backend = 'iouring'\n", ready=False)
        self.assertRegex(daemon.fails(78), r"riposted\.toml:1:\d+: .*io_uring")


class Unprivileged(RiposteTest):
    @needs_root
    def test_it_serves_without_privileges(self):
        daemon, address = self.serve("hello", in_child=become_nobody)
        client = self.connect(address)
        client.send(b"x")
        self.assertEqual(receive_all(client), ANSWER)
        self.assertIsNone(daemon.poll())
