"""`riposte ping stamp://`: reflectors of many manners (tests/support/reflector.py), and riposted's own."""

import json
import os
import re
import shutil
import socket
import tempfile
import unittest

from client import run, run_json
from daemon import RiposteTest
from peers import UdpPeer, echo_datagram
from reflector import Reflector
from stamp_keys import KEY, key_file
from stamp_truth import check_clock


def ping(*arguments):
    """The endpoint's part of a document."""
    return run_json("ping", "-j", "-i", "5ms", *arguments).json["endpoints"][0]


class Reflectors(RiposteTest):
    """What the summary says of whom it met."""

    def test_riposted_counts_and_returns_the_ssid(self):
        _, address = self.serve("stamp", transport="udp")
        found = ping("-c", 20, "--ssid", 4660, f"stamp://127.0.0.1:{address[1]}")
        stamp = found["stamp"]
        self.assertEqual(found["service"], "stamp")
        self.assertEqual(found["payload_bytes"], 44)
        self.assertEqual(found["path"]["ttl"], 255)
        self.assertEqual((stamp["ssid"], stamp["authenticated"], stamp["closing"]), (4660, False, 0))
        reflector = stamp["reflector"]
        self.assertEqual((reflector["counting"], reflector["answers"], reflector["without_ssid"]), ("session", 20, 0))
        self.assertEqual(reflector["clock"]["synchronized"], 0)
        for way in ("there", "back"):
            self.assertEqual(stamp[way]["hops"], {"min": 0, "max": 0, "changes": 0})
            self.assertEqual((stamp[way]["lost"], stamp[way]["duplicated"]), (0, 0))
            self.assertEqual(stamp[way]["pdv"]["count"], 20)
        self.assertEqual(stamp["residence"]["count"], 20)
        part, = stamp["one_way"]
        self.assertEqual((part["first"], part["last"], part["samples"]), (1, 20, 20))
        self.assertLessEqual(abs(part["lead"]["begin"]), part["lead"]["bound"])  # it is one clock
        self.assertLessEqual(abs(part["lead"]["end"]), part["lead"]["bound"])

    def test_the_class_and_the_size_are_asked_for(self):
        daemon = self.daemon(config='[[listen]]\nservice = "stamp"\naddress = "127.0.0.1:0"\ncos = [46]\n')
        endpoint = f"stamp://127.0.0.1:{daemon.port('stamp', 'udp')}"
        found = ping("-c", 5, "--dscp", "ef", "-s", 200, "--ttl", 7, endpoint)
        self.assertEqual(found["counts"]["answered"], 5)
        self.assertEqual(found["replies"]["dscp"], [46])
        stamp = found["stamp"]
        self.assertEqual(stamp["there"]["dscp"], [46])
        self.assertEqual(stamp["there"]["hops"], {"min": 0, "max": 0, "changes": 0})
        self.assertEqual((stamp["reflector"]["class_refused"], stamp["reflector"]["without_class"]), (0, 0))
        found = ping("-c", 5, "--dscp", "af11", endpoint)
        self.assertEqual(found["stamp"]["reflector"]["class_refused"], 5)
        self.assertEqual(found["payload_bytes"], 52)

    def test_a_stateless_reflector_gives_losses_no_direction(self):
        with Reflector(counts=False, wants=lambda sequence: sequence % 5) as peer:
            done = run("ping", "-q", "-c", 20, "-i", "5ms", "-W", "1s", peer.endpoint)
            found = ping("-c", 20, "-W", "1s", peer.endpoint)
        self.assertIn("copies sequence numbers (stateless): losses have no direction", re.sub(r"\s+", " ", done.stdout))
        self.assertEqual(found["counts"]["lost"], 4)
        self.assertEqual(found["stamp"]["reflector"]["counting"], "copy")
        self.assertNotIn("lost", found["stamp"]["there"])
        self.assertNotIn("undecided", found["stamp"])

    def test_a_stateful_reflector_that_loses_only_answers_is_no_stateless_one(self):
        def answers_once(server, data, client):
            lost = peer.next % 3 == 2
            if lost:
                peer.next += 1
            else:
                answer(server, data, client)
        with Reflector() as peer:
            answer, peer.handler = peer.handler, answers_once
            found = ping("-c", 30, "-W", "1s", peer.endpoint)
        self.assertEqual(found["stamp"]["reflector"]["counting"], "session")
        self.assertEqual(found["stamp"]["there"]["lost"], 0)
        self.assertEqual(found["stamp"]["back"]["lost"], found["counts"]["lost"])
        self.assertGreater(found["counts"]["lost"], 5)

    def test_conditions_may_be_of_one_way(self):
        with Reflector() as peer:
            answer, lossless = peer.handler, peer.handler

            def loses_answers(server, data, client):
                if peer.next % 3 == 2:
                    peer.next += 1  # counted, and lost
                else:
                    answer(server, data, client)
            for handler, conditions, status, reason in (
                    (lossless, "there.loss>0%,back.lost>0", 0, ""),
                    (loses_answers, "there.lost>0", 1, ""),  # the others fail without a condition
                    (loses_answers, "there.lost>0,back.loss>90%,loss>90%", 0, ""),
                    (loses_answers, "there.lost>0,back.lost>3,loss>90%", 1, r"back\.lost is \d+ \(--fail-if back")):
                peer.handler = handler
                done = run("ping", "-q", "-c", 30, "-i", "5ms", "-W", "1s", "--fail-if", conditions, peer.endpoint)
                self.assertEqual(done.returncode, status, f"{conditions}: {done}")
                self.assertRegex(done.stderr, reason or "^$")

    def test_answers_of_twamp_light_are_understood(self):
        with Reflector(counts=False, bytes_max=41, returns_ssid=False) as peer:
            found = ping("-c", 5, peer.endpoint)
            done = run("ping", "-q", "-c", 5, "-i", "5ms", peer.endpoint)
        self.assertEqual(found["counts"]["answered"], 5)
        self.assertEqual((found["stamp"]["reflector"]["short"], found["stamp"]["reflector"]["without_ssid"]), (5, 5))
        text = re.sub(r"\s+", " ", done.stdout)
        self.assertIn("TWAMP Light (short answers)", text)
        self.assertIn("does not return the SSID", text)

    def test_an_answer_that_is_shorter_is_no_answer(self):
        with Reflector(bytes_max=40) as peer:
            done = run("ping", "-c", 2, "-i", "5ms", peer.endpoint)
        self.assertEqual(done.returncode, 1)
        self.assertIn("seq=1 ", done.stdout)
        self.assertIn("too short for an answer of STAMP or TWAMP Light", done.stdout)
        self.assertIn("2 wrong size", done.stdout)

    def test_an_echo_service_is_told_from_a_reflector(self):
        with UdpPeer(echo_datagram) as peer:
            done = run("ping", "-c", 2, "-i", "5ms", peer.endpoint.replace("udp", "stamp"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("copies the question: no STAMP reflector", done.stdout)
        self.assertIn("answers, but is no STAMP reflector", done.stdout)

    def test_times_in_the_other_format_than_they_say_are_understood(self):
        with Reflector(ptp=True) as peer:
            found = ping("-c", 5, peer.endpoint)
        claims = found["stamp"]["reflector"]["clock"]
        self.assertEqual((claims["ptp"], claims["denied"]), (0, 5))
        part, = found["stamp"]["one_way"]
        self.assertLessEqual(abs(part["lead"]["begin"]), part["lead"]["bound"])

    def test_a_closed_port_refuses(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        done = run("ping", "-c", 2, "-i", "5ms", f"stamp://127.0.0.1:{port}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("seq=1 refused", done.stdout)
        self.assertIn("no answer came: nothing listens there", done.stdout)

    def test_it_stands_beside_other_endpoints(self):
        _, address = self.serve("stamp", transport="udp")
        _, echo = self.serve("echo", transport="udp")
        done = run_json("ping", "-j", "-c", 5, "-i", "5ms", f"stamp://127.0.0.1:{address[1]}",
                        f"udp://127.0.0.1:{echo[1]}")
        self.assertEqual([each["service"] for each in done.json["endpoints"]], ["stamp", "echo"])
        self.assertEqual([each["payload_bytes"] for each in done.json["endpoints"]], [44, 56])
        self.assertNotIn("stamp", done.json["endpoints"][1])
        lines = run("ping", "--json-lines", "-c", 3, "-i", "5ms", f"stamp://127.0.0.1:{address[1]}")
        documents = [json.loads(line) for line in lines.stdout.splitlines()]
        self.assertEqual([each.get("outcome") for each in documents[:3]], ["answered"] * 3)

    def test_the_plot_has_both_ways(self):
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        plot, table = os.path.join(directory, "plot.svg"), os.path.join(directory, "table")
        with Reflector(lead=3.0, wants=lambda sequence: sequence % 7) as peer:
            done = run("ping", "-q", "-c", 50, "-i", "5ms", "-W", "1s", "--plot", plot, "--hist", table, peer.endpoint)
        self.assertEqual(done.stderr, "")
        with open(plot, encoding="utf-8") as file:
            picture = file.read()
        for name in ("pdv there, stamp://", "pdv back, stamp://"):
            self.assertIn(name, picture)
        self.assertIn("44 bytes of payload every 5 ms", picture)
        with open(table, encoding="utf-8") as file:
            self.assertIn("[Mean", file.read())

    def test_the_summary_is_80_columns_wide(self):
        with Reflector(lead=-12345.678, wants=lambda sequence: sequence % 7) as peer:
            done = run("ping", "-q", "-c", 50, "-i", "5ms", "-W", "1s", peer.endpoint)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80, done.stdout)
        self.assertRegex(done.stdout, r"\none way: there -?\d.* ms \+- \d\S*, back -?\d.* ms \+- \d\S* \(medians\)\n")


class Keys(RiposteTest):
    def serve_signed(self):
        daemon = self.daemon(
            config=f'[[listen]]\nservice = "stamp"\naddress = "127.0.0.1:0"\nkey_file = "{key_file(self)}"\ncos = [46]\n')
        return f"stamp://127.0.0.1:{daemon.port('stamp', 'udp')}"

    def test_signed_questions_get_signed_answers(self):
        endpoint, path = self.serve_signed(), key_file(self)
        for more, size in (((), 112), (("--dscp", "ef"), 140), (("-s", 300, "--dscp", "ef"), 300)):
            found = ping("-c", 5, "--key-file", path, *more, endpoint)
            self.assertEqual((found["counts"]["answered"], found["payload_bytes"]), (5, size))
            self.assertTrue(found["stamp"]["authenticated"])
            self.assertEqual(found["stamp"]["reflector"]["counting"], "session")
        self.assertEqual(found["stamp"]["there"]["dscp"], [46])
        self.assertEqual(found["stamp"]["faults"]["tlvs_unauthenticated"], 0)

    def test_an_independent_reflector_agrees(self):
        with Reflector(key=KEY) as peer:
            found = ping("-c", 5, "--key-file", key_file(self), peer.endpoint)
        self.assertEqual(found["counts"]["answered"], 5)

    def test_answers_with_another_key_or_none_do_not_count(self):
        for key, outcome in ((bytes(32), "corrupted"), (None, "stray")):
            arguments = ("-c", 3, "-i", "5ms", "-W", "500ms", "--key-file", key_file(self))
            with Reflector(key=key) as peer:
                done = run("ping", *arguments, peer.endpoint)
                document = run("ping", "-j", *arguments, peer.endpoint)
            self.assertEqual(done.returncode, 1)
            self.assertIn("answers come without a valid HMAC: is the key the same at both ends?", done.stdout)
            found = json.loads(document.stdout)["endpoints"][0]
            self.assertEqual((found["counts"][outcome], found["stamp"]["faults"]["unauthenticated"]), (3, 3))

    def test_a_key_that_others_may_read_or_that_is_short_is_refused(self):
        for path, reason in ((key_file(self, mode=0o604), "every user may read or write it"),
                             (key_file(self, b"short"), "the key has 5 bytes, and must have at least 16"),
                             ("/nowhere/key", "No such file or directory")):
            done = run("ping", "--key-file", path, "stamp://127.0.0.1")
            self.assertEqual(done.returncode, 2)
            self.assertIn(reason, done.stderr)


class Clocks(RiposteTest):
    """The reflector's clock is the test's own, so that the truth is known."""

    def test_a_clock_that_is_ahead_and_drifts(self):
        for lead, drift in ((1234.5, 2e-4), (-3600.25, -1e-4), (0.001, 0.0)):
            with Reflector(lead=lead, drift=drift) as peer:
                found = ping("-c", 200, peer.endpoint)
            part, = found["stamp"]["one_way"]
            self.assertEqual(part["samples"], 200)
            check_clock(self, peer, part)
            self.assertLessEqual(abs(part["drift"]["rate"] - drift), part["drift"]["bound"])
            self.assertEqual(found["stamp"]["steps"], [])

    def test_a_step_of_the_clock_is_said_and_splits_the_series(self):
        with Reflector(lead=10.0) as peer:
            answer = peer.handler

            def steps(server, data, client):
                if len(peer.asked) == 100:
                    peer.lead += 5
                answer(server, data, client)
            peer.handler = steps
            found = ping("-c", 200, peer.endpoint)
            done = run("ping", "-q", "-c", 5, "-i", "5ms", peer.endpoint)
        self.assertNotIn("stepped", done.stdout)
        parts = found["stamp"]["one_way"]
        self.assertEqual([part["first"] for part in parts], [1, 101])
        step, = found["stamp"]["steps"]
        self.assertEqual((step["after"], step["before"], step["clock"]), (100, 101, "other"))
        self.assertAlmostEqual(step["step"], 5, places=2)

    def test_both_synchronized_clocks_are_believed_unless_the_packets_deny_it(self):
        with Reflector(lead=100.0, estimate=0x8f84) as peer:
            found = ping("-c", 5, peer.endpoint)
        self.assertEqual(found["stamp"]["reflector"]["clock"]["synchronized"], 5)
        part, = found["stamp"]["one_way"]
        self.assertEqual(part["basis"], "round_trips")
        check_clock(self, peer, part)


if __name__ == "__main__":
    unittest.main()
