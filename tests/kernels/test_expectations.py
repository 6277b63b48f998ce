"""In a guest: what riposted says of its kernel is what the table of kernels expects."""

import os
import pathlib
import re
import tomllib
import unittest

from daemon import RiposteTest, io_uring_refusal

TABLE = pathlib.Path(__file__).with_name("expectations.toml")
#: The row, and the series of the kernel that its suite has now.
KERNEL = os.environ.get("RIPOSTE_KERNEL")
SERIES = os.environ.get("RIPOSTE_KERNEL_SERIES")


def expected():
    """The row of this guest's kernel."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["kernel"]
    return next(row for row in rows if row["series"] == KERNEL)


@unittest.skipUnless(KERNEL, "needs a guest: ./dev test --stage kernels")
class Expectations(RiposteTest):
    def setUp(self):
        super().setUp()
        self.row = expected()
        daemon, _ = self.serve("echo", backend="auto")
        self.log = daemon.log()

    def test_the_guest_runs_the_kernel_that_was_fetched(self):
        self.assertRegex(os.uname().release, rf"^{re.escape(SERIES)}[.-]")

    def test_auto_chooses_the_backend(self):
        self.assertEqual(re.findall(r"(?m)^riposted: ready: backend (\w+), ", self.log), [self.row["backend"]])

    def test_the_log_says_why_it_is_not_io_uring(self):
        self.assertEqual(re.findall(r"(?m)^riposted: warning: io_uring is not available \((.*)\); using epoll$",
                                    self.log), [self.row["refusal"]] if self.row["refusal"] else [])

    def test_the_log_says_what_the_ring_lacks(self):
        self.assertEqual(re.findall(r"(?m)^riposted: this kernel's io_uring lacks (.*); ", self.log),
                         [self.row["lacks"]] if self.row["lacks"] else [])

    def test_the_daemon_is_sealed(self):
        limit = self.row["operations"]
        self.assertEqual(re.findall(r"(?m)^riposted: (?:warning: )?sandbox: .*$", self.log),
                         ["riposted: sandbox: seccomp on"
                          + (f", io_uring limited to {limit} operations" if limit else "")])

    def test_the_tests_agree_with_the_daemon_about_io_uring(self):
        self.assertEqual(io_uring_refusal() is None, self.row["backend"] == "io_uring")
