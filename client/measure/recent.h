// The latest minute of an endpoint, for a screen that shows it while it goes on: bounded memory
// whatever the pace. Sans-I/O; times are of one clock, in nanoseconds.
//
// A loss counts at the moment at which it became known, so that the loss of the last seconds is
// never an estimate and has a value while an outage lasts. The cells of the minute stand for the
// time at which probes were due, so that a loss shows beside the round trips of its neighbours.
#pragma once

#include "client/measure/outcome.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace riposte::client {

/// What is known of the probes that were due in one stretch of time.
struct RecentCell {
    uint64_t max_rtt_ns = 0; ///< 0: none was answered
    uint32_t answered = 0;
    uint32_t failed = 0; ///< without a correct answer

    void add(const RecentCell& other);
    bool operator==(const RecentCell&) const = default;
};

class RecentMinute {
public:
    static constexpr uint64_t cell_ns = 1'000'000'000;
    static constexpr size_t cells = 60;
    static constexpr size_t loss_seconds = 10;

    /// A probe that was due at `due_ns` has its outcome at `now_ns`. What this machine did not send
    /// is in no ratio, and left out.
    void decide(uint64_t due_ns, uint64_t now_ns, Outcome outcome, uint64_t rtt_ns);

    /// In percent, of the probes whose outcome became known in the ten seconds before `now_ns`;
    /// nothing if there were none.
    std::optional<double> loss_percent(uint64_t now_ns) const;

    /// The minute before `now_ns` in `count` cells of equal length, 1 to 60, the latest one last.
    std::vector<RecentCell> minute(uint64_t now_ns, size_t count) const;

private:
    struct Slot {
        uint64_t number = 0; ///< of its second
        RecentCell cell;
    };
    struct Loss {
        uint64_t number = 0;
        uint32_t decided = 0;
        uint32_t unanswered = 0;
    };

    std::array<Slot, cells + 1> slots_{};
    std::array<Loss, loss_seconds + 1> losses_{};
};

} // namespace riposte::client
