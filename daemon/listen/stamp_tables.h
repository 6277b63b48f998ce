// The session tables of a listener with the service stamp: one for each worker that serves it.
//
// With several workers the kernel gives each session to one of them, by its hash of addresses and
// ports, so each has its part of `sessions_max`. An inherited socket is one for all workers; only
// one of them serves it then, and has all sessions.
#pragma once

#include "daemon/services/stamp_options.h"
#include "daemon/services/stamp_sessions.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace riposte {

struct StampTables {
    uint32_t sessions_max = 0; ///< as configured; 0: there are none
    std::vector<std::shared_ptr<StampSessions>> of_worker{};
};

/// `tables`: how many workers serve the listener.
StampTables make_stamp_tables(uint32_t sessions_max, uint32_t tables);

} // namespace riposte
