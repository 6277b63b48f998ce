"""The access log: what it says about connections and datagrams, and that it never blocks the daemon."""

import fcntl
import os
import re
import select
import signal
import subprocess
import tempfile

import pytest

from daemon import (ANSWER, GREETING, RIPOSTED, WAIT, RiposteTest, free_port,
                    listen_section, receive_all, receive_exactly, reset)

pytestmark = pytest.mark.backends

ACCESS = "^riposted: access: "
ON = "[access_log]\nconnections = true\n"


class AccessLog(RiposteTest):
    def ask(self, address, question=GREETING):
        """Makes one connection to hello and returns its address once it has ended."""
        client = self.connect(address)
        name = "127.0.0.1:%d" % client.getsockname()[1]
        client.send(question)
        self.assertEqual(receive_all(client), ANSWER)
        client.close()
        return name


class Connections(AccessLog):
    def test_each_connection_is_logged_when_it_ends(self):
        daemon, address = self.serve("hello", config=ON)
        peer = self.ask(address)
        daemon.wait_log(ACCESS + rf"{peer} \(hello on tcp://127\.0\.0\.1:{address[1]}\): "
                        rf'18 bytes in, 18 out, \d+\.\d{{3}} s, finished: "Hello, i\'m client!"$')
        self.assertEqual(len(daemon.lines(ACCESS)), 1)

    def test_the_line_says_how_the_connection_ended(self):
        daemon, address = self.serve("echo", config=ON)
        rude = self.connect(address)
        rude.send(b"abc")
        receive_exactly(rude, 3)
        reset(rude)
        daemon.wait_log(ACCESS + '.* 3 bytes in, 3 out, .* s, Connection reset by peer: "abc"$')
        self.assertEqual(len(daemon.lines(ACCESS)), 1)

    def test_the_line_says_which_timeout_ended_the_connection(self):
        limits = "[limits]\nidle_timeout = '300ms'\nfirst_byte_timeout = '200ms'\n"
        daemon, address = self.serve("echo", config=ON + limits)
        daemon.signal(signal.SIGSTOP)  # so that the data of the first connection is there before the daemon accepts it
        sender, silent = self.connect(address), self.connect(address)
        sender.send(b"12345")
        daemon.signal(signal.SIGCONT)
        self.assertEqual(receive_all(sender) + receive_all(silent), b"12345")
        sender.close()
        silent.close()
        daemon.wait_log(ACCESS + '.* 5 bytes in, 5 out, .* s, nothing came within idle_timeout: "12345"$')
        daemon.wait_log(ACCESS + '.* 0 bytes in, 0 out, .* s, it said nothing within '
                        'first_byte_timeout: ""$')
        self.assertEqual(len(daemon.lines(ACCESS)), 2)

    def test_connections_open_at_shutdown_are_logged_too(self):
        daemon, address = self.serve("echo", config=ON)
        client = self.connect(address)
        client.send(b"x" * 100)
        receive_exactly(client, 100)
        daemon.signal(signal.SIGTERM)
        self.assertEqual(receive_all(client), b"")
        client.close()
        daemon.wait()
        daemon.wait_log(ACCESS + '.* 100 bytes in, 100 out, .* s, drained: "x{32}\\.\\.\\."$')

    def test_received_bytes_are_escaped_and_cut(self):
        daemon, address = self.serve("hello", config=ON + "bytes = 23\n")
        self.ask(address, b'\x1b[2J\r\nriposted: stopped\n"\\\xff')
        daemon.wait_log(ACCESS + r'.*: "\\x1b\[2J\\r\\nriposted: stopped\.\.\."$')
        self.ask(address, b'"\\\xff\x00\n')
        daemon.wait_log(ACCESS + r'.*: "\\"\\\\\\xff\\x00\\n"$')
        self.assert_log_lines_whole(daemon)

    def test_nothing_is_logged_while_it_is_off_and_a_reload_switches_it(self):
        port = free_port()
        listen = listen_section("hello", f"tcp://127.0.0.1:{port}")
        daemon = self.daemon(config=listen)
        before = self.ask(("127.0.0.1", port))
        for reloads, (section, logged) in enumerate([(ON, True), ("", False), (ON, True)], 1):
            daemon.write_config(listen + section)
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("^riposted: reloaded: ", count=reloads)
            peer = self.ask(("127.0.0.1", port))
            if logged:
                daemon.wait_log(ACCESS + peer)
            else:
                quiet = peer
        daemon.stop()
        self.assertEqual(daemon.lines(ACCESS + f"({before}|{quiet})"), [])
        self.assertEqual(len(daemon.lines(ACCESS)), 2)

    def test_a_connection_opened_before_it_was_switched_on_is_not_logged(self):
        port = free_port()
        listen = listen_section("echo", f"tcp://127.0.0.1:{port}")
        daemon = self.daemon(config=listen)
        old = self.connect(("127.0.0.1", port))
        old.send(b"old")
        receive_exactly(old, 3)
        daemon.write_config(listen + ON)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("^riposted: reloaded: ")
        new = self.connect(("127.0.0.1", port))
        for client in (old, new):
            client.send(b"abc")
            receive_exactly(client, 3)
            client.close()
        daemon.wait_log(ACCESS + ".* 3 bytes in, 3 out")
        daemon.stop()
        self.assertEqual(len(daemon.lines(ACCESS)), 1)


class Rate(AccessLog):
    def test_lines_above_the_rate_are_dropped_and_counted(self):
        daemon, address = self.serve("hello", config=ON + "rate = 3\n")
        for _ in range(60):
            self.ask(address)
        daemon.wait_log(ACCESS + r"\d+ lines? left out$")
        daemon.stop()
        left_out = sum(int(re.search(r"access: (\d+) line", line)[1])
                       for line in daemon.lines(ACCESS + r"\d+ lines? left out$"))
        logged = len(daemon.lines(ACCESS + r"127\."))
        self.assertEqual(logged + left_out, 60)
        self.assertGreater(left_out, 0)


class Datagrams(AccessLog):
    def exchange(self, address, count, prefix=b"datagram"):
        client = self.datagram_socket()
        for i in range(count):
            client.sendto(b"%s %d" % (prefix, i), address)
            client.recv(100)
        return client.getsockname()[1]

    def test_one_in_n_datagrams_is_logged(self):
        daemon, address = self.serve("echo", transport="udp",
                                     config="[access_log]\ndatagrams_every = 5\n")
        port = self.exchange(address, 12)
        daemon.stop()
        self.assertEqual(daemon.lines(ACCESS), [
            f"riposted: access: 127.0.0.1:{port} (echo on udp://127.0.0.1:{address[1]}): datagram of "
            f'10 bytes, served: "datagram {i}"' for i in (4, 9)])

    def test_a_denied_datagram_is_logged_too(self):
        port = free_port()
        listen = listen_section("echo", f"udp://127.0.0.1:{port}", deny="127.0.0.2")
        daemon = self.daemon(config=listen + "[access_log]\ndatagrams_every = 1\n")
        self.datagram_socket(("127.0.0.2", 0)).sendto(b"let me in", ("127.0.0.1", port))
        daemon.wait_log(ACCESS + r'127\.0\.0\.2:\d+ .* datagram of 9 bytes, refused: "let me in"$')

    def test_an_empty_datagram_is_logged_and_bytes_are_escaped(self):
        daemon, address = self.serve("echo", transport="udp",
                                     config="[access_log]\ndatagrams_every = 1\nbytes = 3\n")
        client = self.datagram_socket()
        for data in (b"", b"\x1b\n\xff\x00"):
            client.sendto(data, address)
            self.assertEqual(client.recv(100), data)
        daemon.wait_log(ACCESS + '.* datagram of 0 bytes, served: ""$')
        daemon.wait_log(ACCESS + r'.* datagram of 4 bytes, served: "\\x1b\\n\\xff\.\.\."$')


class UnreadLog(AccessLog):
    def scratch(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return directory.name

    def test_a_full_pipe_blocks_no_worker_and_lost_lines_are_reported(self):
        """Standard error is a pipe that the test leaves unread at first, and then reads."""
        read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 8192)
        config = os.path.join(self.scratch(), "riposted.toml")
        with open(config, "w", encoding="ascii") as file:
            file.write(ON + "rate = 100000\n")
        process = subprocess.Popen(
            [os.path.abspath(RIPOSTED), "--backend", self.backend, "-c", config, "--listen",
             "hello=tcp://127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=write)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        os.close(write)
        with os.fdopen(read, "rb", buffering=0) as log:
            text = b""
            while b" ready: " not in text:
                self.assertTrue(select.select([log], [], [], WAIT)[0], "the daemon is ready")
                text += log.read(4096)
            port = int(re.search(rb"listening: \S+ on tcp://127\.0\.0\.1:(\d+)", text)[1])
            connections = 500  # with 110 bytes a line, seven times as much as the pipe holds
            for _ in range(connections):
                self.ask(("127.0.0.1", port))
            text = b""
            while b"of the log" not in text:
                # Read what is in the pipe, which makes room for the next lines.
                while select.select([log], [], [], 0)[0]:
                    text += log.read(4096)
                self.ask(("127.0.0.1", port))
                connections += 1
                select.select([log], [], [], WAIT)
            process.terminate()
            self.assertEqual(process.wait(WAIT), 0)
            while part := log.read(4096):
                text += part
        lost = sum(int(count) for count in re.findall(
            rb"warning: (\d+) lines? of the log w\w+ lost: not read in time\n", text))
        self.assertGreater(lost, 400)
        self.assertEqual(lost + text.count(b"riposted: access: "), connections)
        for line in text.decode("ascii").split("\n")[:-1]:
            self.assertRegex(line, "^riposted: ")
