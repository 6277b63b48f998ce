#include "client/load/load_intervals.h"

#include "client/show/figures.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t latency_width = 7; ///< "123.456"
constexpr size_t rate_width = 9;
/// Requests expire in steps of a run's tick, and those that left late after their own time.
constexpr uint64_t request_patience_ns = 1'000'000'000;

/// The count of requests in an interval, for the width of its column.
double expected_requests(const LoadResult& result, uint32_t every_ms) {
    constexpr double closed_loop_rate = 999'999;
    return result.rate.value_or(closed_loop_rate) * every_ms / 1000;
}

std::vector<LineColumn> load_columns(double requests) {
    return {
        {"sent", count_width("sent", requests)},
        {"answers/s", rate_width},
        {"errors", 6},
        {"median", latency_width},
        {"p99", latency_width},
        {"max", latency_width}};
}

std::vector<LineCell> load_cells(const LoadIntervalFigures& interval) {
    const OutcomeCounts& counts = interval.figures->counts;
    const uint64_t errors = counts.decided() - counts.answered;
    std::vector<LineCell> row{
        {fmt::format("{}", counts.sent)},
        {fmt::format("{:.{}f}", interval.rate(), interval.rate() < 100 ? 1 : 0)},
        {fmt::format("{}", errors), errors > 0 ? Ink::failure : Ink::plain}};
    const Histogram latency = interval.figures->durations.histogram();
    if (latency.empty()) {
        row.insert(row.end(), 3, LineCell{"-"});
        return row;
    }
    const Figures of = figures(latency);
    row.push_back({percentile_milliseconds(of.median_ns)});
    row.push_back({percentile_milliseconds(of.p99_ns)});
    row.push_back({milliseconds(of.max_ns)});
    return row;
}

std::string load_note(const LoadIntervalFigures& interval) {
    std::string text;
    if (const uint64_t pending = interval.figures->counts.undecided(); pending > 0)
        text = fmt::format("{} pending", pending);
    if (interval.unsent > 0)
        text += fmt::format("{}{} not sent yet", text.empty() ? "" : ", ", interval.unsent);
    return text;
}

} // namespace

double LoadIntervalFigures::rate() const {
    return duration_ns == 0
               ? 0
               : static_cast<double>(figures->arrivals) / (static_cast<double>(duration_ns) / 1e9);
}

LoadIntervals::LoadIntervals(
    const LoadResult& result, const LoadSchedule& schedule, uint32_t every_ms, uint64_t timeout_ns,
    bool is_json, Look look)
    : result_(result), schedule_(schedule), start_ns_(schedule.measured_from_ns()),
      is_json_(is_json),
      intervals_(start_ns_, uint64_t{every_ms} * 1'000'000, timeout_ns + request_patience_ns),
      lines_(
          load_columns(expected_requests(result, every_ms)), std::span<const std::string>(),
          every_ms % 1000 != 0, look) {}

/// Nothing of what came after the measured time makes an interval of its own.
std::string LoadIntervals::text_of(Interval interval) {
    const uint64_t end_ns = schedule_.end_ns();
    if (interval.from_ns >= end_ns)
        return "";
    interval.to_ns = std::min(interval.to_ns, end_ns);
    const LoadIntervalFigures figures{
        .began_at = result_.started_at + static_cast<double>(interval.from_ns - start_ns_) / 1e9,
        .duration_ns = interval.to_ns - interval.from_ns,
        .unsent = schedule_.untaken_before(interval.to_ns),
        .figures = &interval.lanes.front()};
    if (is_json_)
        return load_interval_json(result_, figures);
    std::string text = lines_.heads(figures.began_at);
    return text + lines_.row(0, figures.began_at, load_cells(figures), load_note(figures));
}

std::string LoadIntervals::take(uint64_t now_ns) {
    if (schedule_.phase() == LoadPhase::measuring)
        intervals_.reach(now_ns);
    std::string text;
    while (auto interval = intervals_.take(now_ns, schedule_.next_untaken_ns()))
        text += text_of(std::move(*interval));
    return text;
}

std::string LoadIntervals::take_last() {
    std::string text;
    while (auto interval = intervals_.take_last(schedule_.end_ns()))
        text += text_of(std::move(*interval));
    return text;
}

} // namespace riposte::client
