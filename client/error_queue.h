// The errors that the network reports about a socket: ICMP, from routers and from the peer.
//
// By default the kernel reports few of them. A UDP socket hears that nobody listens, and little
// else; since Linux 6.10 a connecting TCP socket hears no error that may be temporary, such as "no
// route". A caller would then wait out its timeout for a failure that is already known. IP_RECVERR
// (ip(7), ipv6(7)) asks for all of them.
#pragma once

namespace riposte::client {

/// From now on all errors are queued, or no longer; what was queued by then is forgotten.
void set_error_queue(int fd, int family, bool on);

/// The errno of the oldest error in the queue, which is taken out of it; 0: there is none.
int take_queued_error(int fd);

} // namespace riposte::client
