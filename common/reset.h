// How a TCP connection is reset (OpKind::abort on a real socket).
#pragma once

#include <sys/socket.h>

namespace riposte {

/// Sends RST and at once ends every operation in flight on the connection. connect(2) to AF_UNSPEC
/// dissolves the association; shutdown(2) would send a FIN first, and the peer would mistake a
/// truncated reply for a complete one. The address consists of the family alone, so this call
/// cannot connect to anything: the sandbox recognises it by that size (sandbox.cpp).
inline void reset_connection(int fd) noexcept {
    sockaddr unspecified{};
    unspecified.sa_family = AF_UNSPEC;
    if (::connect(fd, &unspecified, sizeof unspecified.sa_family) == 0)
        return;
    linger reset_at_close{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset_at_close, sizeof reset_at_close);
    ::shutdown(fd, SHUT_RDWR);
}

} // namespace riposte
