#include "client/net/clock_state.h"

#include <cstdint>

#include <sys/timex.h>

namespace riposte::client {

stamp::ErrorEstimate own_clock_error() {
    constexpr int64_t unsynchronized_us = 16'000'000; // NTP_PHASE_LIMIT of the kernel
    timex state{};
    if (::adjtimex(&state) < 0 || state.maxerror < 0 || state.maxerror >= unsynchronized_us)
        return stamp::unknown_error;
    const auto error_ns = static_cast<uint64_t>(state.maxerror) * 1000;
    return stamp::estimate_of(error_ns, true, stamp::TimeFormat::ntp);
}

} // namespace riposte::client
