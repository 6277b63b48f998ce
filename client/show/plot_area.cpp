#include "client/show/plot_area.h"

#include "client/show/table.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double character_width = 7.4;
constexpr double margin_right = 20; ///< of the page, beside a panel
constexpr size_t colors = 8;        ///< of the style
constexpr size_t patterns = 6;      ///< of dashes, the first of which is none, for
constexpr size_t same_pattern = 4;  ///< so many curves after each other

} // namespace

double text_width(std::string_view text) {
    return character_width * static_cast<double>(columns_of(text));
}

std::string Curve::line() const {
    const size_t pattern = number / same_pattern % patterns;
    return pattern == 0 ? stroke() : fmt::format("{} d{}", stroke(), pattern);
}

std::string Curve::stroke() const {
    return fmt::format("s{}", number % colors);
}

std::string Curve::fill() const {
    return fmt::format("f{}", number % colors);
}

bool Curve::has_answer() const {
    return !plotted->histogram->empty();
}

bool Curve::has_several() const {
    return std::ranges::any_of(columns, [](const auto& column) { return column.count > 1; });
}

bool Curve::has_failures() const {
    return std::ranges::any_of(columns, [](const auto& column) { return column.failures > 0; });
}

std::string latency_axis(const Area& area, const LatencyScale& scale) {
    std::string text;
    for (const Tick& tick : scale.ticks()) {
        const double y = area.y(tick.at);
        const bool is_fine = tick.label.empty();
        text += svg_line({area.x(0), y}, {area.x(1), y}, is_fine ? "fine" : "grid");
        if (!is_fine)
            text += svg_text({area.x(0) - 8, y + 4}, tick.label, "end");
    }
    const double middle = area.y(0.5);
    return text + fmt::format(
                      "<text class=\"middle\" transform=\"translate(18 {:.1f}) rotate(-90)\">"
                      "latency (log scale)</text>\n",
                      middle);
}

std::string lower_axis(
    const Area& area, std::span<const Tick> ticks, std::string_view title, double gap) {
    std::string text;
    const double bottom = area.bottom();
    for (const Tick& tick : ticks) {
        const double x = area.x(tick.at);
        text += svg_line({x, area.top}, {x, bottom}, "grid");
        // The last label may be wider than what is free to the right of the panel.
        const double rightmost = area.x(1) + margin_right - text_width(tick.label) / 2;
        text += svg_text({std::min(x, rightmost), bottom + gap + 17}, tick.label, "middle");
    }
    text += svg_line({area.x(0), bottom}, {area.x(1), bottom}, "frame");
    text += svg_text({area.x(0.5), bottom + gap + 35}, title, "middle");
    return text;
}

double failure_height(double share) {
    constexpr double decades = 4;
    constexpr double least = 0.08; // something is never shown as nothing
    return std::clamp(1 + std::log10(share) / decades, least, 1.0);
}

std::string failure_strip(
    const Area& area, const TimeScale& time, std::span<const FateSeries::Column> columns,
    double top, double height, std::string_view ink) {
    constexpr double width_min = 2;
    const auto place_of = [&](uint64_t at_ns) {
        return area.x(time.place(static_cast<double>(at_ns)));
    };
    const double bottom = top + height;
    SvgPath bars;
    for (const FateSeries::Column& column : columns) {
        if (column.failures == 0)
            continue;
        const double share = static_cast<double>(column.failures) /
                             static_cast<double>(column.failures + column.answers);
        const double from = place_of(column.start_ns);
        const double width =
            std::max(place_of(column.start_ns + column.width_ns) - from, width_min);
        const double left = std::min(from, area.x(1) - width);
        const double upper = bottom - height * failure_height(share);
        bars.move_to({left, bottom});
        bars.line_to({left, upper});
        bars.line_to({left + width, upper});
        bars.line_to({left + width, bottom});
        bars.close();
    }
    return svg_line({area.x(0), bottom}, {area.x(1), bottom}, "grid") + bars.element(ink);
}

bool Taken::take(double left, double width, double y) {
    constexpr double gap = 8;
    constexpr double line = 15;
    const auto touches = [&](const Box& other) {
        return left < other.right + gap && other.left < left + width + gap &&
               std::abs(y - other.y) < line;
    };
    if (std::ranges::any_of(boxes_, touches))
        return false;
    boxes_.push_back({left, left + width, y});
    return true;
}

std::string tag(const Curve& curve, std::span<const Point> points, Taken& taken) {
    constexpr size_t places = 9;
    if (!curve.is_numbered || points.empty())
        return "";
    const std::string number = fmt::format("{}", curve.number + 1);
    const double width = text_width(number);
    const size_t start = points.size() * (2 * (curve.number % places) + 1) / (2 * places);
    size_t chosen = start;
    for (size_t i = 0; i < points.size(); ++i) {
        const size_t at = (start + i) % points.size();
        if (taken.take(points[at].x - width / 2, width, points[at].y + 4)) {
            chosen = at;
            break;
        }
    }
    return svg_text({points[chosen].x, points[chosen].y + 4}, number, "tag " + curve.fill());
}

} // namespace riposte::client
