"""The configuration from outside: --check, --print-config, --version, --help.

No socket is opened, so the module runs once, not once per backend.
"""

import os
import re
import shutil
import tempfile
import tomllib
import unittest

from client import run
from daemon import needs_root, become_nobody, run_riposted

FULL = """
backend = "epoll"
workers = 2
busy_poll = "50us"
drain_timeout = "250ms"
log_level = "debug"

[[listen]]
service = "hello"
address = ["tcp://127.0.0.1:7001", "udp://[::1]:7001"]
message = "Good day"

[[listen]]
service = "echo"
address = "127.0.0.1:7007"

[limits]
connections = 100
connections_per_source = 10
idle_timeout = "2m"
write_stall_timeout = 5
"""


class Check(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="riposte-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory)

    def file(self, text):
        path = os.path.join(self.directory, "riposted.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def check(self, text):
        return run_riposted("-c", self.file(text), "--check")

    def refused(self, text, where, pattern):
        done = self.check(text)
        self.assertEqual(done.returncode, 78, done.stderr)
        lines = done.stderr.rstrip("\n").split("\n")
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(f"{self.directory}/riposted.toml:{where}", lines[0])
        self.assertRegex(lines[0], pattern)

    def test_the_check_of_a_valid_file_exits_with_0(self):
        self.assertEqual(self.check(FULL).returncode, 0)
        self.assertEqual(self.check("").returncode, 0)

    def test_an_unknown_key_is_reported_with_its_position_and_the_nearest_known_one(self):
        self.refused('backend = "auto"\nworker = 2\n', "2:1: ", "worker.*workers")
        self.refused('[limits]\nconections = 2\n', "2:1: ", "conections.*connections")
        self.refused('[[listen]]\nservice = "hello"\nadress = "*:7001"\n', "3:1: ", "address")

    def test_a_wrong_type_is_reported_with_line_and_column(self):
        self.refused('workers = "two"\n', "1:", "workers")
        self.refused('\n[limits]\nconnections = 1.5\n', "3:", "connections")

    def test_an_invalid_duration_is_reported_with_line_and_column(self):
        self.refused('drain_timeout = "5 parsecs"\n', "1:", "parsecs")
        self.refused('[limits]\nidle_timeout = "-3s"\n', "2:", "idle_timeout|-3s")
        self.refused('workers = 2\nbusy_poll = "11ms"\n', "2:13: ", "busy_poll.*11ms.*10ms")

    def test_a_negative_number_is_reported_with_line_and_column(self):
        self.refused('workers = -1\n', "1:", "workers|-1")
        self.refused('[limits]\nconnections = -5\n', "2:", "connections|-5")

    def test_a_repeated_listener_is_reported_with_line_and_column(self):
        self.refused('[[listen]]\nservice = "hello"\naddress = "tcp://127.0.0.1:7001"\n'
                     '[[listen]]\nservice = "echo"\naddress = "tcp://127.0.0.1:7001"\n',
                     "", r"tcp://127\.0\.0\.1:7001")

    def test_an_unknown_service_is_reported_with_the_nearest_one(self):
        self.refused('[[listen]]\nservice = "ecko"\naddress = "127.0.0.1:7001"\n', "2:", "ecko.*echo")

    def test_an_invalid_endpoint_is_reported_with_line_and_column(self):
        self.refused('[[listen]]\nservice = "echo"\naddress = "127.0.0.1:700000"\n', "3:", "700000|port")

    def test_address_forms_that_only_a_resolver_accepts_are_refused_everywhere(self):
        # inet_aton(3) accepts these, 0x0 as every address; and one cannot listen on an IPv4-mapped address.
        for host in ("0x0", "0x7f000001", "127.0x1", "0177.0.0.1", "127.1", "2130706433", "127.0.0.1.",
                     "[::ffff:127.0.0.1]"):
            with self.subTest(host=host):
                literal = host.strip("[]")
                bare = host if host == literal else "::ffff:127.0.0.1"
                listen = f'[[listen]]\nservice = "echo"\naddress = "tcp://{host}:7001"\n'
                self.refused(listen, "3:", re.escape(literal))
                self.refused(f'[metrics]\nlisten = "tcp://{host}:9701"\n', "2:", re.escape(literal))
                done = run_riposted("--check", "--listen", f"echo=tcp://{host}:7001")
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(f"'{literal}'", done.stderr)
                if bare == host:
                    self.refused('[[listen]]\nservice = "echo"\naddress = "tcp://127.0.0.1:7001"\n'
                                 f'allow = ["{host}"]\n', "4:", re.escape(literal))
                for arguments in (("send", f"{host}:7001"), ("ping", f"udp://{host}"),
                                  ("load", host), ("status", host),
                                  ("send", "--source", bare, "127.0.0.1"),
                                  ("ping", "--source", host, "127.0.0.1")):
                    refused = run(*arguments)
                    self.assertEqual((refused.returncode, refused.stdout), (2, ""), str(refused))
                    self.assertIn(f"'{literal}' is ", refused.stderr)

    def test_invalid_toml_is_reported_with_line_and_column(self):
        self.refused('backend = "auto"\nworkers = = 2\n', "2:", "value")

    def test_a_message_longer_than_1024_bytes_is_refused(self):
        self.refused('[[listen]]\nservice = "hello"\naddress = "127.0.0.1:7001"\n'
                     f'message = "{"x" * 1025}"\n', "4:", "1024")

    def test_a_missing_file_is_named(self):
        done = run_riposted("-c", "/no/such/file.toml", "--check")
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, r"/no/such/file\.toml")

    @needs_root
    def test_an_unreadable_file_is_reported_as_a_permission_error(self):
        path = self.file(FULL)
        os.chmod(path, 0o600)
        done = run_riposted("-c", path, "--check", preexec_fn=become_nobody)
        self.assertEqual(done.returncode, 77, done.stderr)

    def test_the_printed_configuration_can_be_read_back(self):
        for text in (FULL, ""):
            first = run_riposted("-c", self.file(text), "--print-config")
            self.assertEqual(first.returncode, 0, first.stderr)
            second = run_riposted("-c", self.file(first.stdout), "--print-config")
            self.assertEqual(second.returncode, 0, second.stderr)
            self.assertEqual(first.stdout, second.stdout)

    def test_the_printed_configuration_is_the_configured_one(self):
        printed = tomllib.loads(run_riposted("-c", self.file(FULL), "--print-config").stdout)
        self.assertEqual((printed["backend"], printed["workers"], printed["busy_poll"],
                          printed["drain_timeout"]), ("epoll", 2, "50us", "250ms"))
        self.assertEqual(printed["limits"]["idle_timeout"], "2m")
        self.assertEqual(printed["limits"]["write_stall_timeout"], "5s")
        self.assertEqual(printed["limits"]["connections"], 100)
        self.assertEqual([entry["service"] for entry in printed["listen"]], ["hello", "echo"])
        self.assertEqual(printed["listen"][0]["message"], "Good day")

    def test_options_override_the_file(self):
        done = run_riposted("-c", self.file(FULL), "--print-config", "--workers", "7", "--backend",
                            "auto", "--log-level", "error", "--listen", "discard=tcp://127.0.0.1:9")
        printed = tomllib.loads(done.stdout)
        self.assertEqual((printed["workers"], printed["backend"], printed["log_level"]),
                         (7, "auto", "error"))
        self.assertEqual([entry["service"] for entry in printed["listen"]], ["discard"])

    def test_without_a_file_the_embedded_default_is_printed(self):
        printed = tomllib.loads(run_riposted("--print-config").stdout)
        self.assertEqual(printed["backend"], "auto")
        self.assertEqual(len(printed["listen"]), 1)
        addresses = printed["listen"][0]["address"]
        self.assertEqual(sorted(addresses), ["tcp://127.0.0.1:7001", "udp://127.0.0.1:7001"])

    def test_version_and_help_go_to_standard_output_with_status_0(self):
        version = run_riposted("--version")
        self.assertEqual((version.returncode, version.stderr), (0, ""))
        self.assertRegex(version.stdout, r"\d+\.\d+")
        text = run_riposted("--help")
        self.assertEqual((text.returncode, text.stderr), (0, ""))
        for flag in ("--check", "--print-config", "--backend", "--workers", "--listen", "--log-level"):
            self.assertIn(flag, text.stdout)
