// Decides when a worker polls for events without sleeping, and for how long.
//
// Events come in clusters: a peer that got its reply often sends its next request at once. So a
// worker spins for `busy_poll` after the last turn with events, and then sleeps. An idle daemon
// therefore costs nothing: wake-ups and deadlines without an event begin no new spin.
#pragma once

#include "daemon/io/backend.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace riposte {

class BusyPoll {
public:
    /// 0: never. Takes effect with the next turn that has events.
    void set(uint32_t busy_poll_us) noexcept {
        length_us_ = busy_poll_us;
        until_us_ = left_us_ = 0;
    }
    bool on() const noexcept { return length_us_ > 0; }

    /// Records that a turn with `events` events ended at `now_us`.
    void turned(size_t events, uint64_t now_us) noexcept {
        if (events > 0)
            until_us_ = now_us + length_us_;
        left_us_ = until_us_ > now_us ? until_us_ - now_us : 0;
    }

    /// How the next turn waits, if the next deadline is in `sleep` (negative: there is none).
    Wait wait(std::chrono::milliseconds sleep) const noexcept {
        std::chrono::microseconds spin(left_us_);
        if (sleep.count() >= 0)
            spin = std::min<std::chrono::microseconds>(spin, sleep);
        return {sleep, spin};
    }

private:
    uint32_t length_us_ = 0;
    uint64_t until_us_ = 0; ///< end of the spin that the last events began
    uint64_t left_us_ = 0;  ///< the rest of it, after the last turn
};

} // namespace riposte
