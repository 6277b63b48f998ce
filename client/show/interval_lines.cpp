#include "client/show/interval_lines.h"

#include "client/show/figures.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr size_t date_width = 10; ///< "2025-03-09", and "14:05:59Z"
constexpr size_t fine_width = 13; ///< "14:05:59.250Z"
constexpr std::string_view time_unit = "in ms";

size_t time_width(bool is_fine) {
    return is_fine ? fine_width : date_width;
}

} // namespace

size_t count_width(std::string_view head, double count) {
    return std::max(head.size(), fmt::format("{:.0f}", count).size());
}

IntervalLines::IntervalLines(
    std::vector<LineColumn> columns, std::span<const std::string> names, bool is_fine, Look look)
    : columns_(std::move(columns)), is_fine_(is_fine), look_(look) {
    if (names.empty())
        return;
    size_t figures = time_width(is_fine);
    for (const LineColumn& column : columns_)
        figures += column.width;
    const auto room = [&](size_t gap) {
        const size_t taken = figures + gap * (columns_.size() + 1);
        return look.columns - std::min(look.columns, taken);
    };
    size_t longest = time_unit.size();
    for (const std::string& name : names)
        longest = std::max(longest, columns_of(name));
    gap_ = longest <= room(2) ? 2 : 1;
    names_ = shorten_all(names, std::max(room(gap_), name_columns_min));
    name_width_ = time_unit.size();
    for (const std::string& name : names_)
        name_width_ = std::max(name_width_, columns_of(name));
}

std::string IntervalLines::line(
    std::string_view name, std::string_view time, std::span<const LineCell> cells) const {
    std::string text;
    if (name_width_ > 0)
        text = fmt::format("{:<{}}{:{}}", name, name_width_, "", gap_);
    text += fmt::format("{:<{}}", time, time_width(is_fine_));
    for (size_t at = 0; at < cells.size(); at++) {
        const size_t width = std::max(columns_[at].width, columns_of(columns_[at].head));
        const size_t taken = std::min(width, columns_of(cells[at].text));
        text += std::string(gap_ + width - taken, ' ');
        text += paint(cells[at].text, cells[at].ink, look_.color);
    }
    return text;
}

std::string IntervalLines::heads(double began_at) {
    const std::string date = utc_time(began_at).substr(0, date_width);
    if (date == date_ && rows_ < rows_per_heads)
        return "";
    const bool is_first = date_.empty();
    date_ = date;
    rows_ = 0;
    std::vector<LineCell> cells;
    cells.reserve(columns_.size());
    for (const LineColumn& column : columns_)
        cells.push_back({std::string(column.head)});
    std::string text = line(time_unit, date, cells);
    if (name_width_ == 0)
        text += fmt::format("  {}", time_unit);
    return (is_first ? "" : "\n") + text + '\n';
}

std::string IntervalLines::row(
    size_t lane, double began_at, std::span<const LineCell> cells, std::string_view note) {
    rows_++;
    const std::string time = utc_time(began_at); // 2025-03-09T14:05:59.250Z
    const std::string clock =
        is_fine_ ? time.substr(date_width + 1) : time.substr(date_width + 1, 8) + "Z";
    std::string text = line(names_.empty() ? "" : names_[lane], clock, cells);
    if (!note.empty())
        text += fmt::format("  {}", note);
    return text + '\n';
}

} // namespace riposte::client
