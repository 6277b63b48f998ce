#include "client/load/load_engine.h"

#include <poll.h>

namespace riposte::client {

bool has_event(int fd) {
    pollfd wait{.fd = fd, .events = POLLIN | POLLOUT, .revents = 0};
    return ::poll(&wait, 1, 0) > 0;
}

void LoadEngine::charge(uint64_t now_ns, const Cause& cause) {
    RequestTimes times;
    if (schedule.is_open_loop()) {
        if (schedule.due() == 0)
            return;
        times = take_due(now_ns);
    } else {
        if (schedule.take(1) == 0)
            return;
        times.intended_ns = times.sent_ns = schedule.stamp(now_ns);
    }
    account.sent(times, 1, 0);
    account.failed(times, cause);
}

RequestTimes LoadEngine::take_due(uint64_t now_ns) {
    const DueRequest due = schedule.take_due(now_ns);
    const RequestTimes times{.intended_ns = due.intended_ns, .sent_ns = now_ns};
    account.left(times, due.lateness_ns, due.wait_ns);
    return times;
}

} // namespace riposte::client
