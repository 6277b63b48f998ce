#pragma once

#include "common/fd.h"

#include <netinet/in.h>
#include <sys/socket.h>

namespace riposte::test {

/// Whether ::1 can be bound here.
inline bool has_ipv6() {
    sockaddr_in6 loopback{};
    loopback.sin6_family = AF_INET6;
    loopback.sin6_addr = in6addr_loopback;
    const Fd fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    return fd &&
           ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&loopback), sizeof loopback) == 0;
}

} // namespace riposte::test
