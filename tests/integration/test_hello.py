"""hello as its clients see it: plain sockets that follow the tutorial's description, and riposte."""

import signal
import socket
import subprocess
import sys

import pytest

from daemon import (ANSWER, GREETING, WAIT, RiposteTest, await_true, needs_ipv6, needs_program,
                    needs_root, receive_all, run_riposte)
from network import add_address, enter_network
from peers import closed_port

pytestmark = pytest.mark.backends

TUTORIAL_TCP_CLIENT = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
client.connect(("127.0.0.1", int(sys.argv[1])))
client.send(b"Hello, i'm client!")
print(client.recv(1024).decode())
client.close()
"""

TUTORIAL_UDP_CLIENT = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendto(b"Hello!", ("127.0.0.1", int(sys.argv[1])))
answer, server = client.recvfrom(200)
print(answer.decode(), server[0], server[1])
"""


def run_python(program, port):
    return subprocess.run([sys.executable, "-c", program, str(port)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=3 * WAIT, check=True).stdout


class Stream(RiposteTest):
    def test_a_client_that_never_closes_is_closed_after_the_linger_timeout(self):
        daemon, address = self.serve(config="[limits]\nlinger_timeout = '300ms'\n")
        before = daemon.fds()
        client = self.connect(address)
        client.sendall(GREETING)
        self.assertEqual(receive_all(client), ANSWER)  # up to our FIN; the client sends none
        await_true(lambda: daemon.fds() == before, "the connection is gone")
        daemon.signal(signal.SIGUSR1)
        daemon.wait_log(r"^riposted: statistics: .*; 1 linger timeouts")

    def test_a_client_that_closes_in_time_meets_no_linger_timeout(self):
        daemon, address = self.serve(config="[limits]\nlinger_timeout = '60s'\n")
        before = daemon.fds()
        client = self.connect(address)
        client.sendall(GREETING)
        self.assertEqual(receive_all(client), ANSWER)
        client.close()
        await_true(lambda: daemon.fds() == before, "the connection is gone")
        daemon.signal(signal.SIGUSR1)
        daemon.wait_log("^riposted: statistics: ")
        self.assertNotIn("linger", daemon.log())

    def test_the_tutorial_client_prints_the_answer(self):
        _, (_, port) = self.serve()
        self.assertEqual(run_python(TUTORIAL_TCP_CLIENT, port), "Hello, i'm server!\n")

    def test_one_recv_of_1024_returns_the_whole_reply_and_then_the_connection_is_finished(self):
        _, address = self.serve()
        client = self.connect(address)
        client.send(GREETING)
        self.assertEqual(client.recv(1024), ANSWER)
        self.assertEqual(client.recv(1024), b"")

    def test_a_client_that_is_silent_at_first_is_accepted_and_answered_later(self):
        daemon, address = self.serve()
        before = daemon.fds()
        client = self.connect(address)
        await_true(lambda: daemon.fds() > before, "the daemon has accepted it")
        client.send(GREETING)
        self.assertEqual(receive_all(client), ANSWER)

    def test_the_reply_and_its_end_come_in_one_segment(self):
        # SYN-ACK, the ACK of the request, and this one. With two segments for the reply they would be four.
        _, address = self.serve()

        def segments():
            client = self.connect(address)
            client.send(GREETING)
            self.assertEqual(receive_all(client), ANSWER)
            segs_in = 140  # in struct tcp_info
            info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, segs_in + 4)
            client.close()
            return int.from_bytes(info[segs_in:], sys.byteorder)
        await_true(lambda: segments() <= 3, "the reply and its end come in one segment")

    def test_an_urgent_byte_counts_as_a_request(self):
        _, address = self.serve("hello")
        client = self.connect(address)
        client.send(b"!", socket.MSG_OOB)
        self.assertEqual(receive_all(client), ANSWER)

    def test_it_answers_the_first_bytes_and_does_not_wait_for_more(self):
        _, address = self.serve()
        client = self.connect(address)
        client.send(b"H")
        self.assertEqual(receive_all(client), ANSWER)

    def test_a_client_that_half_closes_without_data_is_answered(self):
        _, address = self.serve()
        client = self.connect(address)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(client), ANSWER)

    def test_nothing_is_sent_before_the_client_sends(self):
        daemon, address = self.serve()
        before = daemon.fds()
        client = self.connect(address)
        await_true(lambda: daemon.fds() > before, "it is accepted")
        self.assert_silent(client, daemon)
        client.send(GREETING)
        self.assertEqual(receive_all(client), ANSWER)

    def test_a_client_that_writes_a_mebibyte_first_gets_the_reply_and_no_reset(self):
        daemon, address = self.serve(config="[limits]\nlinger_timeout = '10m'\n")
        for _ in range(5):
            client = self.connect(address)
            client.sendall(b"x" * (1 << 20))
            await_true(lambda: daemon.has_read_all(client), "all is read")
            self.assertEqual(receive_all(client), ANSWER)
            client.close()

    def test_a_client_that_keeps_writing_after_the_reply_gets_no_reset(self):
        daemon, address = self.serve(config="[limits]\nlinger_timeout = '10m'\n")
        client = self.connect(address)
        client.send(GREETING)
        self.assertEqual(receive_all(client), ANSWER)
        for _ in range(10):
            client.send(b"more")
            await_true(lambda: daemon.has_read_all(client), "it is read")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(1024), b"")

    def test_successive_connections_are_all_answered(self):
        daemon, address = self.serve()
        before = daemon.fds()
        for _ in range(300):
            client = self.connect(address)
            client.send(GREETING)
            self.assertEqual(receive_all(client), ANSWER)
            client.close()
        await_true(lambda: daemon.fds() <= before, "every descriptor is closed")

    def test_two_hundred_at_once_are_all_answered(self):
        daemon, address = self.serve()
        before = daemon.fds()
        clients = [self.connect(address) for _ in range(200)]
        for client in clients:
            client.send(GREETING)
        for client in reversed(clients):
            self.assertEqual(receive_all(client), ANSWER)
            client.close()
        await_true(lambda: daemon.fds() <= before, "every descriptor is closed")

    @needs_ipv6
    def test_it_answers_over_ipv6(self):
        _, address = self.serve(host="[::1]")
        client = self.connect(address)
        client.send(GREETING)
        self.assertEqual(receive_all(client), ANSWER)

    def test_the_configured_message_is_sent_byte_for_byte(self):
        message = "x" * 1000 + " \\u00e9 \\u0000 end"
        daemon = self.daemon(config=f"""
            [[listen]]
            service = "hello"
            address = "tcp://127.0.0.1:0"
            message = "{message}"
            """)
        client = self.connect(("127.0.0.1", daemon.port("hello", "tcp")))
        client.send(GREETING)
        self.assertEqual(receive_all(client), b"x" * 1000 + " é \0 end".encode())

    @needs_ipv6
    def test_all_addresses_means_ipv4_and_ipv6_and_every_local_address(self):
        daemon = self.daemon("--listen", "hello=tcp://*:0")
        port = daemon.port("hello", "tcp")
        for host in ("127.0.0.1", "127.0.0.2", "127.200.3.4", "::1"):
            client = self.connect((host, port))
            client.send(GREETING)
            self.assertEqual(receive_all(client), ANSWER, host)


class Datagram(RiposteTest):
    def test_the_tutorial_client_gets_its_datagram_from_the_address_that_it_asked(self):
        _, (_, port) = self.serve(transport="udp")
        self.assertEqual(run_python(TUTORIAL_UDP_CLIENT, port), f"Hello! 127.0.0.1 {port}\n")

    def check_address(self, host, port):
        client = self.datagram_socket(("::", 0) if ":" in host else ("0.0.0.0", 0))
        client.sendto(host.encode(), (host, port))
        answer, server = client.recvfrom(200)
        self.assertEqual(answer, host.encode())
        self.assertEqual(server[:2], (host, port))

    def test_bound_to_all_ipv4_addresses_it_answers_from_the_one_that_was_asked(self):
        daemon = self.daemon("--listen", "hello=udp://0.0.0.0:0")
        for host in ("127.0.0.1", "127.0.0.2", "127.1.2.3"):
            self.check_address(host, daemon.port("hello", "udp"))

    @needs_ipv6
    def test_bound_to_all_addresses_it_answers_from_the_one_that_was_asked(self):
        daemon = self.daemon("--listen", "hello=udp://*:0")
        for host in ("127.0.0.1", "127.0.0.2", "::1"):
            self.check_address(host, daemon.port("hello", "udp"))

    @needs_root
    @needs_program("ip")
    @needs_ipv6
    def test_the_reply_comes_from_the_ipv6_address_that_was_asked(self):
        enter_network(self)
        for host in ("fd00::1", "fd00::2"):
            add_address(f"{host}/128", "lo")
        daemon = self.daemon("--listen", "hello=udp://*:0")
        for host in ("::1", "fd00::1", "fd00::2"):
            self.check_address(host, daemon.port("hello", "udp"))


class Default(RiposteTest):
    """Other processes may use port 7001, so these tests run in a network namespace of their own."""

    @needs_root
    def test_by_default_hello_is_on_loopback_port_7001_over_tcp_and_udp(self):
        enter_network(self)
        daemon = self.daemon()
        self.assertEqual(sorted(daemon.addresses()), [("hello", "tcp", "127.0.0.1", 7001),
                                                      ("hello", "udp", "127.0.0.1", 7001)])
        self.assertEqual(run_python(TUTORIAL_TCP_CLIENT, 7001), "Hello, i'm server!\n")
        self.assertEqual(run_python(TUTORIAL_UDP_CLIENT, 7001), "Hello! 127.0.0.1 7001\n")
        self.assertEqual(run_riposte("send", "127.0.0.1").stdout, ANSWER)
        self.assertEqual(run_riposte("send", "-u", "127.0.0.1").stdout, b"Hello!")


class Client(RiposteTest):
    def test_riposte_prints_the_answer_byte_for_byte_over_tcp(self):
        _, (_, port) = self.serve()
        done = run_riposte("send", f"tcp://127.0.0.1:{port}")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, ANSWER, b""))

    def test_riposte_gets_its_datagram_back(self):
        _, (_, port) = self.serve(transport="udp")
        done = run_riposte("send", f"udp://127.0.0.1:{port}")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"Hello!", b""))

    def test_riposte_with_v_names_both_ends(self):
        daemon = self.daemon("--listen", "hello=127.0.0.1:0")
        for transport, answer in (("tcp", ANSWER), ("udp", b"Hello!")):
            port = daemon.port("hello", transport)
            done = run_riposte("send", "-v", f"{transport}://127.0.0.1:{port}")
            self.assertEqual((done.returncode, done.stdout), (0, answer))
            self.assertIn(f"127.0.0.1:{port}".encode(), done.stderr)
            self.assertRegex(done.stderr, rb"answer from")
        self.assertRegex(run_riposte(
            "send", "-v", f"tcp://127.0.0.1:{daemon.port('hello', 'tcp')}").stderr, rb"connected to")

    def test_riposte_sends_its_argument_and_standard_input(self):
        daemon = self.daemon("--listen", "echo=127.0.0.1:0")
        for transport in ("tcp", "udp"):
            endpoint = f"{transport}://127.0.0.1:{daemon.port('echo', transport)}"
            self.assertEqual(run_riposte("send", endpoint, "one two").stdout, b"one two")
            data = bytes(range(256)) * 4
            self.assertEqual(run_riposte("send", endpoint, "-", input=data).stdout, data)

    @needs_ipv6
    def test_riposte_reaches_ipv6(self):
        _, (_, port) = self.serve(host="[::1]")
        self.assertEqual(run_riposte("send", f"tcp://[::1]:{port}").stdout, ANSWER)

    def test_riposte_reports_a_missing_reply_in_one_line_and_exits_1(self):
        unused = self.datagram_socket()
        for transport in ("tcp", "udp"):
            with closed_port(socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM) as closed:
                port = closed.getsockname()[1]
                done = run_riposte("send", "-W", "2s", f"{transport}://127.0.0.1:{port}")
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
        endpoint = f"udp://127.0.0.1:{unused.getsockname()[1]}"  # bound, but silent
        self.assertEqual(run_riposte("send", "-W", "200ms", endpoint).returncode, 1)


