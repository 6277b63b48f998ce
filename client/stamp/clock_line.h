// How far a clock is ahead of ours, and how fast it drifts, as far as the times of packets show.
//
// A packet that leaves at T1 of our clock arrives at T2 of the other one, and its answer leaves
// there at T3 and arrives here at T4. Neither takes less than no time, so the other clock's lead is
// at most T2 - T1 when the packet leaves, and at least T3 - T4 when the answer arrives, however
// long both were on their way. A clock that drifts steadily has a lead that is a straight line over
// time, and passes through the bounds of all packets. All such lines together are a convex set.
// What it allows at a moment is the bound there: nothing is assumed about the two ways but that
// neither is faster than the packets show, and about the clocks that they drift apart by at most
// drift_max.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace riposte::client {

/// In nanoseconds a second: more than any clock drifts, or is slewed by adjtimex(2).
inline constexpr double drift_max = 500'000;

/// Of one packet and its answer.
struct ClockSample {
    uint64_t local_ns = 0;   ///< T1 on a clock that never steps: CLOCK_MONOTONIC
    uint64_t elapsed_ns = 0; ///< T4 - T1
    int64_t there_ns = 0;    ///< T2 - T1
    int64_t back_ns = 0;     ///< T4 - T3
};

/// All lines that the samples allow, by what they allow at two moments.
struct ClockLine {
    uint64_t begin_ns = 0; ///< local times of the first sample and the last
    uint64_t end_ns = 0;
    double lead_begin_ns = 0; ///< of the other clock: the middle of what is allowed
    double lead_end_ns = 0;
    double bound_ns = 0;    ///< how far the truth may be from it, until the last answer arrived
    double drift = 0;       ///< nanoseconds a second
    double drift_bound = 0; ///< how far the truth may be from it

    /// The lead at that moment, from begin_ns until the last answer arrived.
    double lead_at(uint64_t local_ns) const;
};

/// The samples are in the order of their local times. Nothing if no line passes through all: a
/// clock was stepped, or was slewed by more than drift_max.
std::optional<ClockLine> fit_line(std::span<const ClockSample> samples);

/// Does any line pass through all?
bool has_line(std::span<const ClockSample> samples);

} // namespace riposte::client
