// The largest packet that a UDP socket's path takes (RFC 1191, RFC 8201), as this machine knows it,
// and whether its datagrams may be sent in fragments.
#pragma once

#include <cstdint>
#include <optional>

namespace riposte::client {

/// No datagram of the socket is fragmented, here or on the way: one that is larger than the MTU of
/// the interface is refused (EMSGSIZE), one that is larger than that of a link behind it draws an
/// ICMP error. The known MTU of the path holds none back, so that each datagram tests the path.
void forbid_fragments(int fd, int family);

/// The MTU of the path to the peer of a connected socket, in bytes; nothing if it is not known.
std::optional<uint32_t> path_mtu(int fd, int family);

/// The packet that a datagram makes: with the headers of IP and UDP, in bytes.
uint64_t packet_bytes(int fd, int family, uint64_t payload_bytes);

} // namespace riposte::client
