// Why a connection is not let in, or is ended so that others can be served. Admission, eviction and
// buffer relief decide and do not count; refusals.h maps each reason to its counter and its text.
#pragma once

#include <cstdint>

namespace riposte {

enum class RefusalReason : uint8_t {
    denied,        ///< by 'allow' and 'deny'
    full,          ///< 'connections' is reached
    over_source,   ///< 'connections_per_source' is reached
    over_listener, ///< the 'connections' of its [[listen]] is reached
    no_service,    ///< adopted, and no listener of its service is left
    evicted,       ///< idle, closed for a new connection
    stalled,       ///< reset: it read nothing while others needed its buffers
    end,           ///< not a reason; new ones go before it, and into the table
};

} // namespace riposte
