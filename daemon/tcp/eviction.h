// Which idle connection is closed for another when there are as many as there may be (`when_full`).
//
// The connection that was idle for longest. It has nothing pending: its descriptor is closed as
// soon as its stream has stopped, a turn or two later, which its peer sees as an end like that of
// idle_timeout. Until then it has a slot beyond the limit, of which there are `at_once_max`. It is
// chosen when a connection comes, and told to stop only after the last event of the turn: one of
// the events may be its own, and say that the stream has ended.
//
// Invariants: a chosen connection is marked as `evicted` until its slot is free; leaving() counts
// the marks.
#pragma once

#include "daemon/tcp/connection_table.h"
#include "daemon/tcp/longest_waiting.h"
#include "daemon/tcp/tcp_limits.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <vector>

namespace riposte {

class Eviction {
public:
    /// As many connections can be on their way out at a time as events come in one turn.
    static constexpr uint32_t at_once_max = 256;
    static constexpr uint32_t none = LongestWaiting::none;

    Eviction() { chosen_.reserve(at_once_max); }

    /// How many slots there must be beyond `connections_max`.
    static uint32_t slots_beyond(const TcpLimits& limits, uint32_t connections_max) noexcept {
        return limits.when_full == WhenFull::close_idle ? std::min(connections_max, at_once_max)
                                                        : 0;
    }

    /// Since when the peer does nothing and nothing is to be done for it, or not_waiting. The peer
    /// of a finishing connection was sent everything, and only its FIN is missing.
    static uint64_t idle_since_ms(const Connection& c) noexcept {
        const bool idle = c.is_finishing() || (c.is_open() && !c.reply_pending() && !c.starved);
        return idle && !c.evicted ? c.progress_ms : LongestWaiting::not_waiting;
    }

    /// Chooses a connection, marks it, and returns its slot; `none` if no connection is idle, too
    /// many leave already, or no slot is free for the one that comes.
    uint32_t choose(ConnectionTable& connections, uint64_t now_ms) noexcept;

    /// Passes each connection that was chosen since the last call to `end(slot)`.
    template<class End>
    void end_chosen(const End& end) {
        for (const uint32_t slot : chosen_)
            end(slot);
        chosen_.clear();
    }

    /// Chosen, and their slots not yet free.
    uint32_t leaving() const noexcept { return leaving_; }
    /// Before the slot of any connection is given back.
    void forget(const Connection& c) noexcept {
        assert(!c.evicted || leaving_ > 0);
        leaving_ -= c.evicted;
    }

private:
    LongestWaiting idle_;
    std::vector<uint32_t> chosen_; ///< in this turn
    uint32_t leaving_ = 0;
};

} // namespace riposte
