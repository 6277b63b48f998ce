#include "daemon/udp/udp_limits.h"

#include <algorithm>

namespace riposte {

std::vector<Cidr> loopback_prefixes() {
    return {*parse_cidr("127.0.0.0/8"), *parse_cidr("::1")};
}

UdpLimits worker_share(const UdpLimits& datagrams, uint32_t workers) {
    const auto share_of = [workers](uint64_t rate) { return (rate + workers - 1) / workers; };
    UdpLimits share = datagrams;
    share.rate_per_prefix = share_of(datagrams.rate_per_prefix);
    share.rate = share_of(datagrams.rate);
    // A share must suffice for the largest datagram; otherwise that one would never pass.
    share.bytes_per_prefix = std::max(share_of(datagrams.bytes_per_prefix), bytes_rate_min);
    share.bytes = std::max(share_of(datagrams.bytes), 2 * bytes_rate_min);
    return share;
}

} // namespace riposte
