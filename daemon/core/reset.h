// OpKind::abort on a real socket.
#pragma once

#include <sys/socket.h>

namespace riposte {

/// Sends RST and ends what is in flight on the connection, at once. connect(2) to AF_UNSPEC
/// dissolves the association; shutdown(2) would send a FIN first, and the peer would take a cut-off
/// answer for a complete one. The address is the family and nothing else, which can not connect to
/// anybody: by that size the sandbox tells this call from one that would (sandbox.cpp).
inline void reset_connection(int fd) noexcept {
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    if (::connect(fd, &nobody, sizeof nobody.sa_family) == 0)
        return;
    linger at_close{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_close, sizeof at_close);
    ::shutdown(fd, SHUT_RDWR);
}

} // namespace riposte
