// What happens when a connection needs a stream buffer and there is none.
//
// It waits until one is released. Those who hold them may be peers that have stopped reading, and
// would keep them until write_stall_timeout; so somebody who took nothing for longer than
// `stalled_ms` is reset, the longest first, until there is a buffer for each that waits. Nobody
// is reset for having been slow, nor as long as there are buffers.
//
// Whether a peer takes something is what the kernel says: it has megabytes to deliver before there
// is room for one of our bytes. So each is looked at twice, and its time counts from the first
// look. Who was looked at is looked at again after `stalled_ms` at the earliest, which bounds what
// the looks cost. Time in which this process did not look, because it slept or nobody waited, is
// not counted. Nothing of all this is done, or remembered, as long as nobody waits.
//
// Those whose peers have been sent something, and have taken all of it, are woken before those that
// were sent nothing yet, and these before the others: what a reader that has stopped gets hold of
// does not come back.

#include "daemon/tcp/connections.h"
#include "daemon/tcp/deadlines.h"

#include <algorithm>
#include <utility>

namespace riposte {

void Connections::starve(uint32_t slot) {
    Connection& c = table_[slot];
    if (c.starved)
        return;
    c.starved = true;
    const bool took_all = c.pending.bytes == 0 && turn_.environment.unacknowledged_bytes(c.fd) == 0;
    c.starved_rank = !took_all ? 2 : c.answered ? 0 : 1;
    c.peer_sends = {}; // it may send more than we can take
    starved_.push_back(slot);
}

void Connections::wake_starved() {
    if (!starved_.empty() && !released_ && turn_.now_ms >= relief_ms_)
        relieve();
    // All of them: the one that is woken alone may have nothing to receive, and the buffer would
    // wait with it while another starves.
    if (!released_)
        return;
    released_ = false;
    woken_.swap(starved_);
    for (const int rank : {0, 1, 2}) {
        for (const uint32_t slot : woken_) {
            Connection& c = table_[slot];
            if (!c.starved || c.starved_rank != rank)
                continue;
            c.starved = false;
            run(slot);
        }
    }
    woken_.clear();
}

uint64_t Connections::next_relief_ms() const noexcept {
    return starved_.empty() ? TimerWheel::never : relief_ms_;
}

/// After the last event of a turn.
void Connections::relieve() {
    if (turn_.now_ms > relief_ms_ + stalled_ms / 2)
        watched_ms_ = turn_.now_ms;
    relief_ms_ = turn_.now_ms + relief_pause_ms;
    std::erase_if(starved_, [this](uint32_t slot) { return !table_[slot].starved; });
    const BufferPool& pool = turn_.pools.streams;
    const auto count = table_.size();
    uint32_t coming = 0; // back, when their sends have ended
    for (uint32_t left = reliefs_max; left > 0 && pool.held(Owner::pool) + coming < starved_.size();
         --left) {
        const uint32_t slot = stalled_.longest(
            count, turn_.now_ms, [this](uint32_t at) { return stalled_since_ms(at); });
        if (slot == LongestWaiting::none)
            return;
        const Connection& c = table_[slot];
        coming += c.sending();
        tally(c, Counter::stalls_relieved);
        log_refused(
            log::Event::connection_stalled, "reset a connection",
            source_address(c.source, c.source_port), listener_of(c), Counter::stalls_relieved,
            "it reads nothing, and 'buffer_memory' is used up");
        fail(slot, "it took nothing, and others need its buffers");
        run(slot);
    }
}

/// Since when it holds buffers and its peer takes nothing.
uint64_t Connections::stalled_since_ms(uint32_t slot) noexcept {
    Connection& c = table_[slot];
    if (!c.is_open() || c.pending.head == no_buffer)
        return LongestWaiting::not_waiting;
    const bool looked = c.unacknowledged != Connection::not_looked;
    if (looked && turn_.now_ms - std::max(c.unchanged_ms, watched_ms_) <= stalled_ms)
        return LongestWaiting::not_waiting;
    if (deadlines::record_unacknowledged(
            c, turn_.environment.unacknowledged_bytes(c.fd), turn_.now_ms))
        c.progress_ms = turn_.now_ms;
    // Of one that has acknowledged everything it is not the peer that we wait for.
    if (!looked || c.progress_ms == turn_.now_ms || c.unacknowledged == 0)
        return LongestWaiting::not_waiting;
    return c.progress_ms;
}

} // namespace riposte
