// Peers that dribble: a byte now and then renews every timeout and would hold a slot forever.
//
// What counts is the rate over a window (`rate_window`), not of a single call.
//
//   peer_sends  `rate_min`, of a peer that goes on sending: a window is judged when something comes
//               after its end, and that counts, because it may have waited for us. A peer that
//               sends nothing at all is idle, for which there is another timeout. While something
//               is pending, a peer is judged by what it reads; while we have no buffer, not at all.
//   peer_reads  `write_rate_min`, while something is pending without a break: what we gave to the
//               kernel less what the kernel still has. The kernel buffers megabytes, so the first
//               window only says how much it has. A peer that has acknowledged everything is not
//               slow: we are.
//
// Pure: functions of a connection, the limits, and the time given in (milliseconds of the worker's
// clock). They change the two windows of the connection and nothing else.
#pragma once

#include "daemon/tcp/connection.h"
#include "daemon/tcp/tcp_limits.h"

#include <cstdint>
#include <limits>

namespace riposte::transfer_rate {

/// A count that has reached it is too high to be known, and never too low.
inline constexpr uint32_t bytes_max = std::numeric_limits<uint32_t>::max();

inline void add(uint32_t& bytes, uint32_t size) noexcept {
    bytes = bytes > bytes_max - size ? bytes_max : bytes + size;
}

/// The clock's low bits; never 0, which means that no window is open.
inline uint32_t window_clock_ms(uint64_t now_ms) noexcept {
    return static_cast<uint32_t>(now_ms) | 1;
}

/// `size` bytes were sent to the peer.
inline void count_sent(Connection& c, uint32_t size) noexcept {
    add(c.peer_reads.bytes, size);
}

/// `size` bytes came: are they, with those before, too few? Asked once for each arrival.
bool sends_too_slowly(
    Connection& c, const TcpLimits& limits, uint32_t size, uint64_t now_ms) noexcept;

/// Opens the window of what the peer reads, unless it is open. Milliseconds until it is judged.
uint32_t open_read_window(Connection& c, const TcpLimits& limits, uint64_t now_ms) noexcept;

/// When that window is over: did the peer read too little in it? `c.unacknowledged` is new.
bool reads_too_slowly(Connection& c, const TcpLimits& limits, uint64_t now_ms) noexcept;

} // namespace riposte::transfer_rate
