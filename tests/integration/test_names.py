"""Names and their addresses, the same in all commands of `riposte`: how long is looked for them, which of them
is asked, and what is said of those that are none.
"""

import unittest
from signal import SIGINT

from client import Running, run, run_json
from names import Names
from peers import Backlog, UdpPeer, echo_datagram

COMMANDS = (("send",), ("send", "-u"), ("ping", "-c", "1"), ("ping", "-u", "-c", "1"), ("load", "-n", "1"),
            ("load", "-u", "-n", "1"), ("status",))


class SilentNameServer(unittest.TestCase):
    """The name server takes the question and never answers. Nothing here is judged by time: who goes by
    the server's own limits, half a minute, says something else."""

    def setUp(self):
        self.names = Names(self, {"here.test": ["127.0.0.1"]}, name_server="silent")

    def test_the_timeout_bounds_the_lookup_of_every_command(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                done = run(*command, "-W", "300ms", "dead.test", preexec=self.names.enter)
                self.assertEqual(
                    (done.returncode, done.stdout, done.stderr),
                    (2, "", "riposte: can not resolve 'dead.test': the name service did not answer within "
                     "300ms; -W waits longer\n"))

    def test_so_it_does_that_of_a_source(self):
        done = run("send", "-W", "300ms", "--source", "dead.test", "127.0.0.1:9", preexec=self.names.enter)
        self.assertEqual(
            (done.returncode, done.stderr),
            (2, "riposte: --source: can not resolve 'dead.test': the name service did not answer within "
             "300ms; -W waits longer\n"))

    def test_the_deadline_of_ping_bounds_it_too(self):
        for transport in ((), ("-u",)):
            done = run("ping", *transport, "-w", "300ms", "-W", "1h", "dead.test", preexec=self.names.enter)
            self.assertEqual(
                (done.returncode, done.stdout, done.stderr),
                (2, "", "riposte: can not resolve 'dead.test': the name service did not answer within "
                 "300ms\n"))

    def test_an_interrupt_ends_the_lookup_of_a_watch(self):
        with Running("status", "--watch", "-W", "1h", "dead.test", preexec=self.names.enter) as watch:
            watch.await_handlers()
            watch.signal(SIGINT)
            done = watch.finish()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", ""), str(done))

    def test_what_needs_no_name_server_is_not_kept_waiting(self):
        peer = UdpPeer(echo_datagram)
        self.addCleanup(peer.close)
        port = peer.endpoint.rpartition(":")[2]
        for host in ("127.0.0.1", "here.test"):
            done = run("send", "-4", f"udp://{host}:{port}", "x", preexec=self.names.enter)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "x", ""))


class Deadline(unittest.TestCase):
    def test_that_of_ping_bounds_the_choice_of_an_address(self):
        # The first address swallows connections, and has half of -W to itself: half an hour.
        names = Names(self, {"both.test": ["127.0.0.1", "127.0.0.2"]})
        queue = Backlog()
        self.addCleanup(queue.close)
        port = queue.endpoint.rpartition(":")[2]
        done = run_json("ping", "-4", "-j", "-w", "300ms", "-W", "1h", f"both.test:{port}",
                        preexec=names.enter)
        self.assertEqual((done.returncode, done.stderr), (1, ""), str(done))
        self.assertEqual(done.json["endpoints"][0]["address"], f"127.0.0.1:{port}")


if __name__ == "__main__":
    unittest.main()
