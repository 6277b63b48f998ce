// Replies that leave as one train (datagram_train.h).
//
// The replies lie one behind the other at the front of a buffer. All have the size of the first;
// only the last may be shorter, and an empty reply is always alone.
#pragma once

#include "daemon/io/buffer_pool.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace riposte {

class ReplyTrain {
public:
    /// An empty train in `buffer`, which has the memory `bytes`. The caller owns the buffer.
    ReplyTrain(BufferId buffer, std::span<std::byte> bytes) : buffer_(buffer), memory_(bytes) {}

    /// Can a reply of this size be the next one?
    bool fits(size_t size) const noexcept;
    /// Moves `reply`, which fits, to the end of the train. It may lie in the same buffer, at or
    /// behind that end.
    void append(std::span<const std::byte> reply) noexcept;

    BufferId buffer() const noexcept { return buffer_; }
    uint32_t count() const noexcept { return count_; } ///< replies
    uint32_t bytes() const noexcept { return bytes_; } ///< of all replies
    /// For Op::segment_bytes: 0 if the train is a single datagram.
    uint16_t segment_bytes() const noexcept {
        return count_ > 1 ? static_cast<uint16_t>(segment_bytes_) : uint16_t{0};
    }

private:
    BufferId buffer_;
    std::span<std::byte> memory_;
    uint32_t count_ = 0;
    uint32_t bytes_ = 0;
    uint32_t segment_bytes_ = 0; ///< the size of the first reply
    bool closed_ = false;        ///< the last reply was shorter, or the only one is empty
};

} // namespace riposte
