"""Links between network namespaces, with the faults of the kernel's own netem: only a guest's kernel has it.

    with NetemLink(forward="loss 10%", backward="delay 20ms 5ms") as link:
        with link.server: ...                     processes and sockets made here are on that side
    link.wire.change(FORWARD, "rate 1mbit")
        link.wire.counters()[FORWARD]             what netem itself says that it passed and dropped
        link.wire.arrivals(BACKWARD)              the probes that reached the client's device, in their order

`forward` is from the client to the server. A text is what tc(8) takes behind the word netem. It applies to UDP and
TCP alone, except for segments with FIN: neighbour discovery, multicast reports and ICMP pass without faults and are
not counted, and the end of a connection repeats nothing. A router between the two sides has the netem, so that
senders have done segmentation and checksums before it: one packet counts once.

A Wire is one such link; a network of several has several wires between its sides.
"""

import contextlib
import json
import os
import socket
import struct
import subprocess
import typing
import unittest

from daemon import await_true
from link import BACKWARD, FORWARD, PROBE_MAGIC, TCP, UDP
from namespaces import Side, ip_batch, new_namespace, no_offload, silent_ipv6

#: Named by the environment that tools/dev/guest_suites.py gives the guests.
needs_guest = unittest.skipUnless(os.environ.get("RIPOSTE_KERNEL"), "needs a guest: ./dev kernels")

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 3, 0x0800, 0x86dd
SO_RCVBUFFORCE, SOL_PACKET, PACKET_STATISTICS = 33, 263, 6
TAP_BYTES = 64 << 20
#: Bytes before the TCP or UDP header.
HEADERS = {ETH_P_IP: 34, ETH_P_IPV6: 54}


class Counters(typing.NamedTuple):
    """netem's own, of one direction."""
    passed: int
    dropped: int
    requeued: int  # those that it let overtake
    waiting: int
    bytes: int     # of what passed, with the headers of Ethernet


class Arrival(typing.NamedTuple):
    """A UDP datagram or TCP segment at the receiving device."""
    protocol: int
    source_port: int
    destination_port: int
    tcp_flags: int
    payload: bytes

    def probe(self):
        """(session, sequence number) of a probe of riposte over UDP, or None."""
        if self.protocol != UDP or len(self.payload) < 24 or not self.payload.startswith(PROBE_MAGIC):
            return None
        return struct.unpack_from(">IQ", self.payload, 4)


class Tap:
    """Reads everything that arrives at a device."""

    def __init__(self, side, device):
        with side:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, TAP_BYTES)
        self._socket.bind((device, ETH_P_ALL))
        self._socket.setblocking(False)
        self.arrivals = []

    def read(self):
        """All arrivals until now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, (_, protocol, kind, *_) = self._socket.recvfrom(1 << 16)
                if kind != socket.PACKET_OUTGOING and protocol in HEADERS:
                    self.arrivals.append(parse(frame, HEADERS[protocol]))
        _, lost = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        if lost:
            raise AssertionError(f"the tap has lost {lost} packets")
        return [arrival for arrival in self.arrivals if arrival.protocol in (TCP, UDP)]

    def close(self):
        self._socket.close()


def parse(frame, at):
    protocol = frame[23] if at == HEADERS[ETH_P_IP] else frame[20]
    if protocol not in (TCP, UDP) or len(frame) < at + 8:
        return Arrival(protocol, 0, 0, 0, b"")
    if protocol == UDP:
        return Arrival(protocol, *struct.unpack_from(">HH", frame, at), 0, frame[at + 8:])
    return Arrival(protocol, *struct.unpack_from(">HH", frame, at), frame[at + 13], b"")


class Wire:
    """A router between two sides, with netem before each of its devices. On either side the device is net<number>, and
    its addresses are 192.0.<network>.2 and fd00:<network>::2, with one network for each side."""

    def __init__(self, client, server, number=1):
        self.sides = (client, server)
        self.device = f"net{number}"
        self.networks = (2 * number, 2 * number + 1)
        self.ipv4 = [f"192.0.{network}.2" for network in self.networks]
        self.ipv6 = [f"fd00:{network}::2" for network in self.networks]
        self.router4 = [f"192.0.{network}.1" for network in self.networks]
        self.router6 = [f"fd00:{network}::1" for network in self.networks]
        self._resources = contextlib.ExitStack()
        self.router = self._resources.enter_context(new_side())
        with self.router:
            for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                set_sysctl(key, 1)
            for end in (0, 1):
                self._join(end)
        for end in (0, 1):
            self._configure(end)
        self.taps = [self._resources.enter_context(contextlib.closing(Tap(side, self.device)))
                     for side in (server, client)]

    @staticmethod
    def to(end):
        """The router's device towards a side."""
        return ("to_client", "to_server")[end]

    def _join(self, end):
        """Makes the pair of devices to a side; called in the router."""
        network, near = self.networks[end], self.to(end)
        ip_batch(f"link add {near} address 02:00:00:00:{network:02}:01 type veth peer name {self.device} "
                 f"address 02:00:00:00:{network:02}:02 netns /proc/{os.getpid()}/fd/{self.sides[end].namespace}")
        silent_ipv6(near, disable=False)
        known = f"lladdr 02:00:00:00:{network:02}:02 dev {near} nud permanent"
        ip_batch(f"link set {near} up",
                 f"address add {self.router4[end]}/24 dev {near}",
                 f"address add {self.router6[end]}/64 dev {near} nodad",
                 f"neighbour add {self.ipv4[end]} {known}", f"neighbour add {self.ipv6[end]} {known}")
        tc(f"qdisc add dev {near} root handle 1: prio bands 2 priomap" + 16 * " 1",
           f"qdisc add dev {near} parent 1:1 handle 10: netem",
           *filters(near, "ip", "ip", 33, 1), *filters(near, "ipv6", "ip6", 53, 5))

    def _configure(self, end):
        network, other = self.networks[end], 1 - end
        known = f"lladdr 02:00:00:00:{network:02}:01 dev {self.device} nud permanent"
        with self.sides[end]:
            no_offload(self.device)
            silent_ipv6(self.device, disable=False)
            ip_batch("link set lo up", f"link set {self.device} up",
                     f"address add {self.ipv4[end]}/24 dev {self.device}",
                     f"address add {self.ipv6[end]}/64 dev {self.device} nodad",
                     f"neighbour add {self.router4[end]} {known}", f"neighbour add {self.router6[end]} {known}",
                     f"route add {self.ipv4[other]} via {self.router4[end]}",
                     f"route add {self.ipv6[other]} via {self.router6[end]}")

    def change(self, direction, faults):
        with self.router:
            tc(f"qdisc change dev {self.to(1 - direction)} parent 1:1 handle 10: netem {faults}")

    def counters(self):
        """netem's counters, of both directions."""
        with self.router:
            done = subprocess.run(["tc", "-s", "-j", "qdisc", "show"], check=True, capture_output=True, text=True)
        found = {each["dev"]: Counters(each["packets"], each["drops"], each["requeues"], each["qlen"], each["bytes"])
                 for each in json.loads(done.stdout) if each["kind"] == "netem"}
        return [found[self.to(1 - direction)] for direction in (FORWARD, BACKWARD)]

    def arrivals(self, direction):
        """What has arrived at the far side's device."""
        return self.taps[direction].read()

    def close(self):
        self._resources.close()


def filters(device, protocol, word, flags_at, first):
    """Sends UDP and TCP through netem, but not FIN."""
    choices = [(f"match {word} protocol 6 0xff match u8 0x01 0x01 at {flags_at}", 2),
               (f"match {word} protocol 6 0xff", 1), (f"match {word} protocol 17 0xff", 1)]
    return [f"filter add dev {device} parent 1: protocol {protocol} prio {first + number} u32 {match} "
            f"flowid 1:{band}" for number, (match, band) in enumerate(choices)]


class NetemLink:
    """Two sides and a wire."""

    def __init__(self, forward="", backward=""):
        self.faults = (forward, backward)
        self._resources = contextlib.ExitStack()

    def __enter__(self):
        with self._resources:
            self.client = self._resources.enter_context(new_side())
            self.server = self._resources.enter_context(new_side())
            self.wire = self._resources.enter_context(contextlib.closing(Wire(self.client, self.server)))
            for direction, side in enumerate((self.client, self.server)):
                side.ipv4, side.ipv6 = self.wire.ipv4[direction], self.wire.ipv6[direction]
                if self.faults[direction]:
                    self.wire.change(direction, self.faults[direction])
            self._resources = self._resources.pop_all()
        return self

    def __exit__(self, *_):
        self._resources.close()

    def settle(self):
        """Waits until nothing is on its way and neither side sends."""
        seen = []

        def quiet():
            seen.append((self.wire.counters(), snmp(self.client), snmp(self.server)))
            return len(seen) > 1 and seen[-1] == seen[-2] and not any(each.waiting for each in seen[-1][0])
        await_true(quiet, "the link is quiet")


def set_sysctl(key, value):
    """Of the caller's namespace."""
    with open(f"/proc/sys/net/{key}", "w", encoding="ascii") as file:
        file.write(str(value))


@contextlib.contextmanager
def new_side():
    side = Side(new_namespace(), None, None)
    try:
        yield side
    finally:
        side.close()


def tc(*commands):
    done = subprocess.run(["tc", "-batch", "-"], input="\n".join(commands) + "\n", capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise AssertionError(f"tc: {commands}: {done.stderr}")


def snmp(side):
    """The counters of UDP, TCP and IP of a side, {"Udp.InDatagrams": 7}; those of IPv6 begin with Udp6 and Ip6."""
    found = {}
    with side:
        with open("/proc/thread-self/net/snmp", encoding="ascii") as file:
            lines = file.read().splitlines()
        for names, values in zip(lines[::2], lines[1::2]):
            kind, _, names = names.partition(": ")
            found.update({f"{kind}.{name}": int(value)
                          for name, value in zip(names.split(), values.split()[1:])})
        with open("/proc/thread-self/net/snmp6", encoding="ascii") as file:
            for line in file:
                name, value = line.split()
                kind = "Udp6" if name.startswith("Udp6") else "Icmp6" if name.startswith("Icmp6") else "Ip6"
                found[f"{kind}.{name.removeprefix(kind)}"] = int(value)
    return found
