"""No client is refused, whatever happens to the service: 300 connections and 300 datagrams a second, and
20 long conversations, across restarts, reloads, crashes, a hang, bad files and upgrades."""

import os
import re

import pytest

from installed import CONFIG, ECHO_CONNECTIONS, Installed, package, repacked
from machine import await_true

pytestmark = pytest.mark.timeout(600)

#: A few repetitions find most faults; RIPOSTE_STORMS=full, of `./dev test --all`, does more.
RESTARTS, RELOADS, KILLS = (20, 10, 20) if os.environ.get("RIPOSTE_STORMS") == "full" else (6, 4, 6)
#: The datagrams that a process may hold when it is killed: its buffers for them (worker_thread.h).
DATAGRAMS_IN_HAND = 128
#: The results that a client may see when the process ends in the middle of its conversation.
CUT = {"hello reset", "hello unanswered", "echo reset", "echo finished", "datagram lost"}


class Continuity(Installed):
    def setUp(self):
        super().setUp()
        self.busy = self.traffic()

    def assert_only_cut(self, books, phase, ends):
        """Checks a phase in which the process ended abruptly `ends` times: only what it was handling then may be
        lost; no client was refused, and nothing was wrong."""
        cut = {name: books[phase].pop(name, 0) for name in CUT}
        self.assertLessEqual(cut["datagram lost"], ends * DATAGRAMS_IN_HAND)
        self.assertLessEqual(cut["echo reset"] + cut["echo finished"], ends * ECHO_CONNECTIONS)
        # Each interrupted conversation was begun again.
        again = sum(counts.get("echo connected", 0) for counts in books.values()) - ECHO_CONNECTIONS
        self.assertEqual(again, cut["echo reset"] + cut["echo finished"])
        self.assert_fine(books, connected=ECHO_CONNECTIONS + again)

    def add_fault(self):
        """Makes the file invalid; returns the position that the error message must have."""
        text = self.config + "\n[limit]\n"
        self.machine.write(CONFIG, text)
        return f"{CONFIG}:{text.splitlines().index('[limit]') + 1}:"

    def await_status(self, pattern):
        await_true(lambda: re.search(pattern, self.status_text()), f"{pattern!r} in the status")

    def test_repeated_restarts_lose_nothing(self):
        self.busy.phase("restarts")
        for _ in range(RESTARTS):
            self.machine.systemctl("restart", "riposted.service")
            self.busy.progress()
        self.assert_fine(self.books(self.busy))
        self.assert_sockets_well()

    def test_alternating_valid_and_invalid_reloads_lose_nothing(self):
        pid = self.main_pid()
        self.busy.phase("reloads")
        for number in range(RELOADS // 2):
            fault = self.add_fault()
            failed = self.machine.systemctl("reload", "riposted.service", check=False)
            self.assertNotEqual(failed.returncode, 0)
            self.await_status(rf"reload failed: {fault}\d+: ")
            self.busy.progress()
            limit = f"[limits]\nconnections = {8000 + number}\n"
            self.machine.write(CONFIG, self.config.replace("[limits]\n", limit))
            self.machine.systemctl("reload", "riposted.service")
            self.await_status(r"^[^;]*$")
            self.busy.progress()
        self.assert_fine(self.books(self.busy))
        self.assertEqual(self.main_pid(), pid)
        self.assertEqual(len(self.own_messages("^reloaded: ")), RELOADS // 2)
        self.assert_sockets_well()

    def test_repeated_kills_refuse_no_client(self):
        self.busy.phase("kills")
        for _ in range(KILLS):
            pid = self.main_pid()
            self.machine.run("sh", "-c", f"kill -KILL {pid}")
            self.await_active(pid)
            self.busy.progress()
        self.assert_only_cut(self.books(self.busy), "kills", KILLS)
        self.assertEqual(self.machine.show("riposted.service", "NRestarts"), str(KILLS))
        self.assert_sockets_well()

    def test_the_watchdog_ends_a_hang_and_no_client_is_refused(self):
        # Shorter than the packaged 30s, so that the test takes less time.
        self.drop_in("[Service]\nWatchdogSec=2s\n")
        self.machine.systemctl("restart", "riposted.service")
        self.busy.phase("hang")
        pid = self.main_pid()
        self.machine.run("sh", "-c", f"kill -STOP {pid}")
        self.await_active(pid)
        self.busy.progress()
        self.assert_only_cut(self.books(self.busy), "hang", 1)
        messages = [entry["MESSAGE"] for entry in self.journal_since()]
        self.assertTrue(any("Watchdog timeout" in message for message in messages), messages)
        self.assert_sockets_well()

    def test_a_restart_with_an_invalid_file_delays_clients_and_refuses_none(self):
        fault = self.add_fault()
        self.busy.phase("bad file")
        failed = self.machine.systemctl("restart", "riposted.service", check=False)
        self.assertNotEqual(failed.returncode, 0)
        # More attempts than systemd's default limits allow, with a packet waiting at each of them.
        await_true(lambda: int(self.machine.show("riposted.service", "NRestarts")) > 6, "seven tries")
        self.assert_sockets_well()
        await_true(lambda: len(self.own_messages(f"^{fault}")) > 6, "seven lines in the journal")
        # Attempts are RestartSec= apart, however many packets wait. (On a busy machine one line may be logged
        # late, but not all of them.)
        tries = [int(entry["__MONOTONIC_TIMESTAMP"]) for entry in self.journal_since()
                 if "Scheduled restart job" in entry["MESSAGE"]]
        self.assertGreaterEqual(tries[-1] - tries[0], 400_000 * (len(tries) - 1))
        self.machine.write(CONFIG, self.config)
        self.await_active()
        self.busy.progress()
        self.assert_fine(self.books(self.busy))
        self.assert_sockets_well()

    def test_another_port_is_opened_without_closing_the_others(self):
        self.addCleanup(self.machine.systemctl, "stop", "riposted-discard.socket")
        self.busy.phase("another port")
        self.machine.systemctl("restart", "riposted-discard.socket")
        self.busy.progress()
        await_true(lambda: "6 listeners" in self.status_text(), "six listeners")
        self.assert_fine(self.books(self.busy))
        self.assert_sockets_well()

    def test_an_upgrade_and_a_downgrade_lose_nothing(self):
        since = self.machine.show("riposted.socket", "ActiveEnterTimestampMonotonic")
        packaged = package("riposted")
        for phase, deb in (("upgrade", repacked(packaged, "99.0", self.scratch)),
                           ("downgrade", packaged)):
            pid = self.main_pid()
            self.busy.phase(phase)
            self.machine.run("dpkg", "--force-downgrade", "-i", self.machine.copy_in(deb))
            self.await_active(pid)
            program = os.readlink(f"/proc/{self.machine.leader}/root/proc/{self.main_pid()}/exe")
            self.assertEqual(program, "/usr/bin/riposted")  # "(deleted)" would be the previous one
            self.busy.progress()
        self.assert_fine(self.books(self.busy))
        self.assertEqual(self.machine.show("riposted.socket", "ActiveEnterTimestampMonotonic"), since)
        self.assert_sockets_well()
