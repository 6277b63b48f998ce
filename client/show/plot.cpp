// The page from top to bottom: title, subtitle, legend (of more than one curve), the panel of
// latency over time, the panel of the distribution by percentile. Both panels have the same scale
// of latency, so that a height in one is the same height in the other.
//
// Colours are Okabe and Ito's, adapted to the ground. The rules for a light ground stand outside of
// any media query, for renderers that know none. Lines from the fifth curve on are dashed, too.
#include "client/show/plot.h"

#include "client/show/plot_panels.h"
#include "client/show/plot_scale.h"
#include "client/show/svg.h"
#include "client/show/table.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double page_width = 960;
constexpr size_t title_columns = 76;
constexpr size_t subtitle_columns = 120;
constexpr size_t subtitle_lines_max = 3;
constexpr size_t name_columns_max = 70;
constexpr size_t name_columns_beside = 44; ///< where two are beside each other

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
.spread{fill:none;stroke-width:2;opacity:.3}
.dash{stroke-dasharray:7 4}
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
.subtitle,.none{fill:#a3a9b1}
.mark{fill:#f1f3f5}
.mark,.none{stroke:#15181c}
.page{fill:#15181c}
.grid{stroke:#363b42}
.fine{stroke:#23272d}
.frame{stroke:#7d848d}
.band{opacity:.26}
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

/// A row for each of a few curves, else rows of equally wide entries; moves `y` below them.
std::string legend(std::span<const Curve> curves, double& y) {
    constexpr double swatch = 26;
    constexpr double row = 20;
    constexpr size_t one_each_row_max = 3;
    const size_t columns =
        curves.size() <= one_each_row_max ? name_columns_max : name_columns_beside;
    std::vector<std::string> names;
    double widest = 0;
    for (const Curve& curve : curves) {
        const std::string_view remark = curve.plotted->histogram->empty() ? " (no answer)" : "";
        names.push_back(shorten(curve.plotted->name, columns - remark.size()));
        names.back() += remark;
        widest = std::max(widest, text_width(names.back()));
    }
    const double entry = swatch + 8 + widest + 16;
    const auto each_row = std::max(static_cast<size_t>(panel_width / entry), size_t{1});
    std::string text;
    for (size_t i = 0; i < curves.size(); ++i) {
        const double x = panel_left + static_cast<double>(i % each_row) * entry;
        const size_t rows_above = i / each_row;
        const double at = y + static_cast<double>(rows_above) * row;
        text += svg_line({x, at}, {x + swatch, at}, "line " + curves[i].line());
        text += svg_text({x + swatch + 8, at + 4}, names[i], "");
    }
    y += row * std::ceil(static_cast<double>(curves.size()) / static_cast<double>(each_row));
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

std::string render_svg(
    const std::string& title, const std::string& subtitle, std::span<const Plotted> plotted) {
    constexpr double panel_gap = 44; ///< from one panel's end to the next one's curves
    std::vector<Curve> curves;
    for (const Plotted& each : plotted)
        curves.push_back(
            {.plotted = &each,
             .columns = each.series != nullptr ? each.series->columns() : Columns(),
             .number = curves.size()});

    std::string body = svg_text({panel_left, 40}, shorten(title, title_columns), "title");
    double y = 44;
    for (const std::string& line : wrapped(subtitle, subtitle_columns, subtitle_lines_max)) {
        y += 18;
        body += svg_text({panel_left, y}, line, "subtitle");
    }
    y += 22;
    if (curves.size() > 1)
        body += legend(curves, y);
    const LatencyScale latency = latency_scale(curves);
    const Drawn upper = draw_over_time(y + 28, time_scale(curves), latency, curves);
    const Drawn lower = draw_by_percentile(upper.bottom + panel_gap, latency, curves);
    const double height = std::ceil(lower.bottom + 12);

    const std::string head = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{0:.0f}\" "
        "height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\">\n<title>{2}</title>\n",
        page_width, height, xml_text(title));
    return head + std::string(style) + svg_rect({0, 0}, page_width, height, "page") + body +
           upper.svg + lower.svg + "</svg>\n";
}

} // namespace riposte::client
