// What one worker counts and logs of its connections and datagrams.
#pragma once

#include "daemon/access_log.h"
#include "daemon/metrics.h"

namespace riposte {

struct WorkerTelemetry {
    Metrics metrics{};
    AccessLog access_log{};
};

} // namespace riposte
