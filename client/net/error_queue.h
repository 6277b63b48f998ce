// The errors that the network reports about a socket: ICMP, from routers and from the peer.
//
// By default the kernel reports few of them. A UDP socket hears that no process listens, and little
// else; since Linux 6.10 a connecting TCP socket hears no error that may be temporary, such as "no
// route". A caller would then wait until its timeout for a failure that is already known. With
// IP_RECVERR (ip(7), ipv6(7)) the kernel queues all of them, each with its ICMP type and code, the
// address that sent it, and the datagram that it is about.
#pragma once

#include "client/measure/cause.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace riposte::client {

/// Switches the queue on or off. Errors that were queued before are discarded.
void set_error_queue(int fd, int family, bool on);

/// One message of the queue.
struct QueuedError {
    Cause cause;             ///< ICMP, or local; `error` 0: the message is not about an error
    size_t quoted_bytes = 0; ///< of the datagram that it is about
    SocketAddress to = {};   ///< whom that was for; size 0: unknown
    std::optional<uint64_t> stamp_ns; ///< the time of arrival, CLOCK_REALTIME (receive_time.h)
};

/// Takes the oldest message out of the queue; nothing if there is none. `quoted` is filled with the
/// beginning of the payload that the error is about.
std::optional<QueuedError> take_queued_message(int fd, std::span<std::byte> quoted = {});

/// The oldest error in the queue, which is taken out of it; `error` is 0 if there is none.
Cause take_queued_error(int fd);

} // namespace riposte::client
