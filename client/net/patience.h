// How long a caller waits, and what else ends the wait.
#pragma once

#include "client/net/event_loop.h"

#include <cstdint>
#include <span>

#include <poll.h>

namespace riposte::client {

struct Patience {
    uint64_t deadline_ms;            ///< of CLOCK_MONOTONIC
    const EventLoop* loop = nullptr; ///< if there is one, its interrupt ends the wait, too
};

/// poll(2) until one of `fds` is ready: 0, and it stands in `revents`. ETIMEDOUT: the deadline
/// passed first, but they were looked at once in any case; EINTR: interrupted; else what poll(2)
/// failed with.
int await_ready(std::span<pollfd> fds, const Patience& patience);

/// The same for one descriptor.
int await_ready(int fd, short events, const Patience& patience);

} // namespace riposte::client
