"""The IP packets that a device of a side receives (link.py), seen by a packet socket: what really arrived, whatever
the program says that it sent.

    with Capture(link.server, "side2") as capture:
        ...
        for packet in capture.packets(): packet.ttl, packet.dscp, packet.ecn, packet.df, packet.source_port
"""

import socket
import struct
import typing

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
SO_RCVBUFFORCE = 33
PACKET_OUTGOING = 4
TCP, UDP = 6, 17
TCP_SYN = 2


class Seen(typing.NamedTuple):
    family: int
    protocol: int
    ttl: int
    dscp: int
    ecn: int
    df: bool
    source: str
    source_port: int
    destination_port: int
    length: int
    #: A TCP segment that neither opens a connection nor has data: the kernel sends such ones, with its own marks, also
    #: for a socket that is gone, at any later time.
    bare: bool


def parse(data):
    """The header of a TCP or UDP packet that is no later fragment; None for all others."""
    if data[0] >> 4 == 4:
        header = (data[0] & 15) * 4
        traffic, length, fragment, ttl, protocol = data[1], *struct.unpack_from(">H2xHBB", data, 2)
        family, source = 4, socket.inet_ntop(socket.AF_INET, data[12:16])
        if fragment & 0x1fff:
            return None
        df = bool(fragment & 0x4000)
    else:
        header = 40
        traffic = struct.unpack_from(">I", data)[0] >> 20 & 255
        length, protocol, ttl = struct.unpack_from(">HBB", data, 4)
        length += header
        family, source, df = 6, socket.inet_ntop(socket.AF_INET6, data[8:24]), True
    if protocol not in (TCP, UDP) or len(data) < header + (14 if protocol == TCP else 4):
        return None
    ports = struct.unpack_from(">HH", data, header)
    bare = False
    if protocol == TCP:
        offset, flags = struct.unpack_from(">BB", data, header + 12)
        bare = not flags & TCP_SYN and length == header + (offset >> 4) * 4
    return Seen(family, protocol, ttl, traffic >> 2, traffic & 3, df, source, *ports, length, bare)


class Capture:
    def __init__(self, side, device):
        with side:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.socket.bind((device, ETH_P_ALL))
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def packets(self, protocol=None):
        """Those of TCP and UDP that have come since the last call."""
        found = []
        while True:
            try:
                data, (_, kind, direction, *_) = self.socket.recvfrom(65536)
            except BlockingIOError:
                return found
            if direction == PACKET_OUTGOING or kind not in (ETH_P_IP, ETH_P_IPV6):
                continue
            packet = parse(data)
            if packet and protocol in (None, packet.protocol):
                found.append(packet)
