// What is pending for a connection's peer: a queue of chunks, each in a stream buffer of the
// worker's.
//
// The links lie in one table by buffer, so that a queue of any length allocates nothing, and a
// connection only holds its two ends. While the first chunk is being sent, bytes may still be
// appended to the last one, also if that is the same: the send covers only what was there when it
// was given. A small arrival is copied behind the last chunk instead of holding a buffer of its
// own, which bounds the buffers of a queue: of any two neighbours, one is at least half full.
#pragma once

#include "daemon/io/buffer_pool.h"

#include <cstdint>
#include <vector>

namespace riposte {

struct SendQueue {
    BufferId head = no_buffer;
    BufferId tail = no_buffer;
    uint32_t bytes = 0; ///< in all chunks
};

class SendQueues {
public:
    struct Chunk {
        BufferId next = no_buffer;
        uint32_t begin = 0; ///< of the bytes that are still pending
        uint32_t end = 0;
        uint64_t since_ns = 0; ///< when what the first of these bytes answer had arrived
    };
    static constexpr uint64_t unasked = UINT64_MAX; ///< for since_ns: they answer nothing

    explicit SendQueues(BufferPool& pool) : pool_(pool), chunks_(pool.count()) {}

    /// Appends the first `size` bytes (at least 1) of `buffer`. False if they were copied: the
    /// buffer is not part of the queue, and the caller releases it.
    bool append(
        SendQueue& queue, BufferId buffer, uint32_t size, uint64_t since_ns = unasked) noexcept;

    const Chunk& front(const SendQueue& queue) const noexcept { return chunks_[queue.head]; }

    /// `size` bytes of the first chunk were sent. Returns its buffer if that was all of it: it has
    /// left the queue, and the caller releases it. Else no_buffer.
    BufferId consume(SendQueue& queue, uint32_t size) noexcept;

    /// Takes out one chunk, the first or, if that one is in flight, the one behind it. The caller
    /// releases its buffer; no_buffer when there is none left to take.
    BufferId drop(SendQueue& queue, bool first_in_flight) noexcept;

private:
    BufferPool& pool_;
    std::vector<Chunk> chunks_; ///< by buffer
};

} // namespace riposte
