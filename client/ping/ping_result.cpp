#include "client/ping/ping_result.h"

#include "client/measure/verdict.h"

namespace riposte::client {

namespace {

std::optional<double> duration_of(const PingResult& result, const Metric& metric) {
    switch (metric.since) {
    case Since::intended: // the lateness stands apart
    case Since::send:
        return duration_metric(result.rtt, metric);
    case Since::connect:
        return duration_metric(result.connect, metric);
    case Since::lateness:
        return duration_metric(result.lateness, metric);
    case Since::ipdv:
        return duration_metric(result.ipdv, metric);
    case Since::pdv:
        return duration_metric(result.pdv(), metric);
    case Since::wait: // load's alone
        break;
    }
    return std::nullopt;
}

} // namespace

std::optional<double> metric(const PingResult& result, const Metric& metric) {
    const OutcomeCounts& counts = result.counts;
    const auto number = [](uint64_t count) { return static_cast<double>(count); };
    switch (metric.kind) {
    case MetricKind::min:
    case MetricKind::mean:
    case MetricKind::max:
    case MetricKind::stddev:
    case MetricKind::percentile:
        return duration_of(result, metric);
    case MetricKind::rfc3550_jitter: // it takes two answers
        return result.rtt.count() < 2 ? std::nullopt
                                      : std::optional(result.rfc3550_jitter_ns / 1e9);
    case MetricKind::loss:
    case MetricKind::sent:
    case MetricKind::answered:
    case MetricKind::lost:
    case MetricKind::duplicated:
    case MetricKind::reordered:
    case MetricKind::late:
    case MetricKind::corrupted:
    case MetricKind::wrong_size:
    case MetricKind::refused:
    case MetricKind::undecided:
    case MetricKind::too_big:
        return count_metric(counts, metric.kind);
    case MetricKind::errors:
        return number(counts.decided() - counts.answered);
    case MetricKind::retransmits:
        return retransmits_metric(result);
    case MetricKind::rate:
        if (result.elapsed_ns == 0)
            return std::nullopt;
        return number(counts.answered) / (number(result.elapsed_ns) / 1e9);
    }
    return std::nullopt;
}

Exit verdict(const PingResult& result, const FailIf& fail_if) {
    return common_verdict(result, fail_if);
}

} // namespace riposte::client
