#include "client/ping/ping_conclusion.h"

#include "client/measure/verdict.h"
#include "client/ping/ping_run.h"
#include "client/ping/ping_stamp_plot.h"
#include "client/show/figures.h"
#include "client/show/report.h"
#include "common/text.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

PlottedCounts plotted_counts(const OutcomeCounts& counts) {
    const uint64_t failed = counts.sent - counts.undecided() - counts.answered - counts.lost;
    return {
        .sent = counts.sent, .answered = counts.answered, .lost = counts.lost, .failed = failed};
}

std::vector<PlottedSpan> plotted_outages(const PingResult& result) {
    std::vector<PlottedSpan> spans;
    const uint64_t start_ns = result.started_ns;
    for (const Outage& outage : result.outages.list())
        spans.push_back({outage.began_ns - start_ns, outage.ended_ns - start_ns});
    return spans;
}

std::vector<PlottedFlow> plotted_flows(const PingResult& result) {
    if (result.flows.empty() || !result.flows.front().fates)
        return {};
    const FlowVerdict verdict = judge_flows(result);
    const auto is_bad = [&](uint16_t port) {
        const auto has_it = [&](const BadFlows& bad) {
            return std::ranges::binary_search(bad.ports, port);
        };
        return std::ranges::any_of(verdict.lossy, has_it) ||
               std::ranges::any_of(verdict.repairing, has_it) ||
               std::ranges::any_of(verdict.slow, has_it);
    };
    std::vector<PlottedFlow> flows;
    flows.reserve(result.flows.size());
    for (const FlowResult& flow : result.flows)
        if (flow.fates)
            flows.push_back(
                {.port = flow.port, .fates = &*flow.fates, .is_bad = is_bad(flow.port)});
    return flows;
}

std::vector<Plotted> curves_of(std::span<const PingResult* const> results) {
    std::vector<Plotted> curves;
    curves.reserve(results.size());
    for (const PingResult* result : results)
        curves.push_back(
            {.name = result->name,
             .histogram = &result->rtt,
             .series = result->series.get(),
             .counts = plotted_counts(result->counts),
             .outages = plotted_outages(*result),
             .flows = plotted_flows(*result)});
    return curves;
}

Exit exit_of(const PingEnd& end, const FailIf& fail_if) {
    if (end.was_cut_short)
        return Exit::interrupted;
    Exit exit = end.missing.empty() ? Exit::ok : Exit::failed;
    for (const PingResult* result : end.results)
        if (verdict(*result, fail_if) != Exit::ok)
            exit = Exit::failed;
    return exit;
}

bool is_alive(const PingResult& result) {
    return result.counts.answered > 0;
}

/// A name a line: of those that answered, or of the others, among which are those without an
/// address.
std::string list_of(const PingEnd& end, Listing listing) {
    const bool wants_alive = listing == Listing::alive;
    std::string text;
    for (const PingResult* result : end.results)
        if (is_alive(*result) == wants_alive)
            text += result->name + '\n';
    for (const NotMeasured& missing : end.missing)
        if (!wants_alive)
            text += missing.name + '\n';
    return text;
}

/// Exit::ok: every endpoint answered.
Exit exit_of_listing(const PingEnd& end) {
    if (end.was_cut_short)
        return Exit::interrupted;
    const bool all = std::ranges::all_of(
        end.results, [](const PingResult* result) { return is_alive(*result); });
    return all && end.missing.empty() ? Exit::ok : Exit::failed;
}

/// The file of --hist has round trips, the picture also the ways of reflectors.
Result<void> write_files(
    MeasurementFiles& files, const PingOptions& options, std::span<const PingResult* const> results,
    const std::vector<Plotted>& curves) {
    const PingResult& first = *results.front();
    const std::string title =
        curves.size() == 1 ? "riposte ping " + first.name : std::string("riposte ping");
    const std::string subtitle = fmt::format(
        "{} every {} ms",
        options.connect ? "a connection" : byte_count(first.payload_bytes) + " of payload",
        static_cast<double>(options.interval_us) / 1000);
    if (!files.wants_series())
        return files.write(curves, "");
    const WayCurves ways(results);
    std::vector<Plotted> all = curves;
    all.insert(all.end(), ways.curves().begin(), ways.curves().end());
    return files.write(
        curves,
        render_svg({.title = title, .subtitle = subtitle, .started_at = first.started_at}, all));
}

/// The summaries, the comparison and the charts.
std::string text_of(
    const PingOptions& options, const PingStyle& style, std::span<const PingResult* const> results,
    const std::vector<Plotted>& curves) {
    const bool table_alone = shows_table_alone(options, results.size());
    std::string text;
    if (!table_alone)
        for (const PingResult* result : results)
            text += '\n' + ping_summary(*result, style);
    if (results.size() > 1)
        text += (table_alone ? "" : "\n") + ping_comparison(results, style);
    if (options.report.histogram)
        text += charts(curves, style.color);
    return text;
}

Result<void> print_blocking(const std::string& text, EventLoop& loop) {
    const MayBlock guard(loop);
    return print(text);
}

} // namespace

Result<Exit> conclude_ping(
    const CommonOptions& common, const PingOptions& options, const PingEnd& end,
    MeasurementFiles& files, EventLoop& loop) {
    if (options.listing != Listing::none) {
        const auto printed = print_blocking(list_of(end, options.listing), loop);
        return printed ? Result<Exit>(exit_of_listing(end)) : std::unexpected(printed.error());
    }
    const FailIf& fail_if = options.report.fail_if;
    const std::vector<Plotted> curves = curves_of(end.results);
    const auto write = [&] { return write_files(files, options, end.results, curves); };
    Exit exit = exit_of(end, fail_if);
    Result<void> written;
    std::string text;
    if (options.report.is_json()) { // which says how this ends
        written = write();
        exit = written ? exit : written.error().exit;
        text = ping_json(end.results, fail_if, exit, end.missing);
    } else {
        text =
            text_of(options, ping_style(common, options, end.results.size()), end.results, curves);
    }
    if (auto printed = print_blocking(text, loop); !printed)
        return std::unexpected(printed.error());
    if (!options.report.is_json())
        written = write();
    if (!written)
        return std::unexpected(written.error());
    const Report report(common.color, false);
    for (const PingResult* result : end.results) {
        const auto measured = [&](const Metric& wanted) { return metric(*result, wanted); };
        const auto maximum = [&](const Metric& of) { return maximum_of(*result, of); };
        report_met(report, result->name, fail_if, measured, maximum);
    }
    return exit;
}

} // namespace riposte::client
