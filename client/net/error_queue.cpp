#include "client/net/error_queue.h"

#include "client/net/receive_time.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

/// The address behind the error in its control message.
SocketAddress offender_of(const cmsghdr& part) {
    SocketAddress address;
    const size_t size = part.cmsg_len - CMSG_LEN(sizeof(sock_extended_err));
    std::memcpy(
        &address.storage, CMSG_DATA(&part) + sizeof(sock_extended_err),
        std::min(size, sizeof(address.storage)));
    if (address.family() == AF_INET && size >= sizeof(sockaddr_in))
        address.size = sizeof(sockaddr_in);
    else if (address.family() == AF_INET6 && size >= sizeof(sockaddr_in6))
        address.size = sizeof(sockaddr_in6);
    return address;
}

Cause read_cause(const cmsghdr& part, int fd) {
    sock_extended_err error{};
    std::memcpy(&error, CMSG_DATA(&part), sizeof(error));
    Cause cause{.kind = CauseKind::local, .error = static_cast<int>(error.ee_errno)};
    if (error.ee_errno == EMSGSIZE)
        cause.mtu = error.ee_info;
    if (error.ee_origin != SO_EE_ORIGIN_ICMP && error.ee_origin != SO_EE_ORIGIN_ICMP6)
        return cause;
    cause.kind = error.ee_origin == SO_EE_ORIGIN_ICMP ? CauseKind::icmp : CauseKind::icmpv6;
    cause.type = error.ee_type;
    cause.code = error.ee_code;
    cause.from = offender_of(part);
    const std::string peer = host_text(peer_address(fd));
    const std::string from = host_text(cause.from);
    cause.own = from != peer && !from.empty() && from == host_text(local_address(fd));
    return cause;
}

} // namespace

void set_error_queue(int fd, int family, bool on) {
    const int value = on ? 1 : 0;
    // An IPv6 socket that is connected to an IPv4 address hears of it by the other option.
    ::setsockopt(fd, IPPROTO_IP, IP_RECVERR, &value, sizeof(value));
    if (family == AF_INET6)
        ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &value, sizeof(value));
}

std::optional<QueuedError> take_queued_message(int fd, std::span<std::byte> quoted) {
    alignas(cmsghdr) std::array<std::byte, 512> control;
    iovec bytes{.iov_base = quoted.data(), .iov_len = quoted.size()};
    SocketAddress to;
    msghdr message{};
    message.msg_name = to.get();
    message.msg_namelen = sizeof(to.storage);
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (size < 0)
        return std::nullopt;
    QueuedError queued{
        .cause = {},
        .quoted_bytes = static_cast<size_t>(size),
        .to = to,
        .stamp_ns = find_receive_stamp(message)};
    queued.to.size = message.msg_namelen;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
        const bool is_error = (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) ||
                              (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR);
        if (is_error && part->cmsg_len >= CMSG_LEN(sizeof(sock_extended_err)))
            queued.cause = read_cause(*part, fd);
    }
    return queued;
}

Cause take_queued_error(int fd) {
    while (const auto queued = take_queued_message(fd))
        if (queued->cause.error != 0)
            return queued->cause;
    return {};
}

} // namespace riposte::client
