// What `riposte load` prints: the header, the live line's text, the summary, and the JSON document.
// Pure: results in, text out. Lines are at most as wide as the look says where the names in them
// allow it, and end with a newline, all but the live line's.
#pragma once

#include "client/load/load_result.h"
#include "client/measure/fail_if.h"
#include "client/show/table.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace riposte::client {

/// "LOAD tcp://...: 50 connections, 64 bytes, closed loop, 1 outstanding each", or with a rate
/// "open loop at 10000/s", and on a second line that coordinated omission is corrected.
std::string load_header(const LoadResult& result, Look look = {});

/// Where a run stands, for the live line.
struct LoadProgress {
    bool warming_up = false;
    std::optional<double> done; ///< 0 to 1; nothing if neither duration nor count is bounded
    std::optional<uint64_t> left_ns;
    double rate = 0;                     ///< answers a second since the last line
    std::optional<uint64_t> p99_ns;      ///< of the answers since the last line, if they have one
    std::optional<uint64_t> max_ns = {}; ///< else the greatest of them
    uint64_t errors = 0;
};

/// One line of at most `width` columns without a newline: bar, time left, rate, p99, errors.
std::string load_progress(const LoadProgress& progress, size_t width, bool unicode);

/// All figures, errors by kind, and what the figures are worth (bottlenecks()).
std::string load_summary(const LoadResult& result, Look look);
/// The same in one line, for -q, and below it only what is wrong with the figures.
std::string load_line(const LoadResult& result, Look look);
/// One line for SIGQUIT.
std::string load_interim(const LoadResult& result);

/// The document "riposte/load/2" (packaging/schema/riposte-load-2.schema.json). `error`: the line
/// that says why there was nothing to measure; empty if there was.
std::string load_json(
    const LoadResult& result, const FailIf& fail_if, Exit exit, std::string_view error = {});

} // namespace riposte::client
