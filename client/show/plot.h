// --plot FILE.svg: latency over time, and the distribution by percentile, as one self-contained
// SVG: no script, no font, no address of elsewhere. Legible on light and on dark ground by
// prefers-color-scheme, in colours that the colour-blind tell apart.
#pragma once

#include "client/measure/histogram.h"
#include "client/measure/series.h"

#include <span>
#include <string>

namespace riposte::client {

/// One curve: an endpoint.
struct Plotted {
    std::string name;
    const Histogram* histogram;
    const Series* series;
};

/// `title` and `subtitle` are escaped. At least one curve; those without an answer are named as
/// such.
std::string render_svg(
    const std::string& title, const std::string& subtitle, std::span<const Plotted> curves);

} // namespace riposte::client
