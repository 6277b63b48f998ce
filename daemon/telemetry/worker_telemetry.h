// What one worker counts and logs of its connections and datagrams.
#pragma once

#include "daemon/telemetry/access_log.h"
#include "daemon/telemetry/counters.h"

namespace riposte {

struct WorkerTelemetry {
    Counters metrics{};
    AccessLog access_log{};
};

} // namespace riposte
