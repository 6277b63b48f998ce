// --histogram: durations as bars in the terminal, on a logarithmic scale, percentiles marked.
#pragma once

#include "client/measure/histogram.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

struct ChartStyle {
    size_t width = 80;   ///< columns; below 40 lines may be longer than that
    bool unicode = true; ///< block characters; else ASCII
    bool color = false;
};

/// One of the charts that stand below each other.
struct Charted {
    std::string_view title;
    const Histogram* histogram;
};

/// At most 23 lines each: a title, and a row for each step of a logarithmic scale from the least to
/// the greatest duration (where the row begins, bar, count), with min, p50, p95, p99, p99.9 and max
/// beside the rows that hold them, but for percentiles that do not exist. Linear, and said so, if
/// the greatest is at most 2.5 times the least. The longest row has `width` columns. An empty
/// histogram gives a line that says so.
///
/// All of them have the same rows, and bars on the same scale, so that they can be compared: the
/// least, the greatest and the fullest row are those of all.
std::vector<std::string> render_charts(std::span<const Charted> charted, ChartStyle style);
std::string render_chart(std::string_view title, const Histogram& histogram, ChartStyle style);

/// --hist FILE: the percentile distribution in the text form of HdrHistogram (.hgrm), values in
/// milliseconds, which its plotter reads.
std::string render_hgrm(const Histogram& histogram);

} // namespace riposte::client
