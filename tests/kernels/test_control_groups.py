"""In a guest whose process 1 is systemd (tests/kernels/system): the limits of riposted's unit are the kernel's, and the
kernel enforces them. Containers on a machine without these controllers accept them and enforce none."""

import contextlib
import os
import re
import socket
import subprocess
import unittest

from client import comment
from daemon import await_true
from patience import RUN, WAIT

ROOT = "/proc/1/root"
CGROUP = "/sys/fs/cgroup/system.slice/riposted.service"
DROP_IN = f"{ROOT}/etc/systemd/system/riposted.service.d/test.conf"
CONFIG = f"{ROOT}/etc/riposte/riposted.toml"
MIB = 1 << 20
ANSWER = b"Hello, i'm server!"


def run(*command, check=True):
    """Runs a command in the system's root."""
    done = subprocess.run(["chroot", ROOT, "env", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", *command], capture_output=True,
                          text=True, timeout=RUN, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def show(name):
    return run("systemctl", "show", "riposted", "-P", name).strip()


def limit(name):
    """A file of the service's control group."""
    with open(f"{CGROUP}/{name}", encoding="ascii") as file:
        return file.read().strip()


def events(name):
    return {key: int(value) for key, value in (line.split() for line in limit(name).splitlines())}


def kernel_says(text):
    """How many lines of the kernel's log have this."""
    return subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout.count(text)


def answers(port=7001):
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
        client.sendall(b"Hello, i'm client!")
        return client.recv(100) == ANSWER


@unittest.skipUnless(os.environ.get("RIPOSTE_KERNEL") and os.path.exists(f"{ROOT}/run/systemd/private"),
                     "needs a guest with systemd: ./dev kernels")
class Limits(unittest.TestCase):
    def setUp(self):
        with open(CONFIG, encoding="utf-8") as file:
            self.configuration = file.read()
        self.addCleanup(self.restore)

    def restore(self):
        if os.path.exists(DROP_IN):
            os.unlink(DROP_IN)
        with open(CONFIG, "w", encoding="utf-8") as file:
            file.write(self.configuration)
        run("systemctl", "daemon-reload")
        run("systemctl", "stop", "riposted.socket", "riposted-echo.socket", "riposted.service")
        run("systemctl", "reset-failed")

    def start(self, *lines, configuration="", sockets=("riposted.socket",)):
        """Starts the service with these lines in its unit; returns whether that succeeded."""
        os.makedirs(os.path.dirname(DROP_IN), exist_ok=True)
        with open(DROP_IN, "w", encoding="utf-8") as file:
            file.write("\n".join(["[Service]", *lines]) + "\n")
        with open(CONFIG, "w", encoding="utf-8") as file:
            file.write(configuration + self.configuration)
        run("systemctl", "daemon-reload")
        run("systemctl", "start", *sockets)
        run("systemctl", "start", "riposted.service", check=False)
        return show("ActiveState") == "active"

    def test_the_limits_of_the_unit_are_in_the_kernel(self):
        self.assertTrue(self.start())
        self.assertTrue(answers())
        self.assertEqual((limit("memory.max"), limit("pids.max")), (str(1024 * MIB), "512"))
        threads = len(os.listdir(f"/proc/{show('MainPID')}/task"))
        self.assertEqual(int(limit("pids.current")), threads)

    def test_a_service_that_exceeds_its_memory_is_killed(self):
        """Its start takes 128 MiB beyond the limit."""
        killed = kernel_says("Memory cgroup out of memory")
        self.assertFalse(self.start("MemoryMax=32M", "Restart=no",
                                    "ExecStartPre=/bin/sh -c 'head -c 160M /dev/zero | tail -n 1 >/dev/null'"))
        self.assertEqual(show("Result"), "oom-kill")
        self.assertGreater(kernel_says("Memory cgroup out of memory"), killed)
        self.assertTrue(self.start(), "the same service without that")
        self.assertTrue(answers())

    def fill(self):
        """Sends to echo on 60 connections, and reads nothing, until none takes more."""
        clients = [self.enterContext(socket.create_connection(("127.0.0.1", 7), timeout=WAIT)) for _ in range(60)]
        data = bytes(256 * 1024)
        sent = 0

        def stuck():
            nonlocal sent
            before = sent
            for client in clients:
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    sent += client.send(data)
            return sent == before
        await_true(stuck, "no connection takes more")
        comment(f"{sent >> 20} MiB sent")

    def test_peers_that_do_not_read_leave_it_within_its_memory(self):
        """The kernel's memory for their sockets is in the group, too. riposted's own bound, which it prints, is below
        this limit."""
        self.assertTrue(self.start("MemoryMax=256M", sockets=("riposted.socket", "riposted-echo.socket")))
        bound = re.findall(r"memory: at most (\d+) MiB", run("journalctl", "-u", "riposted", "-o", "cat", "--no-pager"))
        self.assertLess(int(bound[-1]), 256)
        pid = show("MainPID")
        self.fill()
        comment(f"the group has {int(limit('memory.current')) >> 20} MiB, {events('memory.events')}")
        self.assertLessEqual(int(limit("memory.current")), 256 * MIB)
        self.assertEqual((events("memory.events")["oom_kill"], show("MainPID")), (0, pid))
        self.assertTrue(answers())

    def test_a_limit_below_its_bound_holds_and_it_answers_again(self):
        """Whether the kernel ends it or only takes memory from its sockets: it stays within the limit, and systemd
        starts it again."""
        self.assertTrue(self.start("MemoryMax=48M", sockets=("riposted.socket", "riposted-echo.socket")))
        self.fill()
        self.assertTrue(answers())
        await_true(lambda: show("ActiveState") == "active", "the service runs")
        comment(f"{show('NRestarts')} restarts, the group has {int(limit('memory.current')) >> 20} MiB")
        self.assertLessEqual(int(limit("memory.current")), 48 * MIB)

    def test_a_service_that_exceeds_its_tasks_gets_no_thread(self):
        """Eight workers need nine tasks."""
        eight = "workers = 8\n"
        refusal = "fork rejected by pids controller in /system.slice/riposted.service"
        before = kernel_says(refusal)
        self.assertFalse(self.start("TasksMax=4", "Restart=no", configuration=eight))
        self.assertGreater(kernel_says(refusal), before)
        self.assertIn("Resource temporarily unavailable",
                      run("journalctl", "-u", "riposted", "--no-pager", "-o", "cat", "-n", "20"))
        run("systemctl", "reset-failed")
        self.assertTrue(self.start("TasksMax=9", configuration=eight))
        self.assertTrue(answers())
        self.assertEqual((limit("pids.max"), limit("pids.current")), ("9", "9"))


if __name__ == "__main__":
    unittest.main()
