// The strips of the flows: when each failed, by its local port.
#include "client/show/plot_area.h"
#include "client/show/plot_panels.h"
#include "client/show/svg.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double label_height = 12;
constexpr double label_gap = 8; ///< between the ports and the strips
constexpr double strip_share = 0.75;

/// Of a strip and the space below it: with few flows each is labelled, with many they fit a page.
double pitch(size_t flows) {
    constexpr std::array<std::pair<size_t, double>, 3> pitches{{{16, 16}, {48, 12}, {96, 8}}};
    for (const auto& [most, height] : pitches)
        if (flows <= most)
            return height;
    return 4;
}

/// The ports, those that stand out before the others, where there is room.
std::string labels(double top, double each, std::span<const PlottedFlow> flows) {
    Taken taken;
    std::string text;
    for (const bool is_bad : {true, false})
        for (size_t i = 0; i < flows.size(); ++i) {
            const double y = top + each * (static_cast<double>(i) + strip_share);
            const std::string port = fmt::format("{}", flows[i].port);
            const double right = panel_left - label_gap;
            if (flows[i].is_bad == is_bad &&
                taken.take(right - text_width(port), text_width(port), y))
                text += svg_text({right, y}, port, is_bad ? "end bold" : "end quiet");
        }
    return text;
}

} // namespace

Drawn draw_by_flow(double top, const TimeScale& time, std::span<const PlottedFlow> flows) {
    const double each = pitch(flows.size());
    const Area area{top};
    std::string text = svg_text(
        {panel_left, top - heading_above},
        "Failures by flow: local port, bold if it stands out; heights as in the strip above",
        "heading");
    text += labels(top, each, flows);
    for (size_t i = 0; i < flows.size(); ++i)
        text += failure_strip(
            area, time, flows[i].fates->columns(), top + each * static_cast<double>(i),
            each * strip_share, "failed");
    return {
        .svg = std::move(text),
        .bottom = top + std::max(each * static_cast<double>(flows.size()), label_height)};
}

} // namespace riposte::client
