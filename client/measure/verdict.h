// What ping and load have in common when a run is judged and --fail-if is evaluated.
#pragma once

#include "client/measure/fail_if.h"
#include "client/measure/histogram.h"
#include "client/measure/outcome.h"
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

/// How many values a metric is the maximum of: `max`, and a percentile that so few do not have and
/// nearest rank answers. 0: it is none.
inline uint64_t count_of_maximum(const Histogram& histogram, const Metric& metric) {
    const bool is_maximum =
        metric.kind == MetricKind::max ||
        (metric.kind == MetricKind::percentile && !histogram.has_percentile(metric.percentile));
    return is_maximum ? histogram.count() : 0;
}

/// A metric that is one of the counts, or `loss`, in percent; nothing if no loss is known.
std::optional<double> count_metric(const OutcomeCounts& counts, MetricKind kind);

/// The segments that TCP sent again; nothing over UDP.
template<class Result>
std::optional<double> retransmits_metric(const Result& result) {
    if (result.transport != Transport::tcp)
        return std::nullopt;
    return static_cast<double>(result.tcp.retransmits);
}

/// Is there a wrong answer, or none, that no condition excuses? A condition on a count takes the
/// place of the rule that it be zero, one on `loss` that of the rule for all without an answer, one
/// on `errors` that of every rule. Duplicates, reordering and lateness never count; what this
/// machine did not send is excused by a condition on `errors` alone.
/// `judged`: losses that other conditions judge.
bool has_failures(const OutcomeCounts& counts, const FailIf& fail_if, uint64_t judged = 0);

/// Exit::ok: something was answered, nothing failed that no condition excuses, and none is met. The
/// result's own metric() says what was measured. `answers`: which are more than the answered ones
/// where a refusal is an answer, too. `judged`: as above.
template<class Result>
Exit common_verdict(
    const Result& result, const FailIf& fail_if, uint64_t answers, uint64_t judged = 0) {
    if (answers == 0 || has_failures(result.counts, fail_if, judged))
        return Exit::failed;
    const auto measured = [&](const Metric& wanted) { return metric(result, wanted); };
    for (const Check& each : check(fail_if, measured))
        if (each.met)
            return Exit::failed;
    return Exit::ok;
}

/// Of a run without a correct answer: why, as far as the counts and the causes show, and where to
/// look.
struct FailedRun {
    const OutcomeCounts& counts;
    uint64_t connections = 0; ///< TCP: made
    std::string_view address; ///< the peer: "192.0.2.7:7001"
    const CauseTally& causes;
};
std::string why_no_answer(const FailedRun& run);

template<class Result>
std::string why_no_answer(const Result& result, uint64_t connections) {
    return why_no_answer(FailedRun{
        .counts = result.counts,
        .connections = connections,
        .address = result.address,
        .causes = result.causes});
}

} // namespace riposte::client
