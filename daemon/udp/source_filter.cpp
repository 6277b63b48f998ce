#include "daemon/udp/source_filter.h"

#include <algorithm>
#include <utility>

#include <netinet/in.h>

namespace riposte {
namespace {

constexpr uint16_t first_free_port = 1024; // IPPORT_RESERVED
constexpr uint16_t nfs_port = 2049;

/// Can this be the address of a single other host?
bool is_host(const SourceKey& source) {
    if (is_ipv4(source)) {
        const uint8_t first = source[12];
        return first != 0 && first != 255 && (first & 0xf0) != 0xe0; // 224.0.0.0/4: multicast
    }
    if (source[0] == 0xff) // ff00::/8: multicast
        return false;
    // ::/96 is the unspecified address, loopback, and the v4-compatible ones.
    const bool compatible =
        std::all_of(source.begin(), source.begin() + 12, [](uint8_t byte) { return byte == 0; });
    return !compatible || source == SourceKey{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
}

/// On a dual-stack socket, IPv4 datagrams have v4-mapped addresses, the destination included, which
/// the kernel reports on every dual-stack socket.
bool came_over_ipv4(const DatagramInfo& info) {
    return info.local_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&info.local.v6.ipi6_addr);
}

} // namespace

SourceFilter::SourceFilter(
    std::shared_ptr<const PortSet> served, const std::vector<Cidr>& port_exempt)
    : served_(std::move(served)), port_exempt_(port_exempt) {}

SourceFilter::SourceFilter(std::shared_ptr<const PortSet> served, CidrSet port_exempt) noexcept
    : served_(std::move(served)), port_exempt_(std::move(port_exempt)) {}

std::optional<DropReason> SourceFilter::check(
    const DatagramInfo& info, bool knows_answers, SourceKey& source) const noexcept {
    source = {};
    uint16_t port = 0;
    if (info.peer.any.ss_family == AF_INET && info.peer_size >= sizeof info.peer.v4) {
        source = ipv4_key(info.peer.v4.sin_addr);
        port = ntohs(info.peer.v4.sin_port);
    } else if (info.peer.any.ss_family == AF_INET6 && info.peer_size >= sizeof info.peer.v6) {
        source = ipv6_key(info.peer.v6.sin6_addr);
        port = ntohs(info.peer.v6.sin6_port);
        if (is_ipv4(source) && !came_over_ipv4(info))
            return DropReason::source_address;
    } else {
        return DropReason::malformed;
    }
    if (info.cut)
        return DropReason::malformed;
    if (info.to_group)
        return DropReason::group;
    if (!is_host(source))
        return DropReason::source_address;
    return check_port(port, knows_answers, source);
}

std::optional<DropReason> SourceFilter::check_port(
    uint16_t port, bool knows_answers, const SourceKey& source) const noexcept {
    if (port == 0)
        return DropReason::source_port;
    if (knows_answers)
        return std::nullopt;
    if (served_ && (*served_)[port])
        return DropReason::own_port;
    const bool is_service = port < first_free_port || port == nfs_port;
    if (is_service && port_exempt_.longest_match(source) == CidrSet::none)
        return DropReason::source_port;
    return std::nullopt;
}

} // namespace riposte
