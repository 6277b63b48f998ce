// Which datagrams go to the kernel as one message.
//
// A message is one datagram, or several of one size of which the last may be shorter; the kernel
// cuts the latter (UDP_SEGMENT, udp(7)) after the way through its stack, which is what a datagram
// costs. Neighbouring operations are joined as long as they go to the same peer from the same
// address of ours, and an operation that is more than a message may hold goes as several. Nothing
// is copied: a message is a stretch of operations, gathered from their buffers.
#pragma once

#include "daemon/io/backend.h"

#include <algorithm>
#include <compare>
#include <cstdint>
#include <span>

namespace riposte {

/// A byte of a run of operations: `offset` in the operation `op`.
struct TrainPlace {
    uint32_t op = 0;
    uint32_t offset = 0;

    auto operator<=>(const TrainPlace&) const = default;
};

struct TrainMessage {
    /// What every kernel with UDP_SEGMENT takes (newer ones: 128).
    static constexpr uint32_t segments_max = 64;
    /// With any headers in front it stays below 64 KiB, the largest packet of IPv4 and IPv6, and
    /// what a device leaves in one piece (gso_max_size): the kernel would cut it at once.
    static constexpr uint32_t bytes_max = 65'400;

    TrainPlace begin{};
    TrainPlace end{};           ///< the first byte that is not in it
    uint32_t bytes = 0;         ///< 0: an empty datagram
    uint32_t segment_bytes = 0; ///< 0: it is one datagram

    /// Calls `visit(op, offset, size)` for each piece of an operation that is in it, in order.
    template<class Visit>
    void for_each_piece(std::span<const Op> ops, Visit visit) const {
        for (TrainPlace at = begin; at < end; at = {at.op + 1, 0}) {
            uint32_t stop = at.op < end.op ? ops[at.op].size : end.offset;
            visit(at.op, at.offset, stop - at.offset);
        }
    }
};

/// Would answers to both go the same way?
bool same_way(const DatagramInfo& a, const DatagramInfo& b) noexcept;

/// The message that begins at `from`, which is in `ops` (all of one socket): as much as may be
/// joined to it, and of a single datagram or segment at least that. With `segments_max` 1 it is
/// always one datagram.
TrainMessage next_message(
    std::span<const Op> ops, TrainPlace from, uint32_t segments_max, DatagramPool& pool) noexcept;

} // namespace riposte
