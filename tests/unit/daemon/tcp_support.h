// Connections for tests of the code that decides about them, without an engine.
#pragma once

#include "daemon/tcp/connection.h"

#include <cstdint>

namespace riposte::test {

/// An open connection on which nothing is in flight.
inline Connection opened_connection() {
    Connection c;
    c.open(9, {}, 0);
    return c;
}

/// Makes this many bytes pending, in one buffer.
inline void set_pending(Connection& c, uint32_t bytes) {
    const BufferId buffer = bytes > 0 ? BufferId{0} : no_buffer;
    c.pending = {.head = buffer, .tail = buffer, .bytes = bytes};
}

} // namespace riposte::test
