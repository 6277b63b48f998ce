// A connection that a client of this machine has made. The kernel tells the client first: on a busy
// machine the listener, which does not block, has it a little later.
#pragma once

#include "common/fd.h"
#include "tests/support/patience.h"

#include <poll.h>
#include <sys/socket.h>

namespace riposte::test {

inline Fd accept_one(int listener) {
    pollfd ready = {.fd = listener, .events = POLLIN, .revents = 0};
    ::poll(&ready, 1, patience_ms());
    return Fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
}

} // namespace riposte::test
