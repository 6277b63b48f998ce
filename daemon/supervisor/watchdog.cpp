#include "daemon/supervisor/watchdog.h"

#include <algorithm>

namespace riposte {

void Watchdog::start(uint64_t interval_us, uint64_t now_us) noexcept {
    tick_us_ = std::max<uint64_t>(interval_us / 3, 1000);
    next_us_ = now_us + tick_us_;
}

bool Watchdog::tick(Workers workers, uint64_t now_us) noexcept {
    next_us_ = now_us + tick_us_;
    // A worker that has stopped cannot hang.
    const auto is_alive = [&](const auto& worker) {
        return worker->stopped() || worker->answered() == ping_;
    };
    return std::ranges::all_of(workers, is_alive);
}

void Watchdog::ping(Workers workers) {
    ++ping_;
    for (const auto& worker : workers)
        worker->ping(ping_);
}

} // namespace riposte
