// What the daemon serves now: the configuration in effect, and the listeners that it opened. They
// change together: a reload adopts both, or neither.
#pragma once

#include "common/error.h"
#include "common/reason.h"
#include "daemon/config/config.h"
#include "daemon/listen/listeners.h"
#include "daemon/log/log_events.h"
#include "daemon/worker/worker.h"

#include <cstdint>
#include <string>
#include <vector>

namespace riposte {

/// Logs that a socket is served from now on (Event::listening), or no more (not_listening).
void log_listener(log::Event event, const std::string& label);
/// Logs the note about an address that was left out.
void log_missing_ipv6(const Reason& note);

class Deployment {
public:
    Deployment(const Config& config, Listeners listeners);

    const Config& config() const noexcept { return config_; }
    const Listeners& listeners() const noexcept { return listeners_; }
    /// How many workers run; a reload does not change it.
    uint32_t workers() const noexcept { return workers_; }
    /// Of the listeners, as last logged.
    const std::vector<std::string>& labels() const noexcept { return labels_; }
    /// Tables never shrink, so the bound only grows.
    uint64_t memory_bound_bytes() const noexcept { return memory_bound_bytes_; }

    /// Before any worker runs: see Listeners.
    size_t adopt_sessions(StampImageReader& image) { return listeners_.adopt_sessions(image); }
    /// The process is sealed: see Listeners.
    void expect_no_name_service() noexcept { listeners_.expect_no_name_service(); }
    /// At the start.
    void log_listeners();
    /// If it has grown since it was last logged.
    void log_memory_bound();

    /// What worker `index` serves.
    WorkerPlan plan(uint32_t index) const;
    /// For WorkerThread::prepare(): the share of each worker if `wanted` is adopted.
    WorkerPlan preparation(const Config& wanted) const;
    /// All of it, or nothing. Keys that only a restart can change are logged and keep their values.
    Result<void> adopt(Config wanted);
    /// Every worker has applied the plan of what was adopted: closes the removed sockets.
    void settle();

private:
    void log_notes();

    Config config_;
    Listeners listeners_;
    uint32_t workers_;
    std::vector<std::string> labels_;
    uint64_t memory_bound_bytes_ = 0; ///< as last logged
};

} // namespace riposte
