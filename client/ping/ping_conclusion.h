// The end of ping: summaries, pictures, files and the exit code, when the outcome of each probe is
// known.
#pragma once

#include "client/net/event_loop.h"
#include "client/options/options.h"
#include "client/ping/ping_report.h"
#include "client/ping/ping_result.h"
#include "client/show/measurement_output.h"
#include "common/error.h"

#include <span>

namespace riposte::client {

/// What is known at the end.
struct PingEnd {
    std::span<const PingResult* const> results; ///< at least one
    std::span<const NotMeasured> missing;
    bool was_cut_short = false; ///< by a second signal
};

/// Prints and writes all that the options ask for. An error is one of this machine: standard output
/// or a file could not be written.
Result<Exit> conclude_ping(
    const CommonOptions& common, const PingOptions& options, const PingEnd& end,
    MeasurementFiles& files, EventLoop& loop);

} // namespace riposte::client
