// One TCP connection of a prober (ping_tcp.cpp): what it is about, and what is to be read and
// written on it.
#pragma once

#include "client/net/receive_time.h"
#include "client/ping/answer_stream.h"
#include "client/ping/queue.h"
#include "common/fd.h"

#include <cstddef>
#include <cstdint>

namespace riposte::client {

/// A connection, or the slot that one may take.
struct PingStream {
    enum class State : uint8_t { free, connecting, open, draining };

    PingStream(size_t payload_bytes, uint32_t session) : answers(payload_bytes, session) {}

    Fd fd;
    State state = State::free;
    uint64_t generation = 0;
    uint64_t began_ns = 0;       ///< of connecting
    uint64_t connect_ns = 0;     ///< how long it took
    bool heard = false;          ///< something has come on it
    Queue<uint64_t> due;         ///< of the probes that wait for the connection
    uint64_t again = 0;          ///< the probe that is sent a second time on it; 0: none
    AnswerStream answers;        ///< for the probes that were given to it
    ArrivalClock clock;          ///< of what comes
    uint64_t read_until_ns = 0;  ///< all that came by then was read
    uint64_t write_sequence = 0; ///< the first that is not written whole,
    size_t write_offset = 0;     ///< and how much of it is
    bool waits_for_room = false; ///< EPOLLOUT is on
};

/// A connection that was begun; it may have ended since.
struct Attempt {
    size_t slot;
    uint64_t generation;
};

} // namespace riposte::client
