// The datagrams of one worker: asks the service about each, and gathers its replies for sending.
//
// What arrives in a buffer is a datagram or a train of them (Arrival::segment_bytes). The service
// answers each one in place. The replies then move together at the buffer's front and leave as one
// train, which needs them to be of one size, the last one excepted, which may be shorter. The reply
// that is not so starts another train, in a buffer of its own, or is dropped and counted when there
// is none. Counted are datagrams, never trains.
#pragma once

#include "daemon/connections.h"
#include "daemon/io/backend.h"
#include "daemon/log.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace riposte {

/// Replies that lie one behind the other at the front of a buffer and can leave as one train.
class ReplyTrain {
public:
    ReplyTrain(BufferId buffer, std::span<std::byte> room) : buffer_(buffer), room_(room) {}

    /// May a reply of this size be the next one?
    bool takes(size_t size) const noexcept;
    /// `reply` is one that it takes; it may lie in the same buffer, at or behind the front's end.
    void append(std::span<const std::byte> reply) noexcept;

    BufferId buffer() const noexcept { return buffer_; }
    uint32_t count() const noexcept { return count_; }
    uint32_t bytes() const noexcept { return bytes_; }
    /// For Op::segment_bytes: 0 if it is a single datagram.
    uint16_t segment_bytes() const noexcept {
        return count_ > 1 ? static_cast<uint16_t>(segment_bytes_) : uint16_t{0};
    }

private:
    BufferId buffer_;
    std::span<std::byte> room_;
    uint32_t count_ = 0;
    uint32_t bytes_ = 0;
    uint32_t segment_bytes_ = 0; ///< of the first one
    bool closed_ = false;        ///< the last one was shorter, or the only one is empty
};

class Datagrams {
public:
    explicit Datagrams(WorkerState& state);

    /// What arrived in `buffer`, which is the worker's: goes to the backend with the replies, or
    /// back to the pool.
    void arrived(Listening& at, BufferId buffer, uint32_t size);
    /// The event of a send_to: counts, and gives the buffer back.
    void sent(Listening& from, const Event& event);
    /// Is every buffer with the worker, or in a send that will bring it back? Then, and only then,
    /// who found none may wait for one.
    bool all_taken(uint32_t replies_in_flight) const noexcept;

private:
    /// What a buffer that is being sent holds, because a failed send does not say.
    struct Reply {
        uint16_t count;
        uint16_t segment_bytes;
    };

    void push(Listening& at, const ReplyTrain& train);
    void answer(
        Listening& at, BufferId question, ReplyTrain& train, std::span<const std::byte> reply);
    void log_datagram(const Listening& at, BufferId buffer, std::span<const std::byte> datagram);

    WorkerState& state_;
    std::vector<Reply> replies_; ///< by buffer
    log::Limit debug_limit_{1000, 1000};
};

} // namespace riposte
