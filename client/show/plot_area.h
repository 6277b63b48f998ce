// What the panels of the plot have in common: the area of their curves, axes, and the texts in it.
#pragma once

#include "client/measure/fate_series.h"
#include "client/show/plot_panels.h"
#include "client/show/plot_scale.h"
#include "client/show/svg.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

inline constexpr double heading_above = 12; ///< the area of the curves
inline constexpr double axis_below = 40;    ///< labels and title of the lower axis

/// Where a panel's curves are.
struct Area {
    double top;

    double x(double place) const { return panel_left + place * panel_width; }
    double y(double place) const { return top + (1 - place) * panel_height; }
    double bottom() const { return top + panel_height; }
};

std::string latency_axis(const Area& area, const LatencyScale& scale);
/// `gap` leaves room for what stands below the panel.
std::string lower_axis(
    const Area& area, std::span<const Tick> ticks, std::string_view title, double gap);

/// How high the bar of that share of failures is, of its strip: a quarter for each power of ten
/// from 0.01% to 100%.
double failure_height(double share);
/// A bar for each column with failures, in a strip from `top` on; its base line.
std::string failure_strip(
    const Area& area, const TimeScale& time, std::span<const FateSeries::Column> columns,
    double top, double height, std::string_view ink);

/// Boxes that texts have taken, so that none lies on another.
class Taken {
public:
    /// Is there room for a text from `left` on, with its base line at `y`? Then it has it.
    bool take(double left, double width, double y);

private:
    struct Box {
        double left, right, y;
    };
    std::vector<Box> boxes_;
};

/// The curve's number, if it is numbered, at the first of the points where there is room, from a
/// share of them on that is another one for each curve; on the last resort there.
std::string tag(const Curve& curve, std::span<const Point> points, Taken& taken);

} // namespace riposte::client
