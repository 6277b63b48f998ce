// The limits on datagrams ([datagrams] in riposted.toml(5)), of the process or of one worker.
#pragma once

#include "daemon/acl/cidr.h"

#include <cstdint>
#include <vector>

namespace riposte {

/// The smallest permitted rate of bytes a second: the size of the largest datagram.
inline constexpr uint64_t bytes_rate_min = 65'536;

/// Loopback addresses, which cannot be forged from outside: the kernel accepts no such source from
/// a network.
std::vector<Cidr> loopback_prefixes();

/// Which peers get replies to datagrams, and how much; see source_filter.h and
/// response_rate_limit.h.
struct UdpLimits {
    uint32_t prefix_ipv4_bits = 24; ///< addresses with the same first bits share their rate
    uint32_t prefix_ipv6_bits = 56;
    uint64_t rate_per_prefix = 5'000;                      ///< replies a second
    uint64_t bytes_per_prefix = uint64_t{8} * 1024 * 1024; ///< bytes of replies a second
    uint64_t rate = 100'000;                               ///< replies a second, in total
    uint64_t bytes = uint64_t{128} * 1024 * 1024;          ///< bytes of replies a second, in total
    std::vector<Cidr> rate_exempt = loopback_prefixes();   ///< these sources have no rate limit
    std::vector<Cidr> port_exempt{}; ///< these sources may use ports below 1024
    /// These sources may get replies that are longer than their requests.
    std::vector<Cidr> longer_answers_to = loopback_prefixes();

    bool operator==(const UdpLimits&) const = default;
};

/// One worker's share of the rates of the process.
UdpLimits worker_share(const UdpLimits& datagrams, uint32_t workers);

} // namespace riposte
