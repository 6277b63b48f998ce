// The clocks. Deadlines use the monotonic clock in whole milliseconds, measurements the same clock
// in nanoseconds; what is shown to people or sent in a protocol uses the wall clock. Code that
// decides by time is given it, so that tests can turn the clock themselves.
#pragma once

#include <cstdint>

#include <time.h>

namespace riposte {

/// Milliseconds of CLOCK_MONOTONIC.
inline uint64_t monotonic_ms() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

/// Microseconds of CLOCK_MONOTONIC.
inline uint64_t monotonic_us() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000 +
           static_cast<uint64_t>(now.tv_nsec) / 1000;
}

/// Nanoseconds of CLOCK_MONOTONIC.
inline uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

/// Nanoseconds since 1970-01-01T00:00:00Z (CLOCK_REALTIME), which may step.
inline uint64_t realtime_ns() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

/// Seconds since 1970-01-01T00:00:00Z (CLOCK_REALTIME), for people and their tools.
inline double wall_time_seconds() {
    return static_cast<double>(realtime_ns()) / 1e9;
}

/// Whole seconds since 1970-01-01T00:00:00Z (CLOCK_REALTIME).
inline int64_t wall_seconds() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

} // namespace riposte
