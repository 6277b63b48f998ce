// What a measurement itself cost (getrusage(2)).
#pragma once

#include <cstdint>

#include <sys/resource.h>

namespace riposte::client {

/// User and system time so far, in nanoseconds, of RUSAGE_SELF or RUSAGE_THREAD.
inline uint64_t cpu_time_ns(int whose) {
    rusage usage{};
    ::getrusage(whose, &usage);
    const auto nanoseconds = [](const timeval& time) {
        return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 +
               static_cast<uint64_t>(time.tv_usec) * 1000;
    };
    return nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
}

} // namespace riposte::client
