// Curves never leave the area of their panel: the scales put what lies beyond at their end.
#include "client/show/plot_panels.h"

#include "client/show/figures.h"
#include "client/show/svg.h"
#include "client/show/table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <iterator>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double character_width = 7.4;
constexpr double key_gap = 18;
constexpr double margin_right = 20;     ///< of the page, beside a panel
constexpr double heading_above = 12;    ///< the area of the curves
constexpr double axis_below = 40;       ///< labels and title of the lower axis
constexpr size_t colors = 8;            ///< of the style; from half of them on lines are dashed
constexpr size_t bands_max = 3;         ///< with more curves than this, bands would hide each other
constexpr size_t points_shown_max = 50; ///< up to here each point of a line is marked

/// Where a panel's curves are.
struct Area {
    double top;

    double x(double place) const { return panel_left + place * panel_width; }
    double y(double place) const { return top + (1 - place) * panel_height; }
    double bottom() const { return top + panel_height; }
};

bool has_answer(const Curve& curve) {
    return !curve.plotted->histogram->empty();
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

/// `gap` leaves room for what stands below the panel.
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

std::string TimePanel::failures(const Curve& curve, double top, double height, bool is_only) const {
    constexpr double width_min = 2;
    const auto place_of = [&](uint64_t at_ns) {
        return area.x(time.place(static_cast<double>(at_ns)));
    };
    std::string text;
    for (size_t i = 0; i < curve.columns.size(); ++i) {
        if (curve.columns[i].failures == 0)
            continue;
        const double left = place_of(curve.columns[i].start_ns);
        while (i + 1 < curve.columns.size() && curve.columns[i + 1].failures > 0)
            ++i;
        const double right = place_of(curve.columns[i].start_ns + curve.columns[i].width_ns);
        const double width = std::max(right - left, width_min);
        text += svg_rect(
            {std::min(left, area.x(1) - width), top}, width, height,
            is_only ? "failed" : curve.fill());
    }
    return text;
}

/// What the shapes in the panel of time mean, to the right of its heading.
std::string key(double y, std::span<const Curve> curves, bool has_bands, bool has_failures) {
    const bool is_only = curves.size() == 1;
    const std::string stroke = is_only ? curves.front().stroke() : "k";
    const std::string fill = is_only ? curves.front().fill() : "kf";
    constexpr double swatch = 20;
    std::vector<std::string_view> names;
    if (std::ranges::any_of(curves, &Curve::has_several))
        names = has_bands ? std::vector<std::string_view>{"median", "min to p99", "max"}
                          : std::vector<std::string_view>{"median", "max"};
    if (has_failures)
        names.emplace_back("failed");
    double x = panel_left + panel_width + key_gap;
    for (const std::string_view name : names)
        x -= swatch + 6 + text_width(name) + key_gap;
    std::string text;
    for (const std::string_view name : names) {
        if (name == "median") {
            text += svg_line({x, y - 4}, {x + swatch, y - 4}, "line " + stroke);
        } else if (name == "min to p99") {
            text += svg_rect({x, y - 9}, swatch, 10, "band " + fill);
        } else if (name == "max") {
            SvgPath dots;
            for (const double step : {3.0, 10.0, 17.0})
                dots.dot({x + step, y - 4});
            text += dots.element("dots " + stroke);
        } else {
            text += svg_rect({x + 2, y - 8}, swatch - 4, 8, is_only ? "failed" : fill);
        }
        text += svg_text({x + swatch + 6, y}, name, "");
        x += swatch + 6 + text_width(name) + key_gap;
    }
    return text;
}

/// Steps from each bucket's share to the next one's, from the least to the greatest value, which
/// are exact; what is nearer than half a pixel is left out.
std::string distribution(
    const Area& area, const PercentileScale& percentile, const LatencyScale& latency,
    const Curve& curve) {
    constexpr double near = 0.5;
    const Histogram& histogram = *curve.plotted->histogram;
    if (!has_answer(curve))
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

/// Points on the only curve with their percentile and value, the most wanted first; those for whose
/// label there is no room are left out.
std::string marks(
    const Area& area, const PercentileScale& percentile, const LatencyScale& latency,
    const Curve& curve) {
    struct Mark {
        std::string_view name;
        double percent;
        uint64_t count_min; ///< with fewer values it says no more than the next
    };
    constexpr std::array<Mark, 6> wanted{
        {{"max", 100, 1},
         {"p99", 99, 100},
         {"p50", 50, 2},
         {"p99.9", 99.9, 1000},
         {"p90", 90, 10},
         {"p99.99", 99.99, 10000}}};
    struct Box {
        double left, right, y;
    };
    const Histogram& histogram = *curve.plotted->histogram;
    const auto count = static_cast<double>(histogram.count());
    std::vector<Box> taken;
    std::string text;
    for (const Mark& mark : wanted) {
        if (histogram.count() < mark.count_min)
            continue;
        const auto value = static_cast<double>(histogram.percentile_ns(mark.percent));
        const double share = std::min(mark.percent / 100, 1 - 0.5 / count);
        const Point at{area.x(percentile.place(share)), area.y(latency.place(value))};
        const std::string label = fmt::format("{} {}", mark.name, short_duration(value));
        // A rising curve leaves room above to the left, and below to the right.
        const double width = text_width(label);
        const bool is_left = at.x - width > panel_left + 4 || at.y + 20 > area.bottom();
        const double left = is_left ? std::max(at.x - 2 - width, panel_left + 6) : at.x + 4;
        const Box box{left, left + width, at.y + (is_left ? -8 : 16)};
        const bool has_room = std::ranges::none_of(taken, [&](const Box& other) {
            return box.left < other.right + 8 && other.left < box.right + 8 &&
                   std::abs(box.y - other.y) < 15;
        });
        if (!has_room)
            continue;
        taken.push_back(box);
        text += svg_circle(at, 3.5, curve.fill());
        text +=
            svg_text({is_left ? box.right : box.left, box.y}, label, is_left ? "mark end" : "mark");
    }
    return text;
}

} // namespace

double text_width(std::string_view text) {
    return character_width * static_cast<double>(columns_of(text));
}

std::string Curve::line() const {
    return stroke() + (number % colors >= colors / 2 ? " dash" : "");
}

std::string Curve::stroke() const {
    return fmt::format("s{}", number % colors);
}

std::string Curve::fill() const {
    return fmt::format("f{}", number % colors);
}

bool Curve::has_several() const {
    return std::ranges::any_of(columns, [](const auto& column) { return column.count > 1; });
}

bool Curve::has_failures() const {
    return std::ranges::any_of(columns, [](const auto& column) { return column.failures > 0; });
}

Drawn draw_over_time(
    double top, const TimeScale& time, const LatencyScale& latency, std::span<const Curve> curves) {
    constexpr double strip_gap = 7;
    const bool is_only = curves.size() == 1;
    const bool has_bands = curves.size() <= bands_max;
    const auto failing = std::ranges::count_if(curves, &Curve::has_failures);
    const double strip = is_only ? 9 : 6;
    const double strips = failing == 0 ? 0 : strip_gap + static_cast<double>(failing) * (strip + 1);

    const TimePanel panel{{top}, time, latency};
    const Area& area = panel.area;
    std::string text = svg_text({panel_left, top - heading_above}, "Latency over time", "heading");
    text += key(top - heading_above, curves, has_bands, failing > 0);
    text += latency_axis(area, latency);
    text += lower_axis(area, time.ticks(), time.title(), strips);
    if (std::ranges::none_of(curves, has_answer))
        text += svg_text({area.x(0.5), area.y(0.5)}, "no answer", "none");
    if (has_bands)
        for (const Curve& curve : curves)
            text += panel.bands(curve);
    for (const Curve& curve : curves)
        text += panel.lines(curve);
    double strip_top = area.bottom() + strip_gap;
    if (failing > 0)
        text +=
            svg_text({panel_left - 8, strip_top + (strips - strip_gap) / 2 + 4}, "failed", "end");
    for (const Curve& curve : curves) {
        if (!curve.has_failures())
            continue;
        text += panel.failures(curve, strip_top, strip, is_only);
        strip_top += strip + 1;
    }
    return {text, area.bottom() + strips + axis_below};
}

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
    if (std::ranges::none_of(curves, has_answer))
        text += svg_text({area.x(0.5), area.y(0.5)}, "no answer", "none");
    for (const Curve& curve : curves)
        text += distribution(area, percentile, latency, curve);
    if (curves.size() == 1)
        text += marks(area, percentile, latency, curves.front());
    return {text, area.bottom() + axis_below};
}

} // namespace riposte::client
