// --plot FILE.svg: latency over time, and the distribution by percentile, as one self-contained
// SVG: no script, no font, no external address. Legible on light and dark background by
// prefers-color-scheme, in colours that colour-blind readers can distinguish.
#pragma once

#include "client/measure/fate_series.h"
#include "client/measure/histogram.h"
#include "client/measure/series.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace riposte::client {

/// The outcomes of an endpoint's probes or requests.
struct PlottedCounts {
    uint64_t sent = 0;
    uint64_t answered = 0;
    uint64_t lost = 0;
    uint64_t failed = 0; ///< otherwise: refused, closed, wrong ...
};

/// From the start of the run.
struct PlottedSpan {
    uint64_t from_ns;
    uint64_t to_ns;
};

/// A flow of an endpoint's probes.
struct PlottedFlow {
    uint16_t port; ///< the local one
    const FateSeries* fates;
    bool is_bad; ///< worse than the others
};

/// One curve: an endpoint.
struct Plotted {
    std::string name;
    const Histogram* histogram;
    const Series* series;
    PlottedCounts counts = {};
    std::vector<PlottedSpan> outages = {}; ///< runs of failures, shaded
    std::vector<PlottedFlow> flows = {};   ///< a strip each
};

/// What stands above the curves, beside a line of each of them.
struct PlotHead {
    std::string title;
    std::string subtitle;
    double started_at = 0; ///< seconds since 1970; shown with the version of this program
};

/// A page with that head: what is drawn on it so far, and the y coordinate below that.
struct SvgPage {
    std::string body;
    double bottom;
};
SvgPage begin_page(const PlotHead& head);
/// The whole document.
std::string end_page(const PlotHead& head, const SvgPage& page);

/// The texts are escaped. At least one curve; those without an answer are named as such.
std::string render_svg(const PlotHead& head, std::span<const Plotted> curves);

} // namespace riposte::client
