#include "daemon/tcp/deadlines.h"

#include "daemon/tcp/transfer_rate.h"

#include <algorithm>
#include <utility>

namespace riposte::deadlines {

std::optional<uint32_t> renew(Connection& c, const TcpLimits& limits, const Now& now) noexcept {
    c.progress_ms = now.ms;
    const bool pending = c.reply_pending();
    if (c.is_finishing() || !pending)
        c.peer_reads = {};
    if (c.is_finishing())
        return limits.linger_timeout_ms;
    if (pending) {
        c.unacknowledged = Connection::not_looked;
        return std::min(
            limits.write_stall_timeout_ms / 4, transfer_rate::open_read_window(c, limits, now.ms));
    }
    if (c.handing_off)
        return std::nullopt;
    if (now.draining)
        return now.ms >= now.drain_grace_ms ? 0 : drain_quiet_ms;
    return first_byte_due(c, limits) ? limits.first_byte_timeout_ms : limits.idle_timeout_ms;
}

bool record_unacknowledged(Connection& c, uint32_t unacknowledged, uint64_t now_ms) noexcept {
    const uint32_t before = std::exchange(c.unacknowledged, unacknowledged);
    if (c.unacknowledged >= before)
        return false;
    c.unchanged_ms = now_ms;
    return before != Connection::not_looked;
}

ReadVerdict judge_reading(
    Connection& c, const TcpLimits& limits, uint32_t unacknowledged, uint64_t now_ms) noexcept {
    const uint32_t timeout = limits.write_stall_timeout_ms;
    const bool first = c.unacknowledged == Connection::not_looked;
    const bool progressed = record_unacknowledged(c, unacknowledged, now_ms);
    // The first look has nothing to compare with. If it comes when the time is over, this process
    // was late, which says nothing of the peer: its time begins anew. A peer that has acknowledged
    // everything delays nothing: what is still pending waits for us.
    const bool is_over = now_ms - c.progress_ms >= timeout;
    if ((first ? is_over : progressed) || c.unacknowledged == 0)
        c.progress_ms = now_ms;
    if (now_ms - c.progress_ms >= timeout)
        return {.reading = Reading::not_at_all};
    if (transfer_rate::reads_too_slowly(c, limits, now_ms))
        return {.reading = Reading::too_slowly};
    const uint32_t window_ms = transfer_rate::open_read_window(c, limits, now_ms);
    const uint32_t wait = std::max(std::min(timeout / 4, window_ms), 1u);
    return {.next_look_ms = std::min(now_ms + wait, c.progress_ms + timeout)};
}

} // namespace riposte::deadlines
