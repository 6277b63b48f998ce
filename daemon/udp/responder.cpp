#include "daemon/udp/responder.h"

#include "common/address.h"
#include "common/text.h"
#include "daemon/acl/source_key.h"
#include "daemon/services/stamp_reflector.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <netinet/in.h>

namespace riposte {
namespace {

/// `port`: of the socket, which the kernel does not repeat. A datagram that arrived before the
/// socket measured has no time of its own; it is as if it had arrived now.
DatagramArrival arrival_of(const DatagramInfo& info, uint16_t port, const WallClock& clock) {
    DatagramArrival arrival{
        .peer = {.storage = info.peer.any, .size = info.peer_size},
        .local = {},
        .received_ns = info.has_received_ns ? info.received_ns : clock.now_ns(),
        .ttl = info.ttl != 0 ? info.ttl : uint8_t{255},
        .traffic_class = info.traffic_class};
    if (info.local_family == AF_INET) {
        sockaddr_in local{};
        local.sin_family = AF_INET;
        local.sin_port = htons(port);
        local.sin_addr = info.local.v4.ipi_spec_dst;
        std::memcpy(&arrival.local.storage, &local, sizeof local);
        arrival.local.size = sizeof local;
    } else if (info.local_family == AF_INET6) {
        sockaddr_in6 local{};
        local.sin6_family = AF_INET6;
        local.sin6_port = htons(port);
        local.sin6_addr = info.local.v6.ipi6_addr;
        std::memcpy(&arrival.local.storage, &local, sizeof local);
        arrival.local.size = sizeof local;
    }
    return arrival;
}

} // namespace

Counter counter_of(DropReason reason) {
    switch (reason) {
    case DropReason::denied:
        return Counter::datagrams_denied;
    case DropReason::source_port:
        return Counter::datagrams_source_port;
    case DropReason::own_port:
        return Counter::datagrams_own_port;
    case DropReason::source_address:
        return Counter::datagrams_source_address;
    case DropReason::group:
        return Counter::datagrams_to_group;
    case DropReason::malformed:
        return Counter::datagrams_malformed;
    case DropReason::prefix_rate:
        return Counter::datagrams_over_prefix_rate;
    case DropReason::crowded:
        return Counter::datagrams_crowded;
    case DropReason::newcomer_rate:
        return Counter::datagrams_over_newcomer_rate;
    case DropReason::rate:
        return Counter::datagrams_over_rate;
    }
    std::unreachable();
}

Counter counter_of(StampOutcome outcome) {
    switch (outcome) {
    case StampOutcome::too_short:
        return Counter::datagrams_too_long;
    case StampOutcome::reflected:
        return Counter::datagrams_reflected;
    case StampOutcome::no_multiplier:
        return Counter::datagrams_no_multiplier;
    case StampOutcome::no_session:
        return Counter::datagrams_no_session;
    case StampOutcome::unauthenticated:
        return Counter::datagrams_unauthenticated;
    case StampOutcome::stale:
        return Counter::datagrams_stale;
    case StampOutcome::not_wanted:
        return Counter::datagrams_unanswered;
    case StampOutcome::answered:
        break;
    }
    std::unreachable();
}

UdpResponder::UdpResponder(Turn& turn, WorkerTelemetry& telemetry, uint32_t rate_entries)
    : turn_(turn), telemetry_(telemetry), clock_(turn.host), rates_(rate_entries),
      replies_(turn.pools.datagrams.buffers().count()), timed_(replies_.size()) {}

UdpResponder::Lists UdpResponder::lists_of(const UdpLimits& share) {
    return {
        CidrSet(share.rate_exempt), CidrSet(share.port_exempt), CidrSet(share.longer_answers_to)};
}

void UdpResponder::reserve(const UdpLimits& share) {
    reserved_ = lists_of(share);
}

void UdpResponder::set(const UdpLimits& share, std::shared_ptr<const PortSet> served) {
    Lists lists = reserved_ ? std::move(*reserved_) : lists_of(share);
    reserved_.reset();
    source_filter_ = SourceFilter(std::move(served), std::move(lists.port_exempt));
    rates_.set(share, std::move(lists.rate_exempt));
    longer_answers_to_ = std::move(lists.longer_answers_to);
}

void UdpResponder::arrived(ListenerSlot& at, BufferId buffer, uint32_t size) {
    BufferPool& buffers = turn_.pools.datagrams.buffers();
    const uint32_t segment = turn_.pools.datagrams.info(buffer).segment_bytes;
    const uint32_t step = segment != 0 ? segment : size;
    const uint32_t count = segment != 0 ? (size + segment - 1) / segment : 1;
    telemetry_.metrics.add(at.socket.kind, Counter::datagrams_received, count);
    telemetry_.metrics.add(at.socket.kind, Counter::datagram_received_bytes, size);
    ListenerCounts::add(at.socket.counts->received, count);
    ListenerCounts::add(at.socket.counts->received_bytes, size);
    SourceKey source;
    const uint32_t admitted = admit(at, buffer, source, step, count);
    if (const uint32_t first = telemetry_.access_log.first_sample(count); first < count)
        [[unlikely]]
        log_access(at, buffer, buffers.bytes(buffer).first(size), step, first, admitted);
    bool replied = false;
    if (admitted > 0) { // `size` may be 0: an empty datagram is a request, too
        const uint32_t bytes = admitted < count ? admitted * step : size;
        const auto datagrams = buffers.bytes(buffer).first(bytes);
        replied = at.socket.sessions == nullptr ? ask_service(at, buffer, source, datagrams, step)
                                                : segment == 0 && reflect(at, buffer, source, size);
    }
    buffers.move(buffer, Owner::worker, replied ? Owner::backend : Owner::pool);
}

/// How many of the `count` datagrams in the buffer, of up to `size` bytes each, may get a reply.
/// Sets `source`, and counts the refused ones.
uint32_t UdpResponder::admit(
    const ListenerSlot& at, BufferId buffer, SourceKey& source, uint32_t size, uint32_t count) {
    const DatagramInfo& info = turn_.pools.datagrams.info(buffer);
    ResponseRateLimit::Grant grant{};
    const bool knows_answers = at.socket.sessions != nullptr;
    if (const auto refusal = source_filter_.check(info, knows_answers, source))
        grant = {0, *refusal};
    else if (at.socket.acl != nullptr && !at.socket.acl->permits(source))
        grant = {0, DropReason::denied};
    else
        grant = rates_.ask(source, count, size, turn_.now_ms);
    if (grant.datagrams < count) {
        telemetry_.metrics.add(at.socket.kind, counter_of(grant.refusal), count - grant.datagrams);
        ListenerCounts::add(at.socket.counts->refused, count - grant.datagrams);
        if (log::enabled(LogLevel::debug))
            log_refused(at, buffer, count - grant.datagrams, grant.refusal);
    }
    return grant.datagrams;
}

/// Gives the service the datagrams at the front of the buffer, `step` bytes each except the last,
/// and queues its replies. True: `buffer` holds replies, and the caller passes it to the backend.
bool UdpResponder::ask_service(
    ListenerSlot& at, BufferId buffer, const SourceKey& source, std::span<std::byte> datagrams,
    size_t step) {
    const bool logs = log::enabled(LogLevel::debug);
    const Service& service = *at.socket.service;
    ReplyTrain train(buffer, datagrams);
    uint32_t replies = 0;
    uint64_t reply_bytes = 0;
    uint64_t unanswered = 0;
    uint64_t too_long = 0;
    do {
        std::span<std::byte> datagram = datagrams.first(std::min(step, datagrams.size()));
        datagrams = datagrams.subspan(datagram.size());
        if (logs)
            log_datagram(at, buffer, datagram);
        DatagramReply reply = service.datagram({turn_.wall_seconds}, datagram);
        if (reply.verdict == DatagramReply::Verdict::send) {
            assert(reply.size <= datagram.size());
            ++replies;
            reply_bytes += reply.size;
            append_reply(at, buffer, train, datagram.first(reply.size));
        } else if (reply.verdict == DatagramReply::Verdict::drop) {
            ++unanswered;
        } else if (longer_answers_to_.longest_match(source) == CidrSet::none) {
            ++too_long;
        } else if (const auto size = send_longer_reply(at, buffer)) {
            ++replies;
            reply_bytes += *size;
        }
    } while (!datagrams.empty());
    rates_.charge(replies, reply_bytes);
    if (unanswered > 0)
        telemetry_.metrics.add(at.socket.kind, Counter::datagrams_unanswered, unanswered);
    if (too_long > 0)
        telemetry_.metrics.add(at.socket.kind, Counter::datagrams_too_long, too_long);
    const bool replied = train.count() > 0;
    if (replied)
        push(at, train);
    if (train.buffer() != buffer) // the train in `buffer` is queued already
        turn_.pools.datagrams.buffers().move(train.buffer(), Owner::worker, Owner::backend);
    return replied;
}

/// Gives the datagram in the buffer to the reflector, and queues its answer, which leaves alone. A
/// train, which can only have arrived before the socket measured, has one time for all, and gets no
/// answer. True as ask_service().
bool UdpResponder::reflect(
    ListenerSlot& at, BufferId buffer, const SourceKey& source, uint32_t size) {
    DatagramInfo& info = turn_.pools.datagrams.info(buffer);
    const std::span<std::byte> bytes = turn_.pools.datagrams.buffers().bytes(buffer);
    if (log::enabled(LogLevel::debug))
        log_datagram(at, buffer, bytes.first(size));
    const bool may_grow = at.socket.twamp_light != nullptr &&
                          at.socket.twamp_light->longest_match(source) != CidrSet::none;
    const DatagramArrival arrival = arrival_of(info, at.socket.port, clock_);
    const StampReply reply = at.socket.service->reflector()->reflect(
        {.buffer = may_grow ? bytes : bytes.first(size),
         .size = size,
         .arrival = arrival,
         .now_ms = turn_.now_ms},
        *at.socket.sessions, clock_);
    if (reply.outcome != StampOutcome::answered) {
        telemetry_.metrics.add(at.socket.kind, counter_of(reply.outcome));
        if (reply.outcome != StampOutcome::not_wanted)
            ListenerCounts::add(at.socket.counts->refused, 1);
        return false;
    }
    assert(may_grow || reply.size <= size);
    rates_.charge(1, reply.size);
    if (reply.size > size)
        telemetry_.metrics.add(at.socket.kind, Counter::datagrams_longer);
    info.measured = true;
    info.timed = reply.session != 0;
    info.traffic_class = static_cast<uint8_t>(reply.dscp << 2);
    ReplyTrain train(buffer, bytes);
    train.append(bytes.first(reply.size));
    push(at, train);
    if (info.timed)
        timed_[buffer] = {
            .session = reply.session, .sequence = reply.sequence, .stamped_ns = reply.sent_ns};
    return true;
}

/// Appends `reply` to the train. If it does not fit, queues the train and begins another one in a
/// buffer of its own; without a free buffer, drops the reply and counts it.
void UdpResponder::append_reply(
    ListenerSlot& at, BufferId request, ReplyTrain& train, std::span<const std::byte> reply) {
    DatagramPool& pool = turn_.pools.datagrams;
    if (!train.fits(reply.size())) {
        const BufferId another = pool.buffers().take(Owner::worker);
        if (another == no_buffer) {
            telemetry_.metrics.add(at.socket.kind, Counter::datagrams_send_failed);
            return;
        }
        push(at, train);
        if (train.buffer() != request)
            pool.buffers().move(train.buffer(), Owner::worker, Owner::backend);
        pool.info(another) = pool.info(request);
        train = ReplyTrain(another, pool.buffers().bytes(another));
    }
    train.append(reply);
}

/// Queues the service's longer reply, in a buffer of its own. Its size in bytes; nothing if there
/// is no reply.
std::optional<uint32_t> UdpResponder::send_longer_reply(ListenerSlot& at, BufferId request) {
    DatagramPool& pool = turn_.pools.datagrams;
    const BufferId buffer = pool.buffers().take(Owner::worker);
    if (buffer == no_buffer) {
        telemetry_.metrics.add(at.socket.kind, Counter::datagrams_send_failed);
        return std::nullopt;
    }
    const uint32_t size = at.socket.service->longer_reply(
        {turn_.wall_seconds}, LongerReplyBuffer(pool.buffers().bytes(buffer)));
    if (size == 0) {
        telemetry_.metrics.add(at.socket.kind, Counter::datagrams_too_long);
        pool.buffers().move(buffer, Owner::worker, Owner::pool);
        return std::nullopt;
    }
    pool.info(buffer) = pool.info(request);
    ReplyTrain train(buffer, pool.buffers().bytes(buffer));
    train.append(pool.buffers().bytes(buffer).first(size));
    push(at, train);
    pool.buffers().move(buffer, Owner::worker, Owner::backend);
    telemetry_.metrics.add(at.socket.kind, Counter::datagrams_longer);
    return size;
}

/// Queues the train for sending. The caller passes its buffer to the backend, as soon as it reads
/// nothing more from it.
void UdpResponder::push(ListenerSlot& at, const ReplyTrain& train) {
    assert(train.count() > 0);
    replies_[train.buffer()] = {
        static_cast<uint16_t>(train.count()), train.segment_bytes(), at.socket.kind, turn_.now_ns};
    ++at.replies;
    turn_.ops.push_back(
        {.kind = OpKind::send_to,
         .segment_bytes = train.segment_bytes(),
         .token = {at.slot, at.generation},
         .fd = at.socket.fd,
         .buffer = train.buffer(),
         .size = train.bytes()});
}

void UdpResponder::sent(ListenerSlot& from, const Event& event) {
    const Reply reply = replies_[event.buffer];
    uint64_t count = event.result >= 0 ? 1 : 0;
    if (reply.segment_bytes != 0 && event.result >= 0) // at most one of those sent was shorter
        count =
            (static_cast<uint32_t>(event.result) + reply.segment_bytes - 1U) / reply.segment_bytes;
    assert(count <= reply.count);
    if (count > 0) {
        const auto size = static_cast<uint32_t>(event.result);
        telemetry_.metrics.add(reply.service, Counter::datagrams_sent, count);
        telemetry_.metrics.add(reply.service, Counter::datagram_sent_bytes, size);
        telemetry_.metrics.answered(
            reply.service, Transport::udp, turn_.now_ns - reply.since_ns, count);
        ListenerCounts::add(from.socket.counts->answered, count);
        ListenerCounts::add(from.socket.counts->sent_bytes, size);
    }
    if (count < reply.count)
        telemetry_.metrics.add(reply.service, Counter::datagrams_send_failed, reply.count - count);
    if (const DatagramInfo& info = turn_.pools.datagrams.info(event.buffer); info.timed)
        timed_answers_.sent(event.token, info.transmit_id, timed_[event.buffer]);
    --from.replies;
    turn_.pools.datagrams.buffers().move(event.buffer, Owner::worker, Owner::pool);
}

void UdpResponder::transmitted(ListenerSlot& from, const Event& event) {
    if (const auto answer = timed_answers_.take(event); answer && from.socket.sessions != nullptr)
        from.socket.sessions->transmitted(
            answer->session, answer->sequence, stamp::to_ntp(event.time_ns));
}

bool UdpResponder::all_buffers_in_use(uint32_t replies_in_flight) const noexcept {
    const BufferPool& buffers = turn_.pools.datagrams.buffers();
    return buffers.held(Owner::pool) == 0 && buffers.held(Owner::backend) == replies_in_flight;
}

void UdpResponder::log_datagram(
    const ListenerSlot& at, BufferId buffer, std::span<const std::byte> datagram) {
    uint64_t suppressed = 0;
    if (!debug_limit_.allow(turn_.now_ms, suppressed))
        return;
    const DatagramInfo& info = turn_.pools.datagrams.info(buffer);
    SocketAddress peer{.storage = info.peer.any, .size = info.peer_size};
    std::string_view text(reinterpret_cast<const char*>(datagram.data()), datagram.size());
    log::write(
        LogLevel::debug,
        fmt::format(
            "received from {}: \"{}\"{}", to_string(peer), escape(text), log::left_out(suppressed)),
        {{"RIPOSTE_PEER", to_string(peer)}, {"RIPOSTE_LISTENER", at.socket.label}});
}

/// Logs the sampled datagrams of a train: the one with index `first`, then each
/// datagrams_every()th.
void UdpResponder::log_access(
    const ListenerSlot& at, BufferId buffer, std::span<const std::byte> datagrams, uint32_t step,
    uint32_t first, uint32_t admitted) {
    const DatagramInfo& info = turn_.pools.datagrams.info(buffer);
    const AccessPeer peer{
        .address = {.storage = info.peer.any, .size = info.peer_size},
        .listener = at.socket.label,
        .service = at.socket.kind};
    uint64_t index = first;
    do { // `datagrams` may have no bytes: an empty datagram is one, too
        const auto rest = datagrams.subspan(static_cast<size_t>(index) * step);
        telemetry_.access_log.datagram(
            peer, rest.first(std::min<size_t>(step, rest.size())), index >= admitted, turn_.now_ms);
        index += telemetry_.access_log.datagrams_every();
    } while (index * step < datagrams.size());
}

void UdpResponder::log_refused(
    const ListenerSlot& at, BufferId buffer, uint32_t count, DropReason why) {
    uint64_t suppressed = 0;
    if (!refused_limit_.allow(turn_.now_ms, suppressed))
        return;
    const DatagramInfo& info = turn_.pools.datagrams.info(buffer);
    SocketAddress peer{.storage = info.peer.any, .size = info.peer_size};
    log::write(
        LogLevel::debug,
        fmt::format(
            "no reply to {} {} from {}{}", count, row_of(counter_of(why)).text, to_string(peer),
            log::left_out(suppressed)),
        {{"RIPOSTE_PEER", to_string(peer)},
         {"RIPOSTE_LISTENER", at.socket.label},
         {"RIPOSTE_REASON", std::string(row_of(counter_of(why)).token)}});
}

} // namespace riposte
