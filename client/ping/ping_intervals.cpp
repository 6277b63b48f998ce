#include "client/ping/ping_intervals.h"

#include "client/show/causes.h"
#include "client/show/figures.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t rtt_width = 7; ///< "123.456"
/// A probe that left late expires later than its interval's end and the timeout say.
constexpr uint64_t probe_patience_ns = 1'000'000'000;

std::vector<LineColumn> ping_columns(double probes) {
    return {
        {"sent", count_width("sent", probes)},
        {"answered", count_width("answered", probes)},
        {"loss", 5},
        {"min", rtt_width},
        {"median", rtt_width},
        {"p99", rtt_width},
        {"max", rtt_width}};
}

std::vector<LineCell> ping_cells(const IntervalFigures& interval) {
    const OutcomeCounts& counts = interval.counts;
    const auto loss = loss_percent(counts);
    std::vector<LineCell> row{
        {fmt::format("{}", counts.sent)},
        {fmt::format("{}", counts.answered)},
        {loss ? percentage(*loss) : "-", loss && *loss > 0 ? Ink::failure : Ink::plain}};
    const Histogram rtt = interval.durations.histogram();
    if (rtt.empty()) {
        row.insert(row.end(), 4, LineCell{"-"});
        return row;
    }
    const Figures of = figures(rtt);
    row.push_back({milliseconds(of.min_ns)});
    row.push_back({percentile_milliseconds(of.median_ns)});
    row.push_back({percentile_milliseconds(of.p99_ns)});
    row.push_back({milliseconds(of.max_ns)});
    return row;
}

/// What is neither answered nor lost: "1 pending, 3 refused".
std::string ping_note(const OutcomeCounts& counts) {
    const std::array<std::pair<uint64_t, std::string_view>, 8> kinds{
        {{counts.undecided(), "pending"},
         {counts.refused, "refused"},
         {counts.unreachable, "unreachable"},
         {counts.closed, "closed"},
         {counts.too_big, "too big"},
         {counts.corrupted, "corrupted"},
         {counts.wrong_size, "wrong size"},
         {counts.local, not_sent}}};
    std::string text;
    for (const auto& [count, name] : kinds)
        if (count > 0)
            text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name);
    return text;
}

/// Names stand in front only of several endpoints.
std::vector<std::string> names_of(std::span<const PingResult* const> results, PingStyle style) {
    std::vector<std::string> names;
    if (style.several)
        for (const PingResult* result : results)
            names.push_back(result->name);
    return names;
}

} // namespace

PingIntervals::PingIntervals(
    const PingOptions& options, std::span<const PingResult* const> results, PingStyle style)
    : results_(results.begin(), results.end()), is_json_(options.report.json_lines),
      every_ms_(options.report.every_ms.value_or(every_ms_min)),
      intervals_(
          results_.front()->started_ns, every_ms_ * 1'000'000,
          results_.front()->timeout_ns + probe_patience_ns, results_.size()),
      lines_(
          ping_columns(
              static_cast<double>(every_ms_) * 1e6 /
              static_cast<double>(results_.front()->interval_ns)),
          names_of(results, style), every_ms_ % 1000 != 0, style.look()) {}

void PingIntervals::due(size_t endpoint, uint64_t due_ns) {
    intervals_.due(endpoint, due_ns);
}

void PingIntervals::decide(size_t endpoint, const ProbeFate& fate) {
    intervals_.decide(endpoint, fate.due_ns, fate.outcome, fate.rtt_ns);
}

std::string PingIntervals::text_of(const Interval& interval) {
    const double began_at = results_.front()->wall_seconds(interval.from_ns);
    std::string text = is_json_ ? "" : lines_.heads(began_at);
    for (size_t at = 0; at < interval.lanes.size(); at++) {
        const IntervalFigures& figures = interval.lanes[at];
        if (figures.counts.sent == 0)
            continue;
        text += is_json_ ? ping_interval_json(*results_[at], interval, figures)
                         : lines_.row(at, began_at, ping_cells(figures), ping_note(figures.counts));
    }
    return text;
}

std::string PingIntervals::take(uint64_t now_ns, uint64_t next_due_ns) {
    std::string text;
    while (const auto interval = intervals_.take(now_ns, next_due_ns))
        text += text_of(*interval);
    return text;
}

std::string PingIntervals::take_last(uint64_t end_ns) {
    std::string text;
    while (const auto interval = intervals_.take_last(end_ns))
        text += text_of(*interval);
    return text;
}

} // namespace riposte::client
