// Polling without sleeping: faster than to sleep and be woken (tens of microseconds), but costly in
// CPU time, and so only for a short while that the caller bounds.
#pragma once

#include "common/clock.h"

#include <chrono>
#include <cstdint>

namespace riposte {

/// Hints to the CPU that this is a spin loop: it leaves more to its sibling thread, saves power,
/// and does not mispredict the way out.
inline void relax_cpu() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
    asm volatile("yield");
#endif
}

/// Looks until `look` is true or `limit` is over, at least once. Says whether it was true. The
/// clock is read after each `looks_per_clock` looks: one if a look is costly, more if it is cheap.
template<class Look>
bool spin(std::chrono::microseconds limit, int looks_per_clock, Look look) noexcept {
    const uint64_t end_ns = monotonic_ns() + static_cast<uint64_t>(limit.count()) * 1000;
    do {
        for (int looks = 0; looks < looks_per_clock; ++looks) {
            if (look())
                return true;
            relax_cpu();
        }
    } while (monotonic_ns() < end_ns);
    return false;
}

} // namespace riposte
