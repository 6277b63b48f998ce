// The table that compares several endpoints: a row each, and below it what failed, and by whom.
#include "client/measure/verdict.h"
#include "client/ping/ping_report.h"
#include "client/show/causes.h"
#include "client/show/figures.h"
#include "client/show/table.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t name_columns_min = 12;

/// Of those that failed, a line each below the comparison: what failed, and by whom.
std::string failure_notes(std::span<const PingResult* const> results, const PingStyle& style) {
    std::string text;
    for (const PingResult* result : results) {
        const auto causes = cause_items(result->causes, result->counts.lost, result->transport);
        if (!causes.empty())
            text += flow(result->name + ": ", causes, style.look());
    }
    return text;
}

std::optional<double> mean_of(const Histogram& histogram) {
    return histogram.empty() ? std::nullopt : std::optional(histogram.mean_ns());
}

struct ComparisonColumn {
    std::string_view name;
    std::optional<double> (*figure)(const PingResult&);
    bool is_percentile;
};

/// The figures of one column of the comparison, for those that have any.
std::vector<std::string> comparison_texts(
    std::span<const PingResult* const> answered, const ComparisonColumn& column) {
    std::vector<std::optional<double>> values;
    for (const PingResult* result : answered)
        values.push_back(column.figure(*result));
    if (column.is_percentile)
        return aligned_percentiles(values);
    std::vector<double> exact;
    for (const std::optional<double>& value : values)
        if (value)
            exact.push_back(*value);
    const std::vector<std::string> texts = aligned_milliseconds(exact);
    std::vector<std::string> cells;
    cells.reserve(values.size());
    for (size_t next = 0; const std::optional<double>& value : values)
        cells.push_back(value ? texts[next++] : "-");
    return cells;
}

constexpr size_t median_column = 1;
constexpr std::array<ComparisonColumn, 6> comparison_columns{{
    {"min", [](const PingResult& r) { return std::optional<double>(r.rtt.min_ns()); }, false},
    {"median", [](const PingResult& r) { return percentile_of(r.rtt, 50); }, true},
    {"p95", [](const PingResult& r) { return percentile_of(r.rtt, 95); }, true},
    {"p99", [](const PingResult& r) { return percentile_of(r.rtt, 99); }, true},
    {"max", [](const PingResult& r) { return std::optional<double>(r.rtt.max_ns()); }, false},
    {"ipdv", [](const PingResult& r) { return mean_of(r.ipdv); }, false},
}};

using Table = std::vector<std::vector<std::string>>;

/// The columns of figures behind the rows' names and loss; true if the least median is marked.
bool add_figures(Table& table, std::span<const PingResult* const> results) {
    std::vector<const PingResult*> answered;
    std::ranges::copy_if(results, std::back_inserter(answered), [](const PingResult* result) {
        return !result->rtt.empty();
    });
    if (answered.empty())
        return false;
    uint64_t least = UINT64_MAX;
    for (const PingResult* result : answered)
        least = std::min(least, result->rtt.percentile_ns(50));
    for (size_t column = 0; column < comparison_columns.size(); column++) {
        const bool marked = column == median_column && answered.size() > 1;
        const auto texts = comparison_texts(answered, comparison_columns[column]);
        table[0].push_back(fmt::format("{}{}", comparison_columns[column].name, marked ? " " : ""));
        size_t next = 0;
        for (size_t row = 0; row < results.size(); row++) {
            if (results[row]->rtt.empty())
                continue;
            std::string cell = texts[next++];
            if (marked)
                cell += results[row]->rtt.percentile_ns(50) == least ? '*' : ' ';
            table[row + 1].push_back(std::move(cell));
        }
    }
    return answered.size() > 1;
}

} // namespace

std::string ping_comparison(std::span<const PingResult* const> results, const PingStyle& style) {
    if (results.empty())
        return "";
    Table table{{"in ms", "loss"}};
    std::vector<std::string> names;
    for (const PingResult* result : results) {
        const auto loss = loss_percent(result->counts);
        table.push_back({"", loss ? percentage(*loss) : "-"});
        names.push_back(result->name);
    }
    const bool marked = add_figures(table, results);

    // The names get the columns that the figures leave; a row without figures is short.
    const auto room_for_names = [&](size_t gap) {
        std::string head = render_table(table, gap, {false, SIZE_MAX});
        head.resize(head.find('\n'));
        const size_t taken = columns_of(head) - columns_of(table[0][0]);
        // On a narrow terminal the figures fold: two of them beside the name at least.
        const size_t least = style.columns < text_columns ? style.columns / 2 : name_columns_min;
        return std::max(style.columns - std::min(style.columns, taken), least);
    };
    const size_t longest = columns_of(*std::ranges::max_element(names, {}, columns_of));
    const size_t gap = longest <= room_for_names(2) ? 2 : 1;
    const std::vector<std::string> cut = shorten_all(names, room_for_names(gap));
    for (size_t row = 0; row < results.size(); row++)
        table[row + 1][0] = cut[row];
    std::string text = render_table(table, gap, style.look());
    if (marked)
        text += "* the least median\n";
    return text + failure_notes(results, style);
}

} // namespace riposte::client
