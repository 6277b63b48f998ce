// What a run is worth. The schedule is all that was due: what was sent, and what was never sent.
#include "client/load/load_result.h"

#include "client/measure/verdict.h"
#include "client/show/figures.h"

#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double cpu_limit = 0.95;         ///< of one CPU: there is one thread
constexpr double missed_percent_max = 1.0; ///< of the schedule

uint64_t known(const LoadCounts& counts) {
    return counts.sent - counts.unfinished;
}

const Histogram& histogram_of(const LoadResult& result, Since since) {
    if (since == Since::connect)
        return result.connect;
    // In a closed loop a request is due when it is sent: the two are the same.
    return since == Since::send && result.rate ? result.latency_from_send : result.latency;
}

struct Missed {
    double generator_percent = 0;
    double blocked_percent = 0;
};

/// How much of the schedule was missed, and by whom. What was never sent is laid to whatever made
/// most requests late; to nobody if none was.
Missed missed(const LoadResult& result) {
    const uint64_t due = result.counts.sent + result.counts.unsent;
    if (!result.rate || due == 0)
        return {};
    const auto percent = [&](uint64_t count) {
        return 100 * static_cast<double>(count) / static_cast<double>(due);
    };
    const bool blocked = result.late_blocked >= result.late_generator;
    const bool told = result.late_blocked + result.late_generator > 0;
    const uint64_t unsent = told ? result.counts.unsent : 0;
    return {
        .generator_percent = percent(result.late_generator + (blocked ? 0 : unsent)),
        .blocked_percent = percent(result.late_blocked + (blocked ? unsent : 0))};
}

} // namespace

double cpu_share(const LoadResult& result) {
    return result.elapsed_ns == 0
               ? 0
               : static_cast<double>(result.cpu_ns) / static_cast<double>(result.elapsed_ns);
}

std::vector<std::string> bottlenecks(const LoadResult& result) {
    std::vector<std::string> lines;
    const double cpu = cpu_share(result);
    if (cpu >= cpu_limit)
        lines.push_back(fmt::format(
            "the generator was the bottleneck: its CPU was at {:.0f}% of one core; the figures "
            "above are its own limit, not the server's. {}",
            cpu * 100,
            result.rate ? "Lower the rate (-r)." : "Use fewer connections (-c), or a rate (-r)."));
    const auto [generator, blocked] = missed(result);
    if (generator > missed_percent_max)
        lines.push_back(fmt::format(
            "{} of the schedule was missed by the generator itself: latency from the intended "
            "time includes its delay. Lower the rate (-r), or leave it a core of its own.",
            percentage(generator)));
    if (blocked > missed_percent_max)
        lines.push_back(fmt::format(
            "{} of the schedule waited for a free connection; the server was slower than the "
            "rate, or raise {}.",
            percentage(blocked), result.reconnect || result.closes ? "-c" : "-c or --depth"));
    return lines;
}

bool generator_is_bottleneck(const LoadResult& result) {
    return cpu_share(result) >= cpu_limit || missed(result).generator_percent > missed_percent_max;
}

std::optional<double> loss_percent(const LoadCounts& counts) {
    return unanswered_percent(counts, known(counts));
}

std::optional<double> metric(const LoadResult& result, const Metric& metric) {
    const LoadCounts& counts = result.counts;
    const auto number = [](uint64_t count) { return static_cast<double>(count); };
    switch (metric.kind) {
    case MetricKind::min:
    case MetricKind::mean:
    case MetricKind::max:
    case MetricKind::stddev:
    case MetricKind::percentile:
        if (metric.since > Since::connect)
            return std::nullopt;
        return duration_metric(histogram_of(result, metric.since), metric);
    case MetricKind::loss:
        return loss_percent(counts);
    case MetricKind::errors:
        return number(counts.errors());
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
    case MetricKind::corrupted:
        return number(counts.corrupted);
    case MetricKind::wrong_size:
        return number(counts.wrong_size);
    case MetricKind::refused:
        return number(counts.refused);
    case MetricKind::undecided:
        return number(counts.unfinished);
    case MetricKind::rate:
        return result.elapsed_ns == 0 ? std::nullopt : std::optional(result.answer_rate());
    case MetricKind::rfc3550_jitter:
    case MetricKind::late:
        return std::nullopt; // ping's alone
    }
    return std::nullopt;
}

Exit verdict(const LoadResult& result, const FailIf& fail_if) {
    const LoadCounts& counts = result.counts;
    if ((counts.local > 0 || counts.unsent > 0) && !mentions(fail_if, MetricKind::errors))
        return Exit::failed;
    return common_verdict(result, fail_if);
}

} // namespace riposte::client
