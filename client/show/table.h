// Text that summaries are made of: items that flow over lines of a terminal, figures in columns,
// names cut to size. Widths are in columns of the terminal, taking each code point of UTF-8 as one.
#pragma once

#include "client/measure/histogram.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

inline constexpr size_t text_columns = 80; ///< at most, and where there is no terminal
inline constexpr size_t text_columns_min =
    40; ///< a terminal narrower than that breaks lines itself

/// How a text is set. A colour alone converts to it: 80 columns.
struct Look {
    bool color = false;
    size_t columns = text_columns;

    constexpr Look(bool is_colored = false, size_t width = text_columns)
        : color(is_colored), columns(width) {}
    bool is_narrow() const { return columns < text_columns; }
};

enum class Ink : uint8_t {
    plain,
    failure, ///< red
    quiet,   ///< dim
};

/// `text` in that colour, if `color` says so.
std::string paint(std::string_view text, Ink ink, bool color);

size_t columns_of(std::string_view text);

/// A piece of a line that is broken, between words, only if no line has room for it.
struct Item {
    std::string text;
    Ink ink = Ink::plain;
    std::string_view after = ","; ///< the punctuation before the next item
};

/// The items with blanks between them, on as many lines of at most `look.columns` as they need.
/// `label`, with its blank, stands before the first; the further lines are indented by as much.
std::string flow(std::string_view label, std::span<const Item> items, Look look);
/// A sentence, broken between words.
std::string flow(std::string_view label, std::string_view sentence, Ink ink, Look look);

/// Text with colours in it and a newline at its end, on a narrow terminal broken between words,
/// with further lines indented; elsewhere as it is.
std::string fold(std::string_view line, size_t columns);

/// Items that stand on one line, however long they are in this run; where the terminal is narrow,
/// each part of it on a line of its own. So the same kind of item stands at the same place in each
/// run.
using FixedLine = std::vector<std::vector<Item>>;

/// The lines that have items, each a flow; `label` as above.
std::string fixed_lines(std::string_view label, std::span<const FixedLine> lines, Look look);

/// "--- NAME WHAT ---", on two lines if need be.
std::string title_line(std::string_view name, std::string_view what, Look look);

/// Cut in its middle ("udp://very-...om:7001") to at most `width` columns, which are at least 5.
std::string shorten(std::string_view name, size_t width);
/// All of them cut; if two would then read the same, each with its number in front: "2: udp:...01".
/// `width` is at least 12.
std::vector<std::string> shorten_all(std::span<const std::string> names, size_t width);

/// Rows of cells, of which the first is aligned to the left, all others to the right; a row may
/// have fewer cells than the first row, which is the head. `gap` blanks are between columns, none
/// at the end of a line. A table that is wider than `look.columns` becomes several below each
/// other, with as many columns as there is room for beside the first, which each of them has.
std::string render_table(std::span<const std::vector<std::string>> rows, size_t gap, Look look);

/// One row of latencies.
struct Distribution {
    std::string_view label;
    const Histogram* histogram;
};

/// The figures (figures.h) of each, in milliseconds, below each other; "-" for a percentile that
/// does not exist. None may be empty.
std::string latency_table(std::span<const Distribution> rows, Look look);

} // namespace riposte::client
