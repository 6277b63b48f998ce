// How long ping and load wait at the end of a run, however it ends, for answers to what they sent
// last. What is unanswered then is lost; without the wait its loss would be hidden, and so would
// the last answers of a slow path.
//
// Each probe or request lingers from its own sending, so that a run that sends for long has
// nothing left to wait for but its last ones. The run ends as soon as all is known.
#pragma once

#include <algorithm>
#include <cstdint>

namespace riposte::client {

/// The least retransmission timeout (RFC 6298, section 2.4): a path that is shorter than that may
/// still hold a packet up for as long.
constexpr uint64_t linger_min_ns = 1'000'000'000;
/// Of the largest round trip seen: a queue may still fill up.
constexpr uint64_t linger_round_trips = 4;

/// How long a probe or request waits for its answer, from its sending. `timeout_ns` is -W, which is
/// never exceeded; `largest_round_trip_ns` is 0 while none was seen.
constexpr uint64_t linger_ns(uint64_t timeout_ns, uint64_t largest_round_trip_ns) {
    if (largest_round_trip_ns > timeout_ns / linger_round_trips)
        return timeout_ns;
    return std::min(
        timeout_ns, std::max(linger_min_ns, linger_round_trips * largest_round_trip_ns));
}

} // namespace riposte::client
