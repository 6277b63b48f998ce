#include "daemon/tcp/tcp_limits.h"

namespace riposte {

TcpLimits worker_share(const TcpLimits& limits, uint32_t workers) {
    TcpLimits share = limits;
    share.connections_max = (limits.connections_max + workers - 1) / workers;
    share.connections_per_source_max = (limits.connections_per_source_max + workers - 1) / workers;
    share.buffer_memory_bytes = limits.buffer_memory_bytes / workers;
    return share;
}

} // namespace riposte
