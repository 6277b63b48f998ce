// Prefixes of addresses (CIDR, RFC 4632 and RFC 4291, 2.3), and sets of them.
//
//     prefix = IPv4 [/0..32] | IPv6 [/0..128]      without a length: one address
//
// A v4-mapped prefix (::ffff:192.0.2.0/120) equals the IPv4 one (192.0.2.0/24), because a peer is
// the same on both kinds of socket. Conversely, an IPv6 prefix never contains an IPv4 peer: ::/0
// means all of IPv6.
#pragma once

#include "common/endpoint.h"
#include "daemon/acl/source_key.h"

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace riposte {

struct Cidr {
    SourceKey network{}; ///< the bits beyond `bits` are zero
    uint8_t bits = 0;    ///< length within the key: an IPv4 prefix of n bits has 96 + n

    bool operator==(const Cidr&) const = default;
};

/// The error has the offset of the fault in the text. Refused are text that is not an address, a
/// name, a zone, a length that the family does not have, and bits set beyond the length.
std::expected<Cidr, EndpointError> parse_cidr(std::string_view text);

/// "192.0.2.0/24", "192.0.2.1", "2001:db8::/32"; parse_cidr() accepts the result.
std::string to_string(const Cidr& cidr);

bool contains(const Cidr& cidr, const SourceKey& key) noexcept;

/// Finds the longest of its prefixes that contains an address, without allocating: a binary search
/// for each length that occurs.
class CidrSet {
public:
    static constexpr int none = -1;

    CidrSet() = default;
    explicit CidrSet(const std::vector<Cidr>& prefixes);

    /// The length of the longest prefix that contains `key`, in bits of the key, or `none`.
    int longest_match(const SourceKey& key) const noexcept;
    bool empty() const noexcept { return lengths_.empty(); }

private:
    struct Length {
        uint8_t bits;
        std::vector<SourceKey> networks; ///< sorted
    };

    std::vector<Length> lengths_; ///< longest first
};

} // namespace riposte
