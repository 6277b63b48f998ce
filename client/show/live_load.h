// The live screen of load, as text: figures, and the rate and the latency of the last minute as
// bars. Pure.
#pragma once

#include "client/show/live_screen.h"

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace riposte::client {

/// One fifth of a second.
struct LoadSample {
    double rate = 0;                  ///< answers a second
    std::optional<double> latency_ns; ///< p99 of them, or the greatest of few
};

struct LoadPage {
    std::string title;
    std::vector<std::string> figures; ///< items of a line, that is broken where it must be
    std::vector<std::string> errors;  ///< the same, red; empty: there are none
    std::deque<LoadSample> samples;   ///< the latest one last, at most samples_max

    static constexpr size_t samples_max = 300; ///< a minute of them
};

/// size.lines lines at most.
std::vector<std::string> render_live_load(
    const LoadPage& page, ScreenSize size, bool unicode, bool color);

} // namespace riposte::client
