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

inline constexpr size_t text_columns = 80;

enum class Ink : uint8_t {
    plain,
    failure, ///< red
    quiet,   ///< dim
};

/// `text` in that colour, if `color` says so.
std::string paint(std::string_view text, Ink ink, bool color);

size_t columns_of(std::string_view text);

/// A piece of a line that is never broken.
struct Item {
    std::string text;
    Ink ink = Ink::plain;
    std::string_view after = ","; ///< the punctuation before the next item
};

/// The items with blanks between them, on as many lines of at most 80 columns as they need.
/// `label`, with its blank, stands before the first; the further lines are indented by as much.
std::string flow(std::string_view label, std::span<const Item> items, bool color);
/// A sentence, broken between words.
std::string flow(std::string_view label, std::string_view sentence, Ink ink, bool color);

/// Cut in its middle ("udp://very-...om:7001") to at most `width` columns, which are at least 5.
std::string shorten(std::string_view name, size_t width);
/// All of them cut, or none if two would then read the same.
std::vector<std::string> shorten_all(std::span<const std::string> names, size_t width);

/// Rows of cells, of which the first is aligned to the left, all others to the right; a row may
/// have fewer cells than the first row, which is the head. `gap` blanks are between columns, none
/// at the end of a line.
std::string render_table(std::span<const std::vector<std::string>> rows, size_t gap, bool color);

/// One row of latencies.
struct Distribution {
    std::string_view label;
    const Histogram* histogram;
};

/// The figures (figures.h) of each, in milliseconds, below each other. None may be empty.
std::string latency_table(std::span<const Distribution> rows, bool color);

} // namespace riposte::client
