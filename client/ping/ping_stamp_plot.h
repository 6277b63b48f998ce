// The ways to and from reflectors of STAMP as curves of a plot.
#pragma once

#include "client/ping/ping_result.h"
#include "client/show/plot.h"
#include "client/stamp/clock_series.h"

#include <span>
#include <vector>

namespace riposte::client {

class WayCurves {
public:
    /// Two curves for each reflector that has answered: the delay variation there and back.
    /// `results` outlive this, and have series.
    explicit WayCurves(std::span<const PingResult* const> results);
    WayCurves(const WayCurves&) = delete;
    WayCurves& operator=(const WayCurves&) = delete;

    /// They point into this.
    std::span<const Plotted> curves() const { return curves_; }

private:
    std::vector<ClockFigures> figures_; ///< of each reflector
    std::vector<Plotted> curves_;
};

} // namespace riposte::client
