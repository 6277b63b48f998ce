// The counters and the access log of one worker.
#pragma once

#include "daemon/telemetry/access_log.h"
#include "daemon/telemetry/counters.h"

namespace riposte {

struct WorkerTelemetry {
    Counters metrics{};
    AccessLog access_log{};
};

} // namespace riposte
