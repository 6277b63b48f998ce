// When a connection ends by time: which timeout it is under, and what its deadline means.
//
// An open connection is under the write-stall timeout while a reply is pending, renewed by each
// byte that the peer reads; else under the idle timeout, renewed by each byte that it sends, or,
// before the first byte of a peer that is to speak first, under the first-byte timeout. After our
// FIN it is under the linger timeout, once. While the worker drains, an open connection with
// nothing pending is finished when it was quiet for a moment.
//
// The kernel buffers megabytes, so that a slow reader can read for a long time before there is room
// for one of our bytes: while the write-stall timeout runs, each quarter of it asks the kernel what
// the peer has acknowledged.
//
// Pure: functions of a connection, the limits, and a time given in. They change of a connection
// what it remembers of its peer's progress, and nothing else; the timer and the consequences are
// the engine's.
#pragma once

#include "daemon/tcp/connection.h"
#include "daemon/tcp/tcp_limits.h"

#include <cstdint>
#include <optional>

namespace riposte::deadlines {

/// A draining connection is finished when it was quiet for this long.
inline constexpr uint32_t drain_quiet_ms = 20;

/// The worker's clock, and how far its drain is.
struct Now {
    uint64_t ms = 0;
    bool draining = false;
    uint64_t drain_grace_ms = 0; ///< from then on, a connection with nothing pending is finished
};

/// Is its next deadline that of the first byte? The shorter timeout counts: a peer that never spoke
/// is idle, too.
inline bool first_byte_due(const Connection& c, const TcpLimits& limits) noexcept {
    return !c.heard && limits.first_byte_timeout_ms <= limits.idle_timeout_ms;
}

/// The peer made progress, as far as was seen: milliseconds until the next deadline; none if there
/// is none, because the stream is being stopped for a handoff.
std::optional<uint32_t> renew(Connection& c, const TcpLimits& limits, const Now& now) noexcept;

/// Remembers what the kernel still has for the peer. Did the peer acknowledge something since the
/// last look? The first look has nothing to compare with.
bool record_unacknowledged(Connection& c, uint32_t unacknowledged, uint64_t now_ms) noexcept;

enum class Reading : uint8_t {
    steadily, ///< or it is too early to say
    not_at_all,
    too_slowly,
};

struct ReadVerdict {
    Reading reading = Reading::steadily;
    uint64_t next_look_ms = 0; ///< of a peer that reads steadily
};

/// The deadline of a connection whose reply is pending has come; `unacknowledged` is what the
/// kernel still has for the peer.
ReadVerdict judge_reading(
    Connection& c, const TcpLimits& limits, uint32_t unacknowledged, uint64_t now_ms) noexcept;

} // namespace riposte::deadlines
