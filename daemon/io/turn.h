// What the parts of one worker share in a turn of its loop (backend.h): the operations that they
// want, the buffers, and one reading of the clocks. Owned by the worker, used on its thread alone.
#pragma once

#include "daemon/core/host.h"
#include "daemon/io/backend.h"

#include <cstdint>
#include <vector>

namespace riposte {

struct Turn {
    Host& environment;
    Pools pools;
    std::vector<Op> ops{}; ///< for the next turn
    uint64_t now_ns = 0;   ///< all clocks stand still during a turn
    uint64_t now_ms = 0;   ///< the same
    int64_t wall_seconds = 0;
    bool draining = false;
    uint64_t drain_grace_ms = 0; ///< from then on, a connection that owes nothing is finished
};

} // namespace riposte
