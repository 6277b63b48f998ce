"""The journal receives each line with its event and fields, and the catalog explains all of them.

The journal is the test's own: a socket in a mount namespace whose /run holds nothing else.
"""

import ctypes
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from daemon import (ANSWER, GREETING, RiposteTest, await_true, free_port, libc, listen_section,
                    needs_program, needs_root, receive_all)

pytestmark = pytest.mark.backends

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CATALOG = os.path.join(TREE, "packaging", "systemd", "riposted.catalog")
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000


def read_catalog():
    """{name: (id, fields that the text names)}"""
    with open(CATALOG, encoding="ascii") as file:
        entries = re.findall(r"^# (\w+)\n-- ([0-9a-f]{32})\n(.*?)(?=\n# \w+\n-- |\Z)", file.read(),
                             re.M | re.S)
    return {name: (identity, set(re.findall(r"@([A-Z_]+)@", text))) for name, identity, text in entries}


class Compiles(RiposteTest):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="riposte-")
        self.addCleanup(shutil.rmtree, self.directory)

    @needs_program("journalctl")
    def test_journalctl_compiles_the_catalog_and_has_every_entry(self):
        for name in ("usr/lib/systemd/catalog", "var/lib/systemd/catalog"):
            os.makedirs(os.path.join(self.directory, name))
        shutil.copy(CATALOG, os.path.join(self.directory, "usr/lib/systemd/catalog"))

        def journalctl(*arguments):
            return subprocess.run(["journalctl", "--no-pager", "--root=" + self.directory, *arguments],
                                  capture_output=True, text=True, check=False)
        made = journalctl("--update-catalog")
        self.assertEqual((made.returncode, made.stdout, made.stderr), (0, "", ""))
        catalog_dump = journalctl("--dump-catalog").stdout
        self.assertEqual(set(re.findall(r"^-- ([0-9a-f]{32})$", catalog_dump, re.M)),
                         {identity for identity, _ in read_catalog().values()})


@needs_root
class Events(RiposteTest):
    def setUp(self):
        super().setUp()
        self.directory = tempfile.mkdtemp(prefix="riposte-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        os.mkdir(os.path.join(self.directory, "journal"))
        self.journal = self.keep(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.journal.setblocking(False)
        self.journal.bind(os.path.join(self.directory, "journal", "socket"))
        self.entries = []

    def start(self, *arguments, environment={}, **options):
        """Starts a daemon that takes its standard error for this journal."""
        log = os.path.join(self.directory, "log")
        with open(log, "ab"):
            status = os.stat(log)
        source = os.path.join(self.directory, "journal").encode()

        def own_journal():
            def mount(what, where, kind, flags):
                if libc.mount(what, where, kind, ctypes.c_ulong(flags), None):
                    raise OSError(ctypes.get_errno(), where)
            if libc.unshare(CLONE_NEWNS):
                raise OSError(ctypes.get_errno(), "unshare")
            mount(None, b"/", None, MS_REC | MS_PRIVATE)
            keep = os.open(source, os.O_PATH)
            mount(b"tmpfs", b"/run", b"tmpfs", 0)
            os.makedirs("/run/systemd/journal")
            mount(b"/proc/self/fd/%d" % keep, b"/run/systemd/journal", None, MS_BIND)
            os.close(keep)
        return self.daemon(*arguments, ready=False, directory=self.directory, in_child=own_journal,
                           environment={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}", **environment},
                           **options)

    def read_journal(self):
        while True:
            try:
                data = self.journal.recv(1 << 16)
            except BlockingIOError:
                return self.entries
            self.entries.append(dict(line.split("=", 1) for line in data.decode("ascii").splitlines()))

    def event(self, name, count=1):
        """Waits for the count-th entry of this event, and returns it."""
        def found():
            entries = [entry for entry in self.read_journal() if entry.get("RIPOSTE_EVENT") == name]
            return len(entries) >= count and entries[count - 1]
        return await_true(found, f"{count} x {name}")

    def tearDown(self):
        """Checks that each entry has the id of its event and each field that the catalog shows."""
        catalog = read_catalog()
        for entry in self.read_journal():
            name = entry.get("RIPOSTE_EVENT")
            self.assertIn(name, catalog, entry)
            identity, fields = catalog[name]
            self.assertEqual(entry["MESSAGE_ID"], identity)
            self.assertEqual(fields - set(entry), set(), name)
            self.assertEqual(entry["SYSLOG_IDENTIFIER"], "riposted")
        super().tearDown()

    def test_the_events_of_a_whole_run_have_their_fields(self):
        first, second = free_port(), free_port()
        old = listen_section("hello", f"tcp://127.0.0.1:{first}")
        access = "[access_log]\nconnections = true\ndatagrams_every = 1\nrate = 1\n"
        daemon = self.start(config=old + "[limits]\nconnections_per_source = 1\nlinger_timeout = '10m'\n" + access)
        ready = self.event("ready")
        self.assertEqual((ready["PRIORITY"], ready["RIPOSTE_WORKERS"], ready["RIPOSTE_LISTENERS"]),
                         ("6", "1", "1"))
        self.assertIn(ready["RIPOSTE_BACKEND"], ready["MESSAGE"])
        self.assertEqual(self.event("listening")["RIPOSTE_LISTENER"],
                         f"hello on tcp://127.0.0.1:{first}")
        self.assertGreater(int(self.event("memory_bound")["RIPOSTE_MEMORY_BYTES"]), 1 << 24)

        client = self.connect(("127.0.0.1", first))
        client.send(GREETING[:5])
        self.assertEqual(receive_all(client), ANSWER)
        refused = self.connect(("127.0.0.1", first))  # the first one lingers until it is closed
        refused.send(b"x")
        with self.assertRaises((ConnectionError, AssertionError)):
            self.assertEqual(receive_all(refused), ANSWER)
        peer = "127.0.0.1:%d" % client.getsockname()[1]
        entry = self.event("connection_refused")
        self.assertEqual(entry["RIPOSTE_LISTENER"], f"hello on tcp://127.0.0.1:{first}")
        self.assertEqual(entry["RIPOSTE_REASON"], "over_source")
        self.assertIn("its source has reached 'connections_per_source'", entry["MESSAGE"])
        client.close()
        entry = self.event("access_connection")
        self.assertEqual((entry["RIPOSTE_PEER"], entry["RIPOSTE_RECEIVED_BYTES"],
                          entry["RIPOSTE_SENT_BYTES"], entry["RIPOSTE_SERVICE"], entry["RIPOSTE_CONTENT"],
                          entry["RIPOSTE_END"]), (peer, "5", "18", "hello", "Hello", "finished"))

        daemon.write_config(listen_section("echo", f"udp://127.0.0.1:{second}") + access)
        daemon.signal(signal.SIGHUP)
        self.assertEqual(self.event("reload_done")["RIPOSTE_LISTENERS"], "1")
        self.assertEqual(self.event("not_listening")["RIPOSTE_LISTENER"],
                         f"hello on tcp://127.0.0.1:{first}")
        asker = self.datagram_socket()
        for _ in range(5):
            asker.sendto(b"datagram", ("127.0.0.1", second))
            asker.recv(100)
        self.event("access_left_out")

        daemon.write_config("workers = 2\n[[lisen]]\n")
        daemon.signal(signal.SIGHUP)
        entry = self.event("reload_failed")
        self.assertEqual((entry["PRIORITY"], entry["RIPOSTE_FILE"], entry["RIPOSTE_LINE"],
                          entry["RIPOSTE_COLUMN"]), ("3", daemon.config_path, "2", "3"))
        self.assertTrue(entry["MESSAGE"].endswith(entry["RIPOSTE_ERROR"]))
        daemon.write_config("workers = 2\n" + old)
        daemon.signal(signal.SIGHUP)
        self.event("restart_needed")
        self.event("reload_done", 2)

        daemon.signal(signal.SIGUSR1)
        self.event("statistics")
        daemon.stop()
        self.assertEqual(self.event("draining")["RIPOSTE_SIGNAL"], "SIGTERM")
        self.event("stopped")

    def test_a_failed_start_is_logged_with_its_exit_status(self):
        daemon = self.start(config="colour = 1\n")
        daemon.fails(78)
        entry = self.event("start_failed")
        self.assertEqual((entry["RIPOSTE_EXIT"], entry["RIPOSTE_LINE"], entry["PRIORITY"]),
                         ("78", "1", "3"))

    def test_a_reason_is_one_word_and_the_message_says_why(self):
        for_another = {"LISTEN_FDS": "1", "LISTEN_PID": "1"}
        daemon = self.start("--listen", "echo=tcp://127.0.0.1:0", environment=for_another)
        entry = self.event("wrong_process")
        self.assertEqual(entry["RIPOSTE_REASON"], "sockets")
        self.assertIn("LISTEN_FDS=1 is for process 1 ", entry["MESSAGE"])
        self.event("ready")
        daemon.stop()

    def test_a_low_descriptor_limit_is_logged(self):
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 1000000:
            self.skipTest("more than a million descriptors may be open")
        daemon = self.start("--listen", "echo=tcp://127.0.0.1:0", config="[limits]\nconnections = 1000000\n")
        self.event("ready")
        self.assertEqual(self.event("descriptors_few")["RIPOSTE_CONNECTIONS"], "1000000")
        daemon.stop()
