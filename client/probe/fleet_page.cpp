#include "client/probe/fleet_page.h"

#include "client/measure/outcome.h"
#include "client/probe/recent_results.h"
#include "client/show/figures.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {
namespace {

constexpr std::string_view head_begin = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="15">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>riposte probe</title>
<style>
:root { color-scheme: light dark; --ok: #1a7f37; --warn: #9a6700; --bad: #cf222e; --line: #8884; }
@media (prefers-color-scheme: dark) { :root { --ok: #3fb950; --warn: #d29922; --bad: #ff7b72; } }
body { font: 15px/1.4 system-ui, sans-serif; margin: 1rem auto; max-width: 75rem; padding: 0 .75rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 1.5rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.ok { color: var(--ok); } .warn { color: var(--warn); } .bad { color: var(--bad); font-weight: 600; }
</style>
</head>
<body>
)";

std::string escaped(std::string_view text) {
    std::string html;
    for (const char byte : text) {
        if (byte == '&')
            html += "&amp;";
        else if (byte == '<')
            html += "&lt;";
        else if (byte == '>')
            html += "&gt;";
        else if (byte == '"')
            html += "&quot;";
        else
            html += byte;
    }
    return html;
}

/// A name of a list, which may have any bytes.
std::string name_text(std::string_view name) {
    return escaped(
        std::ranges::any_of(name, [](char c) { return static_cast<uint8_t>(c) < 0x20; })
            ? escape(name)
            : name);
}

std::string labels_text(const Labels& labels) {
    std::string text;
    for (const auto& [name, value] : labels)
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name_text(name), name_text(value));
    return text;
}

std::string duration(const std::optional<double>& seconds) {
    if (!seconds)
        return "-";
    return std::isinf(*seconds) ? "over 16 s" : short_duration(*seconds * 1e9);
}

struct Row {
    const TargetFigures* target = nullptr; ///< null: of a group
    std::string labels;
    ProbeTransport transport = ProbeTransport::udp;
    OutcomeCounts counts;
    std::optional<double> loss; ///< percent
    std::optional<double> median;
    std::optional<double> p99;

    /// Greater is worse. A row with no result says nothing, and comes last.
    std::pair<double, double> badness() const { return {loss.value_or(-1), p99.value_or(0)}; }
};

/// "refused 3, lost 1": results that are no answers.
std::string reasons(const OutcomeCounts& counts) {
    constexpr std::array<std::pair<std::string_view, uint64_t OutcomeCounts::*>, 8> causes{{
        {"lost", &OutcomeCounts::lost},
        {"refused", &OutcomeCounts::refused},
        {"unreachable", &OutcomeCounts::unreachable},
        {"closed", &OutcomeCounts::closed},
        {"too big", &OutcomeCounts::too_big},
        {"corrupted", &OutcomeCounts::corrupted},
        {"wrong size", &OutcomeCounts::wrong_size},
        {"not sent by this host", &OutcomeCounts::local},
    }};
    std::string text;
    for (const auto& [name, count] : causes)
        if (counts.*count > 0)
            text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, counts.*count);
    return text;
}

std::string_view severity(std::optional<double> loss) {
    if (!loss)
        return "";
    return *loss >= 5 ? "bad" : *loss > 0 ? "warn" : "ok";
}

class Page {
public:
    Page(const FleetFigures& now, const FleetFigures* before) : now_(now), before_(before) {}

    HttpBody write(const std::string& version) && {
        body_.append(head_begin);
        write_summary(version);
        write_prober();
        if (!now_.groups.empty())
            write_groups();
        write_targets();
        body_.append("</body>\n</html>\n");
        return std::move(body_);
    }

private:
    template<class... Values>
    void add(fmt::format_string<Values...> text, Values&&... values) {
        body_.append(fmt::format(text, std::forward<Values>(values)...));
    }

    void write_summary(const std::string& version);
    void write_prober();
    void write_groups();
    void write_targets();
    void write_row(const Row& row);

    const FleetFigures& now_;
    const FleetFigures* before_;
    HttpBody body_;
};

void Page::write_summary(const std::string& version) {
    const auto listed = std::ranges::count_if(now_.targets, &TargetFigures::listed);
    const double since = before_ != nullptr ? before_->at : now_.prober.started_at;
    add("<h1>riposte probe {}</h1>\n<p>{}, each probed every {}. Figures from {} to {}.</p>\n",
        escaped(version), plural(static_cast<uint64_t>(listed), "target"),
        interval_text(now_.interval_ns), utc_clock(since), utc_clock(now_.at));
}

void Page::write_prober() {
    const ProberFigures& prober = now_.prober;
    const ProberFigures* before = before_ != nullptr ? &before_->prober : nullptr;
    const auto late = quantile_since(prober.lateness, before ? &before->lateness : nullptr, 0.99);
    const uint64_t skipped = prober.skipped - (before ? before->skipped : 0);
    const uint64_t overflow = prober.receive_overflow - (before ? before->receive_overflow : 0);
    const bool sick = late.value_or(0) > 0.01 || skipped > 0 || overflow > 0;
    add("<p>The prober itself: <span class=\"{}\">sent late {} (p99), {} skipped, {} dropped by "
        "full "
        "sockets{}</span></p>\n",
        sick ? "bad" : "ok", duration(late), plural(skipped, "probe"), plural(overflow, "answer"),
        sick ? "; do not believe the losses below" : "");
    for (const DiscoveryFigures& source : now_.discovery)
        if (!source.last_error.empty())
            add("<p class=\"bad\">{}: {}; the list before is in use</p>\n",
                name_text(source.source), name_text(source.last_error));
}

void Page::write_row(const Row& row) {
    body_.append("<tr>");
    if (row.target != nullptr)
        add("<td>{}{}</td>", name_text(row.target->who->name),
            row.target->listed ? "" : " (left the lists)");
    add("<td>{}</td><td>{}</td><td class=\"n {}\">{}</td><td class=\"n\">{}</td>"
        "<td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
        row.labels, to_key(row.transport), severity(row.loss),
        row.loss ? percentage(*row.loss) : "-", row.counts.answered, duration(row.median),
        duration(row.p99), reasons(row.counts));
}

constexpr std::string_view columns =
    "<th>labels</th><th>over</th><th class=\"n\">loss</th><th class=\"n\">answered</th>"
    "<th class=\"n\">median</th><th class=\"n\">p99</th><th>otherwise</th></tr>\n";

void Page::write_groups() {
    add("<h2>Groups</h2>\n<div class=\"table\"><table>\n<tr>{}", columns);
    std::vector<Row> rows;
    rows.reserve(now_.groups.size());
    for (const GroupFigures& group : now_.groups) {
        const GroupFigures* before = nullptr;
        if (before_ != nullptr) {
            const auto found = std::ranges::find_if(before_->groups, [&](const auto& each) {
                return each.labels == group.labels && each.transport == group.transport;
            });
            before = found == before_->groups.end() ? nullptr : &*found;
        }
        const OutcomeCounts counts = counts_since(group.counts, before ? &before->counts : nullptr);
        const HistogramFigures* rtt = before ? &before->rtt : nullptr;
        rows.push_back(
            {.labels = labels_text(group.labels),
             .transport = group.transport,
             .counts = counts,
             .loss = loss_percent(counts),
             .median = quantile_since(group.rtt, rtt, 0.5),
             .p99 = quantile_since(group.rtt, rtt, 0.99)});
    }
    std::ranges::sort(rows, std::ranges::greater(), &Row::badness);
    for (const Row& row : rows)
        write_row(row);
    body_.append("</table></div>\n");
}

void Page::write_targets() {
    const TargetIndex earlier(before_);
    std::vector<Row> rows;
    rows.reserve(now_.targets.size());
    for (const TargetFigures& target : now_.targets) {
        const TargetFigures* before = earlier.find(*target.who);
        const OutcomeCounts counts =
            counts_since(target.counts, before ? &before->counts : nullptr);
        const HistogramFigures* rtt = before ? &before->rtt : nullptr;
        rows.push_back(
            {.target = &target,
             .labels = labels_text(target.who->labels),
             .transport = target.who->transport,
             .counts = counts,
             .loss = loss_percent(counts),
             .median = quantile_since(target.rtt, rtt, 0.5),
             .p99 = quantile_since(target.rtt, rtt, 0.99)});
    }
    const size_t shown = std::min(rows.size(), page_rows_max);
    const auto end = rows.begin() + static_cast<std::ptrdiff_t>(shown);
    std::ranges::partial_sort(rows, end, std::ranges::greater(), &Row::badness);
    add("<h2>Targets, the worst first</h2>\n<div class=\"table\"><table>\n<tr><th>target</th>{}",
        columns);
    for (size_t i = 0; i < shown; ++i)
        write_row(rows[i]);
    body_.append("</table></div>\n");
    if (rows.size() > shown)
        add("<p>{} not shown; /targets has all.</p>\n",
            plural(rows.size() - shown, "better target"));
    if (rows.empty())
        body_.append("<p class=\"bad\">There are no targets: see the lists above.</p>\n");
}

} // namespace

HttpBody fleet_page(
    const FleetFigures& now, const FleetFigures* before, const std::string& version) {
    return Page(now, before).write(version);
}

} // namespace riposte::client
