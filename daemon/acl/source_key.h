// A peer's address as the limits and the access lists compare it: 16 bytes for either family,
// without port or zone. IPv4 addresses are v4-mapped (RFC 4291, 2.5.5.2), so that a peer has the
// same key on an IPv4 socket and on a dual-stack one.
#pragma once

#include "common/address.h"

#include <array>
#include <cstdint>

#include <netinet/in.h>

namespace riposte {

/// In network byte order; all zero if the address is neither IPv4 nor IPv6.
using SourceKey = std::array<uint8_t, 16>;

/// Where the bits of an IPv4 address begin in the key: behind ::ffff:0:0/96.
inline constexpr uint8_t ipv4_offset_bits = 96;

SourceKey source_key(const SocketAddress& address);
SourceKey ipv4_key(const in_addr& address) noexcept;
SourceKey ipv6_key(const in6_addr& address) noexcept;
/// The address of a key, for messages; an IPv6 zone is lost.
SocketAddress source_address(const SourceKey& key, uint16_t port);

bool is_ipv4(const SourceKey& key) noexcept;
/// The key with all but its first `bits` (0 to 128) cleared.
SourceKey first_bits(const SourceKey& key, uint8_t bits) noexcept;

} // namespace riposte
