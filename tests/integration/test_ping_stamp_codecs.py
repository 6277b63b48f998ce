"""Other people's codecs read what `riposte ping stamp://` sends: scapy's STAMP, tshark's TWAMP, and Python's HMAC."""

import hashlib
import hmac
import struct
import time
import unittest

from client import run
from daemon import RiposteTest, needs_program
from peers import UdpPeer
from stamp_keys import KEY, key_file
from stamp_questions import NTP_AT_1970, SSID
from twamp_dissector import dissect, seconds_of

try:
    from scapy.contrib import stamp as codec
    from scapy.layers.inet import UDP
except ImportError:
    codec = None

OPEN, AUTHENTICATED = 44, 112
CLASS, HMAC, PADDING = (4, "b8000000"), 8, 1
#: Options, and the TLVs that they make: type and value (of padding its length, of an HMAC nothing).
OPEN_SHAPES = (
    ((), []),
    (("--ssid", str(SSID)), []),
    (("-s", "48"), [(PADDING, 0)]),
    (("-s", "200"), [(PADDING, 152)]),
    (("-s", "1472"), [(PADDING, 1424)]),
    (("--dscp", "ef"), [CLASS]),
    (("--dscp", "ef", "-s", "200", "--ssid", str(SSID)), [CLASS, (PADDING, 144)]),
)
AUTHENTICATED_SHAPES = (
    ((), []),
    (("-s", "500"), [(PADDING, 384)]),
    (("--dscp", "ef"), [CLASS, (HMAC, None)]),
    (("--dscp", "ef", "-s", "300", "--ssid", str(SSID)), [CLASS, (HMAC, None), (PADDING, 156)]),
)


def mac(data):
    return hmac.new(KEY, data, hashlib.sha256).digest()[:16]


class Questions(RiposteTest):
    def questions_of(self, *options):
        """Three questions, and the wall clock around them."""
        packets = []
        before = time.time()
        with UdpPeer(lambda _socket, data, _client: packets.append(data)) as peer:
            port = peer.socket.getsockname()[1]
            # Nothing answers: each is lost.
            done = run("ping", "-q", "-c", 3, "-i", "2ms", "-W", "20ms", *options, f"stamp://127.0.0.1:{port}")
        self.assertEqual(done.returncode, 1, done)
        # Closing questions may follow, which are like the others.
        self.assertGreaterEqual(len(packets), 3)
        return packets, before - 1e-6, time.time() + 1e-6

    def check_tlvs(self, packet, base, tlvs, expected):
        self.assertEqual([tlv.type for tlv in tlvs], [kind for kind, _ in expected])
        offset = base
        for tlv, (kind, value) in zip(tlvs, expected):
            self.assertEqual(int(tlv.flags), 0x80)
            if kind == HMAC:
                self.assertEqual(tlv.value, mac(packet[:4] + packet[base:offset]))
            else:
                self.assertEqual(tlv.value, bytes(value) if kind == PADDING else bytes.fromhex(value))
            offset += 4 + tlv.len
        self.assertEqual(offset, len(packet))

    @unittest.skipUnless(codec, "scapy is not installed: apt install python3-scapy")
    def test_every_field_of_a_question_is_where_scapy_expects_it(self):
        for options, expected in OPEN_SHAPES:
            with self.subTest(options=options):
                packets, before, after = self.questions_of(*options)
                ssids = set()
                for count, packet in enumerate(packets):
                    asked = codec.STAMPSessionSenderTestUnauthenticated(packet, _parent=UDP(len=8 + len(packet)))
                    self.assertEqual(bytes(asked), packet)
                    self.assertEqual((asked.seq, asked.mbz), (1 + count, 0))
                    self.assertLessEqual(before, float(asked.ts) - NTP_AT_1970)
                    self.assertLessEqual(float(asked.ts) - NTP_AT_1970, after)
                    self.assertEqual(asked.err_estimate.Z, 0)
                    self.assertGreater(asked.err_estimate.multiplier, 0)
                    ssids.add(asked.ssid)
                    self.check_tlvs(packet, OPEN, asked.tlv_objects, expected)
                self.assertEqual(len(ssids), 1)
                self.assertIn("--ssid" not in options or SSID, ssids | {True})

    @unittest.skipUnless(codec, "scapy is not installed: apt install python3-scapy")
    def test_an_authenticated_question_has_valid_hmacs_and_tlvs_that_scapy_reads(self):
        path = key_file(self)
        for options, expected in AUTHENTICATED_SHAPES:
            with self.subTest(options=options):
                packets, before, after = self.questions_of("--key-file", path, *options)
                for count, packet in enumerate(packets):
                    number, zeros, stamp, estimate, ssid = struct.unpack_from("!I12sQHH", packet)
                    self.assertEqual((number, zeros), (1 + count, bytes(12)))
                    self.assertLessEqual(before, stamp / 2**32 - NTP_AT_1970)
                    self.assertLessEqual(stamp / 2**32 - NTP_AT_1970, after)
                    self.assertGreater(estimate & 0xff, 0)
                    self.assertEqual(packet[28:96], bytes(68))
                    self.assertEqual(packet[96:AUTHENTICATED], mac(packet[:96]))
                    if "--ssid" in options:
                        self.assertEqual(ssid, SSID)
                    tlvs = []
                    rest = packet[AUTHENTICATED:]
                    while rest:
                        tlvs.append(codec.STAMPTestTLV(rest[:4 + struct.unpack_from("!H", rest, 2)[0]]))
                        rest = rest[4 + tlvs[-1].len:]
                    self.check_tlvs(packet, AUTHENTICATED, tlvs, expected)

    @needs_program("tshark")
    def test_every_field_of_a_question_is_where_tshark_expects_it(self):
        packets = [self.questions_of(*options)[0][0] for options, _ in OPEN_SHAPES]
        rows = dissect(packets, source=40000, destination=862)
        self.assertEqual(len(rows), len(packets))
        for row, packet in zip(rows, packets):
            with self.subTest(packet=packet.hex()):
                number, seconds, fraction, estimate, ssid = struct.unpack_from("!IIIHH", packet)
                self.assertEqual([int(row[name], 0) for name in ("seq_number", "error_estimate", "mbz1")],
                                 [number, estimate, ssid])
                self.assertAlmostEqual(seconds_of(row["timestamp"]), seconds - NTP_AT_1970 + fraction / 2**32, places=5)
                # What a reflector fills is empty.
                self.assertEqual([int(row[name], 0) for name in (
                    "sender_seq_number", "sender_error_estimate", "mbz2", "sender_ttl")], [0, 0, 0, 0])
                self.assertEqual([seconds_of(row[name]) for name in ("receive_timestamp", "sender_timestamp")], [0, 0])


if __name__ == "__main__":
    unittest.main()
