// What ping and load have in common when a run is judged and --fail-if is asked. `Counts` is
// PingCounts or LoadCounts, whose names mean the same.
#pragma once

#include "client/measure/cause.h"
#include "client/measure/fail_if.h"
#include "client/measure/histogram.h"
#include "common/endpoint.h"
#include "common/error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace riposte::client {

/// A duration metric, in seconds; nothing if nothing was recorded.
inline std::optional<double> duration_metric(const Histogram& histogram, const Metric& metric) {
    if (histogram.empty())
        return std::nullopt;
    double ns = 0;
    if (metric.kind == MetricKind::min)
        ns = static_cast<double>(histogram.min_ns());
    else if (metric.kind == MetricKind::mean)
        ns = histogram.mean_ns();
    else if (metric.kind == MetricKind::max)
        ns = static_cast<double>(histogram.max_ns());
    else if (metric.kind == MetricKind::stddev)
        ns = histogram.stddev_ns();
    else
        ns = static_cast<double>(histogram.percentile_ns(metric.percentile));
    return ns / 1e9;
}

/// The outcomes without any answer.
template<class Counts>
uint64_t count_unanswered(const Counts& counts) {
    return counts.lost + counts.refused + counts.unreachable + counts.closed + counts.too_big;
}

/// The share of `known` outcomes without any answer, in percent; nothing if none is known.
template<class Counts>
std::optional<double> unanswered_percent(const Counts& counts, uint64_t known) {
    if (known == 0)
        return std::nullopt;
    return 100 * static_cast<double>(count_unanswered(counts)) / static_cast<double>(known);
}

/// The segments that TCP sent again; nothing over UDP.
template<class Result>
std::optional<double> retransmits_metric(const Result& result) {
    if (result.transport != Transport::tcp)
        return std::nullopt;
    return static_cast<double>(result.tcp.retransmits);
}

/// Is there a wrong answer, or none, that no condition excuses? A condition on a count takes the
/// place of the rule that it be zero, one on `loss` that of the rule for all without an answer, one
/// on `errors` that of every rule. Duplicates, reordering and lateness never count.
template<class Counts>
bool has_failures(const Counts& counts, const FailIf& fail_if) {
    if (mentions(fail_if, MetricKind::errors))
        return false;
    const auto fails = [&](uint64_t count, MetricKind kind) {
        return count > 0 && !mentions(fail_if, kind);
    };
    if (fails(counts.corrupted, MetricKind::corrupted) ||
        fails(counts.wrong_size, MetricKind::wrong_size))
        return true;
    if (mentions(fail_if, MetricKind::loss))
        return false;
    return fails(counts.lost, MetricKind::lost) || fails(counts.refused, MetricKind::refused) ||
           fails(counts.too_big, MetricKind::too_big) || counts.unreachable > 0 ||
           counts.closed > 0;
}

/// Exit::ok: something was answered, nothing failed that no condition excuses, and none is met. The
/// result's own metric() says what was measured.
template<class Result>
Exit common_verdict(const Result& result, const FailIf& fail_if) {
    if (result.counts.answered == 0 || has_failures(result.counts, fail_if))
        return Exit::failed;
    const auto measured = [&](const Metric& wanted) { return metric(result, wanted); };
    for (const Check& each : check(fail_if, measured))
        if (each.met)
            return Exit::failed;
    return Exit::ok;
}

/// Of a run without a right answer: why, as far as the counts and the causes tell, and where to
/// look. `payload_bytes` is what was sent each time, `address` the peer: "192.0.2.7:7001".
struct FailedRun {
    uint64_t sent = 0;
    uint64_t wrong = 0; ///< corrupted, wrong size
    uint64_t lost = 0;
    uint64_t refused = 0;
    uint64_t unreachable = 0;
    uint64_t closed = 0;
    uint64_t too_big = 0;
    uint64_t connections = 0; ///< TCP: made
    std::string_view address;
    const CauseTally& causes;
};
std::string why_no_answer(const FailedRun& run);

template<class Result>
std::string why_no_answer(const Result& result, uint64_t connections) {
    const auto& counts = result.counts;
    return why_no_answer(FailedRun{
        .sent = counts.sent,
        .wrong = counts.corrupted + counts.wrong_size,
        .lost = counts.lost,
        .refused = counts.refused,
        .unreachable = counts.unreachable,
        .closed = counts.closed,
        .too_big = counts.too_big,
        .connections = connections,
        .address = result.address,
        .causes = result.causes});
}

} // namespace riposte::client
