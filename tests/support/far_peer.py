"""A peer at the server's end of a link (link.py):

    with Link() as link, far_peer(link, "udp", family=6) as endpoint:
"""

import contextlib
import socket

from peers import TcpPeer, UdpPeer, echo_datagram, echo_stream


@contextlib.contextmanager
def far_peer(link, transport="udp", family=4, handler=None, host=None):
    """An echo, or the peer of this handler; its endpoint."""
    stream = transport == "tcp"
    listener = link.server.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    listener.bind((host or link.server.address(family), 0))
    peer = (TcpPeer(handler or echo_stream, listener=listener) if stream
            else UdpPeer(handler or echo_datagram, listener=listener))
    try:
        yield peer.endpoint
    finally:
        with link.server:  # the connection that wakes the peer to end it must come from there
            peer.close()
