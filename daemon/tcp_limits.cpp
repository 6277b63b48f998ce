#include "daemon/tcp_limits.h"

namespace riposte {

LimitsConfig worker_share(const LimitsConfig& limits, uint32_t workers) {
    LimitsConfig share = limits;
    share.connections_max = (limits.connections_max + workers - 1) / workers;
    share.connections_per_source_max = (limits.connections_per_source_max + workers - 1) / workers;
    share.buffer_memory_bytes = limits.buffer_memory_bytes / workers;
    return share;
}

} // namespace riposte
