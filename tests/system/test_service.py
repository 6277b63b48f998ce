"""The installed service under real systemd: what starts it, its permissions, its status and logs."""

import json
import os
import re
import string

import pytest

from installed import CONFIG, Installed
from machine import await_true

pytestmark = pytest.mark.timeout(600)

UNITS = ["riposted.service", "riposted-standalone.service", "riposted.socket"] + [
    f"riposted-{name}.socket" for name in ("chargen", "daytime", "discard", "echo", "metrics", "stamp", "time")]
MANUAL = os.path.join(os.path.dirname(__file__), "../../packaging/man/riposted.8.scd")
#: Error estimates of stamp.
UNKNOWN, ESTIMATE_OF_16_SECONDS = 0x3fff, 0x1d80
NO_IO_URING = "[Service]\nSystemCallFilter=~@aio\n"


class Units(Installed):
    def exposure(self, unit):
        output = self.machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
        return float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", output)[1])

    def test_the_exposure_of_the_service_is_at_most_0_2(self):
        self.assertLessEqual(self.exposure("riposted.service"), 0.2)

    def test_the_exposure_of_the_service_is_at_most_0_2_on_epoll(self):
        self.drop_in(NO_IO_URING)
        self.start()
        self.assertRegex(self.status_text(), "^epoll, ")
        self.assertLessEqual(self.exposure("riposted.service"), 0.2)

    def test_systemd_reports_no_problem_of_the_units(self):
        # The root has no manual pages: dpkg of a minimal Debian leaves them out.
        found = self.machine.run("systemd-analyze", "verify", "--man=no", *UNITS, check=False)
        self.assertEqual((found.returncode, found.stdout + found.stderr), (0, ""))

    def test_a_reload_of_the_manager_logs_nothing_about_the_units(self):
        self.machine.systemctl("daemon-reload")
        output = self.machine.journal("--after-cursor", self.started, "-t", "systemd")
        self.assertNotRegex(output, r"riposted\S*:\d+:")

    def test_every_socket_of_the_package_is_served(self):
        ports = {"echo": 7, "discard": 9, "daytime": 13, "chargen": 19, "time": 37, "stamp": 862}
        names = [f"riposted-{name}.socket" for name in ports]
        self.machine.systemctl("restart", *names)
        self.addCleanup(self.machine.systemctl, "stop", *names)
        self.assertEqual(self.ask("tcp", 7, "abc"), b"abc")
        self.assertEqual(self.ask("udp", 7, "abc"), b"abc")
        self.assertRegex(self.ask("tcp", 13), rb"\d\d:\d\d:\d\d")
        self.assertEqual(len(self.ask("tcp", 37)), 4)
        self.assertIn(b'!"#$%', self.ask("tcp", 19))
        question = string.ascii_letters[:44]
        self.assertEqual(self.ask("udp", 862, question)[24:36], question[:12].encode())
        await_true(lambda: re.search(r"\b13 listeners\b", self.status_text()), "thirteen listeners")

    def test_the_drop_in_of_the_manual_lets_stamp_ask_for_the_state_of_the_clock(self):
        def estimate():
            return int.from_bytes(self.ask("udp", 862, string.ascii_letters[:44])[12:14], "big")

        self.machine.write(CONFIG, "[[listen]]\nservice = 'stamp'\naddress = 'udp://127.0.0.1:862'\nclock = 'system'\n")
        self.machine.systemctl("stop", "riposted.service")
        self.machine.systemctl("start", "riposted-stamp.socket")
        self.addCleanup(self.machine.systemctl, "stop", "riposted-stamp.socket")
        self.assertNotEqual(self.machine.systemctl("start", "riposted.service", check=False).returncode, 0)
        await_true(lambda: self.own_messages('clock = "system": adjtimex: Operation not permitted'), "the reason")
        with open(MANUAL, encoding="utf-8") as file:
            drop_in, = re.findall(r"^```\n(\[Service\]\nProtectClock=.*?)^```", file.read(), re.DOTALL | re.MULTILINE)
        self.drop_in(drop_in)
        self.machine.systemctl("reset-failed", "riposted.service")
        self.start()
        # What the host's kernel says: synchronized, or the 16 s of an unknown error; never "nothing is known".
        self.assertNotEqual(estimate(), UNKNOWN)
        self.assertTrue(estimate() >> 15 or estimate() & 0x3fff == ESTIMATE_OF_16_SECONDS)

    def test_metrics_are_served_if_their_socket_is_enabled(self):
        self.machine.systemctl("restart", "riposted-metrics.socket")
        self.addCleanup(self.machine.systemctl, "stop", "riposted-metrics.socket")
        output = self.ask("tcp", 9701, "GET /metrics HTTP/1.0\r\n\r\n")
        self.assertRegex(output, rb"^HTTP/1.1 200 OK\r\n")
        self.assertIn(b"\nriposte_build_info{", output)
        mode = self.machine.run("stat", "-c", "%F %a", "/run/riposte/metrics.sock").stdout.strip()
        self.assertEqual(mode, "socket 666")
        self.machine.systemctl("stop", "riposted-metrics.socket")
        await_true(lambda: self.machine.run(
            "test", "-e", "/run/riposte/metrics.sock", check=False).returncode == 1, "the path is gone")


class Start(Installed):
    def assert_awake(self):
        # It may have answered before the manager was notified that it is ready.
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

    def test_a_manual_start_opens_the_socket_too(self):
        self.machine.systemctl("stop", "riposted.socket", "riposted.service")
        self.start()
        self.assertEqual(self.is_active("riposted.socket"), "active")
        self.assert_answers()

    def test_a_stopped_socket_closes_its_port(self):
        self.start()
        self.machine.systemctl("stop", "riposted.socket")
        self.assertIn(b"refused", self.ask("tcp")[0])

    def test_each_socket_works_without_the_other(self):
        self.machine.systemctl("mask", "--now", "riposted.socket")
        self.addCleanup(self.machine.systemctl, "unmask", "riposted.socket")
        self.assertEqual(self.ask("tcp", 7, "abc"), b"abc")
        self.assertIn(b"refused", self.ask("tcp")[0])

    def test_the_standalone_service_binds_its_own_sockets(self):
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


class Restricted(Installed):
    """With restricted resources the service runs, and logs what is missing."""

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

    def test_on_a_kernel_without_io_uring_it_runs_on_epoll_with_one_warning(self):
        self.drop_in(NO_IO_URING + "SystemCallErrorNumber=ENOSYS\n")
        self.assertRegex(self.assert_runs_on_epoll(), "^io_uring is not available .*not implemented")

    def test_with_little_lockable_memory_it_runs_and_logs_that(self):
        self.drop_in("[Service]\nLimitMEMLOCK=4K\n")
        self.assertRegex(self.assert_runs_on_epoll(), "LimitMEMLOCK=|[Mm]emory|memlock")

    def test_with_few_descriptors_it_runs_and_logs_that(self):
        self.drop_in("[Service]\nLimitNOFILE=64\n")
        self.start()
        self.assert_answers()
        warnings = self.own_messages("", priority="4")
        self.assertEqual(len(warnings), 1, warnings)
        self.assertRegex(warnings[0], "at most 64 descriptors .* LimitNOFILE=")


class Reports(Installed):
    def test_the_status_line_has_backend_workers_listeners_and_connections(self):
        self.start()
        output = self.machine.systemctl("status", "riposted.service").stdout
        self.assertRegex(output, r'Status: "(io_uring|epoll), 1 worker, 4 listeners, 0 connections"')

    def test_journal_entries_have_fields(self):
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

    def explained(self, event):
        """The output of journalctl -x -u riposted for this process's line of an event."""
        def logged():
            # Without a cursor: with a match, systemd 252 leaves out the first line after one.
            text = self.machine.journal("-x", "-u", "riposted", f"_PID={self.main_pid()}",
                                        "RIPOSTE_EVENT=" + event)
            return "Subject: " in text and text
        return await_true(logged, f"an explained line of {event}")

    def test_the_journal_explains_the_start(self):
        self.start()
        output = self.explained("ready")
        self.assertRegex(output, r"riposted\[\d+\]: ready: backend ")
        self.assertRegex(output, r"(?m)^.* Subject: riposted is ready$")
        self.assertRegex(output, r"(?m)^.* Defined-By: riposted$")
        backend = self.status_text().split(",")[0]
        self.assertRegex(output, rf"with the backend {backend} and 1 worker")

    def test_the_journal_explains_a_refused_reload_and_its_remedy(self):
        self.start()
        self.machine.write("/etc/riposte/riposted.toml", "wokers = 2\n")
        self.machine.systemctl("reload", "riposted.service", check=False)
        output = self.explained("reload_failed")
        self.assertRegex(output, r"(?m)^.* Subject: riposted keeps its old configuration$")
        self.assertRegex(output, r"(?m)^\S*\s+/etc/riposte/riposted\.toml:1:1: unknown key 'wokers'")
        self.assertIn("systemctl reload riposted", output)

    def test_a_journal_entry_is_found_by_its_id_and_has_its_fields(self):
        self.start()
        self.machine.write("/etc/riposte/riposted.toml", "wokers = 2\n")
        self.machine.systemctl("reload", "riposted.service", check=False)
        identity = re.search(r"(?m)^# reload_failed\n-- (\w+)$", self.machine.read(
            "/usr/lib/systemd/catalog/riposted.catalog"))[1]

        def found():
            return self.machine.journal("MESSAGE_ID=" + identity, f"_PID={self.main_pid()}", "-o",
                                        "json").splitlines()
        entry = json.loads(await_true(found, "the line by its MESSAGE_ID")[-1])
        self.assertEqual((entry["RIPOSTE_FILE"], entry["RIPOSTE_LINE"], entry["RIPOSTE_COLUMN"],
                          entry["RIPOSTE_EVENT"]), ("/etc/riposte/riposted.toml", "1", "1", "reload_failed"))

    def test_the_access_log_is_in_the_journal(self):
        self.machine.write("/etc/riposte/riposted.toml",
                           self.config.replace("[access_log]\n", "[access_log]\nconnections = true\n"))
        self.start()
        self.assertEqual(self.ask("tcp"), b"Hello, i'm server!")

        def logged():
            return [entry for entry in self.journal_since()
                    if entry.get("RIPOSTE_EVENT") == "access_connection"]
        entry = await_true(logged, "the line of the access log")[0]
        self.assertEqual((entry["RIPOSTE_RECEIVED_BYTES"], entry["RIPOSTE_SENT_BYTES"],
                          entry["RIPOSTE_CONTENT"], entry["RIPOSTE_END"]),
                         ("18", "18", "Hello, i'm client!", "finished"))

    def test_a_stop_ends_it_at_once_and_successfully(self):
        self.start()
        self.assert_answers()
        self.machine.systemctl("stop", "riposted.service")
        self.assertEqual(self.machine.show("riposted.service", "ActiveState", "Result", "ExecMainStatus"),
                         ["inactive", "success", "0"])
        self.assert_sockets_well()
