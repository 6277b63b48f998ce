// `riposte load --upload` and `--download`: how much goes through, over TCP or at a bitrate over
// UDP; with --while-pinging also the latency beside it.
#pragma once

#include "client/options/options.h"
#include "common/error.h"

namespace riposte::client {

/// Prints as it goes. Exit::failed: as verdict() of throughput_result.h says.
Result<Exit> throughput(const CommonOptions& common, const ThroughputOptions& options);

} // namespace riposte::client
