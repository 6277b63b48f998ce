// A worker's place for one socket: the socket, which the worker borrows, and the operations in
// flight on it.
#pragma once

#include "daemon/listen/listener_spec.h"

#include <cstdint>

namespace riposte {

/// One socket that a worker serves on. Its address in memory is stable, because connections point
/// to it; the place is reused when nothing refers to it.
struct ListenerSlot {
    ListenerSpec socket{};
    uint32_t slot = 0;
    uint32_t generation = 0;
    bool used = false;        ///< this place holds a listener
    bool armed = false;       ///< an accept or receive_from stream is in flight
    bool leaving = false;     ///< no longer in the plan
    bool starved = false;     ///< a datagram socket that waits for a buffer
    uint64_t resume_ms = 0;   ///< paused until this time; 0: not paused
    uint32_t connections = 0; ///< open, accepted here
    uint32_t replies = 0;     ///< send_to operations in flight

    bool in_flight() const noexcept { return armed || replies > 0; }
};

} // namespace riposte
