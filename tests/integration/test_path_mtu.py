"""ping --mtu over links whose MTU is known: that of this machine's link, of a router that reports it, black holes that
say nothing, and replies that do not fit; IPv4 and IPv6, with losses.
"""

import contextlib

import pytest

from client import Running, parse_json
from daemon import RiposteTest
from far_peer import far_peer
from link import Faults, Link
from peers import echo_datagram

HEADERS = {4: 28, 6: 48}
ROUTER = {4: ("ICMP", Link.ROUTER4), 6: ("ICMPv6", Link.ROUTER6)}


def echo_up_to(payload):
    """An echo behind a black hole: longer requests, or their replies, are lost in silence."""
    def answer(peer, data, client):
        if len(data) <= payload:
            peer.sendto(data, client)
    return answer


def short_answer_up_to(payload):
    """The same of another service, whose replies are short."""
    def answer(peer, data, client):
        if len(data) <= payload:
            peer.sendto(b"Hello!", client)
    return answer


class PathMtu(RiposteTest):
    @contextlib.contextmanager
    def peer(self, family, handler=echo_datagram, **options):
        with Link(**options) as link, far_peer(link, family=family, handler=handler) as endpoint:
            yield link, endpoint

    def run_client(self, link, *arguments, code=0):
        with link.client, Running("ping", "--mtu", *arguments) as client:
            done = client.finish()
        self.assertEqual(done.returncode, code, str(done))
        return done

    def found(self, link, endpoint, code=0):
        done = parse_json(self.run_client(link, "-j", endpoint, code=code))
        return done.json["endpoints"][0]

    def check(self, found, forward, backward):
        self.assertEqual(
            [(found[way]["mtu"], found[way]["exact"], found[way]["known_by"]) for way in ("forward", "backward")],
            [forward, backward], found)

    def test_a_router_that_says_so(self):
        for family in (4, 6):
            protocol, router = ROUTER[family]
            with self.peer(family, forward=Faults(mtu=1400)) as (link, endpoint):
                found = self.found(link, endpoint)
                self.check(found, (1400, True, "icmp"), (1400, False, "whole_replies"))
                self.assertEqual((found["forward"]["from"], found["payload_bytes"]), (router, 1400 - HEADERS[family]))
                done = self.run_client(link, endpoint)
                self.assertIn(f"\n1500 bytes: too big: the path MTU is 1400 ({protocol} from {router})\n", done.stdout)
                self.assertIn(f"\nforward: the path MTU is 1400: the router {router} said so ({protocol})\n"
                              "backward: at least 1400: replies of that size come whole\n", done.stdout)
                done = self.run_client(link, "-q", endpoint)
                self.assertNotIn(" bytes: ", done.stdout)

    def test_the_link_of_this_machine(self):
        for mtu in (1400, 9000):
            for family in (4, 6):
                with self.peer(family, mtu=mtu) as (link, endpoint):
                    found = self.found(link, endpoint)
                    self.check(found, (mtu, True, "link"), (mtu, False, "whole_replies"))

    def test_a_black_hole_is_found_to_the_byte(self):
        for family in (4, 6):
            with self.peer(family, echo_up_to(1400 - HEADERS[family])) as (link, endpoint):
                self.check(self.found(link, endpoint), (1400, False, "silence"), (1400, False, "whole_replies"))
            with self.peer(family, short_answer_up_to(1400 - HEADERS[family])) as (link, endpoint):
                found = self.found(link, endpoint)
                self.check(found, (1400, True, "silence"), (HEADERS[family] + 6, False, "short_replies"))
                self.assertEqual(found["forward"]["text"],
                                 "the path MTU is 1400: larger ones are lost in silence (a black hole)")

    def test_losses_are_no_black_hole(self):
        faults = Faults(loss=0.3)
        with self.peer(4, echo_up_to(1372), forward=faults, backward=faults) as (link, endpoint):
            found = self.found(link, endpoint)
            self.check(found, (1400, False, "silence"), (1400, False, "whole_replies"))
        with self.peer(4, forward=faults, backward=faults) as (link, endpoint):
            self.check(self.found(link, endpoint), (1500, True, "link"), (1500, False, "whole_replies"))

    def test_replies_that_do_not_fit_come_in_fragments(self):
        for family in (4, 6):
            with self.peer(family, backward=Faults(mtu=1400)) as (link, endpoint):
                found = self.found(link, endpoint)
                mtu = found["backward"]["mtu"]
                # A fragment's payload is a multiple of eight bytes.
                self.assertTrue(1400 - 8 < mtu <= 1400, found)
                self.check(found, (1500, True, "link"), (mtu, False, "fragments"))

    def test_an_endpoint_without_an_answer(self):
        with self.peer(4, lambda *_: None) as (link, endpoint):
            done = self.run_client(link, "-W", "100ms", endpoint, code=1)
            self.assertEqual(done.stderr, f"riposte: {endpoint}: no answer to 4 probes; is riposted running there? -W "
                             "waits longer\n")
            self.assertIn("error", self.found(link, endpoint, code=1))
        with Link() as link:
            endpoint = f"udp://{link.server.ipv4}:9"
            done = self.run_client(link, endpoint, code=1)
            self.assertEqual(done.stderr, f"riposte: {endpoint}: port unreachable (ICMP from {link.server.ipv4})\n")

    def test_it_is_interrupted_like_ping(self):
        with self.peer(4, lambda *_: None) as (link, endpoint):
            with link.client, Running("ping", "--mtu", "-W", "1m", endpoint) as client:
                self.assertTrue(client.line().startswith("PATH MTU "))
                client.await_handlers()
                client.signal(2)
                done = client.finish()
            self.assertEqual((done.returncode, done.stderr), (130, f"riposte: {endpoint}: interrupted\n"))


if __name__ == "__main__":
    pytest.main([__file__])
