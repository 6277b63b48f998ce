"""Many endpoints of `riposte ping`: prefixes and ranges, --targets, --all-addresses, --alive and --unreachable,
names that do not resolve, and names that get another address while it runs (--resolve-every).
"""

import json
import os
import resource
import socket
import tempfile
import unittest
from signal import SIGINT

from client import Running, parse_json, run, run_json
from daemon import RiposteTest
from names import Names
from patience import SANITIZER
from peers import EveryAddress, TcpPeer, UdpPeer, bound, echo_datagram, echo_stream


class Case(unittest.TestCase):
    maxDiff = None

    def echo(self, host="127.0.0.1", handler=echo_datagram):
        """An echo service at this address; the port."""
        peer = UdpPeer(handler, host)
        self.addCleanup(peer.close)
        return int(peer.endpoint.rpartition(":")[2])

    def echo_everywhere(self):
        """An echo service at every address of 127.0.0.0/8, which replies from the one that was asked; the port."""
        peer = EveryAddress()
        self.addCleanup(peer.close)
        return int(peer.endpoint.rpartition(":")[2])

    def stream_echo(self):
        peer = TcpPeer(echo_stream)
        self.addCleanup(peer.close)
        return peer.endpoint

    def file(self, text):
        file = tempfile.NamedTemporaryFile("w", prefix="riposte-targets-", suffix=".txt", encoding="utf-8")
        self.addCleanup(file.close)
        file.write(text)
        file.flush()
        return file.name

    def measured(self, done):
        return [found["name"] for found in done.json["endpoints"]]


class Written(Case):
    def test_each_address_of_a_prefix_and_a_range_is_measured(self):
        port = self.echo("127.1.0.1")
        done = run_json("ping", "-j", "-c", "1", "-W", "300ms", f"udp://127.1.0.0/30:{port}", f"udp://127.1.0.1-1:{port}")
        self.assertEqual(self.measured(done), [f"udp://127.1.0.{n}:{port}" for n in (1, 2, 1)])
        self.assertEqual([found["counts"]["answered"] for found in done.json["endpoints"]], [1, 0, 1])

    def test_a_range_that_is_too_long_is_refused_with_its_number_and_the_bound(self):
        done = run("ping", "udp://10.0.0.0/8:7")
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr),
            (2, "", "riposte: endpoint 'udp://10.0.0.0/8:7', column 7: '10.0.0.0/8' has 16,777,214 addresses, and at "
             "most 65,536 endpoints are possible; write a longer prefix, or a shorter range\n"))

    def test_more_sockets_than_the_limit_of_open_files_are_refused_with_the_number(self):
        done = run("ping", "-c", "1", "udp://127.0.0.0/24:9",
                   preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)))
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr),
            (2, "", "riposte: 254 endpoints need 254 sockets, and 68 are possible here: the limit of open files is 100 "
             "(ulimit -Hn)\n"))

    def test_the_soft_limit_of_open_files_is_raised(self):
        port = self.echo_everywhere()
        done = run_json("ping", "-j", "-c", "1", f"udp://127.2.0.0/24:{port}",
                        preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1024)))
        self.assertEqual(done.returncode, 0, str(done))
        self.assertEqual(len(self.measured(done)), 254)

    def test_a_file_names_endpoints_with_comments_beside_those_of_the_command_line(self):
        port = self.echo_everywhere()
        file = self.file(f"# all of them\n\n  udp://127.0.0.2:{port}   # the second\r\n\tudp://127.0.0.3-4:{port}")
        done = run_json("ping", "-j", "-c", "1", "--targets", file, f"udp://127.0.0.1:{port}")
        self.assertEqual(self.measured(done), [f"udp://127.0.0.{n}:{port}" for n in (1, 2, 3, 4)])
        self.assertEqual(done.returncode, 0, str(done))

    def test_standard_input_names_endpoints(self):
        port = self.echo()
        reader, writer = os.pipe()
        os.write(writer, f"127.0.0.1:{port}\n".encode())
        os.close(writer)
        with os.fdopen(reader) as stdin:
            done = run_json("ping", "-j", "-u", "-c", "1", "--targets", "-", stdin=stdin)
        self.assertEqual(self.measured(done), [f"udp://127.0.0.1:{port}"])

    def test_a_fault_of_a_file_is_reported_with_its_line(self):
        file = self.file("localhost\n# fine\nudp://127.0.0.1:x\n")
        cases = (
            (file, f"'{file}', line 3: endpoint 'udp://127.0.0.1:x', column 17: 'x' is neither a port nor a known service"),
            ("/nonexistent", "cannot read '/nonexistent': no such file or directory"),
            ("/", "cannot read '/': is a directory"),
            (self.file("# nothing\n"), "names no ENDPOINT; write one a line"),
            (self.file("10.0.0.0/17\n10.1.0.0/17\n10.2.0.0/17\n"),
             "line 3: 98,298 endpoints up to here, and at most 65,536 are possible at once"),
            ("-", "standard input names no ENDPOINT; write one a line"))
        for name, message in cases:
            with self.subTest(message=message):
                done = run("ping", "--targets", name)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertTrue(done.stderr.startswith("riposte: --targets: "), done.stderr)
                self.assertIn(message, done.stderr)


class ManyNames(Case):
    def test_each_address_of_a_name_is_an_endpoint(self):
        names = Names(self, {"three.test": ["127.0.0.2", "127.0.0.3", "127.0.0.4"]})
        port = self.echo("127.0.0.3")
        done = run("ping", "-4", "-c", "1", "-W", "300ms", "--all-addresses", f"udp://three.test:{port}",
                   preexec=names.enter)
        self.assertEqual(done.returncode, 1, str(done))
        self.assertEqual(done.stdout.splitlines()[0],
                         f"PING udp://three.test:{port} (127.0.0.2): 56 bytes of payload, every 1s")
        self.assertIn(f"udp://three.test:{port} (127.0.0.3): 56 bytes from 127.0.0.3:{port}: seq=1", done.stdout)
        done = run_json("ping", "-4", "-j", "-c", "1", "-W", "300ms", "--all-addresses", f"udp://three.test:{port}",
                        f"udp://127.0.0.3:{port}", preexec=names.enter)
        self.assertEqual(self.measured(done), [*(f"udp://three.test:{port} (127.0.0.{n})" for n in (2, 3, 4)),
                                               f"udp://127.0.0.3:{port}"])
        self.assertEqual([found["counts"]["answered"] for found in done.json["endpoints"]], [0, 1, 0, 1])

    def test_a_name_that_does_not_resolve_harms_no_other(self):
        names = Names(self, {"here.test": ["127.0.0.1"]})
        port = self.echo()
        done = run_json("ping", "-j", "-c", "2", "-i", "10ms", f"udp://gone.test:{port}", f"udp://here.test:{port}",
                        preexec=names.enter)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.measured(done), [f"udp://here.test:{port}"])
        self.assertEqual(done.json["endpoints"][0]["counts"]["answered"], 2)
        self.assertEqual([each["name"] for each in done.json["not_measured"]], [f"udp://gone.test:{port}"])
        self.assertRegex(done.stderr, r"^riposte: cannot resolve 'gone.test': .*\n$")

    def test_thousands_of_names_are_looked_up_without_a_descriptor_each(self):
        names = Names(self, {f"n{n}.test": ["127.0.0.1"] for n in range(600)})
        port = self.echo_everywhere()
        file = self.file("".join(f"n{n}.test:{port}\n" for n in range(600)) + "gone.test:9\n")
        done = run("ping", "-4", "-u", "--alive", "--targets", file, "-W", "20s",
                   preexec=lambda: (names.enter(), resource.setrlimit(resource.RLIMIT_NOFILE, (700, 700))))
        self.assertEqual(done.returncode, 1, str(done))
        self.assertEqual(done.stdout.splitlines(), [f"udp://n{n}.test:{port}" for n in range(600)])
        self.assertRegex(done.stderr, r"^riposte: cannot resolve 'gone.test': .*\n$")


class Listings(Case):
    def test_endpoints_that_answer_and_those_that_do_not_are_in_one_list_each(self):
        names = Names(self)
        port = self.echo("127.0.0.5")
        stream = self.stream_echo()
        file = self.file(f"udp://127.0.0.5-6:{port}\n{stream}\nudp://gone.test:7\n")
        alive = run("ping", "--alive", "-i", "10ms", "-W", "400ms", "--targets", file, preexec=names.enter)
        self.assertEqual(alive.stdout.splitlines(), [f"udp://127.0.0.5:{port}", stream])
        dead = run("ping", "--unreachable", "-i", "10ms", "-W", "400ms", "--targets", file, preexec=names.enter)
        self.assertEqual(dead.stdout.splitlines(), [f"udp://127.0.0.6:{port}", "udp://gone.test:7"])
        for done in (alive, dead):
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"^riposte: cannot resolve 'gone.test': .*\n$")

    def test_a_list_of_endpoints_that_all_answer_exits_with_0(self):
        stream = self.stream_echo()
        self.assertEqual((run("ping", "--alive", stream).stdout, run("ping", "--alive", stream).returncode),
                         (stream + "\n", 0))
        done = run("ping", "--unreachable", stream)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_an_endpoint_is_done_at_its_first_answer(self):
        seen = []

        def note(server, data, client):
            seen.append(client)
            echo_datagram(server, data, client)
        port = self.echo(handler=note)
        done = run("ping", "--alive", "-c", "1000", "-i", "1s", f"udp://127.0.0.1:{port}")
        self.assertEqual(done.returncode, 0, str(done))
        self.assertLessEqual(len(seen), 999)

    def test_one_answer_of_several_probes_is_enough(self):
        seen = []

        def third(server, data, client):
            seen.append(client)
            if len(seen) >= 3:
                echo_datagram(server, data, client)
        port = self.echo(handler=third)
        done = run("ping", "--alive", "-i", "10ms", "-W", "10s", f"udp://127.0.0.1:{port}")
        self.assertEqual((done.returncode, done.stdout), (0, f"udp://127.0.0.1:{port}\n"), str(done))

    def test_a_list_can_be_read_again(self):
        port = self.echo("127.0.0.5")
        first = run("ping", "--alive", "-W", "300ms", "-i", "10ms", f"udp://127.0.0.4/31:{port}")
        again = run("ping", "--alive", "--targets", self.file(first.stdout))
        self.assertEqual(first.stdout, again.stdout)
        self.assertEqual(again.returncode, 0)


class Scale(RiposteTest):
    def test_a_thousand_endpoints_lose_nothing_and_memory_stays_flat(self):
        endpoints, probes = 1000, (15, 40)
        _, (_, port) = self.serve("echo", transport="udp", host="0.0.0.0")
        memory = []
        with Running("ping", "--json-lines", "-i", "500ms", f"udp://127.1.0.1-127.1.3.232:{port}") as client:
            for number in range(1, endpoints * probes[1] + 1):
                line = client.line()
                self.assertIn('"outcome":"answered"', line)
                if number in (endpoints * probes[0], endpoints * probes[1]):
                    memory.append(client.rss_kib())
            client.signal(SIGINT)
            done = client.finish()
        last = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(len(last["endpoints"]), endpoints)
        self.assertEqual(sum(each["counts"]["lost"] for each in last["endpoints"]), 0)
        if SANITIZER == "none":
            self.assertLess(memory[1], 1.25 * memory[0], memory)
            self.assertLess(memory[1], 60 * endpoints, "KiB, some 25 an endpoint are usual")


class Refresh(Case):
    """--resolve-every: the hosts file changes while ping runs."""

    def hosts(self, names, text):
        path = os.path.join(names.etc.name, "hosts")
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.replace(path + ".new", path)

    def running(self, names, *arguments):
        return self.enterContext(Running("ping", "-4", "-i", "20ms", "--resolve-every", "50ms", *arguments,
                                         preexec=names.enter))

    def await_line(self, client, pattern):
        for line in iter(client.line, None):
            if pattern in line:
                return

    def finish(self, client):
        client.signal(SIGINT)
        return client.finish()

    def check_moves(self, scheme, first, second, *options):
        names = Names(self, {"moves.test": ["127.0.0.2"]})
        port = second[1]
        client = self.running(names, *options, f"{scheme}://moves.test:{port}")
        self.await_line(client, f"127.0.0.2:{port}: seq=")
        self.hosts(names, "127.0.0.3 moves.test\n")
        self.await_line(client, f"127.0.0.3:{port}: seq=")
        done = self.finish(client)
        self.assertEqual(
            done.stderr, f"riposte: {scheme}://moves.test:{port}: the address is now 127.0.0.3:{port}, no longer "
            f"127.0.0.2:{port}; its figures continue\n")
        self.assertIn(f"earlier addresses: 127.0.0.2:{port}\n", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^(\d+) sent, \1 answered, 0 lost \(0%\);")
        self.assertEqual(done.returncode, 0, str(done))

    def sockets(self, kind):
        for _ in range(100):
            first = bound(kind, "127.0.0.2")
            try:
                return first, bound(kind, "127.0.0.3", first.getsockname()[1])
            except OSError:
                first.close()
        raise AssertionError("no port is free at both addresses")

    def test_probes_follow_a_name_over_udp(self):
        peers = self.sockets(socket.SOCK_DGRAM)
        for peer in peers:
            self.addCleanup(UdpPeer(echo_datagram, listener=peer).close)
        self.check_moves("udp", *(peer.getsockname() for peer in peers))

    def test_probes_follow_a_name_over_tcp(self):
        for options in ((), ("--reconnect",), ("--connect",)):
            with self.subTest(options=options):
                peers = self.sockets(socket.SOCK_STREAM)
                for peer in peers:
                    self.addCleanup(TcpPeer(echo_stream, listener=peer).close)
                self.check_moves("tcp", *(peer.getsockname() for peer in peers), *options)

    def test_a_name_without_an_address_is_tried_again(self):
        names = Names(self, {"other.test": ["127.0.0.1"]})
        port = self.echo()
        client = self.running(names, f"udp://late.test:{port}", f"udp://other.test:{port}")
        self.assertRegex(client.error_line(), r"^riposte: cannot resolve 'late.test': ")
        self.await_line(client, f"udp://late.test:{port}: seq=1 not sent: the name has no address")
        self.hosts(names, "127.0.0.1 late.test other.test\n")
        self.assertEqual(client.error_line(),
                         f"riposte: udp://late.test:{port}: the address is now 127.0.0.1:{port}\n")
        self.await_line(client, f"udp://late.test:{port}: 56 bytes from 127.0.0.1:{port}")
        done = self.finish(client)
        self.assertEqual(done.returncode, 1, "what was not sent is no success")
        self.assertEqual(done.stderr, "")

    def test_a_name_that_is_lost_keeps_its_address(self):
        names = Names(self, {"lost.test": ["127.0.0.1"]})
        port = self.echo()
        client = self.running(names, f"udp://lost.test:{port}")
        self.await_line(client, "seq=1")
        self.hosts(names, "")
        self.assertRegex(client.error_line(), rf"^riposte: cannot resolve 'lost.test': .*; its probes still go to "
                         rf"127\.0\.0\.1:{port}\n$")
        done = self.finish(client)
        self.assertEqual((done.returncode, done.stderr), (0, ""), str(done))

    def test_the_document_names_earlier_addresses(self):
        names = Names(self, {"moves.test": ["127.0.0.2"]})
        port = self.echo_everywhere()
        with Running("ping", "-4", "-j", "-i", "20ms", "--resolve-every", "50ms", f"udp://moves.test:{port}",
                     preexec=names.enter) as client:
            client.await_handlers()
            self.hosts(names, "127.0.0.3 moves.test\n")
            client.error_line()
            done = parse_json(self.finish(client))
        self.assertEqual(done.json["endpoints"][0]["address"], f"127.0.0.3:{port}")
        self.assertEqual(done.json["endpoints"][0]["earlier_addresses"], [f"127.0.0.2:{port}"])


if __name__ == "__main__":
    unittest.main()
