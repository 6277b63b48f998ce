"""`riposte load --while-pinging` over a link with a rate limit and a deep queue: idle and working latency are those of
the link's log, which has when each probe came to the queue and when it left. And what goes wrong with the probes.
"""

import socket
import struct

import pytest

from client import comment, parse_json, run
from daemon import listen_section
from link import BACKWARD, FORWARD, UDP, Faults, Link
from load_case import LoadCase
from peers import bound, spelled
from truth import Bounds, Datagrams, nearest_rank
from truth_case import PORT, RESPONDER, TruthCase

DISCARD, CHARGEN = 9, 19
#: Of the truth, by the log.
SHARE = 0.05


def fill_queues(side):
    """Senders of that side fill the queue until it overflows: others, like BBR, keep it short."""
    with side, open("/proc/sys/net/ipv4/tcp_congestion_control", "w", encoding="ascii") as file:
        file.write("reno")


class Bufferbloat(TruthCase):
    def loaded_link(self, forward, backward):
        link = self.enterContext(Link(forward, backward))
        hosts = (link.server.ipv4, f"[{link.server.ipv6}]")
        services = (("echo", "udp", PORT), ("echo", "tcp", PORT), ("discard", "tcp", DISCARD),
                    ("chargen", "tcp", CHARGEN))
        config = RESPONDER + "".join(listen_section(service, f"{transport}://{host}:{port}")
                                     for host in hosts for service, transport, port in services)
        with link.server:
            self.daemon(config=config)
        return link

    @staticmethod
    def host(link, family):
        return link.server.ipv4 if family == 4 else f"[{link.server.ipv6}]"

    @staticmethod
    def by_phase(log):
        """The answered probes of the idle part and of the working one, in the order of their sessions."""
        sessions = {}
        for probe in Datagrams(log, PORT).answered():
            sessions.setdefault(probe.session, []).append(probe)
        phases = sorted(sessions.values(), key=lambda probes: probes[0].in_ns)
        assert len(phases) == 2, phases
        return phases

    @staticmethod
    def crossing_ms(log, direction, probes):
        """The median of how long probes of that session were on the link in that direction."""
        crossed = [(packet.out_before_ns - packet.in_ns) / 1e6 for packet in log.select(direction, UDP, port=PORT)
                   if packet.arrived() and packet.probe() and packet.probe()[0] == probes[0].session]
        return nearest_rank(crossed, 50)

    def check(self, document, log, loaded):
        """Each figure is that of the log, and so is the difference; most of it is the queue in direction `loaded`."""
        found = document["latency_under_load"]
        idle, working = self.by_phase(log)
        medians = []
        for name, probes in (("idle", idle), ("working", working)):
            self.assertEqual(found[name]["answered"], len(probes))
            bounds = Bounds(probe.round_trip() for probe in probes)
            self.assert_within(found[name]["rtt"], bounds, name, figures=("mean", "median", "p95"), share=SHARE)
            medians.append(sum(bounds.named("median")) / 2)
        queue = self.crossing_ms(log, loaded, working) - self.crossing_ms(log, loaded, idle)
        added = found["added"]["median"] * 1e3
        by_log = (medians[1] - medians[0]) * 1e3
        comment(f"added: {added:.2f} ms; by the log {by_log:.2f} ms, of which the queue {queue:.2f} ms")
        self.assertAlmostEqual(added, by_log, delta=SHARE * by_log)
        self.assertGreater(queue, 40)
        return found

    def test_the_queue_of_an_upload(self):
        """10 Mbit/s with a queue of 120 packets, which are 144 ms."""
        for family in (4, 6):
            with self.subTest(family=family):
                link = self.loaded_link(Faults(rate_bits=10_000_000, queue=120, delay_ms=5), Faults(delay_ms=5))
                fill_queues(link.client)
                host = self.host(link, family)
                document, log = self.measure(
                    link, "load", "-j", "--upload", f"tcp://{host}:{DISCARD}", "--while-pinging",
                    f"udp://{host}:{PORT}", "-d", "4s", "-W", "20s", "-c", 2)
                found = self.check(document, log, FORWARD)
                stream = document["streams"][0]
                # The connections end a moment after they were read last.
                again = log.retransmits(FORWARD, DISCARD)
                self.assertGreater(again, 0)
                self.assertLessEqual(stream["tcp"]["retransmits"], again)
                self.assertGreaterEqual(stream["tcp"]["retransmits"], again - max(10, again // 10))
                self.assertGreaterEqual(stream["tcp"]["retransmits"], stream["retransmits"])
                self.assertLess(stream["bits_per_second"], 10e6)
                self.assertIn("loaded_rpm", found["responsiveness"])

    def test_the_queue_of_a_download(self):
        link = self.loaded_link(Faults(delay_ms=5), Faults(rate_bits=10_000_000, queue=120, delay_ms=5))
        fill_queues(link.server)
        host = self.host(link, 4)
        document, log = self.measure(
            link, "load", "-j", "--download", f"tcp://{host}:{CHARGEN}", "--while-pinging", f"udp://{host}:{PORT}",
            "-d", "4s", "-W", "20s")
        self.check(document, log, BACKWARD)

    def test_probes_over_tcp_have_a_handshake_each(self):
        link = self.loaded_link(Faults(rate_bits=20_000_000, queue=60, delay_ms=5), Faults(delay_ms=5))
        host = self.host(link, 4)
        document, _ = self.measure(
            link, "load", "-j", "--upload", f"{host}:{DISCARD}", "--while-pinging", f"{host}:{PORT}", "-d", "2s",
            "-W", "20s")
        found = document["latency_under_load"]
        for phase in ("idle", "working"):
            self.assertGreater(found[phase]["connect"]["count"], 0)
        rpm = found["responsiveness"]
        self.assertAlmostEqual(rpm["rpm"], (rpm["foreign_rpm"] + rpm["loaded_rpm"]) / 2, delta=1)


class Probes(LoadCase):
    def discard(self):
        def serve(connection):
            while connection.recv(1 << 20):
                pass
        return self.tcp(serve)

    def test_beside_requests(self):
        endpoint = self.echo()
        done = parse_json(run("load", "-j", "-d", "1s", "-c", 2, endpoint, "--while-pinging", self.echo("udp"),
                              "--fail-if", "working.p95>30s,rpm<1"))
        self.assertEqual(done.returncode, 0, str(done))
        found = done.json["latency_under_load"]
        self.assertEqual(found["transport"], "udp")
        self.assertEqual(found["loaded"]["count"], done.json["counts"]["answered"])
        for phase in ("idle", "working"):
            self.assertGreater(found[phase]["answered"], 1)

    def test_the_text(self):
        done = run("load", "--upload", self.discard(), "-d", "1s", "--while-pinging", self.echo())
        self.assertEqual(done.returncode, 0, str(done))
        self.assertIn("latency under load ---\n", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^idle +\d+ probes sent, \d+ answered$")
        self.assertRegex(done.stdout, r"(?m)^added +median [+-][\d.]+ ms")
        self.assertRegex(done.stdout, r"(?m)^responsive +\d+ RPM \(\d+ beside the load, \d+ on its own\s+connections\)")
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80, str(done))

    def test_nobody_answers_before_the_load(self):
        """The load does not begin: there would be nothing to compare with."""
        port = self.keep(bound(socket.SOCK_STREAM))
        for option in (("--upload", self.discard()), (self.echo(),)):
            done = parse_json(run("load", "-j", *option, "-d", "1s", "--while-pinging", spelled("tcp", port.getsockname())))
            self.assertEqual(done.returncode, 1, str(done))
            self.assertIn("--while-pinging: no probe was answered before the load", done.json["error"])
            self.assertIn("refused", done.json["error"])

    def test_nobody_answers_under_load(self):
        sessions = []

        def first_only(server, data, client):
            session = struct.unpack_from(">I", data, 4)[0]
            if session not in sessions:
                sessions.append(session)
            if session == sessions[0]:
                server.sendto(data, client)

        done = parse_json(run("load", "-j", "--upload", self.discard(), "-d", "500ms", "-W", "2s", "--while-pinging",
                              self.udp(first_only)))
        self.assertEqual(done.returncode, 1, str(done))
        found = done.json["latency_under_load"]
        self.assertEqual(found["working"]["answered"], 0)
        self.assertEqual(found["working"]["loss_percent"], 100)
        self.assertNotIn("responsiveness", found)


if __name__ == "__main__":
    pytest.main([__file__])
