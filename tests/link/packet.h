// An IP packet as it is on the wire, from the IP header on: its contents, and the link's changes to
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

/// The offsets of the parts that the packet really has.
struct Layout {
    size_t transport = 0; // offset of the transport's header
    size_t payload = 0;   // offset of the payload; the end if the header is unknown
    bool whole = true;    // not a fragment
    bool subject = false; // UDP, TCP, or ICMP echo
};

/// Fills in the packet's fields of a record, and cuts the link layer's padding. Nothing if it is
/// not an IP packet that the link forwards (another version, truncated, multicast, link-local).
std::optional<Layout> look(Bytes& packet, Record& record);

/// Inverts a bit of the payload, counted from its beginning. With `mend` it corrects the checksum.
/// False if the packet has no such bit, or is a fragment.
bool flip_bit(Bytes& packet, const Layout& layout, const Record& record, uint64_t bit, bool mend);

/// Cuts or fills up the payload of a UDP datagram, and corrects all lengths and checksums. False if
/// it is not a UDP datagram.
bool resize_payload(Bytes& packet, const Layout& layout, const Record& record, size_t bytes);

/// The fragments of an IPv4 packet, as a router makes them; empty if it must not be fragmented.
std::vector<Bytes> fragments_of(const Bytes& packet, size_t mtu);

struct Router {
    std::array<uint8_t, 4> ipv4{};
    std::array<uint8_t, 16> ipv6{};
};

/// "Fragmentation needed" (RFC 1191) or "packet too big" (RFC 4443) about a packet, from the router
/// to its source. `packet` is as look() left it.
Bytes too_big_answer(const Bytes& packet, const Router& router, size_t mtu);

} // namespace riposte::link
