#include "daemon/tcp/transfer_rate.h"

#include <algorithm>

namespace riposte::transfer_rate {
namespace {

bool is_below(uint32_t bytes, uint32_t rate_min, uint32_t elapsed_ms) noexcept {
    return bytes != bytes_max && uint64_t{bytes} * 1000 < uint64_t{rate_min} * elapsed_ms;
}

} // namespace

bool sends_too_slowly(
    Connection& c, const TcpLimits& limits, uint32_t size, uint64_t now_ms) noexcept {
    if (limits.rate_min == 0)
        return false;
    const uint32_t clock_ms = window_clock_ms(now_ms);
    const uint32_t elapsed_ms = clock_ms - c.peer_sends.since_ms;
    if (c.peer_sends.since_ms == 0) {
        c.peer_sends = {clock_ms, size};
        return false;
    }
    add(c.peer_sends.bytes, size);
    if (elapsed_ms < limits.rate_window_ms)
        return false;
    const bool slow = is_below(c.peer_sends.bytes, limits.rate_min, elapsed_ms);
    c.peer_sends = {clock_ms, 0};
    return slow;
}

uint32_t open_read_window(Connection& c, const TcpLimits& limits, uint64_t now_ms) noexcept {
    const uint32_t clock_ms = window_clock_ms(now_ms);
    if (c.peer_reads.since_ms == 0) {
        c.peer_reads = {clock_ms, 0};
        c.read_from_unacknowledged = Connection::not_looked;
    }
    const uint32_t elapsed_ms = clock_ms - c.peer_reads.since_ms;
    const uint32_t window_ms = limits.rate_window_ms;
    return elapsed_ms < window_ms ? window_ms - elapsed_ms : 0;
}

bool reads_too_slowly(Connection& c, const TcpLimits& limits, uint64_t now_ms) noexcept {
    const uint32_t clock_ms = window_clock_ms(now_ms);
    const uint32_t elapsed_ms = clock_ms - c.peer_reads.since_ms;
    if (c.peer_reads.since_ms == 0 || elapsed_ms < limits.rate_window_ms)
        return false;
    // Much later than it was to be judged: this process slept, and gave the peer nothing.
    const bool late = elapsed_ms - limits.rate_window_ms > limits.rate_window_ms / 2;
    uint32_t bytes = c.peer_reads.bytes;
    bool slow = false;
    if (limits.write_rate_min > 0 && !late &&
        c.read_from_unacknowledged != Connection::not_looked && c.unacknowledged > 0) {
        add(bytes, c.read_from_unacknowledged);
        bytes -= std::min(bytes, c.unacknowledged);
        slow = is_below(bytes, limits.write_rate_min, elapsed_ms);
    }
    c.peer_reads = {clock_ms, 0};
    c.read_from_unacknowledged = c.unacknowledged;
    return slow;
}

} // namespace riposte::transfer_rate
