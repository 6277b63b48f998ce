// Decides which datagrams are given to the kernel as one message.
//
// A message is one datagram, or a train: several of one size, of which the last may be shorter. The
// kernel cuts a train (UDP_SEGMENT, udp(7)) only after the way through its stack, which is most of
// a datagram's cost. Neighbouring operations are joined as long as they go to the same peer from
// the same address of ours, and an operation that exceeds a message is split into several. Nothing
// is copied: a message is a range of operations, gathered from their buffers.
#pragma once

#include "daemon/io/backend.h"

#include <algorithm>
#include <compare>
#include <cstdint>
#include <span>

namespace riposte {

/// A position in a run of operations: the byte `offset` of the operation `op`.
struct TrainPosition {
    uint32_t op = 0;
    uint32_t offset = 0;

    auto operator<=>(const TrainPosition&) const = default;
};

struct TrainMessage {
    /// The limit of every kernel with UDP_SEGMENT (newer ones: 128).
    static constexpr uint32_t segments_max = 64;
    /// With any headers in front a message stays below 64 KiB, the largest packet of IPv4 and IPv6
    /// and the largest that a device takes in one piece (gso_max_size): the kernel would cut a
    /// larger one at once.
    static constexpr uint32_t bytes_max = 65'400;

    TrainPosition begin{};
    TrainPosition end{};        ///< the first byte behind it
    uint32_t bytes = 0;         ///< 0: an empty datagram
    uint32_t segment_bytes = 0; ///< 0: the message is one datagram

    /// Calls `visit(op, offset, size)` for each piece of an operation in the message, in order.
    template<class Visit>
    void for_each_piece(std::span<const Op> ops, Visit visit) const {
        for (TrainPosition at = begin; at < end; at = {at.op + 1, 0}) {
            uint32_t stop = at.op < end.op ? ops[at.op].size : end.offset;
            visit(at.op, at.offset, stop - at.offset);
        }
    }
};

/// May replies to both leave together? They go to the same peer from the same address of ours, and
/// neither is measured.
bool same_route(const DatagramInfo& a, const DatagramInfo& b) noexcept;

/// The longest message that begins at `from`, a position in `ops` (all of one socket); it has at
/// least one datagram or segment. With `segments_max` 1 it is always one datagram.
TrainMessage next_message(
    std::span<const Op> ops, TrainPosition from, uint32_t segments_max,
    DatagramPool& pool) noexcept;

} // namespace riposte
