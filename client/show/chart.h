// --histogram: durations as bars in the terminal, on a logarithmic scale, percentiles marked.
#pragma once

#include "client/measure/histogram.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace riposte::client {

struct ChartStyle {
    size_t width = 80;   ///< columns; below 40 lines may be longer than that
    bool unicode = true; ///< block characters; else ASCII
    bool color = false;
};

/// At most 23 lines: a title, and a row for each step of a logarithmic scale from the least to the
/// greatest duration (where the row begins, bar, count), with min, p50, p95, p99, p99.9 and max
/// beside the rows that hold them. Linear, and said so, if the greatest is at most 2.5 times the
/// least. The longest row has `width` columns. An empty histogram gives a line that says so.
std::string render_chart(std::string_view title, const Histogram& histogram, ChartStyle style);

/// --hist FILE: the percentile distribution in the text form of HdrHistogram (.hgrm), values in
/// milliseconds, which its plotter reads.
std::string render_hgrm(const Histogram& histogram);

} // namespace riposte::client
