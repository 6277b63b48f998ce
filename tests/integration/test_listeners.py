"""Listening sockets: bound by the daemon or inherited, with one worker or several, and the messages on failure."""

import contextlib
import os
import re
import socket

import pytest

from daemon import (ANSWER, FEATURES, WAIT, RiposteTest, become_nobody, free_port, needs_ipv6, needs_root,
                    needs_systemd, receive_all, receive_exactly, refuse_ipv6_sockets)
from names import Names
from network import add_address, enter_network, ip

pytestmark = pytest.mark.backends


class Bound(RiposteTest):
    def test_several_addresses_and_services_in_one_process(self):
        daemon = self.daemon("--listen", "hello=tcp://127.0.0.1:0", "--listen", "echo=127.0.0.2:0",
                             "--listen", "echo=udp://127.0.0.3:0")
        self.assertEqual(sorted(address[:3] for address in daemon.addresses()),
                         [("echo", "tcp", "127.0.0.2"), ("echo", "udp", "127.0.0.2"),
                          ("echo", "udp", "127.0.0.3"), ("hello", "tcp", "127.0.0.1")])
        for service, transport, host, port in daemon.addresses():
            if transport == "tcp":
                client = self.connect((host, port))
                client.send(b"x")
                self.assertEqual(client.recv(100), ANSWER if service == "hello" else b"x")
            else:
                client = self.datagram_socket((host, 0))
                client.sendto(b"x", (host, port))
                self.assertEqual(client.recv(100), b"x")

    def test_a_host_name_is_resolved(self):
        daemon = self.daemon("--listen", "hello=tcp://localhost:0")
        self.assertTrue(daemon.addresses())
        for _, _, host, port in daemon.addresses():
            client = self.connect((host, port))
            client.send(b"x")
            self.assertEqual(receive_all(client), ANSWER)

    def test_the_ready_line_has_backend_workers_and_listeners(self):
        daemon = self.daemon("--listen", "hello=127.0.0.1:0")
        self.assertRegex(daemon.log(), r"(?m)^riposted: ready: backend (io_uring|epoll), 1 worker, "
                                       r"2 listeners$")

    def test_the_log_has_the_number_of_an_automatic_port(self):
        _, (_, port) = self.serve()
        self.assertGreater(port, 1023)

    def test_two_workers_serve_one_address(self):
        daemon, address = self.serve("echo", "--workers", "2")
        self.assertRegex(daemon.log(), r"ready: backend \w+, 2 workers, 1 listener\b")
        clients = [self.connect(address) for _ in range(64)]
        for client in clients:
            client.send(b"x")
        for client in clients:
            self.assertEqual(receive_exactly(client, 1), b"x")

    def test_workers_0_is_one_per_cpu(self):
        daemon, address = self.serve("echo", "--workers", "0")
        count = len(os.sched_getaffinity(0))
        self.assertRegex(daemon.log(), rf"ready: backend \w+, {count} workers?, ")
        client = self.connect(address)
        client.send(b"x")
        self.assertEqual(receive_exactly(client, 1), b"x")

    def test_every_descriptor_is_close_on_exec(self):
        daemon, address = self.serve("echo")
        client = self.connect(address)
        client.send(b"x")
        receive_exactly(client, 1)
        for fd, link in daemon.descriptors().items():
            if fd > 2:
                with (contextlib.suppress(FileNotFoundError),  # it may be closed meanwhile
                      open(f"/proc/{daemon.pid}/fdinfo/{fd}", encoding="ascii") as info):
                    flags = int(re.search(r"flags:\s+(\d+)", info.read())[1], 8)
                    self.assertTrue(flags & os.O_CLOEXEC, link)


class Refused(RiposteTest):
    """A failure prints one clear line and has the correct exit code."""

    def refused(self, status, pattern, *arguments, **options):
        daemon = self.daemon(*arguments, ready=False, **options)
        lines = daemon.fails(status).rstrip("\n").split("\n")
        self.assertRegex(lines[-1], "^riposted: ")
        self.assertRegex(lines[-1], pattern)
        errors = [line for line in lines if "listening:" not in line]
        self.assertEqual(len(errors), 1, lines)

    def test_a_port_in_use_names_the_address(self):
        for transport, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
            with socket.socket(socket.AF_INET, kind) as other:
                other.bind(("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    other.listen()
                port = other.getsockname()[1]
                self.refused(71, rf"127\.0\.0\.1:{port}.*in use",
                             "--listen", f"hello={transport}://127.0.0.1:{port}")

    def test_a_port_served_by_another_riposted_is_in_use_even_with_several_workers(self):
        for workers in ("1", "2"):
            _, (_, port) = self.serve("hello", "--workers", workers)
            self.refused(71, rf":{port}.*in use", "--workers", workers,
                         "--listen", f"hello=tcp://127.0.0.1:{port}")

    @needs_root
    def test_a_privileged_port_is_reported_as_a_permission_error(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            if int(file.read()) <= 7:
                self.skipTest("every port is unprivileged here")
        self.refused(77, r"127\.0\.0\.1:7\b.*(not permitted|[Pp]ermission|privileged)",
                     "--listen", "echo=tcp://127.0.0.1:7", in_child=become_nobody)

    def test_an_unknown_host_is_named(self):
        self.refused(78, r"no-such-host\.invalid", "--listen",
                     "hello=tcp://no-such-host.invalid:7001")

    def test_an_address_of_another_host_is_refused(self):
        self.refused(71, r"192\.0\.2\.1.*(assign|address)", "--listen", "hello=tcp://192.0.2.1:7001")


@needs_root
class WithoutIPv6(RiposteTest):
    """Where loopback, every interface or the kernel lacks IPv6."""

    def setUp(self):
        super().setUp()
        enter_network(self)

    @staticmethod
    def disable_ipv6(where):
        with open(f"/proc/sys/net/ipv6/conf/{where}/disable_ipv6", "w", encoding="ascii") as file:
            file.write("1")

    BOTH = ["127.0.0.2", "fd00::1"]

    def start(self, *arguments, **options):
        names = Names(self, {"localhost": ["127.0.0.1", "::1"], "both.test": self.BOTH})
        in_child = options.pop("in_child", lambda: None)
        return self.daemon(*arguments, in_child=lambda: (names.enter(), in_child()), **options)

    def answers(self, address):
        client = self.connect(address)
        client.send(b"x")
        self.assertEqual(receive_all(client), ANSWER)
        client.close()

    @needs_ipv6
    def test_without_ipv6_on_loopback_the_other_addresses_are_served(self):
        ip("link add one type veth peer name two")
        ip("link set one up")
        ip("link set two up")
        add_address("fd00::1/64", "one")
        self.disable_ipv6("lo")
        for workers in ("1", "2"):
            with self.subTest(workers=workers):
                daemon = self.start("--listen", "hello=tcp://*:0", "--listen", "hello=tcp://both.test:0",
                                    "--listen", "hello=tcp://localhost:0", "--workers", workers)
                hosts = [address[2] for address in daemon.addresses()]
                self.assertEqual(sorted(hosts), ["*", "127.0.0.1", "127.0.0.2", "fd00::1"])
                for _, _, host, port in daemon.addresses():
                    if host != "fd00::1":  # a route to it from here would use loopback
                        self.answers(("127.0.0.1" if host == "*" else host, port))
                self.assertEqual(len(daemon.lines("warning: .*: no IPv6 here")), 1)
                daemon.wait_log(r"tcp://localhost:0: no IPv6 here \(Cannot assign requested address\): "
                                r"\[::1\]:\d+ is left out$")
                daemon.stop()

    @needs_ipv6
    def test_without_ipv6_on_any_interface_names_mean_their_ipv4_addresses(self):
        self.disable_ipv6("all")
        daemon = self.start("--listen", "hello=tcp://*:0", "--listen", "hello=tcp://both.test:0")
        for _, _, host, port in daemon.addresses():
            self.answers(("127.0.0.1" if host in ("*", "0.0.0.0") else host, port))
        self.assertEqual(daemon.addresses()[1][2], "127.0.0.2")
        daemon.wait_log(r"tcp://both\.test:0: no IPv6 here \(.*\): \[fd00::1\]:\d+ is left out$")

    def test_without_ipv6_in_the_kernel_ipv4_is_served_with_a_warning(self):
        metrics = free_port()
        daemon = self.start("--listen", "hello=tcp://*:0", in_child=refuse_ipv6_sockets,
                            config=f"[metrics]\nlisten = ['tcp://*:{metrics}']\n")
        _, _, host, port = daemon.addresses()[0]
        self.assertEqual(host, "0.0.0.0")
        self.answers(("127.0.0.1", port))
        what = r"no IPv6 here \(Address family not supported by protocol\): IPv4 alone is served$"
        daemon.wait_log(r"^riposted: warning: \S+: tcp://\*:0: " + what)
        daemon.wait_log(rf"^riposted: warning: metrics on tcp://0\.0\.0\.0:{metrics}: " + what)
        self.connect(("127.0.0.1", metrics))

    def test_an_ipv6_address_is_refused_by_name_without_ipv6(self):
        daemon = self.start("--listen", "hello=tcp://[::1]:0", in_child=refuse_ipv6_sockets, ready=False)
        self.assertIn("tcp://[::1]:0: address family not supported", daemon.fails(71))

    @needs_ipv6
    def test_an_ipv6_address_of_another_host_is_not_reported_as_missing_ipv6(self):
        daemon = self.start("--listen", "hello=tcp://both.test:0", ready=False)
        self.assertIn("address not available", daemon.fails(71))


class Usage(RiposteTest):
    def test_unknown_options_exit_with_2_and_one_line(self):
        for arguments in (("--listen", "helo=tcp://127.0.0.1:0"), ("--listen", "hello=tcp://127.0.0.1"),
                          ("--listen", "hello"), ("--listen", "hello=tcp://:0"),
                          ("--listen", "hello=tcp://127.0.0.1:70000"), ("--workers", "-1"),
                          ("--workers", "many"), ("--log-level", "loud"), ("--no-such-flag",),
                          ("--backend", "iouring")):
            daemon = self.daemon(*arguments, ready=False,
                                 backend=None if arguments[0] == "--backend" else "epoll")
            log = daemon.fails(2)
            self.assertEqual(log.count("\n"), 1, log)
            self.assertRegex(log, "^riposted: ")

    def test_an_unknown_service_name_suggests_the_nearest_one(self):
        daemon = self.daemon("--listen", "helo=tcp://127.0.0.1:0", ready=False)
        self.assertRegex(daemon.fails(2), "hello")


def listening(family=socket.AF_INET, host="127.0.0.1"):
    server = socket.socket(family, socket.SOCK_STREAM)
    server.bind((host, 0))
    server.listen(128)
    return server


def bound(host="127.0.0.1", family=socket.AF_INET):
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((host, 0))
    return server


@needs_systemd
class Inherited(RiposteTest):
    """LISTEN_FDS: sockets by name and type, starting at descriptor 3."""

    def check_stream(self, server, service):
        client = self.connect(server.getsockname()[:2])
        client.send(b"x")
        if service == "hello":
            self.assertEqual(receive_all(client), ANSWER)
        elif service == "echo":
            self.assertEqual(receive_exactly(client, 1), b"x")
        client.close()

    def check_datagram(self, server):
        client = self.datagram_socket((server.getsockname()[0], 0))
        client.sendto(b"x", server.getsockname()[:2])
        answer, source = client.recvfrom(10)
        self.assertEqual((answer, source[:2]), (b"x", server.getsockname()[:2]))

    def test_stream_and_datagram_sockets_in_one_process_by_name(self):
        sockets = [(self.keep(listening()), "hello"), (self.keep(bound()), "hello"),
                   (self.keep(listening()), "echo"), (self.keep(bound()), "echo")]
        daemon = self.daemon(sockets=sockets)
        self.assertEqual(len(daemon.addresses()), 4)
        for server, name in sockets:
            if server.type == socket.SOCK_STREAM:
                self.check_stream(server, name)
            else:
                self.check_datagram(server)

    def test_unnamed_sockets_and_those_named_after_the_unit_serve_hello(self):
        for name in ("unknown", "", "riposted.socket"):
            server = self.keep(listening())
            self.daemon(sockets=[(server, name)])
            self.check_stream(server, "hello")

    def test_inherited_sockets_replace_configured_listeners(self):
        server = self.keep(listening())
        daemon = self.daemon("--listen", "echo=tcp://127.0.0.1:0", sockets=[(server, "hello")])
        self.assertEqual([address[0] for address in daemon.addresses()], ["hello"])
        self.check_stream(server, "hello")

    def test_a_message_in_the_file_applies_to_an_inherited_socket(self):
        server = self.keep(listening())
        self.daemon(sockets=[(server, "hello")], config="""
            [[listen]]
            service = "hello"
            address = "tcp://127.0.0.1:7001"
            message = "inherited"
            """)
        client = self.connect(server.getsockname())
        client.send(b"x")
        self.assertEqual(receive_all(client), b"inherited")

    @needs_ipv6
    def test_ipv6_sockets(self):
        server = self.keep(listening(socket.AF_INET6, "::1"))
        datagram = self.keep(bound("::1", socket.AF_INET6))
        self.daemon(sockets=[(server, "hello"), (datagram, "hello")])
        self.check_stream(server, "hello")
        self.check_datagram(datagram)

    def test_a_datagram_socket_bound_to_all_addresses_answers_from_the_asked_one(self):
        server = self.keep(bound("0.0.0.0"))
        self.daemon(sockets=[(server, "echo")])
        client = self.datagram_socket(("0.0.0.0", 0))
        client.sendto(b"x", ("127.0.0.4", server.getsockname()[1]))
        self.assertEqual(client.recvfrom(10)[1][0], "127.0.0.4")

    def test_two_workers_share_an_inherited_socket(self):
        server, datagram = self.keep(listening()), self.keep(bound())
        self.daemon("--workers", "2", sockets=[(server, "echo"), (datagram, "echo")])
        clients = [self.connect(server.getsockname()) for _ in range(64)]
        for client in clients:
            client.send(b"x")
        for client in clients:
            self.assertEqual(receive_exactly(client, 1), b"x")
        for _ in range(10):
            self.check_datagram(datagram)

    def test_connections_queued_before_the_start_are_served(self):
        server = self.keep(listening())
        clients = [self.connect(server.getsockname()) for _ in range(20)]
        for client in clients:
            client.send(b"x")
        self.daemon(sockets=[(server, "hello")])
        for client in clients:
            self.assertEqual(receive_all(client), ANSWER)

    def test_an_inherited_listener_outlives_the_daemon(self):
        """The daemon never shuts it down: other processes that hold it, or the next daemon, can continue to use it."""
        server = self.keep(listening())
        for _ in range(3):
            daemon = self.daemon(sockets=[(server, "hello")])
            self.check_stream(server, "hello")
            daemon.stop()
        client = self.connect(server.getsockname())  # no process serves it now, but it still listens
        server.settimeout(WAIT)
        server.accept()[0].close()
        client.close()

    def test_an_unknown_socket_name_is_reported(self):
        daemon = self.daemon(sockets=[(self.keep(listening()), "gopher")], ready=False)
        log = daemon.fails(78)
        self.assertRegex(log, "gopher")
        self.assertRegex(log, "hello")  # a known name, as a hint
        self.assertEqual(log.count("\n"), 1, log)

    def test_an_unsupported_socket_type_is_reported(self):
        server = self.keep(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        daemon = self.daemon(sockets=[(server, "echo")], ready=False)
        self.assertEqual(daemon.fails(78).count("\n"), 1)

    def test_a_stream_socket_that_does_not_listen_is_reported(self):
        server = self.keep(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        server.bind(("127.0.0.1", 0))
        daemon = self.daemon(sockets=[(server, "echo")], ready=False)
        self.assertRegex(daemon.fails(78), "listen")

    def test_a_descriptor_that_is_no_socket_is_reported(self):
        with open("/dev/null", "rb") as file:
            daemon = self.daemon(sockets=[(file, "echo")], ready=False)
            self.assertRegex(daemon.fails(78), "socket")

    def test_sockets_meant_for_another_process_are_not_used(self):
        daemon = self.daemon("--listen", "hello=tcp://127.0.0.1:0",
                             environment={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
        self.assertEqual(len(daemon.addresses()), 1)


if "systemd" not in FEATURES:

    class WithoutSystemd(RiposteTest):
        def test_inherited_sockets_are_refused_and_not_ignored(self):
            daemon = self.daemon(sockets=[(self.keep(listening()), "hello")], ready=False)
            self.assertRegex(daemon.fails(78), "LISTEN_FDS|systemd")
