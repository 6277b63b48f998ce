// What a run is worth, and why. The schedule is all that was due: what was sent, and what was never
// sent.
#include "client/load/load_result.h"

#include "client/measure/verdict.h"
#include "client/show/figures.h"
#include "client/working/working_metrics.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double cpu_limit = 0.95;            ///< of one CPU: there is one thread
constexpr double missed_percent_max = 1.0;    ///< of the schedule
constexpr double loss_time_percent_max = 1.0; ///< of the time of all places

/// What the prefix of a metric stands for; null: ping's alone.
const Histogram* histogram_of(const LoadResult& result, Since since) {
    switch (since) {
    case Since::intended:
        return &result.latency;
    case Since::send:
        // In a closed loop a request is due when it is sent: the two are the same.
        return result.rate ? &result.latency_from_send : &result.latency;
    case Since::connect:
        return &result.connect;
    case Since::lateness:
        return &result.lateness;
    case Since::wait:
        return &result.wait;
    case Since::ipdv:
    case Since::pdv:
    case Since::idle:
    case Since::working:
    case Since::upload:
    case Since::download:
    case Since::there:
    case Since::back:
        break;
    }
    return nullptr;
}

struct Missed {
    double generator_percent = 0;
    double blocked_percent = 0;
};

/// How much of the schedule was missed, and by whom. What was never sent found no room: all that
/// has is sent at the end.
Missed missed(const LoadResult& result) {
    const uint64_t due = result.counts.sent + result.counts.unsent;
    if (!result.rate || due == 0)
        return {};
    const auto percent = [&](uint64_t count) {
        return 100 * static_cast<double>(count) / static_cast<double>(due);
    };
    return {
        .generator_percent = percent(result.late_generator),
        .blocked_percent = percent(result.late_blocked + result.counts.unsent)};
}

std::string blocked_note(const LoadResult& result, double percent) {
    if (!result.rate)
        return "sockets paused: the table of outstanding requests was full. Use a shorter timeout "
               "(-W).";
    if (result.transport == Transport::udp)
        return fmt::format(
            "{} of the schedule was held back: the table of outstanding requests was full. Lower "
            "the rate (-r), or use a shorter timeout (-W).",
            percentage(percent));
    return fmt::format(
        "{} of the schedule waited for a free connection; the server was slower than the rate, or "
        "raise {}.",
        percentage(percent), result.reconnect || result.closes ? "-c" : "-c or --depth");
}

/// Why datagrams may be lost, other than by the path: one line, or none.
std::string loss_note(const LoadResult& result) {
    const LoadCounts& counts = result.counts;
    if (result.dropped_here > 0 && result.dropped_here * 2 >= counts.lost)
        return fmt::format(
            "this machine dropped {} answers, because the receive buffer of their socket was full: "
            "it was busy. Lower the rate (-r), or use more sockets (-c).",
            result.dropped_here);
    const auto plateau = result.windows.plateau(result.elapsed_ns);
    if (!plateau)
        return "";
    return fmt::format(
        "answers stop at {:.0f} a second: does the responder limit its rate for a prefix? See "
        "riposted.toml(5).",
        *plateau);
}

/// How much of the time of all places those of lost datagrams took.
std::string loss_time_note(const LoadResult& result) {
    const double all_ns = static_cast<double>(result.elapsed_ns) * result.connections *
                          std::max<uint32_t>(result.depth, 1);
    if (result.rate || result.counts.lost == 0 || all_ns <= 0)
        return "";
    const double percent = 100 * static_cast<double>(result.loss_time_ns) / all_ns;
    if (percent <= loss_time_percent_max)
        return "";
    return fmt::format(
        "lost datagrams took {} of the sockets' time: each holds its place until a timeout that "
        "follows the round trips (RFC 6298).",
        percentage(percent));
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
    // Whatever was late, or had to wait, may be so for that.
    if (cpu >= cpu_limit)
        return lines;
    const auto [generator, blocked] = missed(result);
    if (generator > missed_percent_max)
        lines.push_back(fmt::format(
            "this machine was busy: {} of the schedule left more than 1 ms late, by up to {} ms, "
            "which the latency from the intended time includes. Leave riposte a core of its own.",
            percentage(generator), milliseconds(static_cast<double>(result.lateness.max_ns()))));
    if (blocked > missed_percent_max || (!result.rate && result.outstanding_full))
        lines.push_back(blocked_note(result, blocked));
    for (std::string (*note)(const LoadResult&) : {loss_note, loss_time_note})
        if (std::string line = note(result); !line.empty())
            lines.push_back(std::move(line));
    return lines;
}

bool generator_is_bottleneck(const LoadResult& result) {
    return cpu_share(result) >= cpu_limit || missed(result).generator_percent > missed_percent_max;
}

std::optional<double> metric(const LoadResult& result, const Metric& metric) {
    const LoadCounts& counts = result.counts;
    if (is_of_working(metric))
        return result.under_load ? working_metric(*result.under_load, metric) : std::nullopt;
    switch (metric.kind) {
    case MetricKind::min:
    case MetricKind::mean:
    case MetricKind::max:
    case MetricKind::stddev:
    case MetricKind::percentile:
        if (const Histogram* const histogram = histogram_of(result, metric.since))
            return duration_metric(*histogram, metric);
        return std::nullopt;
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
        return static_cast<double>(counts.errors());
    case MetricKind::retransmits:
        return retransmits_metric(result);
    case MetricKind::rate:
        return result.elapsed_ns == 0 ? std::nullopt : std::optional(result.answer_rate());
    case MetricKind::mbits:          // of --upload and --download
    case MetricKind::rpm:            // of --while-pinging
    case MetricKind::rfc3550_jitter: // ping's alone
        return std::nullopt;
    }
    return std::nullopt;
}

uint64_t maximum_of(const LoadResult& result, const Metric& metric) {
    if (is_of_working(metric))
        return result.under_load ? working_maximum_of(*result.under_load, metric) : 0;
    const Histogram* const histogram = histogram_of(result, metric.since);
    return histogram == nullptr ? 0 : count_of_maximum(*histogram, metric);
}

Exit verdict(const LoadResult& result, const FailIf& fail_if) {
    const LoadCounts& counts = result.counts;
    if (result.under_load && result.under_load->working.counts.answered == 0)
        return Exit::failed;
    if (counts.unsent > 0 && !mentions(fail_if, MetricKind::errors))
        return Exit::failed;
    return common_verdict(result, fail_if, result.counts.answered);
}

} // namespace riposte::client
