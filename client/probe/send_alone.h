// A datagram by itself through a socket that many destinations share and that has an error queue
// (IP_RECVERR): an ICMP error for any of them makes the next send(2) fail, which has then sent
// nothing. One may come between any two calls, so a failed send is this datagram's own only if the
// error queue has nothing from the network that explains it.
#pragma once

#include <cerrno>
#include <cstddef>

namespace riposte::client {

/// `send` returns 0 or errno; `read_errors` empties the error queue, and returns how many errors of
/// the network were in it. 0: it was sent; EAGAIN: errors of others came in between each time; else
/// the datagram's own errno, which was there twice.
template<class Send, class ReadErrors>
int send_alone(const Send& send, const ReadErrors& read_errors) {
    constexpr size_t tries_max = 16;
    size_t unexplained = 0;
    for (size_t tries = 0; tries < tries_max; tries++) {
        const int error = send();
        if (error == 0)
            return 0;
        unexplained += read_errors() == 0 ? 1U : 0U;
        if (unexplained == 2)
            return error;
    }
    return EAGAIN;
}

} // namespace riposte::client
