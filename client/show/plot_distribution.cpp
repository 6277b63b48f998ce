// The panel of the distribution by percentile.
#include "client/show/figures.h"
#include "client/show/plot_area.h"
#include "client/show/plot_panels.h"
#include "client/show/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>

namespace riposte::client {

namespace {

/// Steps from each bucket's share to the next one's, from the least to the greatest value, which
/// are exact; what is nearer than half a pixel is left out.
std::string distribution(
    const Area& area, const PercentileScale& percentile, const LatencyScale& latency,
    const Curve& curve) {
    constexpr double near = 0.5;
    const Histogram& histogram = *curve.plotted->histogram;
    if (!curve.has_answer())
        return "";
    const auto y_of = [&](uint64_t value_ns) {
        return area.y(latency.place(static_cast<double>(value_ns)));
    };
    const auto count = static_cast<double>(histogram.count());
    Point last{area.x(0), y_of(histogram.min_ns())};
    SvgPath path;
    path.move_to(last);
    uint64_t below = 0;
    for (const Histogram::Bucket& bucket : histogram.buckets()) {
        // The greatest one has a step of its own.
        const uint64_t upto = std::min(below + bucket.count, histogram.count() - 1);
        const uint64_t middle_ns = bucket.low_ns + (bucket.high_ns - bucket.low_ns) / 2;
        const double y = y_of(std::clamp(middle_ns, histogram.min_ns(), histogram.max_ns()));
        const double from = area.x(percentile.place(static_cast<double>(below) / count));
        const double to = area.x(percentile.place(static_cast<double>(upto) / count));
        below = upto;
        if (to - last.x < near && last.y - y < near)
            continue;
        path.line_to({from, y});
        path.line_to({to, y});
        last = {to, y};
    }
    const double greatest = y_of(histogram.max_ns());
    path.line_to({area.x(percentile.place(1 - 1 / count)), greatest});
    path.line_to({area.x(percentile.place(1 - 0.5 / count)), greatest});
    return path.element("line " + curve.line());
}

/// Points on the curves with their percentile and value, the most wanted first; those for whose
/// label there is no room are left out.
std::string marks(
    const Area& area, const PercentileScale& percentile, const LatencyScale& latency,
    std::span<const Curve> curves, Taken& taken) {
    struct Mark {
        std::string_view name;
        double percent;
        bool of_many; ///< also where several curves share the room
    };
    constexpr std::array<Mark, 6> wanted{
        {{"max", 100, true},
         {"p99", 99, true},
         {"p50", 50, true},
         {"p99.9", 99.9, false},
         {"p90", 90, false},
         {"p99.99", 99.99, false}}};
    std::string text;
    for (const Mark& mark : wanted) {
        for (const Curve& curve : curves) {
            const Histogram& histogram = *curve.plotted->histogram;
            const bool is_of_one = histogram.count() == 1 && mark.percent < 100;
            if (!histogram.has_percentile(mark.percent) || is_of_one ||
                (curves.size() > 1 && !mark.of_many))
                continue;
            const auto value = static_cast<double>(histogram.percentile_ns(mark.percent));
            const double share =
                std::min(mark.percent / 100, 1 - 0.5 / static_cast<double>(histogram.count()));
            const Point at{area.x(percentile.place(share)), area.y(latency.place(value))};
            const std::string of = curve.is_numbered ? fmt::format("{}: ", curve.number + 1) : "";
            const std::string label = fmt::format("{}{} {}", of, mark.name, short_duration(value));
            const std::string ink = curves.size() > 1 ? "mark bold " + curve.fill() : "mark";
            // A rising curve leaves room above to the left, and below to the right.
            const double width = text_width(label);
            const bool is_left = at.x - width > panel_left + 4 || at.y + 20 > area.bottom();
            const double left = is_left ? std::max(at.x - 2 - width, panel_left + 6) : at.x + 4;
            const double y = at.y + (is_left ? -8 : 16);
            if (!taken.take(left, width, y))
                continue;
            text += svg_circle(at, 3.5, curve.fill());
            text +=
                svg_text({is_left ? left + width : left, y}, label, is_left ? ink + " end" : ink);
        }
    }
    return text;
}

/// Where a number may stand on the curve of the distribution.
std::vector<Point> tag_points(
    const Area& area, const PercentileScale& percentile, const LatencyScale& latency,
    const Curve& curve) {
    const Histogram& histogram = *curve.plotted->histogram;
    std::vector<Point> points;
    for (const double percent :
         {10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 77.0, 83.0, 88.0, 92.0, 94.0, 96.0, 97.0, 98.0,
          98.6, 99.2, 99.5})
        if (histogram.has_percentile(percent))
            points.push_back(
                {area.x(percentile.place(percent / 100)),
                 area.y(latency.place(static_cast<double>(histogram.percentile_ns(percent))))});
    return points;
}

} // namespace

Drawn draw_by_percentile(double top, const LatencyScale& latency, std::span<const Curve> curves) {
    const Area area{top};
    uint64_t count = 0;
    for (const Curve& curve : curves)
        count = std::max(count, curve.plotted->histogram->count());
    const PercentileScale percentile(count);
    std::string text =
        svg_text({panel_left, top - heading_above}, "Latency by percentile", "heading");
    text += latency_axis(area, latency);
    text += lower_axis(area, percentile.ticks(), "percentile (%)", 0);
    if (std::ranges::none_of(curves, &Curve::has_answer))
        text += svg_text({area.x(0.5), area.y(0.5)}, "no answer", "none");
    for (const Curve& curve : curves)
        text += distribution(area, percentile, latency, curve);
    Taken taken;
    for (const Curve& curve : curves)
        text += tag(curve, tag_points(area, percentile, latency, curve), taken);
    text += marks(area, percentile, latency, curves, taken);
    return {text, area.bottom() + axis_below};
}

} // namespace riposte::client
