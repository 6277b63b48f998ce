// Latency of a path idle and under load, and the responsiveness that follows from it: plain data
// and arithmetic.
//
// Responsiveness is that of draft-ietf-ippm-responsiveness (revision 06, "Aggregating the
// Measurements", "For the TCP-Only Case"), in round trips a minute (RPM):
//
//     foreign = 60 s / mean(TM(handshake), TM(request))     on connections beside the load
//     loaded  = 60 s / TM(round trip)                       on the connections of the load
//     RPM     = mean(foreign, loaded)
//
// TM is the mean of what does not exceed the 95th percentile. Over UDP there is no handshake, and
// the foreign part has the requests alone; where the load has no round trips of its own, RPM is the
// foreign part.
#pragma once

#include "client/measure/histogram.h"
#include "client/measure/outcome.h"
#include "client/net/receive_time.h"
#include "common/endpoint.h"

#include <cstdint>
#include <optional>
#include <string>

namespace riposte::client {

/// The probes of one part of a run.
struct ProbedLatency {
    OutcomeCounts counts;
    CauseTally causes;
    Histogram rtt;      ///< of the answered, from the actual time of sending
    Histogram connect;  ///< TCP: the handshakes, a connection for each probe
    Histogram lateness; ///< actual less intended time of sending
    ReceiveClock clock = ReceiveClock::none;
    uint64_t elapsed_ns = 0;
};

struct LatencyUnderLoad {
    std::string name;    ///< the probed endpoint's canonical spelling
    std::string address; ///< the one address that is probed
    Transport transport = Transport::tcp;
    uint64_t interval_ns = 0;
    ProbedLatency idle;       ///< before the load
    ProbedLatency working;    ///< in the load's measured time
    Histogram loaded;         ///< round trips on the connections of the load; empty: it has none
    std::string trouble = {}; ///< a line about probes that this machine did not send; empty: none
};

/// Working less idle, in nanoseconds; nothing if one of them has no such percentile. Below zero:
/// the path was faster under load.
std::optional<double> added_latency_ns(const LatencyUnderLoad& latency, double percentile);

/// The mean of the values that do not exceed the percentile, in nanoseconds; 0 of no value.
double trimmed_mean_ns(const Histogram& histogram, double percentile);

/// In round trips a minute; nothing without the round trips for it.
struct Responsiveness {
    std::optional<double> foreign;
    std::optional<double> loaded;

    std::optional<double> rpm() const;
};
Responsiveness responsiveness(const LatencyUnderLoad& latency);

} // namespace riposte::client
