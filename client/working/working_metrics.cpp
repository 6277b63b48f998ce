#include "client/working/working_metrics.h"

#include "client/measure/verdict.h"

namespace riposte::client {

namespace {

const Histogram* histogram_of(const LatencyUnderLoad& latency, Since since) {
    if (since == Since::idle)
        return &latency.idle.rtt;
    return since == Since::working ? &latency.working.rtt : nullptr;
}

} // namespace

std::optional<double> working_metric(const LatencyUnderLoad& latency, const Metric& metric) {
    if (metric.kind == MetricKind::rpm)
        return responsiveness(latency).rpm();
    const Histogram* const histogram = histogram_of(latency, metric.since);
    return histogram != nullptr ? duration_metric(*histogram, metric) : std::nullopt;
}

uint64_t working_maximum_of(const LatencyUnderLoad& latency, const Metric& metric) {
    const Histogram* const histogram =
        metric.kind == MetricKind::rpm ? nullptr : histogram_of(latency, metric.since);
    return histogram != nullptr ? count_of_maximum(*histogram, metric) : 0;
}

} // namespace riposte::client
