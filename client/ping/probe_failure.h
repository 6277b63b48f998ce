// How a probe ended without a right answer, for the line about it.
#pragma once

#include "client/measure/cause.h"
#include "client/ping/ping_result.h"

#include <cstdint>

namespace riposte::client {

struct ProbeFailure {
    uint64_t sequence = 0;
    Outcome outcome = Outcome::lost;
    Cause cause = {};
    uint64_t took_ns = 0; ///< from the sending or connecting to the error; 0: not known
    /// TCP, lost: it was sent on a connection that was made in that time, on which nothing has ever
    /// come; 0: otherwise.
    uint64_t connect_ns = 0;
};

} // namespace riposte::client
