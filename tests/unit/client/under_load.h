// A latency under load that has every figure, for the tests of documents and summaries.
#pragma once

#include "client/working/latency_under_load.h"

namespace riposte::client {

inline LatencyUnderLoad latency_under_load() {
    constexpr uint64_t millisecond = 1'000'000;
    LatencyUnderLoad latency;
    latency.name = "tcp://server:7";
    latency.address = "192.0.2.7:7";
    latency.interval_ns = 25 * millisecond;
    for (ProbedLatency* each : {&latency.idle, &latency.working}) {
        each->counts.sent = 1001;
        each->counts.answered = 1000;
        each->counts.lost = 1;
        each->elapsed_ns = 25'025 * millisecond;
        each->rtt.record(20 * millisecond, 1000);
        each->connect.record(10 * millisecond, 1001);
        each->lateness.record(millisecond / 10, 1001);
    }
    latency.working.rtt.record(120 * millisecond, 2000);
    latency.working.counts.sent += 2000;
    latency.working.counts.answered += 2000;
    latency.loaded.record(130 * millisecond, 1000);
    return latency;
}

} // namespace riposte::client
