"""riposte against plain one-shot servers that follow the tutorial's description.

The tests do not use riposted, so the module runs once, not once per backend.
"""

import socket
import threading
import unittest

from daemon import ANSWER, GREETING, WAIT, run_riposte


class OneShot(unittest.TestCase):
    def serve(self, kind, answer):
        server = socket.socket(socket.AF_INET, kind)
        server.settimeout(WAIT)
        server.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            server.listen(1)
        self.questions = []
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        self.addCleanup(server.close)
        self.addCleanup(thread.join)
        return f"127.0.0.1:{server.getsockname()[1]}"

    def tcp_server(self, server):
        client, _ = server.accept()
        self.questions.append(client.recv(1024))
        client.send(b"Hello, i'm server!")
        client.close()

    def udp_server(self, server):
        message, client = server.recvfrom(200)
        self.questions.append(message)
        server.sendto(message, client)

    def test_the_reply_of_the_tutorial_tcp_server_is_printed(self):
        endpoint = self.serve(socket.SOCK_STREAM, self.tcp_server)
        done = run_riposte("send", "tcp://" + endpoint)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, ANSWER, b""))
        self.assertEqual(self.questions, [GREETING])

    def test_without_a_scheme_it_uses_tcp(self):
        endpoint = self.serve(socket.SOCK_STREAM, self.tcp_server)
        self.assertEqual(run_riposte("send", endpoint, "Hi").stdout, ANSWER)
        self.assertEqual(self.questions, [b"Hi"])

    def test_the_reply_of_the_tutorial_udp_server_is_printed(self):
        endpoint = self.serve(socket.SOCK_DGRAM, self.udp_server)
        done = run_riposte("send", "udp://" + endpoint)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"Hello!", b""))
        self.assertEqual(self.questions, [b"Hello!"])

    def test_with_u_it_uses_udp(self):
        endpoint = self.serve(socket.SOCK_DGRAM, self.udp_server)
        self.assertEqual(run_riposte("send", "-u", endpoint, "Hi").stdout, b"Hi")

    def test_a_server_that_closes_without_a_reply_is_a_failure(self):
        def close_at_once(server):
            client, _ = server.accept()
            client.recv(1024)
            client.close()
        endpoint = self.serve(socket.SOCK_STREAM, close_at_once)
        done = run_riposte("send", endpoint)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)

    def test_a_server_that_never_replies_times_out(self):
        asked = threading.Event()
        self.addCleanup(asked.set)

        def say_nothing(server):
            client, _ = server.accept()
            asked.wait(30)
            client.close()
        endpoint = self.serve(socket.SOCK_STREAM, say_nothing)
        done = run_riposte("send", "-W", "200ms", endpoint)
        asked.set()
        self.assertEqual((done.returncode, done.stdout), (1, b""))

    def test_usage_errors_exit_with_2_and_one_line(self):
        for arguments in ((), ("send",), ("send", "tcp://"), ("send", "127.0.0.1:99999"),
                          ("send", "tcp://*:7001"), ("send", "--no-such-flag", "127.0.0.1"),
                          ("send", "udp://127.0.0.1", "x" * 65508)):
            done = run_riposte(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, b""), arguments)
            self.assertNotEqual(done.stderr, b"", arguments)
