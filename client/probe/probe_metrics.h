// The document at /metrics of a prober: its figures in the two text formats of common/exposition.h.
// riposte-probe-metrics(7) explains each family.
//
// Labels are `target` (as the list names it), `transport`, and `target_NAME` for each label NAME of
// the list, so that what Prometheus adds about the source of a probe (`instance`, `site`) collides
// with none of them. The address is in riposte_probe_target_info alone: a target that moves makes
// no new series elsewhere. All results of a target are there from its first scrape, as 0.
//
// Histograms have classic buckets whose bounds are powers of two: of a pair each octave from 2^-20
// s to 16 s (25 bounds); of groups and of the prober itself each half octave (49).
#pragma once

#include "client/probe/figures.h"
#include "common/clock_error.h"
#include "common/exposition.h"
#include "common/http/body.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace riposte::client {

/// What the figures do not have.
struct ExporterFigures {
    std::string version;
    std::optional<ClockError> clock{}; ///< nothing: it cannot be read
};

struct ProbeMetricsOptions {
    ExpositionFormat format = ExpositionFormat::prometheus;
    /// OpenMetrics: since when each counter and histogram counts. Prometheus before 3.0 makes a
    /// series of each such time.
    bool created = true;
};

/// How many series a pair of prober and target has: what series_max is compared with. `created`: as
/// Prometheus before 3.0 counts them.
size_t pair_series(ProbeTransport transport, PairDetail detail, bool created);

/// At most `wanted`, and so much less that all pairs together have at most `series_max` series.
PairDetail affordable_detail(
    const std::vector<TargetFigures>& targets, PairDetail wanted, size_t series_max, bool created);

HttpBody probe_metrics(
    const FleetFigures& figures, const ExporterFigures& exporter, ProbeMetricsOptions options);

} // namespace riposte::client
