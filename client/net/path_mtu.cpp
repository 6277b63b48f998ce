#include "client/net/path_mtu.h"

#include "common/address.h"

#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr uint64_t udp_header_bytes = 8;
constexpr uint64_t ipv4_header_bytes = 20;
constexpr uint64_t ipv6_header_bytes = 40;

/// An IPv6 socket that is connected to an IPv4 address sends IPv4.
bool sends_ipv4(int fd, int family) {
    if (family != AF_INET6)
        return true;
    const SocketAddress peer = peer_address(fd);
    sockaddr_in6 specific{};
    std::memcpy(&specific, &peer.storage, sizeof(specific));
    return IN6_IS_ADDR_V4MAPPED(&specific.sin6_addr);
}

} // namespace

void forbid_fragments(int fd, int family) {
    const int probe = IP_PMTUDISC_PROBE;
    ::setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof(probe));
    if (family != AF_INET6)
        return;
    const int probe6 = IPV6_PMTUDISC_PROBE;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe6, sizeof(probe6));
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_DONTFRAG, &on, sizeof(on));
}

std::optional<uint32_t> path_mtu(int fd, int family) {
    int mtu = 0;
    socklen_t size = sizeof(mtu);
    const bool v4 = sends_ipv4(fd, family);
    if (::getsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu, &size) < 0 ||
        mtu <= 0)
        return std::nullopt;
    return static_cast<uint32_t>(mtu);
}

uint64_t packet_bytes(int fd, int family, uint64_t payload_bytes) {
    return payload_bytes + udp_header_bytes +
           (sends_ipv4(fd, family) ? ipv4_header_bytes : ipv6_header_bytes);
}

} // namespace riposte::client
