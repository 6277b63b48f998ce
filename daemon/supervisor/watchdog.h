// The service manager's watchdog, notified only while every worker's loop turns.
//
// Each tick, at a third of the manager's interval, checks whether every worker has answered the
// last tick's ping. If so, the caller notifies the manager and sends the next ping. If not, it does
// nothing: the manager ends a process whose worker hangs.
//
// Workers are a range of pointers to WorkerThread, or in tests to something that has as much of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace riposte {

class Watchdog {
public:
    /// `interval_us`: the manager expects a notification at least this often. No tick is due before
    /// this call.
    void start(uint64_t interval_us, uint64_t now_us) noexcept {
        tick_us_ = std::max<uint64_t>(interval_us / 3, tick_us_min);
        next_us_ = now_us + tick_us_;
    }

    /// When the next tick is due; empty if there is no watchdog.
    std::optional<uint64_t> deadline_us() const noexcept {
        return tick_us_ > 0 ? std::optional(next_us_) : std::nullopt;
    }
    bool is_due(uint64_t now_us) const noexcept { return tick_us_ > 0 && now_us >= next_us_; }

    /// One tick. True if every worker has answered the last ping, or has stopped.
    bool tick(const auto& workers, uint64_t now_us) noexcept {
        next_us_ = now_us + tick_us_;
        // A worker that has stopped cannot hang.
        const auto is_alive = [&](const auto& worker) {
            return worker->stopped() || worker->answered() == ping_;
        };
        return std::ranges::all_of(workers, is_alive);
    }

    /// Sends the next ping.
    void ping(const auto& workers) {
        ++ping_;
        for (const auto& worker : workers)
            worker->ping(ping_);
    }

private:
    static constexpr uint64_t tick_us_min = 1000;

    uint64_t tick_us_ = 0; ///< 0: no watchdog
    uint64_t next_us_ = 0;
    uint64_t ping_ = 0;
};

} // namespace riposte
