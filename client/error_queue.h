// The errors that the network reports about a socket: ICMP, from routers and from the peer.
//
// Without being asked to the kernel tells a UDP socket only of some (nobody listens there) and,
// since Linux 6.10, a TCP socket that connects of none that may pass (no route): whoever waits for
// an answer then waits to the end for what is known already. IP_RECVERR (ip(7), ipv6(7)) asks for
// all.
#pragma once

namespace riposte::client {

/// From now on all errors are queued, or no longer; what was queued by then is forgotten.
void set_error_queue(int fd, int family, bool on);

/// The errno of the oldest error in the queue, which is taken out of it; 0: there is none.
int take_queued_error(int fd);

} // namespace riposte::client
