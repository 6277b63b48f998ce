// --plot FILE.svg of a throughput run: Mbit/s of each direction over the measured time, as one
// self-contained SVG in the style of the other plots (client/show/plot.h). Pure.
#pragma once

#include "client/throughput/throughput_result.h"

#include <string>

namespace riposte::client {

std::string throughput_plot(const ThroughputResult& result);

} // namespace riposte::client
