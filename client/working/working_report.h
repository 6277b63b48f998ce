// What is printed of the latency under load: text for a summary, an object for a document. Pure.
#pragma once

#include "client/show/json.h"
#include "client/show/table.h"
#include "client/working/latency_under_load.h"

#include <string>

namespace riposte::client {

/// Idle and working latency, their difference, the responsiveness: lines of a summary.
std::string working_text(const LatencyUnderLoad& latency, Look look);

/// The medians, the difference and the responsiveness in one line.
std::string working_line(const LatencyUnderLoad& latency, Look look);

/// {name, ..., idle: {counts, rtt, ...}, working, added, responsiveness}
Json working_json(const LatencyUnderLoad& latency);

} // namespace riposte::client
