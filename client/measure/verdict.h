// What ping and load have in common when a run is judged and --fail-if is asked. `Counts` is
// PingCounts or LoadCounts, whose names mean the same.
#pragma once

#include "client/measure/fail_if.h"
#include "client/measure/histogram.h"
#include "common/error.h"

#include <cstdint>
#include <optional>
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

/// The share of `known` outcomes without any answer, in percent; nothing if none is known.
template<class Counts>
std::optional<double> unanswered_percent(const Counts& counts, uint64_t known) {
    if (known == 0)
        return std::nullopt;
    const uint64_t without = counts.lost + counts.refused + counts.unreachable + counts.closed;
    return 100 * static_cast<double>(without) / static_cast<double>(known);
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
           counts.unreachable > 0 || counts.closed > 0;
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

/// Of a run without a right answer: why, as far as the counts tell, and where to look.
template<class Counts>
std::string_view why_no_answer(const Counts& counts) {
    const uint64_t without = counts.lost + counts.refused + counts.unreachable + counts.closed;
    if (counts.sent == 0)
        return "nothing was sent";
    if (counts.corrupted + counts.wrong_size > 0)
        return "no right answer came: is it another service, or is the path broken?";
    if (without > 0 && counts.refused == without)
        return "no answer came: nobody listens there; is riposted running?";
    if (without > 0 && counts.unreachable == without)
        return "no answer came: is the address right, and is there a route to it?";
    if (without > 0 && counts.closed == without)
        return "no answer came: the peer closes the connection first";
    if (counts.lost > 0)
        return "no answer came: is the address right, or does a firewall drop it?";
    return "no answer came";
}

} // namespace riposte::client
