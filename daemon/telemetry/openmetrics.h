// The metrics as text: Prometheus's text format 0.0.4, and OpenMetrics 1.0.
// https://prometheus.io/docs/instrumenting/exposition_formats/
//
// The two differ in little: OpenMetrics names a family of counters without its `_total`, has a UNIT
// where the name ends in one, and ends with `# EOF`. Families come in one order, each once, with
// HELP and TYPE; a service is shown if it has a listener or has counted something, so that a series
// stays until the process ends, as a counter must. No label holds an address.
#pragma once

#include "daemon/telemetry/snapshot.h"

#include <string>

namespace riposte {

enum class ExpositionFormat : uint8_t { prometheus, openmetrics };

std::string exposition(const Snapshot& snapshot, ExpositionFormat format);

} // namespace riposte
