#include "client/ping/ping_result.h"

#include "client/measure/verdict.h"

namespace riposte::client {

namespace {

uint64_t known(const PingCounts& counts) {
    return counts.sent - counts.waiting();
}

const Histogram& histogram_of(const PingResult& result, Since since) {
    if (since == Since::connect)
        return result.connect;
    return since == Since::send ? result.rtt_from_send : result.rtt;
}

} // namespace

std::optional<double> loss_percent(const PingCounts& counts) {
    return unanswered_percent(counts, known(counts));
}

std::optional<double> metric(const PingResult& result, const Metric& metric) {
    const PingCounts& counts = result.counts;
    const auto number = [](uint64_t count) { return static_cast<double>(count); };
    switch (metric.kind) {
    case MetricKind::min:
    case MetricKind::mean:
    case MetricKind::max:
    case MetricKind::stddev:
    case MetricKind::percentile:
        return duration_metric(histogram_of(result, metric.since), metric);
    case MetricKind::jitter: // it takes two answers
        return counts.answered < 2 ? std::nullopt : std::optional(result.jitter_ns / 1e9);
    case MetricKind::loss:
        return loss_percent(counts);
    case MetricKind::errors:
        return number(known(counts) - counts.answered);
    case MetricKind::sent:
        return number(counts.sent);
    case MetricKind::answered:
        return number(counts.answered);
    case MetricKind::lost:
        return number(counts.lost);
    case MetricKind::duplicated:
        return number(counts.duplicated);
    case MetricKind::reordered:
        return number(counts.reordered);
    case MetricKind::late:
        return number(counts.late);
    case MetricKind::corrupted:
        return number(counts.corrupted);
    case MetricKind::wrong_size:
        return number(counts.wrong_size);
    case MetricKind::refused:
        return number(counts.refused);
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
