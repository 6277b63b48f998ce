// The service manager's watchdog, notified only while every worker's loop turns.
//
// Each tick, at a third of the manager's interval, checks whether every worker has answered the
// last tick's ping. If so, the caller notifies the manager and sends the next ping. If not, it does
// nothing: the manager ends a process whose worker hangs.
#pragma once

#include "daemon/worker/worker_thread.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace riposte {

class Watchdog {
public:
    using Workers = std::span<const std::unique_ptr<WorkerThread>>;

    /// `interval_us`: the manager expects a notification at least this often. No tick is due before
    /// this call.
    void start(uint64_t interval_us, uint64_t now_us) noexcept;

    /// When the next tick is due; empty if there is no watchdog.
    std::optional<uint64_t> deadline_us() const noexcept {
        return tick_us_ > 0 ? std::optional(next_us_) : std::nullopt;
    }
    bool is_due(uint64_t now_us) const noexcept { return tick_us_ > 0 && now_us >= next_us_; }

    /// One tick. True if every worker has answered the last ping, or has stopped.
    bool tick(Workers workers, uint64_t now_us) noexcept;
    /// Sends the next ping.
    void ping(Workers workers);

private:
    uint64_t tick_us_ = 0; ///< 0: no watchdog
    uint64_t next_us_ = 0;
    uint64_t ping_ = 0;
};

} // namespace riposte
