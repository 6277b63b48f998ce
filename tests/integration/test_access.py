"""`allow` and `deny` of a listener, over TCP and UDP, over IPv4, IPv6 and both on one socket."""

import signal
import socket

import pytest

from daemon import (RiposteTest, free_port, needs_ipv6, needs_systemd, receive_all,
                    receive_exactly)

pytestmark = pytest.mark.backends


def section(address, allow=(), deny=(), service="echo"):
    return (f"[[listen]]\nservice = '{service}'\naddress = {list(address)}\n"
            f"allow = {list(allow)}\ndeny = {list(deny)}\n")


class AccessTest(RiposteTest):
    def start(self, config, **options):
        self.subject = self.daemon(config=config, **options)
        return self.subject

    def assert_allowed(self, address, source=None):
        client = self.connect(address, source=source)
        client.sendall(b"let in")
        self.assertEqual(receive_exactly(client, 6), b"let in")
        return client

    def assert_refused(self, address, source=None):
        """The daemon closes the connection without sending a byte."""
        client = self.connect(address, source=source)
        try:
            client.sendall(b"x")
            self.assertEqual(receive_all(client), b"")
        except (ConnectionResetError, BrokenPipeError):
            pass
        client.close()

    def datagram_client(self, source):
        return self.datagram_socket((source, 0))

    def assert_answered(self, client, address):
        client.sendto(b"a question", address)
        self.assertEqual(client.recv(100), b"a question")

    def statistics(self):
        before = len(self.subject.lines("statistics: "))
        self.subject.signal(signal.SIGUSR1)
        self.subject.wait_log("^riposted: statistics: ", count=before + 1)
        return self.subject.lines("statistics: ")[-1]


class Streams(AccessTest):
    def test_a_denied_connection_is_closed_without_a_byte_and_counted(self):
        self.start(section(["tcp://127.0.0.1:0"], deny=["127.0.0.66", "127.1.0.0/16"]))
        address = ("127.0.0.1", self.subject.port("echo", "tcp"))
        self.assert_allowed(address)
        for source in ("127.0.0.66", "127.1.0.0", "127.1.255.255"):
            self.assert_refused(address, source)
        for source in ("127.0.0.65", "127.0.0.67", "127.0.255.255", "127.2.0.0"):
            self.assert_allowed(address, source)
        self.assertIn("; 3 denied", self.statistics())

    def test_a_service_that_speaks_first_sends_nothing_to_a_denied_peer(self):
        self.start(section(["tcp://127.0.0.1:0"], allow=["127.0.0.2"], service="daytime"))
        address = ("127.0.0.1", self.subject.port("daytime", "tcp"))
        self.assert_refused(address)
        self.assertNotEqual(receive_all(self.connect(address, source="127.0.0.2")), b"")

    def test_denied_connections_take_no_slot(self):
        self.start(section(["tcp://127.0.0.1:0"], deny=["127.0.0.66"]) + "[limits]\nconnections = 1\n")
        address = ("127.0.0.1", self.subject.port("echo", "tcp"))
        for _ in range(5):
            self.assert_refused(address, "127.0.0.66")
        self.assert_allowed(address)
        self.assertIn("connections 1 open, 1 accepted", self.statistics())

    def test_the_longest_prefix_decides_and_deny_wins_a_tie(self):
        self.start(section(["tcp://127.0.0.1:0"],
                           allow=["127.0.0.0/16", "127.0.5.6", "127.0.7.0/24"],
                           deny=["127.0.5.0/24", "127.0.7.0/24"]))
        address = ("127.0.0.1", self.subject.port("echo", "tcp"))
        for source in ("127.0.0.1", "127.0.4.255", "127.0.5.6", "127.0.6.0"):
            self.assert_allowed(address, source)
        for source in ("127.1.0.1", "127.0.5.5", "127.0.5.7", "127.0.7.1"):
            self.assert_refused(address, source)

    @needs_ipv6
    def test_ipv6_and_ipv4_over_one_dual_stack_socket(self):
        """IPv4 peers appear there as v4-mapped addresses; the lists may be written either way."""
        for allow, ipv4, ipv6 in ((["127.0.0.0/8"], True, False), (["::1"], False, True),
                                  (["::ffff:127.0.0.0/104"], True, False),
                                  (["::/0"], False, True), (["0.0.0.0/0"], True, False),
                                  (["0.0.0.0/0", "::1/128"], True, True)):
            self.start(section(["tcp://*:0"], allow=allow))
            port = self.subject.port("echo", "tcp")
            for host, let_in in (("127.0.0.1", ipv4), ("::1", ipv6)):
                with self.subTest(allow=allow, host=host):
                    (self.assert_allowed if let_in else self.assert_refused)((host, port))

    def test_log_lines_about_denied_connections_are_rate_limited(self):
        self.start(section(["tcp://127.0.0.1:0"], deny=["127.0.0.66"]))
        address = ("127.0.0.1", self.subject.port("echo", "tcp"))
        for _ in range(50):
            self.assert_refused(address, "127.0.0.66")
        self.assertIn("; 50 denied", self.statistics())
        lines = self.subject.lines("refused a connection from 127.0.0.66:.*'allow' and 'deny'")
        self.assertGreaterEqual(len(lines), 1)
        self.assertLess(len(lines), 50)

    @needs_systemd
    def test_inherited_sockets_use_the_lists_of_the_first_section_of_their_service(self):
        listener = self.keep(socket.create_server(("127.0.0.1", 0)))
        self.start(section(["tcp://127.0.0.1:0"], deny=["127.0.0.65"], service="discard") +
                   section(["tcp://127.0.0.1:0"], deny=["127.0.0.66"]) +
                   section(["tcp://127.0.0.1:0"], deny=["127.0.0.67"]),
                   sockets=[(listener, "echo")])
        address = listener.getsockname()
        self.assert_refused(address, "127.0.0.66")
        for source in ("127.0.0.65", "127.0.0.67"):
            self.assert_allowed(address, source)


class Datagrams(AccessTest):
    def test_a_denied_peer_gets_no_reply_and_is_counted(self):
        self.start(section(["udp://127.0.0.1:0"], deny=["127.0.0.66"]))
        address = ("127.0.0.1", self.subject.port("echo", "udp"))
        denied = self.datagram_client("127.0.0.66")
        others = [self.datagram_client(source) for source in ("127.0.0.65", "127.0.0.67")]
        for _ in range(5):
            denied.sendto(b"a question", address)
        for other in others:  # sent last, so a reply to these means that the denied ones were processed
            self.assert_answered(other, address)
        self.assertIn("; 5 datagrams denied", self.statistics())
        self.assert_silent(denied, self.subject)

    @needs_ipv6
    def test_ipv6_and_ipv4_over_one_dual_stack_socket(self):
        for allow, let_in, denied in ((["::1"], "::1", "127.0.0.1"), (["127.0.0.1"], "127.0.0.1", "::1")):
            self.start(section(["udp://*:0"], allow=allow))
            port = self.subject.port("echo", "udp")
            silent = self.datagram_client(denied)
            silent.sendto(b"a question", (denied, port))
            self.assert_answered(self.datagram_client(let_in), (let_in, port))
            self.assert_silent(silent, self.subject)


class Reload(AccessTest):
    def reload(self, config):
        self.reloads = getattr(self, "reloads", 0) + 1
        self.subject.write_config(config)
        self.subject.signal(signal.SIGHUP)
        self.subject.wait_log("^riposted: reloaded: ", count=self.reloads)

    def test_reloaded_lists_apply_to_new_connections_and_leave_existing_ones_alone(self):
        # The address must be the same one for the listener to stay.
        port = free_port()
        tcp, udp = [f"tcp://127.0.0.1:{port}"], [f"udp://127.0.0.1:{port}"]
        address = ("127.0.0.1", port)
        self.start(section(tcp) + section(udp))
        datagram_client = self.datagram_client("127.0.0.66")
        there = self.assert_allowed(address, "127.0.0.66")
        self.assert_answered(datagram_client, address)
        self.reload(section(tcp, deny=["127.0.0.66"]) + section(udp, deny=["127.0.0.66"]))
        there.sendall(b"still")
        self.assertEqual(receive_exactly(there, 5), b"still")
        self.assert_refused(address, "127.0.0.66")
        self.assert_allowed(address, "127.0.0.67")
        datagram_client.sendto(b"a question", address)
        self.assert_answered(self.datagram_client("127.0.0.67"), address)
        self.assert_silent(datagram_client, self.subject)
        self.reload(section(tcp) + section(udp))
        self.assert_allowed(address, "127.0.0.66")
        self.assert_answered(datagram_client, address)
        there.sendall(b"to the end")
        there.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(there), b"to the end")


class Check(AccessTest):
    def test_an_invalid_prefix_is_reported_with_its_text_and_position(self):
        daemon = self.daemon(config=section(["tcp://127.0.0.1:0"], deny=["127.0.0.300"]), ready=False)
        self.assertRegex(daemon.fails(78), r"riposted.toml:5:\d+: '127.0.0.300' is not an address prefix")
