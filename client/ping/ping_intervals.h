// What ping prints while it runs beside a line an answer: a line an interval (--every), and with
// --json-lines a document for each probe and each interval. Pure: outcomes in, text out.
#pragma once

#include "client/measure/intervals.h"
#include "client/options/options.h"
#include "client/ping/ping_report.h"
#include "client/ping/ping_result.h"
#include "client/ping/probe_fate.h"
#include "client/show/interval_lines.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace riposte::client {

class PingIntervals {
public:
    /// The run begins; `results` of its endpoints outlive this.
    PingIntervals(
        const PingOptions& options, std::span<const PingResult* const> results, PingStyle style);

    /// A probe of that endpoint is due.
    void due(size_t endpoint, uint64_t due_ns);
    void decide(size_t endpoint, const ProbeFate& fate);

    /// The lines of the intervals that can be printed (Intervals::take).
    std::string take(uint64_t now_ns, uint64_t next_due_ns);
    /// At the end: those that are left.
    std::string take_last(uint64_t end_ns);
    /// When to call take() next, if no outcome becomes known before.
    uint64_t next_ns() const { return intervals_.next_ns(); }

private:
    std::string text_of(const Interval& interval);

    std::vector<const PingResult*> results_;
    bool is_json_;
    uint64_t every_ms_;
    Intervals intervals_;
    IntervalLines lines_;
};

/// The document "riposte/ping-probe/1" (packaging/schema/riposte-ping-probe-1.schema.json).
std::string ping_probe_json(const PingResult& result, const ProbeFate& fate);
/// The document "riposte/ping-interval/1".
std::string ping_interval_json(
    const PingResult& result, const Interval& interval, const IntervalFigures& figures);

} // namespace riposte::client
