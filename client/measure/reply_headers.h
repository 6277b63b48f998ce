// What the IP header of a reply says: how many hops it may still take, its traffic class (RFC
// 2474), whether a router marked it as congested (RFC 3168), and whether it came in fragments. And
// the headers of all replies of an endpoint in a few bytes.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

namespace riposte::client {

/// Absent: the kernel did not say.
struct ReplyHeader {
    std::optional<uint8_t> ttl;           ///< IPv4 time to live, IPv6 hop limit
    std::optional<uint8_t> traffic_class; ///< DSCP in the upper six bits, ECN in the lower two
    std::optional<uint32_t> fragment;     ///< it came in fragments: the largest, in bytes

    bool operator==(const ReplyHeader&) const = default;
};

/// Which hop limits and traffic classes replies had, and how often the former changed from one to
/// the next.
class ReplyHeaders {
public:
    void note(const ReplyHeader& header) {
        if (header.ttl) {
            ttl_min_ = std::min(ttl_min_.value_or(*header.ttl), *header.ttl);
            ttl_max_ = std::max(ttl_max_.value_or(*header.ttl), *header.ttl);
            if (last_ttl_ && last_ttl_ != header.ttl)
                ++ttl_changes_;
            last_ttl_ = header.ttl;
        }
        if (header.traffic_class) {
            dscps_ |= uint64_t{1} << (*header.traffic_class >> 2);
            ecn_[*header.traffic_class & 3]++;
        }
    }

    std::optional<uint8_t> ttl_min() const { return ttl_min_; }
    std::optional<uint8_t> ttl_max() const { return ttl_max_; }
    uint64_t ttl_changes() const { return ttl_changes_; }
    /// Ascending.
    std::vector<uint8_t> dscps() const {
        std::vector<uint8_t> all;
        for (uint64_t left = dscps_; left != 0; left &= left - 1)
            all.push_back(static_cast<uint8_t>(std::countr_zero(left)));
        return all;
    }
    /// How many replies had each value of the two bits: not ECN-capable, ECT(1), ECT(0), congestion
    /// experienced.
    const std::array<uint64_t, 4>& ecn() const { return ecn_; }
    bool empty() const { return !ttl_min_ && dscps_ == 0; }

private:
    std::optional<uint8_t> ttl_min_;
    std::optional<uint8_t> ttl_max_;
    uint64_t ttl_changes_ = 0;
    uint64_t dscps_ = 0; ///< a bit for each value
    std::array<uint64_t, 4> ecn_{};
    std::optional<uint8_t> last_ttl_;
};

} // namespace riposte::client
