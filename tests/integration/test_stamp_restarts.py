"""The sessions of the reflector of STAMP through restarts."""

import fcntl
import io
import os
import socket
import urllib.request

import pytest

from client import run_json
from daemon import WAIT
from manager import Manager
from stamp_questions import StampTest

pytestmark = pytest.mark.backends


class Restarts(StampTest):
    """Sessions live as long as the service manager keeps them."""

    def manager(self, **options):
        return Manager(self, services=(), datagrams=("stamp",), **options)

    def test_a_session_continues_in_the_next_process(self):
        manager = self.manager()
        manager.start()
        clients = [self.datagram_socket() for _ in range(20)]
        address = manager.address("stamp")
        for count in range(3):
            for client in clients:
                self.assertEqual(self.ask(client, address).sequence, count)
        for number, workers in enumerate((1, 4, 2)):
            daemon = manager.restart("--workers", str(workers))
            daemon.wait_log("^riposted: adopted 20 sessions of stamp$")
            self.assertEqual([name for name, _ in manager.stored], [])
            for client in clients:
                self.assertEqual(self.ask(client, address).sequence, 3 + number)

    def test_sessions_continue_on_sockets_of_our_own(self):
        manager = self.manager()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        listen = f"stamp=udp://127.0.0.1:{address[1]}"
        clients = [self.datagram_socket() for _ in range(20)]
        for count, workers in enumerate((3, 3, 1, 2)):
            if count:
                manager.stop()
            manager.start("--listen", listen, "--workers", str(workers), services=())
            for client in clients:
                self.assertEqual(self.ask(client, address).sequence, count)

    def test_the_number_of_sessions_in_use_is_reported_and_survives_a_restart(self):
        manager = self.manager()
        clients = [self.datagram_socket() for _ in range(30)]
        for workers, asking in ((1, 20), (3, 10), (2, 0), (2, 30)):
            if manager.daemons:
                manager.stop()
            daemon = manager.start("--workers", str(workers), config="[metrics]\nlisten = 'tcp://127.0.0.1:0'\n")
            address = ("127.0.0.1", daemon.port("metrics", "tcp"))
            if workers > 1:
                self.assertEqual(self.sessions(address)[0], 20)  # before any of them has asked again
            for client in clients[:asking]:
                self.ask(client, manager.address("stamp"))
            in_use, places = self.sessions(address)
            self.assertEqual(in_use, max(20, asking))
            self.assertGreaterEqual(places, 4096)
            limit, = [each for each in run_json("status", "-j", f"127.0.0.1:{address[1]}").json["limits"]
                      if each["name"] == "stamp_sessions"]
            self.assertEqual((limit["used"], limit["max"]), (in_use, places))

    @staticmethod
    def sessions(address):
        with urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/metrics", timeout=WAIT) as answer:
            samples = dict(line.split() for line in answer.read().decode().splitlines()
                           if line.startswith("riposte_sessions"))
        return tuple(int(samples[f'riposte_sessions{name}{{service="stamp"}}']) for name in ("", "_limit"))

    def test_without_sessions_nothing_is_stored(self):
        manager = self.manager()
        manager.start()
        manager.stop()
        self.assertEqual(manager.stored, [])

    def test_sessions_begin_anew_where_the_store_is_full_or_has_something_else(self):
        manager = self.manager(store=1)
        manager.start()
        client = self.datagram_socket()
        address = manager.address("stamp")
        self.assertEqual([self.ask(client, address).sequence for _ in range(3)], [0, 1, 2])
        manager.stop()
        other = os.memfd_create("other", os.MFD_ALLOW_SEALING)
        os.write(other, b"something else")
        fcntl.fcntl(other, fcntl.F_ADD_SEALS,
                    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
        manager.stored = [("stamp-sessions", io.FileIO(other))]
        daemon = manager.start()
        daemon.wait_log("^riposted: the sessions of stamp begin anew: another version of riposted wrote it$")
        self.assertEqual(manager.stored, [])
        self.assertEqual(self.ask(client, address).sequence, 0)
        manager.store_max = 0
        daemon = manager.restart()
        self.assertEqual(self.ask(client, address).sequence, 0)
