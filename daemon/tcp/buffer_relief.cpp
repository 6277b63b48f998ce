#include "daemon/tcp/buffer_relief.h"

#include "daemon/tcp/deadlines.h"

#include <algorithm>

namespace riposte {

void BufferRelief::reserve(uint32_t slots) {
    starved_room_.reserve(starved_, slots);
    woken_room_.reserve(woken_, slots);
}

void BufferRelief::give_up() noexcept {
    starved_room_.give_up();
    woken_room_.give_up();
}

void BufferRelief::grow(uint32_t slots) {
    starved_room_.take_over(starved_);
    woken_room_.take_over(woken_);
    starved_.reserve(slots);
    woken_.reserve(slots);
}

void BufferRelief::starve(uint32_t slot, Connection& c, bool read_all) {
    assert(!c.starved);
    c.starved = true;
    c.starved_rank = !read_all ? 2 : c.answered ? 0 : 1;
    c.peer_sends = {}; // the peer may send more than we can take
    starved_.push_back(slot);
}

void BufferRelief::begin_round(const ConnectionTable& connections, uint64_t now_ms) {
    if (now_ms > next_round_ms_ + stalled_ms / 2)
        watched_ms_ = now_ms;
    next_round_ms_ = now_ms + pause_ms;
    std::erase_if(starved_, [&connections](uint32_t slot) { return !connections[slot].starved; });
}

uint32_t BufferRelief::longest_stalled(
    ConnectionTable& connections, Host& host, uint64_t now_ms) noexcept {
    return stalled_.longest(connections.size(), now_ms, [&](uint32_t slot) {
        return stalled_since_ms(connections[slot], host, now_ms);
    });
}

uint64_t BufferRelief::stalled_since_ms(Connection& c, Host& host, uint64_t now_ms) const noexcept {
    if (!c.is_open() || c.pending.head == no_buffer)
        return LongestWaiting::not_waiting;
    const bool looked = c.unacknowledged != Connection::not_looked;
    if (looked && now_ms - std::max(c.unchanged_ms, watched_ms_) <= stalled_ms)
        return LongestWaiting::not_waiting;
    if (deadlines::record_unacknowledged(c, host.unacknowledged_bytes(c.fd), now_ms))
        c.progress_ms = now_ms;
    // A connection whose peer has acknowledged everything waits for us, not for the peer.
    if (!looked || c.progress_ms == now_ms || c.unacknowledged == 0)
        return LongestWaiting::not_waiting;
    return c.progress_ms;
}

} // namespace riposte
