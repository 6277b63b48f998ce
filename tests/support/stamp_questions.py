"""What the tests of the reflector of STAMP share: questions, and answers taken apart."""

import signal
import struct
import time

from daemon import RiposteTest

NTP_AT_1970 = 2_208_988_800
MULTIPLIER_1 = 0x0001
SSID = 0x1234
BASE = 44


def ntp(seconds):
    return int((seconds + NTP_AT_1970) * 2**32) % 2**64


def question(sequence=0, tail=b"", estimate=MULTIPLIER_1, ssid=SSID):
    return struct.pack("!IQHH", sequence, ntp(time.time()), estimate, ssid) + bytes(28) + tail


class Answer:
    def __init__(self, packet):
        (self.sequence, self.sent, self.estimate, self.ssid, self.received, self.sender_sequence,
         self.sender_sent, self.sender_estimate, zeros, self.ttl) = struct.unpack_from("!IQHHQIQHHB", packet)
        assert zeros == 0 and packet[41:44] == bytes(3)
        self.tail = packet[BASE:]


class StampTest(RiposteTest):
    def ask(self, client, address, *arguments, **named):
        sent = question(*arguments, **named)
        client.sendto(sent, address)
        reply = client.recv(70_000)
        self.assertEqual(len(reply), len(sent))
        answer = Answer(reply)
        self.assertEqual((sent[:4], sent[4:12], sent[12:14], sent[14:16]),
                         (struct.pack("!I", answer.sender_sequence), struct.pack("!Q", answer.sender_sent),
                          struct.pack("!H", answer.sender_estimate), struct.pack("!H", answer.ssid)))
        return answer

    def reload(self, daemon, config):
        count = len(daemon.lines("reloaded: "))
        daemon.write_config(config)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("^riposted: reloaded: ", count=count + 1)
