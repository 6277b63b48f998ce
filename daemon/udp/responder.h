// Handles the datagrams of one worker: checks whether they may get a reply, calls the service for
// each, and gathers its replies for sending.
//
// A buffer has one datagram or a train of them (DatagramInfo::segment_bytes), all from one source,
// so the checks run once for a buffer: the source filter (source_filter.h) and the access lists
// (acl.h) refuse all of it or nothing, the rate limit (response_rate_limit.h) may admit only the
// first datagrams. Refused datagrams are counted by reason, and logged at the level debug only.
//
// The service replies to each datagram in place. The replies then move together to the buffer's
// front and leave as one train (reply_train.h). A reply that does not fit the train starts another
// one in a buffer of its own; without a free buffer it is dropped and counted. A reply that is
// longer than its request is sent only to a source in `longer_answers_to`, alone and in a buffer of
// its own. All counters count datagrams, never trains.
//
// A service that measures (stamp) gets each datagram alone, with what the kernel says of its
// arrival, and each of its answers leaves alone.
#pragma once

#include "daemon/io/backend.h"
#include "daemon/io/turn.h"
#include "daemon/listen/listener_slot.h"
#include "daemon/log/log.h"
#include "daemon/telemetry/worker_telemetry.h"
#include "daemon/udp/drop_reason.h"
#include "daemon/udp/host_clock.h"
#include "daemon/udp/reply_train.h"
#include "daemon/udp/response_rate_limit.h"
#include "daemon/udp/source_filter.h"
#include "daemon/udp/timed_answers.h"
#include "daemon/udp/udp_limits.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace riposte {

enum class StampOutcome : uint8_t;

/// The counter of the datagrams that are dropped for this reason.
Counter counter_of(DropReason reason);
/// The counter of the questions that the reflector does not answer for this reason.
Counter counter_of(StampOutcome outcome);

class UdpResponder {
public:
    /// `rate_entries`: see ResponseRateLimit.
    UdpResponder(Turn& turn, WorkerTelemetry& telemetry, uint32_t rate_entries);

    /// Reserves memory for set() with this share. Throws std::bad_alloc, and then nothing has
    /// changed.
    void reserve(const UdpLimits& share);
    void give_up() noexcept { reserved_.reset(); }
    /// Applies this worker's share of the limits. The last reserve(), if any, must have been for
    /// the same share. `served`: see SourceFilter.
    void set(const UdpLimits& share, std::shared_ptr<const PortSet> served);

    /// `size` bytes arrived in `buffer`, which the worker owns. Passes the buffer to the backend
    /// with the replies, or back to the pool.
    void arrived(ListenerSlot& at, BufferId buffer, uint32_t size);
    /// Handles the event of a send_to: counts it, and frees the buffer.
    void sent(ListenerSlot& from, const Event& event);
    /// Handles the event that says when a reply was transmitted.
    void transmitted(ListenerSlot& from, const Event& event);
    /// Does the worker own every buffer, or have it in a send, which returns it? Only then may a
    /// listener that found none wait for one.
    bool all_buffers_in_use(uint32_t replies_in_flight) const noexcept;

private:
    /// The content of a buffer that is being sent; recorded, because a failed send does not say.
    struct Reply {
        uint16_t count;
        uint16_t segment_bytes;
        ServiceKind service; ///< that replied; its listener may have another one by now
        uint64_t since_ns;   ///< when the request arrived
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
    bool reflect(ListenerSlot& at, BufferId buffer, const SourceKey& source, uint32_t size);
    std::optional<uint32_t> send_longer_reply(ListenerSlot& at, BufferId request);
    void push(ListenerSlot& at, const ReplyTrain& train);
    void append_reply(
        ListenerSlot& at, BufferId request, ReplyTrain& train, std::span<const std::byte> reply);
    void log_datagram(const ListenerSlot& at, BufferId buffer, std::span<const std::byte> datagram);
    void log_access(
        const ListenerSlot& at, BufferId buffer, std::span<const std::byte> datagrams,
        uint32_t step, uint32_t first, uint32_t admitted);
    void log_refused(const ListenerSlot& at, BufferId buffer, uint32_t count, DropReason why);

    Turn& turn_;
    WorkerTelemetry& telemetry_;
    SourceFilter source_filter_;
    HostClock clock_;
    ResponseRateLimit rates_;
    TimedAnswers timed_answers_;
    CidrSet longer_answers_to_;
    std::optional<Lists> reserved_;
    std::vector<Reply> replies_;     ///< by buffer; valid while it is being sent
    std::vector<TimedAnswer> timed_; ///< likewise, if its DatagramInfo is timed
    log::Limit debug_limit_{1000, 1000};
    log::Limit refused_limit_{1000, 1000};
};

} // namespace riposte
