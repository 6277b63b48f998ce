// Reads the IP header of a datagram that arrived, as far as the kernel passes it on: ip(7),
// ipv6(7).
#pragma once

#include "client/measure/reply_headers.h"

#include <cstddef>

#include <sys/socket.h>

namespace riposte::client {

/// Room in a message's control data for it, beside a time stamp.
inline constexpr size_t reply_header_bytes = 3 * CMSG_SPACE(sizeof(int));

/// Asks for it on a datagram socket; over TCP there is no single header to speak of.
void enable_reply_header(int fd, int family);

/// That of a message, from its control data.
ReplyHeader find_reply_header(const msghdr& message);

} // namespace riposte::client
