// The limits on datagrams ([datagrams] in riposted.toml(5)), of the process or of one worker.
#pragma once

#include "daemon/acl/cidr.h"

#include <cstdint>
#include <vector>

namespace riposte {

/// No less, for the largest datagram has so many.
inline constexpr uint64_t bytes_rate_min = 65'536;

/// Who can not be forged from outside: the kernel takes no such source from a network.
std::vector<Cidr> loopback_prefixes();

/// To whom, and how much, datagrams are answered; see source_filter.h and response_rate_limit.h.
struct UdpLimits {
    uint32_t prefix_ipv4_bits = 24; ///< addresses that agree in so many bits share their rate
    uint32_t prefix_ipv6_bits = 56;
    uint64_t rate_per_prefix = 5'000; ///< answers a second
    uint64_t bytes_per_prefix = uint64_t{8} * 1024 * 1024;
    uint64_t rate = 100'000; ///< to all together
    uint64_t bytes = uint64_t{128} * 1024 * 1024;
    std::vector<Cidr> rate_exempt = loopback_prefixes();
    std::vector<Cidr> port_exempt{}; ///< may ask from ports below 1024
    /// May be sent more than they asked with. Loopback can not be forged from outside.
    std::vector<Cidr> longer_answers_to = loopback_prefixes();

    bool operator==(const UdpLimits&) const = default;
};

/// One worker's share of the rates of the process.
UdpLimits worker_share(const UdpLimits& datagrams, uint32_t workers);

} // namespace riposte
