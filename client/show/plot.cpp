// The page from top to bottom: title, subtitle, when it was and by which version, a table of the
// curves with their counts and percentiles, the panel of latency over time, with --flows a
// strip for each flow, the panel of the distribution by percentile. Both panels have the same scale
// of latency, so that a height in one is the same height in the other.
//
// Colours are Okabe and Ito's, adapted to the ground. The rules for a light ground stand outside of
// any media query, for renderers that know none. Every four curves have another pattern of dashes:
// 24 differ by colour and pattern, and from the fifth curve on all of them by the number
// that stands at their line.
#include "client/show/plot.h"

#include "build_features.h"
#include "client/show/figures.h"
#include "client/show/plot_panels.h"
#include "client/show/plot_scale.h"
#include "client/show/svg.h"
#include "client/show/table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double page_width = 960;
constexpr size_t title_columns = 76;
constexpr size_t subtitle_columns = 120;
constexpr size_t subtitle_lines_max = 3;
constexpr double cell_gap = 18; ///< between the columns of the table

constexpr std::string_view style = R"(<style>
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;font-size:12px;fill:#3c4043}
.title{font-size:20px;font-weight:600;fill:#16181b}
.subtitle{font-size:13px;fill:#5a6068}
.heading{font-size:14px;font-weight:600;fill:#16181b}
.middle{text-anchor:middle}
.end{text-anchor:end}
.none{font-size:16px;text-anchor:middle;fill:#5a6068;stroke:#fff;stroke-width:6px;paint-order:stroke}
.mark{fill:#16181b;stroke:#fff;stroke-width:4px;stroke-linejoin:round;paint-order:stroke}
.page{fill:#fff}
.grid{stroke:#d5d9de;stroke-width:1}
.fine{stroke:#eceef1;stroke-width:1}
.frame{stroke:#8a9099;stroke-width:1}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.dots{fill:none;stroke-width:2.6;stroke-linecap:round;opacity:.5}
.points{fill:none;stroke-width:6;stroke-linecap:round}
.band{stroke:none;opacity:.18}
.outage{stroke:none;opacity:.13}
.spread{fill:none;stroke-width:2;opacity:.3}
.d1{stroke-dasharray:7 4}
.d2{stroke-dasharray:1 4}
.d3{stroke-dasharray:10 4 1 4}
.d4{stroke-dasharray:16 5}
.d5{stroke-dasharray:8 4 1 4 1 4}
.bold{font-weight:600}
.tag{font-weight:600;text-anchor:middle;stroke:#fff;stroke-width:5px;stroke-linejoin:round;paint-order:stroke}
.quiet{fill:#5a6068}
.failed{fill:#c0362c}
.k{stroke:#5a6068}.kf{fill:#5a6068}
.s0{stroke:#0072b2}.f0{fill:#0072b2}
.s1{stroke:#d55e00}.f1{fill:#d55e00}
.s2{stroke:#009e73}.f2{fill:#009e73}
.s3{stroke:#b3559a}.f3{fill:#b3559a}
.s4{stroke:#c98a00}.f4{fill:#c98a00}
.s5{stroke:#35a0db}.f5{fill:#35a0db}
.s6{stroke:#6b5bb5}.f6{fill:#6b5bb5}
.s7{stroke:#44484e}.f7{fill:#44484e}
@media (prefers-color-scheme:dark){
text{fill:#c4c9cf}
.title,.heading{fill:#f1f3f5}
.subtitle,.none,.quiet{fill:#a3a9b1}
.mark{fill:#f1f3f5}
.mark,.none,.tag{stroke:#15181c}
.page{fill:#15181c}
.grid{stroke:#363b42}
.fine{stroke:#23272d}
.frame{stroke:#7d848d}
.band{opacity:.26}
.outage{opacity:.22}
.failed{fill:#ff6f61}
.k{stroke:#a3a9b1}.kf{fill:#a3a9b1}
.s0{stroke:#4fa8e8}.f0{fill:#4fa8e8}
.s1{stroke:#ff8b3d}.f1{fill:#ff8b3d}
.s2{stroke:#2fc79c}.f2{fill:#2fc79c}
.s3{stroke:#e497c6}.f3{fill:#e497c6}
.s4{stroke:#f2b534}.f4{fill:#f2b534}
.s5{stroke:#8dd3f7}.f5{fill:#8dd3f7}
.s6{stroke:#a99bf0}.f6{fill:#a99bf0}
.s7{stroke:#dde1e5}.f7{fill:#dde1e5}
}
</style>
)";

/// The words of `text` on lines of at most `columns`, its own line breaks kept.
std::vector<std::string> wrapped(std::string_view text, size_t columns, size_t lines_max) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const size_t line_end = std::min(text.find('\n'), text.size());
        std::string_view rest = text.substr(0, line_end);
        text.remove_prefix(std::min(line_end + 1, text.size()));
        std::string line;
        while (!rest.empty()) {
            const size_t word_end = std::min(rest.find(' '), rest.size());
            const std::string word = shorten(rest.substr(0, word_end), columns);
            rest.remove_prefix(std::min(word_end + 1, rest.size()));
            if (!line.empty() && columns_of(line) + 1 + columns_of(word) > columns) {
                lines.push_back(line);
                line.clear();
            }
            line += (line.empty() ? "" : " ") + word;
        }
        if (!line.empty())
            lines.push_back(line);
    }
    if (lines.size() > lines_max) {
        lines.resize(lines_max);
        lines.back() = shorten(lines.back() + " ...", columns);
    }
    return lines;
}

/// A column of figures in the table, one for each curve.
struct Cells {
    std::string_view head;
    std::vector<std::string> texts;

    double width() const {
        double widest = text_width(head);
        for (const std::string& text : texts)
            widest = std::max(widest, text_width(text));
        return widest + cell_gap;
    }
};

std::vector<Cells> figure_cells(std::span<const Curve> curves) {
    struct Counted {
        std::string_view head;
        uint64_t PlottedCounts::* count;
    };
    constexpr std::array<Counted, 4> counted{
        {{"sent", &PlottedCounts::sent},
         {"answered", &PlottedCounts::answered},
         {"lost", &PlottedCounts::lost},
         {"failed otherwise", &PlottedCounts::failed}}};
    struct Share {
        std::string_view head;
        double percent;
    };
    constexpr std::array<Share, 5> shares{
        {{"p50", 50}, {"p95", 95}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}}};
    std::vector<Cells> all;
    for (const auto& [head, count] : counted) {
        uint64_t sum = 0;
        Cells cells{.head = head, .texts = {}};
        for (const Curve& curve : curves) {
            sum += curve.plotted->counts.*count;
            cells.texts.push_back(fmt::format("{}", curve.plotted->counts.*count));
        }
        if (sum > 0 || count != &PlottedCounts::failed)
            all.push_back(std::move(cells));
    }
    for (const auto& [head, percent] : shares) {
        Cells cells{.head = head, .texts = {}};
        for (const Curve& curve : curves) {
            const auto value = percentile_of(*curve.plotted->histogram, percent);
            cells.texts.push_back(value ? short_duration(*value) : "-");
        }
        all.push_back(std::move(cells));
    }
    return all;
}

/// A row for each curve: its line, number and name, counts and percentiles; moves `y` below them.
std::string table(std::span<const Curve> curves, double& y) {
    constexpr double swatch = 34;
    constexpr double row = 20;
    constexpr size_t curve_name_columns_min = 8;
    const std::vector<Cells> cells = figure_cells(curves);
    double left = panel_left + panel_width;
    std::string text;
    for (auto each = cells.rbegin(); each != cells.rend(); ++each) {
        const double right = left;
        left -= each->width();
        text += svg_text({right, y + 4}, each->head, "end quiet");
        for (size_t i = 0; i < curves.size(); ++i)
            text +=
                svg_text({right, y + 4 + row * static_cast<double>(i + 1)}, each->texts[i], "end");
    }
    const double name_left = panel_left + swatch + 8;
    const auto name_columns = std::max(
        static_cast<size_t>(std::max((left - name_left) / text_width("x"), 0.0)),
        curve_name_columns_min);
    for (const Curve& curve : curves) {
        y += row;
        const std::string number = curve.is_numbered ? fmt::format("{} ", curve.number + 1) : "";
        const std::string remark = curve.plotted->histogram->empty() ? " (no answer)" : "";
        const size_t taken = number.size() + remark.size();
        const size_t room =
            std::max(name_columns - std::min(name_columns, taken), curve_name_columns_min);
        text += svg_line({panel_left, y}, {panel_left + swatch, y}, "line " + curve.line());
        const std::string name =
            fmt::format("{}{}{}", number, shorten(curve.plotted->name, room), remark);
        text += svg_text({name_left, y + 4}, name, "");
    }
    y += row;
    return text;
}

LatencyScale latency_scale(std::span<const Curve> curves) {
    uint64_t low_ns = UINT64_MAX;
    uint64_t high_ns = 0;
    for (const Curve& curve : curves) {
        const Histogram& histogram = *curve.plotted->histogram;
        if (histogram.empty())
            continue;
        low_ns = std::min(low_ns, histogram.min_ns());
        high_ns = std::max(high_ns, histogram.max_ns());
    }
    constexpr uint64_t usual_low_ns = 10'000;
    constexpr uint64_t usual_high_ns = 10'000'000;
    return low_ns <= high_ns ? LatencyScale(low_ns, high_ns)
                             : LatencyScale(usual_low_ns, usual_high_ns);
}

TimeScale time_scale(std::span<const Curve> curves) {
    uint64_t end_ns = 0;
    for (const Curve& curve : curves)
        if (!curve.columns.empty())
            end_ns =
                std::max(end_ns, curve.columns.back().start_ns + curve.columns.back().width_ns);
    constexpr uint64_t second = 1'000'000'000;
    return TimeScale(end_ns > 0 ? end_ns : second);
}

} // namespace

SvgPage begin_page(const PlotHead& head) {
    SvgPage page{
        .body = svg_text({panel_left, 40}, shorten(head.title, title_columns), "title"),
        .bottom = 44};
    auto lines = wrapped(head.subtitle, subtitle_columns, subtitle_lines_max);
    lines.push_back(
        fmt::format("started {}; riposte {}", utc_clock(head.started_at), RIPOSTE_VERSION));
    for (const std::string& line : lines) {
        page.bottom += 18;
        page.body += svg_text({panel_left, page.bottom}, line, "subtitle");
    }
    return page;
}

std::string end_page(const PlotHead& head, const SvgPage& page) {
    const double height = std::ceil(page.bottom + 12);
    const std::string start = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{0:.0f}\" "
        "height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\">\n<title>{2}</title>\n",
        page_width, height, xml_text(head.title));
    return start + std::string(style) + svg_rect({0, 0}, page_width, height, "page") + page.body +
           "</svg>\n";
}

std::string render_svg(const PlotHead& head, std::span<const Plotted> plotted) {
    constexpr double panel_gap = 44;            ///< from one panel's end to the next one's curves
    constexpr size_t distinct_by_color_max = 4; ///< from there on lines have numbers, too
    std::vector<Curve> curves;
    for (const Plotted& each : plotted)
        curves.push_back(
            {.plotted = &each,
             .columns = each.series != nullptr ? each.series->columns() : Columns(),
             .number = curves.size(),
             .is_numbered = plotted.size() > distinct_by_color_max});

    SvgPage page = begin_page(head);
    page.bottom += 22;
    page.body += table(curves, page.bottom);
    const LatencyScale latency = latency_scale(curves);
    const TimeScale time = time_scale(curves);
    const auto draw = [&](const Drawn& drawn) {
        page.body += drawn.svg;
        page.bottom = drawn.bottom;
    };
    draw(draw_over_time(page.bottom + 28, time, latency, curves));
    for (const Curve& curve : curves)
        if (!curve.plotted->flows.empty())
            draw(draw_by_flow(page.bottom + panel_gap, time, curve.plotted->flows));
    draw(draw_by_percentile(page.bottom + panel_gap, latency, curves));
    return end_page(head, page);
}

} // namespace riposte::client
