// How far the system's clock may be from UTC: what the program that sets it has told the kernel
// (adjtimex(2)). Reading it needs no privilege, but a sandbox may refuse the call.
#pragma once

#include <cstdint>
#include <expected>

namespace riposte {

struct ClockError {
    uint64_t error_ns = 0;     ///< at most
    bool synchronized = false; ///< to UTC, by an external source

    bool operator==(const ClockError&) const = default;
};

/// Of the kernel's maximum error in microseconds. The kernel raises it while nothing sets the
/// clock, up to 16 s, and marks the clock as unsynchronized from there on. The mark alone says
/// less: some programs keep the clock without clearing it.
ClockError clock_error_of(int64_t maximum_us) noexcept;

/// Or the errno: EPERM if a sandbox refuses it.
std::expected<ClockError, int> read_clock_error() noexcept;

} // namespace riposte
