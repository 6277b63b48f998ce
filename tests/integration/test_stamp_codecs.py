"""Other people's codecs read what the reflector of STAMP answers: scapy's STAMP, which also writes the questions, and
tshark's TWAMP, whose packets have the same fields.
"""

import struct
import time
import unittest

import pytest

from daemon import needs_program
from stamp_questions import BASE, MULTIPLIER_1, NTP_AT_1970, SSID, StampTest, question
from twamp_dissector import dissect, seconds_of

try:
    from scapy.contrib import stamp as codec
    from scapy.layers.inet import UDP
except ImportError:
    codec = None

pytestmark = pytest.mark.backends

UNRECOGNIZED, MALFORMED = 0x80, 0x40
#: Type and value of TLVs, and what comes back: flags and value.
TLVS = (
    (1, "", 0, ""),
    (1, "aabbcc", 0, "aabbcc"),
    (3, "00000000", 0, "05020502"),
    (3, "0000", MALFORMED, "0000"),
    (4, "b8000000", 0, "b8000000"),
    (5, "000000090000000000000000", 0, None),
    (6, "10010000", UNRECOGNIZED, "10010000"),
    (7, "00" * 16, 0, None),
    (8, "00" * 16, UNRECOGNIZED, "00" * 16),
    (9, "7f000001", UNRECOGNIZED, "7f000001"),
    (10, "80020004c0000201", UNRECOGNIZED, "80020004c0000201"),
    (12, "0000000500000000", UNRECOGNIZED, "0000000500000000"),
    (251, "01", UNRECOGNIZED, "01"),
)


class Codec(StampTest):
    def setUp(self):
        super().setUp()
        self.subject = self.daemon(config='[[listen]]\nservice = "stamp"\naddress = "127.0.0.1:0"\ncos = [46]\n')
        self.address = ("127.0.0.1", self.subject.port("stamp", "udp"))
        self.client = self.datagram_socket()

    def reflect(self, packet):
        """Returns the answer, and the wall clock around it."""
        before = time.time()
        self.client.sendto(packet, self.address)
        answer = self.client.recv(2000)
        return answer, before, time.time()


@unittest.skipUnless(codec, "scapy is not installed: apt install python3-scapy")
class Scapy(Codec):
    """Both directions; scapy 2.5 knows the unauthenticated packets, and TLVs by their header. It names the bits of the
    flags from the wrong end (RFC 8972, section 4: U is the first one), so they are compared as numbers."""

    def test_every_field_of_an_answer_is_where_scapy_expects_it(self):
        for count, (kind, value, flags, answered) in enumerate(TLVS):
            with self.subTest(type=kind, value=value):
                value = bytes.fromhex(value)
                sent_at = time.time()
                asked = codec.STAMPSessionSenderTestUnauthenticated(
                    seq=1000 + count, ts=sent_at + NTP_AT_1970, ssid=SSID,
                    err_estimate=codec.ErrorEstimate(S=1, scale=5, multiplier=7),
                    tlv_objects=[codec.STAMPTestTLV(flags=UNRECOGNIZED, type=kind, len=len(value), value=value)])
                packet = bytes(asked)
                reply, before, after = self.reflect(packet)
                self.assertEqual(len(reply), len(packet))
                answer = self.dissect(reply)
                self.assertEqual((answer.seq, answer.ssid, answer.seq_sender, answer.ttl_sender),
                                 (count, SSID, 1000 + count, 64))
                self.assertEqual((answer.mbz1, answer.mbz2), (0, 0))
                self.assertLessEqual(before - 1e-6, float(answer.ts_rx) - NTP_AT_1970)
                self.assertLessEqual(answer.ts_rx, answer.ts)
                self.assertLessEqual(float(answer.ts) - NTP_AT_1970, after + 1e-6)
                self.assertEqual(bytes(reply[28:36]), packet[4:12])
                estimate, theirs = answer.err_estimate, answer.err_estimate_sender
                self.assertEqual((estimate.S, estimate.Z, estimate.scale, estimate.multiplier), (0, 0, 63, 255))
                self.assertEqual((theirs.S, theirs.Z, theirs.scale, theirs.multiplier), (1, 0, 5, 7))
                [tlv] = answer.tlv_objects
                self.assertEqual((int(tlv.flags), tlv.type, tlv.len), (flags, kind, len(value)))
                if answered is not None:
                    self.assertEqual(tlv.value.hex(), answered)

    def test_several_tlvs_stay_in_their_order(self):
        tlvs = [codec.STAMPTestTLV(flags=UNRECOGNIZED, type=kind, len=len(value) // 2, value=bytes.fromhex(value))
                for kind, value, flags, _ in TLVS if flags != MALFORMED]
        packet = bytes(codec.STAMPSessionSenderTestUnauthenticated(seq=1, ssid=SSID, tlv_objects=tlvs))
        reply, _, _ = self.reflect(packet)
        answer = self.dissect(reply)
        self.assertEqual([tlv.type for tlv in answer.tlv_objects], [tlv.type for tlv in tlvs])
        self.assertEqual([int(tlv.flags) for tlv in answer.tlv_objects],
                         [flags for _, _, flags, _ in TLVS if flags != MALFORMED])

    def dissect(self, reply):
        """scapy takes the length of the TLVs from the UDP header, which 2.5 finds only as a parent."""
        answer = codec.STAMPSessionReflectorTestUnauthenticated(reply, _parent=UDP(len=8 + len(reply)))
        self.assertEqual(bytes(answer), reply)
        return answer


@needs_program("tshark")
class Tshark(Codec):
    """The dissector of TWAMP knows the base packet; TLVs are padding to it."""

    def test_every_field_of_an_answer_is_where_tshark_expects_it(self):
        tails = [bytes.fromhex(f"80{kind:02x}{len(value) // 2:04x}{value}") for kind, value, _, _ in TLVS]
        replies = [self.reflect(question(2000 + count, tail))[0] for count, tail in enumerate(tails)]
        rows = dissect(replies)
        self.assertEqual(len(rows), len(replies))
        for count, (row, reply) in enumerate(zip(rows, replies)):
            with self.subTest(reply=reply.hex()):
                number = {name: int(row[name], 0)
                          for name in ("seq_number", "error_estimate", "mbz1", "sender_seq_number",
                                       "sender_error_estimate", "mbz2", "sender_ttl")}
                # What TWAMP calls MBZ behind the estimate is STAMP's SSID.
                self.assertEqual(number, {"seq_number": count, "error_estimate": 0x3fff, "mbz1": SSID,
                                          "sender_seq_number": 2000 + count, "sender_error_estimate": MULTIPLIER_1,
                                          "mbz2": 0, "sender_ttl": 64})
                for name, offset in (("timestamp", 4), ("receive_timestamp", 16), ("sender_timestamp", 28)):
                    seconds, fraction = struct.unpack_from("!II", reply, offset)
                    expected = seconds - NTP_AT_1970 + fraction / 2**32
                    self.assertAlmostEqual(seconds_of(row[name]), expected, places=5)
                # Behind TWAMP's 41 bytes everything is padding.
                self.assertEqual(row["padding"].replace(":", ""), reply[BASE - 3:].hex())
