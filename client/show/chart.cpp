// A row holds whole buckets of the histogram: a bucket belongs to the row of its middle, which is
// also what percentile_ns() says of it, so that a mark always stands beside a row with a bar.
//
// The scale is the finest of 24, 12, 8, 6, 4, 3, 2 rows and one row a decade that needs no more
// than rows_max rows. Durations that lie close together get rows of equal width instead, each a
// power of two of nanoseconds and so of buckets: logarithmic rows as narrow as that would hold now
// one bucket more, now one less, and show teeth where there are none.
#include "client/show/chart.h"

#include "client/show/figures.h"
#include "client/show/table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace riposte::client {

namespace {

constexpr size_t rows_max = 22;
constexpr double linear_ratio = 2.5; ///< from least to greatest
constexpr size_t bar_columns_min = 4;
constexpr size_t title_columns_min = 12;

/// Where the rows of a decade begin, in hundredths, when it has 24 of them. With fewer, a stride
/// over these.
constexpr std::array<uint16_t, 24> decade_bounds{100, 110, 121, 133, 147, 162, 178, 196,
                                                 215, 237, 261, 287, 316, 348, 383, 422,
                                                 464, 511, 562, 619, 681, 750, 825, 909};
constexpr std::array<size_t, 8> strides{1, 2, 3, 4, 6, 8, 12, 24};

struct Row {
    uint64_t low_ns; ///< up to the next row's
    std::string label;
    uint64_t count = 0;
    std::vector<std::string_view> marks = {};
};

/// The columns that all rows of all charts have.
struct Layout {
    size_t label_columns = 0;
    size_t marks_columns = 0;
    size_t count_columns = 0;
    size_t bar_columns = 0;
    uint64_t greatest = 0; ///< of the counts
    bool scarce = false;   ///< is there little room for marks?
};

struct Percentile {
    std::string_view name;
    double percent;
};
constexpr std::array<Percentile, 6> percentiles{
    {{"min", 0}, {"p50", 50}, {"p95", 95}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}}};

/// All bounds of a scale, ascending, from 0 to the end of the type.
std::vector<uint64_t> scale_bounds(size_t stride) {
    std::vector<uint64_t> bounds{0};
    uint64_t decade_ns = 1;
    for (;;) {
        for (size_t index = 0; index < decade_bounds.size(); index += stride) {
            // Below a hundred nanoseconds, where bounds are no whole numbers, the next whole one.
            if (decade_ns > (UINT64_MAX - 99) / decade_bounds[index])
                return bounds;
            const uint64_t bound_ns = (decade_ns * decade_bounds[index] + 99) / 100;
            if (bound_ns > bounds.back())
                bounds.push_back(bound_ns);
        }
        decade_ns *= 10;
    }
}

/// The bounds of the rows that values from `low_ns` to `high_ns` fall into.
std::vector<uint64_t> between(std::vector<uint64_t> bounds, uint64_t low_ns, uint64_t high_ns) {
    bounds.erase(std::ranges::upper_bound(bounds, high_ns), bounds.end());
    bounds.erase(bounds.begin(), std::ranges::upper_bound(bounds, low_ns) - 1);
    return bounds;
}

/// "1.008 ms": with the digits that distinguish one step from the next, and the unit that all rows
/// have.
std::string linear_label(uint64_t value_ns, uint64_t greatest_ns, uint64_t step_ns) {
    struct Unit {
        std::string_view name;
        double ns;
    };
    constexpr std::array<Unit, 4> units{{{"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}}};
    const auto unit = std::ranges::find_if(units, [&](const Unit& each) {
        return each.ns <= 1 || static_cast<double>(greatest_ns) >= each.ns;
    });
    const double digits = std::ceil(std::log10(unit->ns / static_cast<double>(step_ns)) + 0.6);
    return fmt::format(
        "{:.{}f} {}", static_cast<double>(value_ns) / unit->ns,
        static_cast<int>(std::clamp(digits, 0.0, std::log10(unit->ns))), unit->name);
}

std::vector<Row> linear_rows(uint64_t low_ns, uint64_t high_ns) {
    // As wide as the bucket of the greatest, or more: a multiple of every bucket's width here.
    const Histogram::Bucket widest = Histogram::bounds_of(Histogram::index_of(high_ns));
    unsigned shift = static_cast<unsigned>(std::bit_width(widest.high_ns - widest.low_ns));
    while ((high_ns >> shift) - (low_ns >> shift) >= rows_max)
        ++shift;
    std::vector<Row> rows;
    for (uint64_t step = low_ns >> shift; step <= high_ns >> shift; ++step)
        rows.push_back(
            {.low_ns = step << shift,
             .label = linear_label(step << shift, high_ns, uint64_t{1} << shift)});
    return rows;
}

std::vector<Row> logarithmic_rows(uint64_t low_ns, uint64_t high_ns) {
    std::vector<uint64_t> bounds;
    for (const size_t stride : strides) {
        bounds = between(scale_bounds(stride), low_ns, high_ns);
        if (bounds.size() <= rows_max)
            break;
    }
    std::vector<Row> rows;
    rows.reserve(bounds.size());
    for (const uint64_t bound_ns : bounds)
        rows.push_back(
            {.low_ns = bound_ns, .label = short_duration(static_cast<double>(bound_ns))});
    return rows;
}

Row& row_of(std::vector<Row>& rows, uint64_t value_ns) {
    const auto after = std::ranges::upper_bound(rows, value_ns, {}, &Row::low_ns);
    return after == rows.begin() ? rows.front() : *(after - 1);
}

void count(std::vector<Row>& rows, const Histogram& histogram) {
    for (const Histogram::Bucket& bucket : histogram.buckets()) {
        const uint64_t middle_ns = bucket.low_ns + (bucket.high_ns - bucket.low_ns) / 2;
        const uint64_t value_ns = std::clamp(middle_ns, histogram.min_ns(), histogram.max_ns());
        row_of(rows, value_ns).count += bucket.count;
    }
}

/// The rows of that histogram alone, without empty ones at either end.
std::vector<Row> filled_rows(const Histogram& histogram, bool linear) {
    std::vector<Row> rows = linear ? linear_rows(histogram.min_ns(), histogram.max_ns())
                                   : logarithmic_rows(histogram.min_ns(), histogram.max_ns());
    count(rows, histogram);
    const auto is_filled = [](const Row& row) { return row.count > 0; };
    while (!is_filled(rows.back()))
        rows.pop_back();
    rows.erase(rows.begin(), std::ranges::find_if(rows, is_filled));
    for (Row& row : rows)
        row.count = 0;
    return rows;
}

void mark(std::vector<Row>& rows, const Histogram& histogram) {
    // The least and the greatest are exact, and may lie in the row beside that of their bucket's
    // middle.
    const auto is_filled = [](const Row& row) { return row.count > 0; };
    Row& first = *std::ranges::find_if(rows, is_filled);
    Row& last = *std::ranges::find_if(rows.rbegin(), rows.rend(), is_filled);
    for (const Percentile& each : percentiles) {
        if (!histogram.has_percentile(each.percent))
            continue;
        Row& row = row_of(rows, histogram.percentile_ns(each.percent));
        (&row < &first ? first : &row > &last ? last : row).marks.push_back(each.name);
    }
}

/// "p50 p95", or from three on, where room is scarce, "min-p95": marks follow each other.
std::string marks_text(const Row& row, bool scarce) {
    if (scarce && row.marks.size() > 2)
        return fmt::format("{}-{}", row.marks.front(), row.marks.back());
    return fmt::format("{}", fmt::join(row.marks, " "));
}

/// In proportion to the greatest, to an eighth of a column, but never nothing for something.
std::string bar(uint64_t count, uint64_t greatest, size_t columns, bool unicode) {
    const uint64_t parts = unicode ? 8 : 1;
    const double share = static_cast<double>(count) / static_cast<double>(greatest);
    auto length = static_cast<uint64_t>(std::lround(share * static_cast<double>(columns * parts)));
    if (count > 0)
        length = std::max(length, uint64_t{1});
    constexpr std::array<std::string_view, 8> partial{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    std::string text;
    for (uint64_t full = 0; full < length / parts; ++full)
        text += unicode ? "█" : "#";
    return text.append(partial[length % parts]);
}

std::string headline(
    std::string_view title, const Histogram& histogram, std::string_view scale, size_t width) {
    std::string what =
        fmt::format(": {} answer{}", histogram.count(), histogram.count() == 1 ? "" : "s");
    if (columns_of(title) + what.size() + scale.size() <= width)
        what += scale;
    const size_t left = width - std::min(width, what.size());
    return shorten(title, std::max(left, title_columns_min)) + what + '\n';
}

Layout layout_of(std::span<const std::vector<Row>> charts, const ChartStyle& style) {
    Layout layout;
    size_t scarce_marks_columns = 0;
    for (const std::vector<Row>& rows : charts) {
        for (const Row& row : rows) {
            layout.label_columns = std::max(layout.label_columns, row.label.size());
            layout.marks_columns = std::max(layout.marks_columns, marks_text(row, false).size());
            scarce_marks_columns = std::max(scarce_marks_columns, marks_text(row, true).size());
            layout.greatest = std::max(layout.greatest, row.count);
        }
    }
    layout.count_columns = fmt::format("{}", layout.greatest).size();
    const size_t around = 1 + layout.label_columns + 1 + 1 + layout.count_columns + 2;
    layout.scarce = around + layout.marks_columns + style.width / 3 > style.width;
    if (layout.scarce)
        layout.marks_columns = scarce_marks_columns;
    const size_t taken = around + layout.marks_columns;
    layout.bar_columns = std::max(style.width - std::min(style.width, taken), bar_columns_min);
    return layout;
}

std::string row_text(const Row& row, const Layout& layout, const ChartStyle& style) {
    const std::string filled = bar(row.count, layout.greatest, layout.bar_columns, style.unicode);
    std::string text = fmt::format(" {:>{}} ", row.label, layout.label_columns);
    text += style.color && !filled.empty() ? fmt::format("\033[36m{}\033[0m", filled) : filled;
    text.append(layout.bar_columns - columns_of(filled), ' ');
    text += fmt::format(" {:>{}}", row.count, layout.count_columns);
    if (!row.marks.empty())
        text += fmt::format("  {}", marks_text(row, layout.scarce));
    return text + '\n';
}

} // namespace

std::vector<std::string> render_charts(std::span<const Charted> charted, ChartStyle style) {
    Histogram all;
    for (const Charted& each : charted)
        all.merge(*each.histogram);
    const bool linear =
        static_cast<double>(all.max_ns()) <= static_cast<double>(all.min_ns()) * linear_ratio;
    const std::vector<Row> empty_rows = all.empty() ? std::vector<Row>{} : filled_rows(all, linear);
    std::vector<std::vector<Row>> charts;
    for (const Charted& each : charted) {
        if (each.histogram->empty()) {
            charts.emplace_back();
            continue;
        }
        charts.push_back(empty_rows);
        count(charts.back(), *each.histogram);
        mark(charts.back(), *each.histogram);
    }
    const Layout layout = layout_of(charts, style);
    const std::string_view scale = empty_rows.size() == 1 ? ""
                                   : linear               ? ", linear scale"
                                                          : ", log scale";
    std::vector<std::string> texts;
    for (size_t at = 0; at < charted.size(); at++) {
        const Charted& each = charted[at];
        if (each.histogram->empty()) {
            texts.push_back(fmt::format("{}: no answer, no histogram\n", each.title));
            continue;
        }
        std::string text = headline(each.title, *each.histogram, scale, style.width);
        for (const Row& row : charts[at])
            text += row_text(row, layout, style);
        texts.push_back(std::move(text));
    }
    return texts;
}

std::string render_chart(std::string_view title, const Histogram& histogram, ChartStyle style) {
    const Charted one{title, &histogram};
    return render_charts({&one, 1}, style).front();
}

// The percentages of the rows are HdrHistogram's: five steps for each half of what remains to 100,
// until a row holds everything.
std::string render_hgrm(const Histogram& histogram) {
    constexpr double ns_per_ms = 1e6;
    constexpr int steps = 5;
    std::string text = fmt::format(
        "{:>14} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    const auto row_start = [&](double fraction, uint64_t value_ns, uint64_t total) {
        return fmt::format(
            "{:14.6f} {:14.12f} {:10}", static_cast<double>(value_ns) / ns_per_ms, fraction, total);
    };
    uint64_t total = 0;
    double remaining = 1;
    for (int step = 0; total < histogram.count(); step = (step + 1) % steps) {
        const double missing = remaining * (1 - step / (2.0 * steps));
        const uint64_t value_ns = histogram.percentile_ns(100 * (1 - missing));
        total = histogram.count_between(0, value_ns);
        text += fmt::format("{} {:14.2f}\n", row_start(1 - missing, value_ns, total), 1 / missing);
        if (step == steps - 1)
            remaining /= 2;
    }
    if (!histogram.empty())
        text += row_start(1, histogram.max_ns(), total) + '\n';
    text += fmt::format(
        "#[Mean    = {:14.6f}, StdDeviation   = {:14.6f}]\n", histogram.mean_ns() / ns_per_ms,
        histogram.stddev_ns() / ns_per_ms);
    text += fmt::format(
        "#[Max     = {:14.6f}, Total count    = {:14}]\n",
        static_cast<double>(histogram.max_ns()) / ns_per_ms, histogram.count());
    text += fmt::format(
        "#[Buckets = {:14}, SubBuckets     = {:14}]\n",
        Histogram::bucket_count >> Histogram::sub_bucket_bits,
        size_t{1} << Histogram::sub_bucket_bits);
    return text;
}

} // namespace riposte::client
