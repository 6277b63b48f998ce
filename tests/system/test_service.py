"""The installed service under real systemd: what starts it, what it may, what it tells."""

import re

from installed import Installed
from machine import await_true

UNITS = ["riposted.service", "riposted-standalone.service", "riposted.socket"] + [
    f"riposted-{name}.socket" for name in ("chargen", "daytime", "discard", "echo", "time")]
NO_IO_URING = "[Service]\nSystemCallFilter=~@aio\n"


class Units(Installed):
    def exposure(self, unit):
        told = self.machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
        return float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)[1])

    def test_the_service_is_exposed_by_0_2_at_most(self):
        self.assertLessEqual(self.exposure("riposted.service"), 0.2)

    def test_the_service_is_exposed_by_0_2_at_most_on_epoll(self):
        self.drop_in(NO_IO_URING)
        self.start()
        self.assertRegex(self.status_text(), "^epoll, ")
        self.assertLessEqual(self.exposure("riposted.service"), 0.2)

    def test_systemd_finds_nothing_to_say_about_the_units(self):
        # The manual pages are not in the root: dpkg of a minimal Debian leaves them out.
        found = self.machine.run("systemd-analyze", "verify", "--man=no", *UNITS, check=False)
        self.assertEqual((found.returncode, found.stdout + found.stderr), (0, ""))

    def test_a_reload_of_the_manager_logs_nothing_about_the_units(self):
        self.machine.systemctl("daemon-reload")
        told = self.machine.journal("--after-cursor", self.started, "-t", "systemd")
        self.assertNotRegex(told, r"riposted\S*:\d+:")

    def test_every_socket_of_the_package_is_served(self):
        ports = {"echo": 7, "discard": 9, "daytime": 13, "chargen": 19, "time": 37}
        names = [f"riposted-{name}.socket" for name in ports]
        self.machine.systemctl("restart", *names)
        self.addCleanup(self.machine.systemctl, "stop", *names)
        self.assertEqual(self.ask("tcp", 7, "abc"), b"abc")
        self.assertEqual(self.ask("udp", 7, "abc"), b"abc")
        self.assertRegex(self.ask("tcp", 13), rb"\d\d:\d\d:\d\d")
        self.assertEqual(len(self.ask("tcp", 37)), 4)
        self.assertIn(b'!"#$%', self.ask("tcp", 19))
        await_true(lambda: re.search(r"\b12 listeners\b", self.status_text()), "twelve listeners")


class Start(Installed):
    def assert_awake(self):
        # It may have answered before the manager has heard that it is ready.
        await_true(lambda: self.is_active("riposted.service") != "activating", "it is no longer starting")
        self.assertEqual(self.is_active("riposted.service"), "active")

    def assert_asleep(self):
        self.assertEqual((self.is_active("riposted.service"), self.is_active("riposted.socket")),
                         ("inactive", "active"))

    def test_the_first_connection_starts_it(self):
        self.assert_asleep()
        self.assertEqual(self.ask("tcp"), b"Hello, i'm server!")
        self.assert_awake()

    def test_the_first_datagram_starts_it(self):
        self.assert_asleep()
        self.assertEqual(self.ask("udp", question="still there?"), b"still there?")
        self.assert_awake()

    def test_a_start_by_hand_opens_the_socket_too(self):
        self.machine.systemctl("stop", "riposted.socket", "riposted.service")
        self.start()
        self.assertEqual(self.is_active("riposted.socket"), "active")
        self.assert_answers()

    def test_a_stopped_socket_closes_its_port(self):
        self.start()
        self.machine.systemctl("stop", "riposted.socket")
        self.assertIn(b"refused", self.ask("tcp")[0])

    def test_one_socket_can_do_without_the_other(self):
        self.machine.systemctl("mask", "--now", "riposted.socket")
        self.addCleanup(self.machine.systemctl, "unmask", "riposted.socket")
        self.assertEqual(self.ask("tcp", 7, "abc"), b"abc")
        self.assertIn(b"refused", self.ask("tcp")[0])

    def test_the_standalone_service_binds_by_itself(self):
        self.machine.systemctl("start", "riposted-standalone.service")
        self.assertEqual(self.is_active("riposted.socket"), "inactive")
        self.assert_answers()
        self.machine.systemctl("stop", "riposted-standalone.service")
        self.assertIn(b"refused", self.ask("tcp")[0])

    def test_the_standalone_service_binds_low_ports_with_the_capability(self):
        self.machine.systemctl("stop", "riposted-echo.socket")
        self.machine.write("/etc/systemd/system/riposted-standalone.service.d/test.conf",
                           "[Service]\nPrivateUsers=no\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"
                           "AmbientCapabilities=CAP_NET_BIND_SERVICE\n")
        self.machine.systemctl("daemon-reload")
        self.machine.write("/etc/riposte/riposted.toml",
                           "[[listen]]\nservice = 'echo'\naddress = '127.0.0.1:7'\n")
        self.machine.systemctl("start", "riposted-standalone.service")
        self.assertEqual(self.ask("tcp", 7, "abc"), b"abc")
        self.machine.run("rm", "-r", "/etc/systemd/system/riposted-standalone.service.d")


class Narrow(Installed):
    """Runs on less than it would like, and says what it could not have."""

    def assert_runs_on_epoll(self):
        self.start()
        self.assert_answers()
        self.assertRegex(self.status_text(), "^epoll, ")
        warnings = self.own_messages("", priority="4")
        self.assertEqual(len(warnings), 1, warnings)
        return warnings[0]

    def test_without_io_uring_it_runs_on_epoll_with_one_warning(self):
        self.drop_in(NO_IO_URING)
        self.assertRegex(self.assert_runs_on_epoll(), "^io_uring is not available .*not permitted")

    def test_with_a_kernel_that_knows_no_io_uring_it_runs_on_epoll_with_one_warning(self):
        self.drop_in(NO_IO_URING + "SystemCallErrorNumber=ENOSYS\n")
        self.assertRegex(self.assert_runs_on_epoll(), "^io_uring is not available .*not implemented")

    def test_with_little_locked_memory_it_runs_and_says_so(self):
        self.drop_in("[Service]\nLimitMEMLOCK=4K\n")
        self.assertRegex(self.assert_runs_on_epoll(), "LimitMEMLOCK=|[Mm]emory|memlock")

    def test_with_few_descriptors_it_runs_and_says_so(self):
        self.drop_in("[Service]\nLimitNOFILE=64\n")
        self.start()
        self.assert_answers()
        warnings = self.own_messages("", priority="4")
        self.assertEqual(len(warnings), 1, warnings)
        self.assertRegex(warnings[0], "at most 64 descriptors .* LimitNOFILE=")


class Tells(Installed):
    def test_the_status_line_has_backend_workers_listeners_and_connections(self):
        self.start()
        told = self.machine.systemctl("status", "riposted.service").stdout
        self.assertRegex(told, r'Status: "(io_uring|epoll), 1 worker, 4 listeners, 0 connections"')

    def test_the_journal_has_fields(self):
        self.machine.write("/etc/riposte/riposted.toml", 'log_level = "debug"\n' + self.config)
        self.assertEqual(self.ask("tcp"), b"Hello, i'm server!")

        def of_a_connection():
            return [entry for entry in self.journal_since() if "RIPOSTE_PEER" in entry]
        entry = await_true(of_a_connection, "a journal entry with a peer")[0]
        self.assertRegex(entry["RIPOSTE_PEER"], r"^127\.0\.0\.1:\d+$")
        self.assertEqual(entry["RIPOSTE_LISTENER"], "hello on tcp://127.0.0.1:7001")
        self.assertEqual((entry["_SYSTEMD_UNIT"], entry["SYSLOG_IDENTIFIER"], entry["PRIORITY"]),
                         ("riposted.service", "riposted", "7"))
        self.assertNotIn("<7>", entry["MESSAGE"])

    def test_a_stop_ends_it_at_once_and_well(self):
        self.start()
        self.assert_answers()
        self.machine.systemctl("stop", "riposted.service")
        self.assertEqual(self.machine.show("riposted.service", "ActiveState", "Result", "ExecMainStatus"),
                         ["inactive", "success", "0"])
        self.assert_sockets_well()
