// What became of a probe, at the moment at which it is decided: each probe has one.
#pragma once

#include "client/measure/cause.h"
#include "client/measure/outcome.h"

#include <cstdint>

namespace riposte::client {

/// Times are of CLOCK_MONOTONIC, in nanoseconds.
struct ProbeFate {
    uint64_t sequence = 0;
    uint64_t due_ns = 0;
    uint64_t sent_ns = 0;
    uint64_t connect_ns = 0; ///< of the connection that was made for it
    Outcome outcome = Outcome::lost;
    uint64_t rtt_ns = 0;          ///< answered; 0: no round trip (PingAccount::record_rtt)
    const Cause* cause = nullptr; ///< why it got no answer, if that is known; during the call
};

class FateListener {
public:
    virtual void on_fate(const ProbeFate& fate) = 0;

protected:
    ~FateListener() = default;
};

} // namespace riposte::client
