#include "client/net/patience.h"

#include "common/clock.h"

#include <algorithm>
#include <cerrno>

#include <climits>

namespace riposte::client {

namespace {

constexpr uint64_t interrupt_look_ms = 100; ///< how soon an interrupt is seen that came just before

int poll_timeout(uint64_t left_ms, bool interruptible) {
    const uint64_t wait_ms = interruptible ? std::min(left_ms, interrupt_look_ms) : left_ms;
    return static_cast<int>(std::min<uint64_t>(wait_ms, INT_MAX));
}

} // namespace

int await_ready(std::span<pollfd> fds, const Patience& patience) {
    for (;;) {
        if (patience.loop != nullptr && patience.loop->interrupted())
            return EINTR;
        const uint64_t now_ms = monotonic_ms();
        const uint64_t left_ms = patience.deadline_ms - std::min(patience.deadline_ms, now_ms);
        const int timeout = poll_timeout(left_ms, patience.loop != nullptr);
        const int ready = ::poll(fds.data(), fds.size(), timeout);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return errno;
        if (ready == 0 && left_ms == 0)
            return ETIMEDOUT;
    }
}

int await_ready(int fd, short events, const Patience& patience) {
    pollfd wait{.fd = fd, .events = events, .revents = 0};
    return await_ready({&wait, 1}, patience);
}

} // namespace riposte::client
