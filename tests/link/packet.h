// An IP packet as it is on the wire, from the IP header on: what is in it, and how the link changes
// it. RFC 791, 8200, 768, 9293, 792, 4443; checksums by RFC 1071 and 1624.
#pragma once

#include "record.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace riposte::link {

using Bytes = std::vector<uint8_t>;

/// Where the parts are; only what the packet really has.
struct Layout {
    size_t transport = 0; // offset of the transport's header
    size_t payload = 0;   // offset of what it carries; the end where there is no known header
    bool whole = true;    // no fragment
    bool subject = false; // UDP, TCP, or ICMP echo
};

/// Fills in what a record says of a packet. Cuts what the link layer padded. Nothing: not an IP
/// packet that the link forwards (another version, truncated, multicast, link-local).
std::optional<Layout> look(Bytes& packet, Record& record);

/// Inverts a bit of the payload, counted from its beginning. With `mend` the checksum fits again.
/// False: the packet has no such bit, or is a fragment.
bool flip_bit(Bytes& packet, const Layout& layout, const Record& record, uint64_t bit, bool mend);

/// Cuts or fills up the payload of a UDP datagram, all lengths and checksums mended. False: it is
/// none.
bool resize_payload(Bytes& packet, const Layout& layout, const Record& record, size_t bytes);

/// What a router does with an IPv4 packet that may be fragmented; empty: it may not.
std::vector<Bytes> fragments_of(const Bytes& packet, size_t mtu);

struct Router {
    std::array<uint8_t, 4> ipv4{};
    std::array<uint8_t, 16> ipv6{};
};

/// "Fragmentation needed" (RFC 1191) or "packet too big" (RFC 4443) about a packet, from the router
/// to its source. `packet` is as look() left it.
Bytes too_big_answer(const Bytes& packet, const Router& router, size_t mtu);

} // namespace riposte::link
