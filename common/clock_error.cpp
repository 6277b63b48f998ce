#include "common/clock_error.h"

#include <algorithm>
#include <cerrno>

#include <sys/timex.h>

namespace riposte {

namespace {

constexpr int64_t unknown_us = 16'000'000; // NTP_PHASE_LIMIT of the kernel

} // namespace

ClockError clock_error_of(int64_t maximum_us) noexcept {
    return {
        .error_ns = static_cast<uint64_t>(std::max<int64_t>(maximum_us, 0)) * 1000,
        .synchronized = maximum_us < unknown_us};
}

std::expected<ClockError, int> read_clock_error() noexcept {
    timex state{}; // modes = 0: changes nothing
    if (::adjtimex(&state) < 0)
        return std::unexpected(errno);
    return clock_error_of(state.maxerror);
}

} // namespace riposte
