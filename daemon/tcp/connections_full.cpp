// What happens when there are as many connections as there may be: `when_full`.
//
// Who comes is refused, or whoever was idle for longest has to go. An evicted connection owes
// nothing: its descriptor is closed as soon as its stream has stopped, a turn or two later, which
// its peer sees as an end like that of idle_timeout. Until then it has a slot beyond the limit, of
// which there are `evictions_max`. It is told to stop only after the last event of the turn: one of
// them may be its own, and say that the stream has ended.

#include "daemon/tcp/connections.h"

#include <algorithm>
#include <cassert>

namespace riposte {

/// How many slots beyond the limit there must be.
/// Is there room for one more, or can it be made?
bool Connections::make_way() {
    // Not by open_: connections that are refused have no slot, and drive nobody out.
    while (table_.used() - evicted_ >= admission_.connections_max())
        if (limits_.when_full != WhenFull::close_idle || turn_.draining || !evict())
            return false;
    return table_.free() > 0;
}

/// Since when it does nothing and nothing is to be done for it. The peer of one that is finishing
/// has been sent everything, and only its FIN is missing.
uint64_t Connections::idle_since_ms(uint32_t slot) const noexcept {
    const Connection& c = table_[slot];
    const bool idle = c.is_finishing() || (c.is_open() && !c.reply_pending() && !c.starved);
    return idle && !c.evicted ? c.progress_ms : LongestWaiting::not_waiting;
}

/// Chooses one; it goes when all events of this turn are known.
bool Connections::evict() {
    if (evicted_ >= evictions_max || table_.free() == 0)
        return false;
    const uint32_t slot = victims_.longest(
        table_.size(), turn_.now_ms, [this](uint32_t at) { return idle_since_ms(at); });
    if (slot == LongestWaiting::none)
        return false;
    Connection& c = table_[slot];
    ++evicted_;
    c.evicted = true;
    evicting_.push_back(slot);
    tally(c, Counter::connections_evicted);
    log_refused(
        log::Event::connection_evicted, "closed an idle connection",
        source_address(c.source, c.source_port), listener_of(c), Counter::connections_evicted,
        "the limit 'connections' is reached");
    return true;
}

void Connections::end_evicted() {
    for (const uint32_t slot : evicting_) {
        Connection& c = table_[slot];
        assert(c.evicted);
        if (c.is_open() && c.reply_pending()) {
            fail(slot, "it spoke too late to keep its place"); // in this turn
        } else if (c.is_open() || c.is_finishing()) {
            c.leave();
            tell_end(slot, "it was idle for longest, and its place was needed");
        }
        run(slot);
    }
    evicting_.clear();
}

} // namespace riposte
