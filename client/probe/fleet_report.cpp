#include "client/probe/fleet_report.h"

#include "client/measure/histogram.h"
#include "client/measure/verdict.h"
#include "client/options/options_values.h"
#include "client/show/figures.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t worst_shown = 20;

/// The bound of the bucket, in seconds; nothing where so few values have no such percentile.
std::optional<double> percentile(const HistogramFigures& histogram, double percent) {
    if (!Histogram::has_percentile(histogram.count, percent))
        return std::nullopt;
    return histogram.quantile(percent / 100);
}

std::optional<double> duration(const HistogramFigures& histogram, const Metric& metric) {
    if (histogram.count == 0)
        return std::nullopt;
    if (metric.kind == MetricKind::percentile)
        return histogram.quantile(metric.percentile / 100);
    return static_cast<double>(histogram.sum_ns) / 1e9 / static_cast<double>(histogram.count);
}

std::string in_ms(std::optional<double> seconds) {
    return seconds && std::isfinite(*seconds) ? milliseconds(*seconds * 1e9) : "-";
}

std::string percent_text(std::optional<double> percent) {
    return percent ? percentage(*percent) : "-";
}

/// What of its probes was not answered correctly: "3 lost, 1 refused".
std::string failures_of(const TargetFigures& target) {
    const OutcomeCounts& counts = target.counts;
    if (target.address.empty())
        return target.resolve_failures > 0 ? "the name does not resolve" : "no address yet";
    std::string text;
    for (const auto& [count, word] :
         {std::pair{counts.lost, "lost"}, std::pair{counts.refused, "refused"},
          std::pair{counts.unreachable, "unreachable"}, std::pair{counts.corrupted, "corrupted"},
          std::pair{counts.wrong_size, "wrong size"}, std::pair{counts.closed, "closed"},
          std::pair{counts.too_big, "too big"}, std::pair{counts.local, "not sent"}})
        if (count > 0)
            text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, word);
    return text;
}

std::vector<const TargetFigures*> worst_first(const FleetFigures& figures) {
    std::vector<const TargetFigures*> all;
    all.reserve(figures.targets.size());
    for (const TargetFigures& each : figures.targets)
        all.push_back(&each);
    std::ranges::sort(all, [](const TargetFigures* a, const TargetFigures* b) {
        const auto key = [](const TargetFigures& each) {
            const OutcomeCounts& counts = each.counts;
            const uint64_t wrong = counts.corrupted + counts.wrong_size;
            return std::tuple(
                !each.address.empty(), -loss_percent(counts).value_or(0), wrong == 0,
                -each.rtt.quantile(0.99).value_or(0), std::string_view(each.who->name));
        };
        return key(*a) < key(*b);
    });
    return all;
}

std::vector<Check> checks_of(
    const FleetFigures& figures, const TargetFigures& target, const FailIf& fail_if) {
    return check(fail_if, [&](const Metric& wanted) { return metric(figures, target, wanted); });
}

std::string describe_self(const SelectionRules& rules, const Selection& selection) {
    if (rules.self == "none")
        return "no target is this host, as [probe] self is 'none'\n";
    if (selection.self_listed)
        return fmt::format("this host is '{}' in the lists\n", escape(selection.self, 255));
    return fmt::format(
        "this host, '{}', is in no list: it probes others, and no other host probes it\n",
        escape(selection.self, 255));
}

std::string prober_line(const FleetFigures& figures) {
    const ProberFigures& prober = figures.prober;
    const double elapsed = std::max(figures.at - prober.started_at, 1e-3);
    return fmt::format(
        "prober: sent late by {} ms (median), {} ms (p99); {} left out; {} dropped at full "
        "sockets; {} stray; {:.1f}% of a CPU\n",
        in_ms(percentile(prober.lateness, 50)), in_ms(percentile(prober.lateness, 99)),
        prober.skipped, prober.receive_overflow, prober.stray, 100 * prober.cpu_seconds / elapsed);
}

} // namespace

std::optional<double> metric(
    const FleetFigures& figures, const TargetFigures& target, const Metric& metric) {
    if (metric.kind == MetricKind::errors)
        return static_cast<double>(target.counts.decided() - target.counts.answered);
    if (metric.kind == MetricKind::percentile || metric.kind == MetricKind::mean)
        return duration(
            metric.since == Since::lateness ? figures.prober.lateness : target.rtt, metric);
    return count_metric(target.counts, metric.kind);
}

Exit verdict(const FleetFigures& figures, const FailIf& fail_if) {
    const bool all_well = std::ranges::all_of(figures.targets, [&](const TargetFigures& each) {
        if (!each.listed && each.counts.sent == 0) // it went before it was due
            return true;
        return each.counts.answered > 0 && !has_failures(each.counts, fail_if) &&
               std::ranges::none_of(checks_of(figures, each, fail_if), &Check::met);
    });
    return all_well && !figures.targets.empty() ? Exit::ok : Exit::failed;
}

std::string fleet_text(const FleetFigures& figures, const FailIf& fail_if, Look look) {
    OutcomeCounts all;
    for (const TargetFigures& each : figures.targets) {
        all.sent += each.counts.sent;
        all.answered += each.counts.answered;
    }
    std::string text = fmt::format(
        "{}, {}: {} answered\n", plural(figures.targets.size(), "target"),
        plural(all.sent, "probe"), grouped(all.answered));
    const std::vector<const TargetFigures*> worst = worst_first(figures);
    std::vector<std::vector<std::string>> rows{{"in ms", "sent", "loss", "median", "p99", ""}};
    for (const TargetFigures* const each :
         std::span(worst).first(std::min(worst.size(), worst_shown)))
        rows.push_back(
            {escape(each->who->name, 255), fmt::format("{}", each->counts.sent),
             percent_text(loss_percent(each->counts)), in_ms(percentile(each->rtt, 50)),
             in_ms(percentile(each->rtt, 99)), failures_of(*each)});
    if (!worst.empty())
        text += render_table(rows, 2, look);
    if (worst.size() > worst_shown)
        text += fmt::format("and {} more, none worse\n", worst.size() - worst_shown);
    text += prober_line(figures);
    for (const TargetFigures* const each : worst)
        for (const Check& one : checks_of(figures, *each, fail_if))
            if (one.met)
                text += fmt::format("{}: {}\n", escape(each->who->name, 255), describe(one));
    return text;
}

std::string check_text(
    const ProbeConfig& config, const Selection& selection, size_t listed, uint64_t bytes_a_target,
    Look look) {
    const size_t ports = config.source_ports.size();
    const size_t at_once = config.rotate || ports == 0 ? 1 : ports;
    const size_t targets = selection.chosen.size();
    const double rate =
        static_cast<double>(targets * at_once) * 1000 / static_cast<double>(config.interval_ms);
    const uint64_t bytes = std::max<uint64_t>(targets * bytes_a_target, 1024);
    std::string text = fmt::format(
        "{} listed; {} probed every {}: {:.6g} probes/s; {} of memory\n", plural(listed, "target"),
        grouped(targets), format_duration(config.interval_ms), rate,
        format_size(bytes >> 10 << 10));
    text += fold(describe_self(config.selection, selection), look.columns);
    if (selection.duplicates > 0)
        text += fmt::format(
            "{} left out: the name stands in the lists before\n",
            plural(selection.duplicates, "entry"));
    for (const std::string& label : config.group)
        if (targets > 0 && std::ranges::none_of(selection.chosen, [&](const ChosenTarget& each) {
                return each.target.labels.contains(label);
            }))
            text += fmt::format("no target has the label '{}' of [export] group\n", label);
    return text;
}

std::string list_text(const Selection& selection, Look look) {
    std::vector<std::vector<std::string>> rows{{"target", "labels", "why"}};
    for (const ChosenTarget& each : selection.chosen) {
        std::string labels;
        for (const auto& [name, value] : each.target.labels)
            labels += fmt::format("{}{}={}", labels.empty() ? "" : " ", name, escape(value, 255));
        rows.push_back(
            {escape(each.target.name, 255), labels,
             each.is_neighbour  ? each.is_of_group ? "neighbour, of its group" : "neighbour"
             : each.is_of_group ? "of its group"
                                : "all are probed"});
    }
    return render_table(rows, 2, look);
}

} // namespace riposte::client
