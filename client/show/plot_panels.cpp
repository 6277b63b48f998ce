// The panel of latency over time. Curves never leave the area of their panel: the scales put what
// lies beyond at their end.
#include "client/show/plot_panels.h"

#include "client/show/plot_area.h"
#include "client/show/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double key_gap = 18;
constexpr double strip_space = 3;       ///< between two strips of failures
constexpr size_t bands_max = 3;         ///< with more curves than this, bands would hide each other
constexpr size_t points_shown_max = 50; ///< up to here each point of a line is marked

/// Columns with answers, cut where there was none for much longer than between others.
std::vector<std::span<const Series::Column>> runs_of(const Columns& answered) {
    std::vector<uint64_t> distances;
    for (size_t i = 1; i < answered.size(); ++i)
        distances.push_back(answered[i].start_ns - answered[i - 1].start_ns);
    std::vector<uint64_t> sorted = distances;
    std::ranges::sort(sorted);
    const uint64_t usual = sorted.empty() ? 0 : sorted[sorted.size() / 2];
    std::vector<std::span<const Series::Column>> runs;
    size_t start = 0;
    for (size_t i = 1; i <= answered.size(); ++i) {
        if (i < answered.size() && distances[i - 1] / 3 <= usual)
            continue;
        runs.push_back(std::span(answered).subspan(start, i - start));
        start = i;
    }
    return runs;
}

/// The scales and the area in which the latencies over time are drawn.
struct TimePanel {
    Area area;
    TimeScale time;
    LatencyScale latency;

    Point at(const Series::Column& column, uint64_t value_ns) const {
        const double middle_ns =
            static_cast<double>(column.start_ns) + static_cast<double>(column.width_ns) / 2;
        return {
            area.x(time.place(middle_ns)), area.y(latency.place(static_cast<double>(value_ns)))};
    }
    std::string outages(const Curve& curve, bool is_only) const;
    std::string bands(const Curve& curve) const;
    std::string lines(const Curve& curve) const;
    std::string failures(const Curve& curve, double top, double height, bool is_only) const;
};

Columns answered(const Columns& columns) {
    Columns some;
    std::ranges::copy_if(columns, std::back_inserter(some), [](const Series::Column& column) {
        return column.count > 0;
    });
    return some;
}

/// The whole height of the panel: there was no answer, at no latency.
std::string TimePanel::outages(const Curve& curve, bool is_only) const {
    constexpr double width_min = 2;
    const std::string ink = is_only ? "failed" : curve.fill();
    std::string text;
    for (const PlottedSpan& span : curve.plotted->outages) {
        const double from = area.x(time.place(static_cast<double>(span.from_ns)));
        const double to = area.x(time.place(static_cast<double>(span.to_ns)));
        const double width = std::max(to - from, width_min);
        const double left = std::min(from, area.x(1) - width);
        text += svg_rect({left, area.top}, width, panel_height, fmt::format("outage {}", ink));
    }
    return text;
}

std::string TimePanel::bands(const Curve& curve) const {
    SvgPath band;
    SvgPath alone;
    const Columns columns = answered(curve.columns);
    for (const auto& run : runs_of(columns)) {
        if (run.size() == 1) {
            alone.move_to(at(run[0], run[0].min_ns));
            alone.line_to(at(run[0], run[0].p99_ns));
            continue;
        }
        for (size_t i = 0; i < run.size(); ++i) {
            const Point point = at(run[i], run[i].p99_ns);
            i == 0 ? band.move_to(point) : band.line_to(point);
        }
        for (size_t i = run.size(); i-- > 0;)
            band.line_to(at(run[i], run[i].min_ns));
        band.close();
    }
    return band.element("band " + curve.fill()) + alone.element("spread " + curve.stroke());
}

std::string TimePanel::lines(const Curve& curve) const {
    SvgPath greatest;
    SvgPath median;
    SvgPath points;
    const Columns columns = answered(curve.columns);
    for (const auto& run : runs_of(columns)) {
        for (size_t i = 0; i < run.size(); ++i) {
            if (run[i].count > 1)
                greatest.dot(at(run[i], run[i].max_ns));
            const Point point = at(run[i], run[i].p50_ns);
            i == 0 ? median.move_to(point) : median.line_to(point);
            if (run.size() == 1 || columns.size() <= points_shown_max)
                points.dot(point);
        }
    }
    return greatest.element("dots " + curve.stroke()) + median.element("line " + curve.line()) +
           points.element("points " + curve.stroke());
}

/// A bar for each column, in a strip from `top` on.
std::string TimePanel::failures(const Curve& curve, double top, double height, bool is_only) const {
    std::vector<FateSeries::Column> fates;
    fates.reserve(curve.columns.size());
    for (const Series::Column& column : curve.columns)
        fates.push_back(
            {.start_ns = column.start_ns,
             .width_ns = column.width_ns,
             .answers = column.count,
             .failures = column.failures});
    return failure_strip(area, time, fates, top, height, is_only ? "failed" : curve.fill());
}

/// The strips of all curves that have failures, below the panel, with the mark of their curve.
std::string failure_strips(
    const TimePanel& panel, std::span<const Curve> curves, double top, double height) {
    const bool is_only = curves.size() == 1;
    std::string text;
    double at = top;
    for (const Curve& curve : curves) {
        if (!curve.has_failures())
            continue;
        if (is_only)
            for (const auto& [share, label] : std::array<std::pair<double, std::string_view>, 3>{
                     {{1, "100%"}, {0.1, ""}, {0.01, "1%"}}}) {
                const double y = at + height * (1 - failure_height(share));
                text += svg_line({panel.area.x(0), y}, {panel.area.x(1), y}, "fine");
                text += svg_text({panel_left - 8, y + 4}, label, "end");
            }
        else if (curve.is_numbered)
            text += svg_text(
                {panel_left - 8, at + height / 2 + 4}, fmt::format("{}", curve.number + 1), "end");
        text += panel.failures(curve, at, height, is_only);
        at += height + strip_space;
    }
    const double middle = (top + at - strip_space) / 2;
    return text + fmt::format(
                      "<text class=\"middle\" transform=\"translate(18 {:.1f}) rotate(-90)\">"
                      "failed</text>\n",
                      middle);
}

/// Has any column as many answers as that percentile takes? With fewer, it is the maximum.
bool has_p99(std::span<const Curve> curves) {
    return std::ranges::any_of(curves, [](const Curve& curve) {
        return std::ranges::any_of(curve.columns, [](const Series::Column& column) {
            return Histogram::has_percentile(column.count, 99);
        });
    });
}

/// What the shapes in the panel of time mean, to the right of its heading.
std::string key(double y, std::span<const Curve> curves, bool has_bands, bool has_failures) {
    const bool is_only = curves.size() == 1;
    const std::string stroke = is_only ? curves.front().stroke() : "k";
    const std::string fill = is_only ? curves.front().fill() : "kf";
    constexpr double swatch = 20;
    std::vector<std::string_view> names;
    const std::string_view band = has_p99(curves) ? "min to p99" : "min to max";
    if (std::ranges::any_of(curves, &Curve::has_several))
        names = has_bands ? std::vector<std::string_view>{"median", band, "max"}
                          : std::vector<std::string_view>{"median", "max"};
    const std::string_view failed = "failed: 0.01% to 100%, log scale";
    if (has_failures)
        names.push_back(failed);
    if (std::ranges::any_of(curves, &Curve::has_outages))
        names.emplace_back("outage");
    double x = panel_left + panel_width + key_gap;
    for (const std::string_view name : names)
        x -= swatch + 6 + text_width(name) + key_gap;
    std::string text;
    for (const std::string_view name : names) {
        if (name == "median") {
            text += svg_line({x, y - 4}, {x + swatch, y - 4}, "line " + stroke);
        } else if (name == band) {
            text += svg_rect({x, y - 9}, swatch, 10, "band " + fill);
        } else if (name == "max") {
            SvgPath dots;
            for (const double step : {3.0, 10.0, 17.0})
                dots.dot({x + step, y - 4});
            text += dots.element("dots " + stroke);
        } else if (name == "outage") {
            text += svg_rect({x, y - 9}, swatch, 10, is_only ? "outage failed" : "outage " + fill);
        } else {
            text += svg_rect({x + 2, y - 8}, swatch - 4, 8, is_only ? "failed" : fill);
        }
        text += svg_text({x + swatch + 6, y}, name, "");
        x += swatch + 6 + text_width(name) + key_gap;
    }
    return text;
}

} // namespace

Drawn draw_over_time(
    double top, const TimeScale& time, const LatencyScale& latency, std::span<const Curve> curves) {
    constexpr double strip_gap = 12;
    const bool has_bands = curves.size() <= bands_max;
    const auto failing = std::ranges::count_if(curves, &Curve::has_failures);
    const double strip = curves.size() == 1 ? 40 : failing <= 4 ? 24 : 16;
    const double strips =
        failing == 0 ? 0 : strip_gap + static_cast<double>(failing) * (strip + strip_space);

    const TimePanel panel{{top}, time, latency};
    const Area& area = panel.area;
    std::string text = svg_text({panel_left, top - heading_above}, "Latency over time", "heading");
    text += key(top - heading_above, curves, has_bands, failing > 0);
    text += latency_axis(area, latency);
    text += lower_axis(area, time.ticks(), time.title(), strips);
    if (std::ranges::none_of(curves, &Curve::has_answer))
        text += svg_text({area.x(0.5), area.y(0.5)}, "no answer", "none");
    for (const Curve& curve : curves)
        text += panel.outages(curve, curves.size() == 1);
    if (has_bands)
        for (const Curve& curve : curves)
            text += panel.bands(curve);
    for (const Curve& curve : curves)
        text += panel.lines(curve);
    Taken taken;
    for (const Curve& curve : curves) {
        std::vector<Point> points;
        for (const Series::Column& column : answered(curve.columns))
            points.push_back(panel.at(column, column.p50_ns));
        text += tag(curve, points, taken);
    }
    if (failing > 0)
        text += failure_strips(panel, curves, area.bottom() + strip_gap, strip);
    return {text, area.bottom() + strips + axis_below};
}

} // namespace riposte::client
