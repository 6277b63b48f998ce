// When a worker looks for work without sleeping, and for how long.
//
// Work follows work: a peer that got its answer often asks again at once. So a worker looks on for
// `busy_poll` after the last turn that had events, and then sleeps until something comes. A daemon
// that is idle therefore costs nothing: wake-ups and deadlines without an event begin no new look.
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

    /// A turn has ended at this time with so many events.
    void turned(size_t events, uint64_t now_us) noexcept {
        if (events > 0)
            until_us_ = now_us + length_us_;
        left_us_ = until_us_ > now_us ? until_us_ - now_us : 0;
    }

    /// How the next turn waits that may last until a deadline in `sleep` (negative: there is none).
    Wait wait(std::chrono::milliseconds sleep) const noexcept {
        std::chrono::microseconds spin(left_us_);
        if (sleep.count() >= 0)
            spin = std::min<std::chrono::microseconds>(spin, sleep);
        return {sleep, spin};
    }

private:
    uint32_t length_us_ = 0;
    uint64_t until_us_ = 0; ///< when the look ends that the last events began
    uint64_t left_us_ = 0;  ///< of it, after the last turn
};

} // namespace riposte
