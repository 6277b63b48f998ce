// When the probes of many targets are due: each once an interval, at a moment of it that a hash of
// its name and of this host's gives, so that neither this host's probes nor those of all hosts to
// one target leave in a herd. Pure. Times are of CLOCK_MONOTONIC, in nanoseconds.
//
// A probe's intended time does not depend on those before it: what is late is sent late, and the
// pace stays. A prober that falls behind by whole intervals leaves out so many of every target; so
// no target gets two probes at once, and a stall is no burst: what is due besides leaves at twice
// the pace at most (next_leave_ns()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace riposte::client {

class SpreadSchedule {
public:
    struct Entry {
        uint32_t slot;
        uint64_t phase_ns; ///< when in the interval
    };

    SpreadSchedule(uint64_t start_ns, uint64_t interval_ns)
        : start_ns_(start_ns), interval_ns_(interval_ns), allowed_at_ns_(start_ns) {}

    /// The moment of `target` for the prober `self`.
    static uint64_t phase_of(std::string_view self, std::string_view target, uint64_t interval_ns);

    /// These are the targets from `now_ns` on: none that was due before is due again, and those
    /// that stay keep their moments.
    void set(std::vector<Entry> entries, uint64_t now_ns);

    /// UINT64_MAX: there is none.
    uint64_t next_due_ns() const;
    const Entry& next() const { return entries_[at_]; }
    /// In which interval since the start the next one is due.
    uint64_t cycle() const { return cycle_; }
    /// When the next one may leave: it is due, and the pace of catching up allows it.
    uint64_t next_leave_ns() const;
    /// The next one leaves.
    void advance(uint64_t now_ns);
    /// Leaves out what was due whole intervals ago: how many intervals, of each target.
    uint64_t skip(uint64_t now_ns);

private:
    /// What may leave at once when the prober is behind: more than a turn's worth.
    static constexpr uint64_t burst_ns = 5'000'000;

    uint64_t start_ns_;
    uint64_t interval_ns_;
    std::vector<Entry> entries_; ///< by their phase
    size_t at_ = 0;              ///< the next one,
    uint64_t cycle_ = 0;         ///< in this interval since the start
    uint64_t allowed_at_ns_;     ///< a bucket: the time up to which the pace has been used
};

} // namespace riposte::client
