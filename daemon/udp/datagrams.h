// The datagrams of one worker: asks whether they may be answered and the service about each, and
// gathers its replies for sending.
//
// Whether they may be answered is decided once for a train, which has one source: by the rules
// (source_filter.h) all or none, by the rates (response_rate_limit.h) the first ones of it. What is
// refused is counted by its reason and logged nowhere but at the level debug.
//
// What arrives in a buffer is a datagram or a train of them (DatagramInfo::segment_bytes). The
// service answers each one in place. The replies then move together at the buffer's front and leave
// as one train, which needs them to be of one size, the last one excepted, which may be shorter.
// The reply that is not so starts another train, in a buffer of its own, or is dropped and counted
// when there is none. An answer that is longer than its question goes, alone and in a buffer of its
// own, only to a source that the configuration names (`longer_answers_to`). Counted are datagrams,
// never trains.
#pragma once

#include "daemon/io/backend.h"
#include "daemon/io/turn.h"
#include "daemon/listen/listener_slot.h"
#include "daemon/log/log.h"
#include "daemon/telemetry/worker_telemetry.h"
#include "daemon/udp/drop_reason.h"
#include "daemon/udp/response_rate_limit.h"
#include "daemon/udp/source_filter.h"
#include "daemon/udp/udp_limits.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace riposte {

/// What counts the datagrams that were dropped for this reason.
Counter counter_of(DropReason reason);

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
    /// `rate_entries`: see ResponseRateLimit.
    Datagrams(Turn& turn, WorkerTelemetry& telemetry, uint32_t rate_entries);

    /// Memory for set() with this share. Throws std::bad_alloc, and then nothing has changed.
    void reserve(const UdpLimits& share);
    void give_up() noexcept { reserved_.reset(); }
    /// From now on. What was reserved last must have been for this share.
    void set(const UdpLimits& share, std::shared_ptr<const PortSet> served);

    /// What arrived in `buffer`, which is the worker's: goes to the backend with the replies, or
    /// back to the pool.
    void arrived(ListenerSlot& at, BufferId buffer, uint32_t size);
    /// The event of a send_to: counts, and gives the buffer back.
    void sent(ListenerSlot& from, const Event& event);
    /// Is every buffer with the worker, or in a send that will bring it back? Then, and only then,
    /// who found none may wait for one.
    bool all_taken(uint32_t replies_in_flight) const noexcept;

private:
    /// What a buffer that is being sent holds, because a failed send does not say.
    struct Reply {
        uint16_t count;
        uint16_t segment_bytes;
        ServiceKind service; ///< that was asked; its listener may have another one by now
        uint64_t since_ns;   ///< when the question arrived
    };

    struct Lists {
        CidrSet rate_exempt;
        CidrSet port_exempt;
        CidrSet longer_answers_to;
    };

    static Lists lists_of(const UdpLimits& share);
    uint32_t admit(
        const ListenerSlot& at, BufferId buffer, SourceKey& source, uint32_t size, uint32_t count);
    bool ask_service(
        ListenerSlot& at, BufferId buffer, const SourceKey& source, std::span<std::byte> datagrams,
        size_t step);
    std::optional<uint32_t> answer_longer(ListenerSlot& at, BufferId question);
    void push(ListenerSlot& at, const ReplyTrain& train);
    void answer(
        ListenerSlot& at, BufferId question, ReplyTrain& train, std::span<const std::byte> reply);
    void log_datagram(const ListenerSlot& at, BufferId buffer, std::span<const std::byte> datagram);
    void tell_access(
        const ListenerSlot& at, BufferId buffer, std::span<const std::byte> datagrams,
        uint32_t step, uint32_t first, uint32_t admitted);
    void log_refused(const ListenerSlot& at, BufferId buffer, uint32_t count, DropReason why);

    Turn& turn_;
    WorkerTelemetry& telemetry_;
    SourceFilter rules_;
    ResponseRateLimit rates_;
    CidrSet longer_answers_to_;
    std::optional<Lists> reserved_;
    std::vector<Reply> replies_; ///< by buffer
    log::Limit debug_limit_{1000, 1000};
    log::Limit refused_limit_{1000, 1000};
};

} // namespace riposte
