// Which conditions of --fail-if a command takes. A metric that is never measured would meet its
// condition whatever happens (fail_if.h), so a condition on one is refused: Exit::usage, one line.
#pragma once

#include "client/options/options.h"
#include "common/error.h"

namespace riposte::client {

Result<void> check_conditions(const PingOptions& ping);
Result<void> check_conditions(const LoadOptions& load);
Result<void> check_conditions(const ProbeOptions& probe);
Result<void> check_conditions(const ThroughputOptions& throughput);

} // namespace riposte::client
