#include "client/net/reply_header.h"

#include <cstring>

#include <netinet/in.h>

namespace riposte::client {

namespace {

// IP_RECVFRAGSIZE and IPV6_RECVFRAGSIZE of linux/in.h and linux/in6.h, which glibc's headers lack
// in part.
constexpr int ip_recvfragsize = 25;
constexpr int ipv6_recvfragsize = 77;

/// IP_TOS comes as a byte, the others as an int.
std::optional<uint32_t> number_of(const cmsghdr& part) {
    if (part.cmsg_len >= CMSG_LEN(sizeof(int))) {
        int value = 0;
        std::memcpy(&value, CMSG_DATA(&part), sizeof(value));
        return static_cast<uint32_t>(value);
    }
    if (part.cmsg_len < CMSG_LEN(sizeof(uint8_t)))
        return std::nullopt;
    return *CMSG_DATA(&part);
}

std::optional<uint8_t> octet_of(const cmsghdr& part) {
    const auto number = number_of(part);
    return number ? std::optional(static_cast<uint8_t>(*number)) : std::nullopt;
}

bool is_ttl(const cmsghdr& part) {
    return (part.cmsg_level == IPPROTO_IP && part.cmsg_type == IP_TTL) ||
           (part.cmsg_level == IPPROTO_IPV6 && part.cmsg_type == IPV6_HOPLIMIT);
}

bool is_traffic_class(const cmsghdr& part) {
    return (part.cmsg_level == IPPROTO_IP && part.cmsg_type == IP_TOS) ||
           (part.cmsg_level == IPPROTO_IPV6 && part.cmsg_type == IPV6_TCLASS);
}

bool is_fragment_size(const cmsghdr& part) {
    return (part.cmsg_level == IPPROTO_IP && part.cmsg_type == ip_recvfragsize) ||
           (part.cmsg_level == IPPROTO_IPV6 && part.cmsg_type == ipv6_recvfragsize);
}

} // namespace

void enable_reply_header(int fd, int family) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
    ::setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on));
    ::setsockopt(fd, IPPROTO_IP, ip_recvfragsize, &on, sizeof(on));
    if (family != AF_INET6)
        return;
    ::setsockopt(fd, IPPROTO_IPV6, ipv6_recvfragsize, &on, sizeof(on));
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof(on));
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof(on));
}

ReplyHeader find_reply_header(const msghdr& message) {
    ReplyHeader header;
    // CMSG_NXTHDR wants what it only reads to be writable.
    auto* given = const_cast<msghdr*>(&message);
    for (cmsghdr* part = CMSG_FIRSTHDR(given); part != nullptr; part = CMSG_NXTHDR(given, part)) {
        if (is_ttl(*part))
            header.ttl = octet_of(*part);
        else if (is_traffic_class(*part))
            header.traffic_class = octet_of(*part);
        else if (is_fragment_size(*part))
            header.fragment = number_of(*part);
    }
    return header;
}

} // namespace riposte::client
