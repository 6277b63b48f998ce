// What was measured in each interval of a run, for lines that are printed while it goes on.
// Sans-I/O.
//
// A probe (or request) belongs to the interval in which it was due, whenever its outcome becomes
// known; what is pending counts as nothing else. An interval is complete when it has passed, all of
// its probes have been sent and each has its outcome. It can be taken then, or at the latest
// `patience_ns` after its end, when what is pending is said to be so: the outcomes of these come
// too late for the interval, not for the run.
//
// Only intervals in which something was due or arrived exist, and those that reach() was called in:
// a process that was stopped for hours has no hours of them.
//
// Several lanes (endpoints) have their intervals at the same time, and they are taken together.
// Memory: at most `open_max` intervals that are not taken yet, each of which keeps few durations as
// they are, and many in a histogram. Times are of one clock, in nanoseconds.
#pragma once

#include "client/measure/histogram.h"
#include "client/measure/outcome.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

namespace riposte::client {

/// Durations: exact as long as there are few, since a histogram has 58 KiB.
class Durations {
public:
    static constexpr size_t exact_max = 512;

    void record(uint64_t value_ns, uint64_t times = 1);
    Histogram histogram() const;

private:
    std::vector<uint64_t> few_;
    std::unique_ptr<Histogram> many_;
};

/// Of one lane in one interval.
struct IntervalFigures {
    OutcomeCounts counts;  ///< of what was due in it; sent: was due, sent or waits to be
    uint64_t arrivals = 0; ///< correct answers that came in it, whenever their probes were due
    Durations durations;   ///< of the answered
};

/// All lanes in one interval.
struct Interval {
    uint64_t from_ns = 0;
    uint64_t to_ns = 0;
    std::vector<IntervalFigures> lanes;
    uint64_t pending = 0; ///< over all lanes
};

class Intervals {
public:
    static constexpr size_t open_max = 128;

    /// The first one begins at `start_ns`; each lasts for `every_ns`, which is not 0.
    Intervals(uint64_t start_ns, uint64_t every_ns, uint64_t patience_ns, size_t lanes = 1)
        : start_ns_(start_ns), every_ns_(every_ns), patience_ns_(patience_ns), lanes_(lanes) {}

    /// So many probes were due; nothing before the start counts.
    void due(size_t lane, uint64_t due_ns, uint64_t count = 1);
    /// They have that outcome; `rtt_ns` of the answered, 0: no duration.
    void decide(
        size_t lane, uint64_t due_ns, Outcome outcome, uint64_t rtt_ns = 0, uint64_t count = 1);
    /// So many correct answers came.
    void arrived(size_t lane, uint64_t at_ns, uint64_t count = 1);

    /// The run was under way at that time.
    void reach(uint64_t now_ns) { at(now_ns); }

    /// The next interval that can be taken at `now_ns`. `next_due_ns`: no probe that is due before
    /// that is still to be announced.
    std::optional<Interval> take(uint64_t now_ns, uint64_t next_due_ns);
    /// At the end of the run: the next of those that are left, the last one cut at `end_ns`.
    std::optional<Interval> take_last(uint64_t end_ns);
    /// When to call take() next if no outcome becomes known before; UINT64_MAX: nothing is open.
    uint64_t next_ns() const;

private:
    Interval* at(uint64_t at_ns);
    Interval pop();

    uint64_t start_ns_;
    uint64_t every_ns_;
    uint64_t patience_ns_;
    size_t lanes_;
    uint64_t taken_until_ns_ = 0;
    std::deque<Interval> open_; ///< by time
};

} // namespace riposte::client
