// Peers that dribble: a byte now and then renews every timeout and holds a slot for ever.
//
// What counts is the rate over a window (`rate_window`), not of a single call.
//
//   sending   `rate_min`, of who goes on sending: a window is judged when something comes after its
//             end, which counts, since it may have waited for us. Who sends nothing at all is idle,
//             for which there is another timeout. While something is owed, a peer is judged by what
//             it takes; while we have no buffer, not.
//   taking    `write_rate_min`, while something is owed without a break: what we gave the kernel
//             less what it still has. The kernel buffers megabytes, so the first window only says
//             how much it has. Whoever has acknowledged all is not slow: we are.

#include "daemon/tcp/connections.h"

#include <algorithm>
#include <limits>

namespace riposte {
namespace {

constexpr uint32_t many = std::numeric_limits<uint32_t>::max();

void add(uint32_t& bytes, uint32_t size) noexcept {
    bytes = bytes > many - size ? many : bytes + size;
}

bool is_below(uint32_t bytes, uint32_t rate_min, uint32_t elapsed_ms) noexcept {
    return bytes != many && uint64_t{bytes} * 1000 < uint64_t{rate_min} * elapsed_ms;
}

} // namespace

/// The clock's low bits; never 0, which is no window.
uint32_t Connections::window_clock_ms() const noexcept {
    return static_cast<uint32_t>(turn_.now_ms) | 1;
}

/// So many bytes came: is it, with those before, too few? To be asked once for each arrival.
bool Connections::dribbles(Connection& c, uint32_t size) noexcept {
    const TcpLimits& limits = limits_;
    if (limits.rate_min == 0)
        return false;
    const uint32_t now_ms = window_clock_ms();
    const uint32_t elapsed_ms = now_ms - c.peer_sends.since_ms;
    if (c.peer_sends.since_ms == 0) {
        c.peer_sends = {now_ms, size};
        return false;
    }
    add(c.peer_sends.bytes, size);
    if (elapsed_ms < limits.rate_window_ms)
        return false;
    const bool slow = is_below(c.peer_sends.bytes, limits.rate_min, elapsed_ms);
    c.peer_sends = {now_ms, 0};
    return slow;
}

/// Milliseconds until the rate at which it takes what it is owed is to be judged.
uint32_t Connections::open_taking_window(Connection& c) noexcept {
    const uint32_t now_ms = window_clock_ms();
    if (c.peer_reads.since_ms == 0) {
        c.peer_reads = {now_ms, 0};
        c.read_from_unacknowledged = many;
    }
    const uint32_t elapsed_ms = now_ms - c.peer_reads.since_ms;
    const uint32_t window_ms = limits_.rate_window_ms;
    return elapsed_ms < window_ms ? window_ms - elapsed_ms : 0;
}

void Connections::took(Connection& c, uint32_t size) noexcept {
    add(c.peer_reads.bytes, size);
}

/// When its window is over: has it taken too little in it? `c.unacknowledged` is new.
bool Connections::takes_too_little(Connection& c) noexcept {
    const TcpLimits& limits = limits_;
    const uint32_t now_ms = window_clock_ms();
    const uint32_t elapsed_ms = now_ms - c.peer_reads.since_ms;
    if (c.peer_reads.since_ms == 0 || elapsed_ms < limits.rate_window_ms)
        return false;
    // Much later than it was to be: this process slept, and gave it nothing.
    const bool late = elapsed_ms - limits.rate_window_ms > limits.rate_window_ms / 2;
    uint32_t taken = c.peer_reads.bytes;
    bool slow = false;
    if (limits.write_rate_min > 0 && !late && c.read_from_unacknowledged != many &&
        c.unacknowledged > 0) {
        add(taken, c.read_from_unacknowledged);
        taken -= std::min(taken, c.unacknowledged);
        slow = is_below(taken, limits.write_rate_min, elapsed_ms);
    }
    c.peer_reads = {now_ms, 0};
    c.read_from_unacknowledged = c.unacknowledged;
    return slow;
}

} // namespace riposte
