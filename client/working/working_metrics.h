// The metrics of --fail-if that --while-pinging measures: idle.p99, working.median, rpm.
#pragma once

#include "client/measure/fail_if.h"
#include "client/working/latency_under_load.h"

#include <cstdint>
#include <optional>

namespace riposte::client {

/// Its value, in seconds or round trips a minute; nothing if it was not measured, or is another
/// one.
std::optional<double> working_metric(const LatencyUnderLoad& latency, const Metric& metric);

/// How many values it is the maximum of; 0: it is not a maximum.
uint64_t working_maximum_of(const LatencyUnderLoad& latency, const Metric& metric);

} // namespace riposte::client
