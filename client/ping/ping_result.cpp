#include "client/ping/ping_result.h"

#include "client/measure/verdict.h"

namespace riposte::client {

namespace {

/// What the prefix of a metric stands for; empty: of load alone.
Histogram histogram_of(const PingResult& result, Since since) {
    switch (since) {
    case Since::intended: // the lateness stands apart
    case Since::send:
        return result.rtt;
    case Since::connect:
        return result.connect;
    case Since::lateness:
        return result.lateness;
    case Since::ipdv:
        return result.ipdv;
    case Since::pdv:
        return result.pdv();
    case Since::wait:
    case Since::idle:
    case Since::working:
    case Since::upload:
    case Since::download:
    case Since::there:
    case Since::back:
        break;
    }
    return {};
}

/// Only a reflector that counts its answers tells one way from the other.
std::optional<double> way_metric(const PingResult& result, const Metric& metric) {
    if (result.stamp == nullptr || result.stamp->books.counting() != Counting::session)
        return std::nullopt;
    const DirectionCounts counts = result.stamp->books.counts();
    const bool is_there = metric.since == Since::there;
    const auto of_way = [&](uint64_t there, uint64_t back) {
        return static_cast<double>(is_there ? there : back);
    };
    if (metric.kind == MetricKind::duplicated)
        return of_way(counts.duplicated_there, counts.duplicated_back);
    if (metric.kind == MetricKind::reordered)
        return of_way(counts.reordered_there, counts.reordered_back);
    const double lost = of_way(counts.lost_there, counts.lost_back);
    if (metric.kind == MetricKind::lost)
        return lost;
    if (counts.sent == 0)
        return std::nullopt;
    return 100 * lost / static_cast<double>(counts.sent); // as the summary has it
}

/// The losses of ways that conditions speak of. Those of the other way, and of either, are not
/// among them.
uint64_t judged_losses(const PingResult& result, const FailIf& fail_if) {
    uint64_t losses = 0;
    for (const Since way : {Since::there, Since::back})
        if (judges_losses(fail_if, way))
            losses += static_cast<uint64_t>(
                way_metric(result, {.kind = MetricKind::lost, .since = way}).value_or(0));
    return losses;
}

} // namespace

FlowVerdict judge_flows(const PingResult& result) {
    const bool is_standing = result.transport == Transport::tcp && !result.connects_only;
    std::vector<FlowFigures> figures;
    figures.reserve(result.flows.size());
    for (const FlowResult& flow : result.flows)
        figures.push_back(
            {.port = flow.port,
             .decided = flow.counts.decided_by_network(),
             .unanswered = flow.counts.unanswered(),
             .refused = flow.counts.refused,
             .answered = flow.counts.answered,
             .repaired = flow.repaired,
             .failure_runs = is_standing ? std::optional(flow.failure_runs) : std::nullopt,
             .rtt = &flow.rtt});
    return judge_flows(figures);
}

std::optional<double> metric(const PingResult& result, const Metric& metric) {
    if (is_of_way(metric))
        return way_metric(result, metric);
    const OutcomeCounts& counts = result.counts;
    const auto number = [](uint64_t count) { return static_cast<double>(count); };
    switch (metric.kind) {
    case MetricKind::min:
    case MetricKind::mean:
    case MetricKind::max:
    case MetricKind::stddev:
    case MetricKind::percentile:
        return duration_metric(histogram_of(result, metric.since), metric);
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
    case MetricKind::mbits:
    case MetricKind::rpm:
        break; // of load alone
    }
    return std::nullopt;
}

uint64_t maximum_of(const PingResult& result, const Metric& metric) {
    return count_of_maximum(histogram_of(result, metric.since), metric);
}

Exit verdict(const PingResult& result, const FailIf& fail_if) {
    const OutcomeCounts& counts = result.counts;
    const bool counts_refusals = result.connects_only && mentions(fail_if, MetricKind::refused);
    return common_verdict(
        result, fail_if, counts.answered + (counts_refusals ? counts.refused : 0),
        judged_losses(result, fail_if));
}

} // namespace riposte::client
