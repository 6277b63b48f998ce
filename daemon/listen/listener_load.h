// How many connections one address has open.
#pragma once

#include <atomic>
#include <cassert>
#include <cstdint>

namespace riposte {

/// How many connections one address has open, with all workers together: a share each would not do,
/// because the kernel spreads connections by their ports, and a small limit has no equal parts. The
/// workers touch it when a connection comes and when it has gone, never in between.
class ListenerLoad {
public:
    /// Counts one more, unless there are `max`.
    bool enter(uint32_t max) noexcept {
        uint32_t open = open_.load(std::memory_order_relaxed);
        while (open < max)
            if (open_.compare_exchange_weak(open, open + 1, std::memory_order_relaxed))
                return true;
        return false;
    }
    void leave() noexcept {
        [[maybe_unused]] const uint32_t before = open_.fetch_sub(1, std::memory_order_relaxed);
        assert(before > 0);
    }
    uint32_t open() const noexcept { return open_.load(std::memory_order_relaxed); }

private:
    std::atomic<uint32_t> open_{0}; ///< orders nothing else
};

} // namespace riposte
