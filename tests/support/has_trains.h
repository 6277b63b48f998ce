// Whether a train of datagrams (UDP_SEGMENT, UDP_GRO; udp(7)) arrives as one on the loopback
// interface. Linux 5.10 delivers each datagram by itself there. Plain sockets find it out, so that
// a fault of ours cannot look like it.
#pragma once

#include "common/fd.h"

#include <array>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace riposte::test {

inline bool has_trains() {
    static const bool found = [] {
        const Fd from(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const Fd to(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        const int on = 1;
        const int segment = 10;
        const timeval patience = {.tv_sec = 60, .tv_usec = 0};
        std::array<char, 64> bytes{};
        return ::bind(to.get(), generic, size) == 0 &&
               ::getsockname(to.get(), generic, &size) == 0 &&
               ::setsockopt(to.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
               ::setsockopt(to.get(), SOL_UDP, UDP_GRO, &on, sizeof on) == 0 &&
               ::setsockopt(from.get(), SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0 &&
               ::sendto(from.get(), bytes.data(), 30, 0, generic, size) == 30 &&
               ::recv(to.get(), bytes.data(), bytes.size(), 0) == 30;
    }();
    return found;
}

} // namespace riposte::test
