"""Authenticated questions to the reflector of STAMP."""

import hmac
import os
import struct
import time

import pytest

from stamp_keys import KEY, key_file
from stamp_questions import MULTIPLIER_1, SSID, StampTest, ntp, question
from statistics_line import counted

pytestmark = pytest.mark.backends


class Authenticated(StampTest):
    def config(self, path, more=""):
        return f'[[listen]]\nservice = "stamp"\naddress = "127.0.0.1:0"\nkey_file = "{path}"\n{more}'

    def signed(self, sequence, key=KEY, ssid=SSID):
        base = (struct.pack("!I", sequence) + bytes(12) + struct.pack("!QHH", ntp(time.time()), MULTIPLIER_1, ssid)
                + bytes(68))
        return base + hmac.digest(key, base, "sha256")[:16]

    def serve_with(self, config):
        daemon = self.daemon(config=config)
        return daemon, ("127.0.0.1", daemon.port("stamp", "udp"))

    def test_a_signed_question_gets_a_signed_answer_once(self):
        daemon, address = self.serve_with(self.config(key_file(self, KEY.hex().encode() + b"\n")))
        client = self.datagram_socket()
        sent = self.signed(5)
        client.sendto(sent, address)
        reply = client.recv(200)
        self.assertEqual(len(reply), 112)
        self.assertEqual(reply[96:], hmac.digest(KEY, reply[:96], "sha256")[:16])
        self.assertEqual((reply[48:52], reply[64:72]), (sent[:4], sent[16:24]))
        client.sendto(sent, address)
        client.sendto(reply, address)
        self.assert_silent(client, daemon)
        counts = counted(daemon)
        self.assertEqual(counts["authenticated questions seen before, or too old"], 1)
        self.assertEqual(counts["answers of other reflectors"], 1)

    def test_questions_without_a_valid_hmac_are_dropped_or_answered_openly(self):
        path = key_file(self, KEY.hex().encode())
        daemon, address = self.serve_with(self.config(path))
        client = self.datagram_socket()
        client.sendto(question(), address)
        client.sendto(self.signed(0, key=bytes(32)), address)
        self.assert_silent(client, daemon)
        self.assertEqual(counted(daemon)["questions without a valid HMAC"], 2)
        self.reload(daemon, self.config(path, 'authenticated = "accepted"\n'))
        self.assertEqual(self.ask(client, address).sequence, 0)
        client.sendto(self.signed(1), address)
        self.assertEqual(len(client.recv(200)), 112)

    def test_a_reload_reads_the_key_again(self):
        path = key_file(self, bytes(32).hex().encode())
        daemon, address = self.serve_with(self.config(path))
        client = self.datagram_socket()
        with open(path, "wb") as file:
            file.write(KEY.hex().encode())
        self.reload(daemon, self.config(path))
        client.sendto(self.signed(1), address)
        self.assertEqual(len(client.recv(200)), 112)

    def test_a_credential_of_systemd_is_a_key(self):
        path = key_file(self, KEY.hex().encode(), 0o400, "stamp")
        daemon = self.daemon(config=self.config("stamp"), environment={"CREDENTIALS_DIRECTORY": os.path.dirname(path)})
        client = self.datagram_socket()
        client.sendto(self.signed(1), ("127.0.0.1", daemon.port("stamp", "udp")))
        self.assertEqual(len(client.recv(200)), 112)

    def test_a_bad_key_file_is_refused_with_its_reason(self):
        for path, reason in (
                (key_file(self, bytes(32).hex().encode(), 0o604), "every user may read or write it"),
                (key_file(self, b"short"), "the key has 5 bytes, and must have at least 16"),
                (key_file(self, b"x" * 5000), "larger than 4KiB"),
                ("/nowhere/key", "No such file or directory"),
                ("/proc", "Is a directory"),
                ("stamp", "systemd passed no credentials")):
            daemon = self.daemon(config=self.config(path), ready=False)
            daemon.expected = (78,)
            self.assertEqual(daemon.wait(), 78, path)
            self.assertIn(reason, daemon.log())
