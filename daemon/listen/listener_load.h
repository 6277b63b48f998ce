// Counts the open connections of one address.
#pragma once

#include <atomic>
#include <cassert>
#include <cstdint>

namespace riposte {

/// The number of open connections of one address, in all workers together. A share of the limit for
/// each worker would not do, because the kernel distributes connections by their ports and a small
/// limit has no equal parts. Workers touch it when a connection opens and when it has closed, never
/// in between.
class ListenerLoad {
public:
    /// Counts one more connection, unless `max` are open. False: the limit is reached.
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
    std::atomic<uint32_t> open_{0}; ///< relaxed: it orders no other memory access
};

} // namespace riposte
