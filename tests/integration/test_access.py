"""Who may use a listener: `allow` and `deny`, over TCP and UDP, IPv4, IPv6 and both on one socket."""

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

    def assert_let_in(self, address, source=None):
        client = self.connect(address, source=source)
        client.sendall(b"let in")
        self.assertEqual(receive_exactly(client, 6), b"let in")
        return client

    def assert_refused(self, address, source=None):
        """Closed, and without a byte."""
        client = self.connect(address, source=source)
        try:
            client.sendall(b"x")
            self.assertEqual(receive_all(client), b"")
        except (ConnectionResetError, BrokenPipeError):
            pass
        client.close()

    def asker(self, source):
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
    def test_who_is_denied_is_closed_without_a_byte_and_counted(self):
        self.start(section(["tcp://127.0.0.1:0"], deny=["127.0.0.66", "127.1.0.0/16"]))
        address = ("127.0.0.1", self.subject.port("echo", "tcp"))
        self.assert_let_in(address)
        for source in ("127.0.0.66", "127.1.0.0", "127.1.255.255"):
            self.assert_refused(address, source)
        for source in ("127.0.0.65", "127.0.0.67", "127.0.255.255", "127.2.0.0"):
            self.assert_let_in(address, source)
        self.assertIn("; 3 denied", self.statistics())

    def test_a_service_that_speaks_first_says_nothing_to_them(self):
        self.start(section(["tcp://127.0.0.1:0"], allow=["127.0.0.2"], service="daytime"))
        address = ("127.0.0.1", self.subject.port("daytime", "tcp"))
        self.assert_refused(address)
        self.assertNotEqual(receive_all(self.connect(address, source="127.0.0.2")), b"")

    def test_they_take_no_slot(self):
        self.start(section(["tcp://127.0.0.1:0"], deny=["127.0.0.66"]) + "[limits]\nconnections = 1\n")
        address = ("127.0.0.1", self.subject.port("echo", "tcp"))
        for _ in range(5):
            self.assert_refused(address, "127.0.0.66")
        self.assert_let_in(address)
        self.assertIn("connections 1 open, 1 accepted", self.statistics())

    def test_the_longest_prefix_decides_and_of_equal_ones_deny(self):
        self.start(section(["tcp://127.0.0.1:0"],
                           allow=["127.0.0.0/16", "127.0.5.6", "127.0.7.0/24"],
                           deny=["127.0.5.0/24", "127.0.7.0/24"]))
        address = ("127.0.0.1", self.subject.port("echo", "tcp"))
        for source in ("127.0.0.1", "127.0.4.255", "127.0.5.6", "127.0.6.0"):
            self.assert_let_in(address, source)
        for source in ("127.1.0.1", "127.0.5.5", "127.0.5.7", "127.0.7.1"):
            self.assert_refused(address, source)

    @needs_ipv6
    def test_ipv6_and_ipv4_over_one_dual_stack_socket(self):
        """IPv4 comes there v4-mapped, and the lists may be written either way."""
        for allow, ipv4, ipv6 in ((["127.0.0.0/8"], True, False), (["::1"], False, True),
                                  (["::ffff:127.0.0.0/104"], True, False),
                                  (["::/0"], False, True), (["0.0.0.0/0"], True, False),
                                  (["0.0.0.0/0", "::1/128"], True, True)):
            self.start(section(["tcp://*:0"], allow=allow))
            port = self.subject.port("echo", "tcp")
            for host, let_in in (("127.0.0.1", ipv4), ("::1", ipv6)):
                with self.subTest(allow=allow, host=host):
                    (self.assert_let_in if let_in else self.assert_refused)((host, port))

    def test_the_log_line_is_limited(self):
        self.start(section(["tcp://127.0.0.1:0"], deny=["127.0.0.66"]))
        address = ("127.0.0.1", self.subject.port("echo", "tcp"))
        for _ in range(50):
            self.assert_refused(address, "127.0.0.66")
        self.assertIn("; 50 denied", self.statistics())
        lines = self.subject.lines("refused a connection from 127.0.0.66:.*'allow' and 'deny'")
        self.assertGreaterEqual(len(lines), 1)
        self.assertLess(len(lines), 50)

    @needs_systemd
    def test_inherited_sockets_take_the_lists_of_the_first_section_of_their_service(self):
        listener = self.keep(socket.create_server(("127.0.0.1", 0)))
        self.start(section(["tcp://127.0.0.1:0"], deny=["127.0.0.65"], service="discard") +
                   section(["tcp://127.0.0.1:0"], deny=["127.0.0.66"]) +
                   section(["tcp://127.0.0.1:0"], deny=["127.0.0.67"]),
                   sockets=[(listener, "echo")])
        address = listener.getsockname()
        self.assert_refused(address, "127.0.0.66")
        for source in ("127.0.0.65", "127.0.0.67"):
            self.assert_let_in(address, source)


class Datagrams(AccessTest):
    def test_who_is_denied_gets_no_answer_and_is_counted(self):
        self.start(section(["udp://127.0.0.1:0"], deny=["127.0.0.66"]))
        address = ("127.0.0.1", self.subject.port("echo", "udp"))
        denied = self.asker("127.0.0.66")
        others = [self.asker(source) for source in ("127.0.0.65", "127.0.0.67")]
        for _ in range(5):
            denied.sendto(b"a question", address)
        for other in others:  # whoever is answered came behind them
            self.assert_answered(other, address)
        self.assertIn("; 5 datagrams denied", self.statistics())
        self.assert_silent(denied, self.subject)

    @needs_ipv6
    def test_ipv6_and_ipv4_over_one_dual_stack_socket(self):
        for allow, let_in, denied in ((["::1"], "::1", "127.0.0.1"), (["127.0.0.1"], "127.0.0.1", "::1")):
            self.start(section(["udp://*:0"], allow=allow))
            port = self.subject.port("echo", "udp")
            silent = self.asker(denied)
            silent.sendto(b"a question", (denied, port))
            self.assert_answered(self.asker(let_in), (let_in, port))
            self.assert_silent(silent, self.subject)


class Reload(AccessTest):
    def reload(self, config):
        self.reloads = getattr(self, "reloads", 0) + 1
        self.subject.write_config(config)
        self.subject.signal(signal.SIGHUP)
        self.subject.wait_log("^riposted: reloaded: ", count=self.reloads)

    def test_new_lists_hold_for_whoever_comes_and_harm_nobody_who_is_there(self):
        # The address must be the same one for the listener to stay.
        port = free_port()
        tcp, udp = [f"tcp://127.0.0.1:{port}"], [f"udp://127.0.0.1:{port}"]
        address = ("127.0.0.1", port)
        self.start(section(tcp) + section(udp))
        asker = self.asker("127.0.0.66")
        there = self.assert_let_in(address, "127.0.0.66")
        self.assert_answered(asker, address)
        self.reload(section(tcp, deny=["127.0.0.66"]) + section(udp, deny=["127.0.0.66"]))
        there.sendall(b"still")
        self.assertEqual(receive_exactly(there, 5), b"still")
        self.assert_refused(address, "127.0.0.66")
        self.assert_let_in(address, "127.0.0.67")
        asker.sendto(b"a question", address)
        self.assert_answered(self.asker("127.0.0.67"), address)
        self.assert_silent(asker, self.subject)
        self.reload(section(tcp) + section(udp))
        self.assert_let_in(address, "127.0.0.66")
        self.assert_answered(asker, address)
        there.sendall(b"to the end")
        there.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(there), b"to the end")


class Check(AccessTest):
    def test_a_prefix_that_is_none_is_refused_by_name_and_place(self):
        daemon = self.daemon(config=section(["tcp://127.0.0.1:0"], deny=["127.0.0.300"]), ready=False)
        self.assertRegex(daemon.fails(78), r"riposted.toml:5:\d+: '127.0.0.300' is no prefix")
