// Lines of --every: a row of figures for each interval, one below the other, each printed when it
// is known; so columns are as wide as their widest value is expected to be, and a wider one moves
// only its own row. Pure: figures in, text out.
#pragma once

#include "client/show/table.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

/// Digits of a count, at least as wide as `head`.
size_t count_width(std::string_view head, double count);

struct LineColumn {
    std::string_view head;
    size_t width; ///< at least that of the head
};

struct LineCell {
    std::string text;
    Ink ink = Ink::plain;
};

class IntervalLines {
public:
    /// The heads are printed again after so many rows, between two intervals.
    static constexpr size_t rows_per_heads = 20;
    static constexpr size_t name_columns_min = 12;

    /// `names`: of several lanes, which stand in front; empty: there is one, without a name.
    /// `is_fine`: intervals are no whole seconds.
    IntervalLines(
        std::vector<LineColumn> columns, std::span<const std::string> names, bool is_fine,
        Look look);

    /// The heads, if it is time for them: before the rows of an interval that began at that time,
    /// in seconds since 1970. They have the date (UTC).
    std::string heads(double began_at);
    /// A row of that interval; `note` stands behind the last cell.
    std::string row(
        size_t lane, double began_at, std::span<const LineCell> cells, std::string_view note);

private:
    std::string line(
        std::string_view name, std::string_view time, std::span<const LineCell> cells) const;

    std::vector<LineColumn> columns_;
    std::vector<std::string> names_; ///< cut to size; empty: one lane
    size_t name_width_ = 0;
    size_t gap_ = 2;
    bool is_fine_;
    Look look_;
    std::string date_; ///< of the latest heads; empty: there were none yet
    size_t rows_ = 0;  ///< since then
};

} // namespace riposte::client
