#include "client/show/live_screen.h"

#include "client/measure/stable_order.h"
#include "client/show/figures.h"
#include "client/show/sparkline.h"
#include "client/show/table.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t live_name_columns_min = 12;
constexpr size_t live_percent_columns = 5;
constexpr size_t live_latency_columns = 7;
constexpr size_t minute_columns_min = 10;
constexpr size_t error_columns_min = 24;
constexpr size_t lines_besides_rows = 4; ///< title, heads, a blank one, keys

/// Which columns there are, and how wide those are that vary. A blank stands before each but the
/// first, the name.
struct LiveLayout {
    size_t name = 0;
    bool loss_recent = false, median = false, loss_all = false, p99 = false, last = false;
    size_t minute = 0; ///< 0: none
    size_t error = 0;
};

LiveLayout layout_of(const LivePage& page, size_t columns) {
    size_t longest_name = live_name_columns_min;
    size_t longest_error = 0;
    for (const LiveRow& row : page.rows) {
        longest_name = std::max(longest_name, columns_of(row.name));
        longest_error = std::max(longest_error, columns_of(row.error));
    }
    LiveLayout layout{.name = std::min(live_name_columns_min, columns)};
    size_t left = columns - layout.name;
    const auto take = [&](bool& shown, size_t width) {
        shown = left >= width + 1;
        left -= shown ? width + 1 : 0;
        return shown;
    };
    // A column that has no room leaves none to a less important one.
    if (!take(layout.loss_recent, live_percent_columns) ||
        !take(layout.median, live_latency_columns) ||
        !take(layout.loss_all, live_percent_columns) || !take(layout.p99, live_latency_columns) ||
        !take(layout.last, live_latency_columns) || left <= minute_columns_min) {
        layout.name += std::min(left, longest_name - layout.name);
        return layout;
    }
    layout.minute = minute_columns_min;
    left -= minute_columns_min + 1;
    const size_t name_more = std::min(left, longest_name - layout.name);
    layout.name += name_more;
    left -= name_more;
    const size_t minute_more = std::min(left, RecentMinute::cells - layout.minute);
    const size_t minute_half = RecentMinute::cells / 2 - layout.minute;
    if (longest_error > 0 && left >= minute_half + error_columns_min + 1) {
        layout.minute += minute_half;
        left -= minute_half;
        layout.error = std::min(left - 1, longest_error);
        left -= layout.error + 1;
        layout.minute += std::min(left, RecentMinute::cells - layout.minute);
    } else {
        layout.minute += minute_more;
    }
    return layout;
}

std::string right(std::string_view text, size_t width) {
    return fmt::format(" {:>{}}", text, width);
}

std::string loss_cell(std::optional<double> loss, bool color) {
    const std::string text = right(loss ? percentage(*loss) : "-", live_percent_columns);
    return paint(text, loss && *loss > 0 ? Ink::failure : Ink::plain, color);
}

/// A second without a correct answer is a mark; among others, a failure makes the bar red.
std::string minute_cell(
    const std::vector<RecentCell>& cells, size_t width, bool unicode, bool color) {
    std::vector<RecentCell> merged(width);
    for (size_t at = 0; at < cells.size(); at++)
        merged[at * width / cells.size()].add(cells[at]);
    std::vector<std::optional<double>> values;
    values.reserve(merged.size());
    for (const RecentCell& cell : merged)
        values.push_back(
            cell.max_rtt_ns > 0 ? std::optional(static_cast<double>(cell.max_rtt_ns))
                                : std::nullopt);
    const std::string line = sparkline(values, unicode);
    std::string text = " ";
    size_t byte = 0;
    for (const RecentCell& cell : merged) {
        size_t size = 1;
        while (byte + size < line.size() &&
               (static_cast<unsigned char>(line[byte + size]) & 0xc0) == 0x80)
            size++;
        const std::string_view bar = std::string_view(line).substr(byte, size);
        byte += size;
        const bool is_dark = cell.failed > 0 && cell.max_rtt_ns == 0;
        text += paint(is_dark ? "x" : bar, cell.failed > 0 ? Ink::failure : Ink::plain, color);
    }
    return text;
}

/// As the comparison at the end cuts names: in the middle, and so that they differ.
std::vector<std::string> cut_names(std::span<const LiveRow> rows, size_t width) {
    std::vector<std::string> names;
    names.reserve(rows.size());
    for (const LiveRow& row : rows)
        names.push_back(row.name);
    if (width >= live_name_columns_min)
        return shorten_all(names, width);
    for (std::string& name : names)
        name = cut(name, width);
    return names;
}

std::string live_heads(const LiveLayout& layout) {
    std::string text = fmt::format("{:<{}}", cut("in ms", layout.name), layout.name);
    const auto add = [&](bool shown, std::string_view head, size_t width) {
        if (shown)
            text += right(head, width);
    };
    add(layout.loss_recent, "10s", live_percent_columns);
    add(layout.loss_all, "loss", live_percent_columns);
    add(layout.last, "last", live_latency_columns);
    add(layout.median, "median", live_latency_columns);
    add(layout.p99, "p99", live_latency_columns);
    if (layout.minute > 0)
        text += fmt::format(" {:<{}}", "last minute", layout.minute);
    if (layout.error > 0)
        text += " last error";
    return text;
}

std::string row_text(
    const LiveRow& row, std::string_view name, const LiveLayout& layout, bool unicode, bool color) {
    const size_t taken = std::min(layout.name, columns_of(name));
    std::string text = std::string(name) + std::string(layout.name - taken, ' ');
    const auto latency = [&](std::string_view figure) {
        text += right(figure, live_latency_columns);
    };
    if (layout.loss_recent)
        text += loss_cell(row.loss_recent, color);
    if (layout.loss_all)
        text += loss_cell(row.loss_all, color);
    if (layout.last)
        latency(row.last_ns ? percentile_milliseconds(static_cast<double>(*row.last_ns)) : "-");
    if (layout.median)
        latency(percentile_milliseconds(row.median_ns));
    if (layout.p99)
        latency(percentile_milliseconds(row.p99_ns));
    if (layout.minute > 0)
        text += minute_cell(row.minute, layout.minute, unicode, color);
    if (layout.error > 0)
        text += " " + cut(row.error, layout.error);
    return text;
}

/// The worst first; what has no figure last; of equal ones the order on the command line.
void sort_rows(std::vector<LiveRow>& rows, LiveOrder order) {
    const auto loss = [](const LiveRow& row) {
        return std::pair(row.loss_recent.value_or(-1), row.loss_all.value_or(-1));
    };
    switch (order) {
    case LiveOrder::given:
        return;
    case LiveOrder::loss:
        sort_stably(rows, loss, std::ranges::greater{});
        return;
    case LiveOrder::median:
        sort_stably(
            rows, [](const LiveRow& row) { return row.median_ns.value_or(-1); },
            std::ranges::greater{});
        return;
    case LiveOrder::p99:
        sort_stably(
            rows, [](const LiveRow& row) { return row.p99_ns.value_or(-1); },
            std::ranges::greater{});
        return;
    case LiveOrder::name:
        sort_stably(rows, &LiveRow::name);
        return;
    }
}

std::string_view name_of(LiveOrder order) {
    constexpr std::array<std::string_view, 5> names{"", "loss", "median", "p99", "name"};
    return names[static_cast<size_t>(order)];
}

std::string keys_line(const LivePage& page, const LiveView& view, size_t shown, size_t columns) {
    std::string text = "q quit";
    if (page.rows.size() > 1)
        text += "  sort: l loss, m median, p p99, n name";
    if (page.rows.size() > shown) {
        const std::string rows =
            fmt::format("  {}-{} of {}", view.first + 1, view.first + shown, page.rows.size());
        text = cut(text, columns - std::min(columns, columns_of(rows))) + rows;
    }
    return cut(text, columns);
}

} // namespace

std::string cut(std::string_view text, size_t columns) {
    if (columns_of(text) <= columns)
        return std::string(text);
    const std::string_view mark = columns > 3 ? "..." : "";
    size_t left = columns - mark.size();
    size_t bytes = 0;
    while (bytes < text.size() && left > 0) {
        bytes++;
        while (bytes < text.size() && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80)
            bytes++;
        left--;
    }
    return std::string(text.substr(0, bytes)) + std::string(mark);
}

size_t live_rows(ScreenSize size) {
    return std::max<size_t>(size.lines - std::min(size.lines, lines_besides_rows), 1);
}

std::vector<std::string> render_live(
    LivePage page, const LiveView& view, ScreenSize size, bool unicode, bool color) {
    const size_t room = live_rows(size);
    const bool is_by_loss = view.order == LiveOrder::given && page.rows.size() > room;
    const LiveOrder order = is_by_loss ? LiveOrder::loss : view.order;
    if (page.complete && (order == LiveOrder::median || order == LiveOrder::p99))
        std::ranges::for_each(page.rows, page.complete);
    sort_rows(page.rows, order);
    const LiveLayout layout = layout_of(page, size.columns);
    const size_t first = std::min(view.first, page.rows.size() - std::min(page.rows.size(), room));
    const size_t shown = std::min(room, page.rows.size() - first);
    const auto rows = std::span(page.rows).subspan(first, shown);
    if (page.complete)
        std::ranges::for_each(rows, page.complete);
    const std::vector<std::string> names = cut_names(rows, layout.name);
    size_t errors = 0;
    for (const LiveRow& row : page.rows)
        errors += static_cast<size_t>(!row.error.empty());
    const bool errors_below = layout.error == 0 && page.rows.size() + errors <= room;

    std::string title = page.title;
    if (!page.state.empty())
        title += "; " + page.state;
    else if (order != LiveOrder::given)
        title += fmt::format("; by {}", name_of(order));
    std::vector<std::string> lines{
        cut(title, size.columns), paint(cut(live_heads(layout), size.columns), Ink::quiet, color)};
    for (size_t at = 0; at < shown; at++) {
        lines.push_back(row_text(rows[at], names[at], layout, unicode, color));
        if (errors_below && !rows[at].error.empty())
            lines.push_back(cut("  " + rows[at].error, size.columns));
    }
    lines.resize(std::max(size.lines - std::min<size_t>(size.lines, 1), lines.size()));
    LiveView clamped = view;
    clamped.first = first;
    lines.push_back(paint(keys_line(page, clamped, shown, size.columns), Ink::quiet, color));
    // A screen of fewer lines than that keeps the first ones.
    lines.resize(std::min(lines.size(), size.lines));
    return lines;
}

} // namespace riposte::client
