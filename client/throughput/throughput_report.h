// What a throughput run prints: the header, a line for each interval, the live line's text, the
// summary, and the JSON document. Pure: results in, text out. Lines end with a newline, all but the
// live line's.
#pragma once

#include "client/measure/fail_if.h"
#include "client/show/table.h"
#include "client/throughput/throughput_result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace riposte::client {

/// 10^6 bits a second, with three significant digits or more: "0.0123", "941", "9412".
std::string megabits(double bits_per_second);

/// "LOAD upload tcp://...: 4 connections, writes of 128 KiB" of each stream, and the head of the
/// intervals.
std::string throughput_header(const ThroughputResult& result, Look look);

struct IntervalColumn {
    Flow flow = Flow::upload;
    Transport transport = Transport::tcp;
    std::optional<RateInterval> interval; ///< nothing: the stream was over
};

/// The row of an interval that ended that long after the measured time began.
std::string interval_line(std::span<const IntervalColumn> columns, uint64_t after_ns);

struct ThroughputProgress {
    bool is_warming_up = false;
    uint64_t elapsed_ns = 0;  ///< measured
    uint64_t duration_ns = 0; ///< 0: without end
};
std::string progress_line(const ThroughputProgress& progress, size_t width);

/// One line for SIGQUIT, of all that was transferred since the start.
std::string interim_line(
    const StreamResult& result, uint64_t bytes, uint64_t elapsed_ns, bool has_progress);

/// -q: a line for each direction, one for the latency under load, and the notes.
std::string throughput_lines(const ThroughputResult& result, Look look);

std::string throughput_summary(const ThroughputResult& result, Look look);

/// The document "riposte/throughput/1" (packaging/schema/riposte-throughput-1.schema.json).
/// `error`: the line that says why there was nothing to measure; empty if there was.
std::string throughput_json(
    const ThroughputResult& result, const FailIf& fail_if, Exit exit, std::string_view error = {});

} // namespace riposte::client
