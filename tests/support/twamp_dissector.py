"""tshark's dissector of TWAMP, whose packets have the fields of STAMP's: the base packet, and padding behind it."""

import calendar
import json
import os
import struct
import subprocess
import tempfile
import time

NAMES = ("seq_number", "timestamp", "error_estimate", "mbz1", "receive_timestamp", "sender_seq_number",
         "sender_timestamp", "sender_error_estimate", "mbz2", "sender_ttl", "padding")


def seconds_of(text):
    """Since 1970, of "Jan 20, 2026 16:26:36.250000000 UTC" (tshark 4.0) or "2026-01-20T16:26:36.250000000Z"."""
    whole, _, fraction = text.rstrip("ZUTC ").partition(".")
    form = "%b %d, %Y %H:%M:%S" if "," in whole else "%Y-%m-%dT%H:%M:%S"
    return calendar.timegm(time.strptime(whole, form)) + float(f"0.{fraction}")


def dissect(packets, source=862, destination=40000):
    """What tshark says of a capture of these datagrams: of each, the text of each field by its name."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "packets.pcap")
        with open(path, "wb") as file:
            file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))  # LINKTYPE_RAW
            for packet in packets:
                udp = struct.pack("!HHHH", source, destination, 8 + len(packet), 0) + packet
                ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 255, 17, 0, bytes(4), bytes(4))
                file.write(struct.pack("<IIII", int(time.time()), 0, len(ip + udp), len(ip + udp)) + ip + udp)
        done = subprocess.run(
            ["tshark", "-n", "-r", path, "-d", "udp.port==862,twamp.test", "-T", "json",
             *(word for name in NAMES for word in ("-e", f"twamp.test.{name}"))],
            capture_output=True, text=True, check=False, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    rows = [packet["_source"]["layers"] for packet in json.loads(done.stdout)]
    return [{name: row[f"twamp.test.{name}"][0] for name in NAMES if f"twamp.test.{name}" in row} for row in rows]
