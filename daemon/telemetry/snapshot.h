// The daemon's figures at one time: plain data, gathered by the main thread, from which the metrics
// and the status document are written. A snapshot owns all that it holds. It names no peer, so no
// document written from it can.
#pragma once

#include "daemon/telemetry/counters.h"
#include "daemon/telemetry/listener_report.h"
#include "daemon/telemetry/process_figures.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace riposte {

enum class DaemonState : uint8_t { running, draining, aborting };

struct ReloadReport {
    uint64_t count = 0;         ///< of requested reloads; the start does not count
    bool ok = true;             ///< the last one, or the start
    double time_seconds = 0;    ///< of the last one, or the start; since 1970
    double success_seconds = 0; ///< of the last successful one
    std::string error{};        ///< why not, if not ok
};

/// A series that differs by one label: {"200", 17}.
using Labelled = std::pair<std::string, uint64_t>;

struct Snapshot {
    std::string version{};
    std::string backend{};        ///< "io_uring", "epoll", "mixed"
    std::string backend_reason{}; ///< why not io_uring, or what it lacks; "" if neither
    uint32_t workers_on_uring = 0;
    uint32_t workers_on_epoll = 0;
    std::string sandbox{}; ///< "seccomp on, io_uring limited to 12 operations"
    DaemonState state = DaemonState::running;
    int64_t pid = 0;
    double time_seconds = 0;  ///< of this snapshot; since 1970, like the next one
    double start_seconds = 0; ///< when the start ended
    uint32_t workers = 0;
    uint64_t connections_max = 0;
    uint64_t buffer_used_bytes = 0; ///< stream buffers that hold something
    uint64_t buffer_max_bytes = 0;
    uint64_t memory_bound_bytes = 0;
    uint64_t stamp_sessions = 0;     ///< in use
    uint64_t stamp_sessions_max = 0; ///< places for them; 0: no listener of stamp
    bool inherited = false;          ///< all listeners were inherited
    std::vector<ListenerReport> listeners{};
    ReloadReport reload{};
    Totals totals{};
    ProcessFigures process{};
    std::vector<Labelled> scrapes{};          ///< answered, by status code
    std::vector<Labelled> scrapes_rejected{}; ///< by reason
};

} // namespace riposte
