// A line for each interval of a load run (--every), as text or as JSON. Pure: outcomes in, text
// out. The rate is of the answers that came in the interval; everything else is of the requests
// that were due in it.
#pragma once

#include "client/load/load_result.h"
#include "client/load/load_schedule.h"
#include "client/measure/intervals.h"
#include "client/options/options.h"
#include "client/show/interval_lines.h"
#include "client/show/table.h"

#include <cstdint>
#include <string>

namespace riposte::client {

class LoadIntervals {
public:
    /// `result` and `schedule` outlive this; the schedule has started. `every_ms`: with --every.
    LoadIntervals(
        const LoadResult& result, const LoadSchedule& schedule, uint32_t every_ms,
        uint64_t timeout_ns, bool is_json, Look look);

    /// For the account.
    Intervals& intervals() { return intervals_; }

    /// The lines of the intervals that can be printed (Intervals::take).
    std::string take(uint64_t now_ns);
    /// At the end: those that are left.
    std::string take_last();

private:
    std::string text_of(Interval interval);

    const LoadResult& result_;
    const LoadSchedule& schedule_;
    uint64_t start_ns_;
    bool is_json_;
    Intervals intervals_;
    IntervalLines lines_;
};

/// One interval, for text and JSON.
struct LoadIntervalFigures {
    double began_at = 0; ///< seconds since 1970
    uint64_t duration_ns = 0;
    uint64_t unsent = 0; ///< open loop: due in it, and not sent yet
    const IntervalFigures* figures = nullptr;

    double rate() const; ///< answers a second
};

/// The document "riposte/load-interval/1"
/// (packaging/schema/riposte-load-interval-1.schema.json).
std::string load_interval_json(const LoadResult& result, const LoadIntervalFigures& interval);

} // namespace riposte::client
