// The two panels of the plot, drawn into a page that plot.cpp lays out: plot_panels.cpp,
// plot_flows.cpp,
// plot_distribution.cpp.
#pragma once

#include "client/measure/series.h"
#include "client/show/plot.h"
#include "client/show/plot_scale.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

inline constexpr double panel_left = 84;
inline constexpr double panel_width = 852;
inline constexpr double panel_height = 238;

/// About as wide as the small text is, rather more.
double text_width(std::string_view text);

using Columns = std::vector<Series::Column>;

/// One curve, in the colour that is its number in the page's style.
struct Curve {
    const Plotted* plotted;
    Columns columns; ///< of its series
    size_t number;
    bool is_numbered = false; ///< does its number stand at its lines?

    std::string line() const;   ///< the classes of its line, which may be dashed
    std::string stroke() const; ///< of a line that never is
    std::string fill() const;
    bool has_answer() const;
    bool has_several() const; ///< is there a column with more than one answer?
    bool has_failures() const;
    bool has_outages() const { return !plotted->outages.empty(); }
};

/// Axes, curves, failures and their key, from the heading on; `top` is that of the area of the
/// curves. The result's bottom is below everything.
struct Drawn {
    std::string svg;
    double bottom;
};
Drawn draw_over_time(
    double top, const TimeScale& time, const LatencyScale& latency, std::span<const Curve> curves);
/// Below the panel of time, and with its scale.
Drawn draw_by_flow(double top, const TimeScale& time, std::span<const PlottedFlow> flows);
Drawn draw_by_percentile(double top, const LatencyScale& latency, std::span<const Curve> curves);

} // namespace riposte::client
