// What the parts of one worker share in a turn of its loop (backend.h): the operations for the
// backend, the buffers, and one reading of the clocks. The worker owns it and uses it on its own
// thread alone.
#pragma once

#include "daemon/core/host.h"
#include "daemon/io/backend.h"

#include <cstdint>
#include <vector>

namespace riposte {

struct Turn {
    Host& host;
    Pools pools;
    std::vector<Op> ops{};    ///< for the backend's next turn
    uint64_t now_ns = 0;      ///< monotonic; constant during a turn
    uint64_t now_ms = 0;      ///< the same time in milliseconds
    int64_t wall_seconds = 0; ///< since 1970, UTC; constant during a turn
    bool draining = false;
    uint64_t drain_grace_ms = 0; ///< from then on, a connection with nothing pending is finished
};

} // namespace riposte
