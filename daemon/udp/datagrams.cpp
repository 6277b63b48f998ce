#include "daemon/udp/datagrams.h"

#include "common/address.h"
#include "common/text.h"
#include "daemon/acl/source_key.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace riposte {

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

bool ReplyTrain::takes(size_t size) const noexcept {
    if (count_ == 0)
        return size <= room_.size();
    return !closed_ && size > 0 && size <= segment_bytes_ && size <= room_.size() - bytes_;
}

void ReplyTrain::append(std::span<const std::byte> reply) noexcept {
    assert(takes(reply.size()));
    std::byte* end = room_.data() + bytes_;
    if (end != reply.data())
        std::memmove(end, reply.data(), reply.size());
    auto size = static_cast<uint32_t>(reply.size());
    if (count_ == 0)
        segment_bytes_ = size;
    closed_ = size < segment_bytes_ || size == 0;
    bytes_ += size;
    ++count_;
}

Datagrams::Datagrams(Turn& turn, WorkerTelemetry& telemetry, uint32_t rate_entries)
    : turn_(turn), telemetry_(telemetry), rates_(rate_entries),
      replies_(turn.pools.datagrams.buffers().count()) {}

Datagrams::Lists Datagrams::lists_of(const UdpLimits& share) {
    return {
        CidrSet(share.rate_exempt), CidrSet(share.port_exempt), CidrSet(share.longer_answers_to)};
}

void Datagrams::reserve(const UdpLimits& share) {
    reserved_ = lists_of(share);
}

void Datagrams::set(const UdpLimits& share, std::shared_ptr<const PortSet> served) {
    Lists lists = reserved_ ? std::move(*reserved_) : lists_of(share);
    reserved_.reset();
    rules_ = SourceFilter(std::move(served), std::move(lists.port_exempt));
    rates_.set(share, std::move(lists.rate_exempt));
    longer_answers_to_ = std::move(lists.longer_answers_to);
}

void Datagrams::arrived(ListenerSlot& at, BufferId buffer, uint32_t size) {
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
        tell_access(at, buffer, buffers.bytes(buffer).first(size), step, first, admitted);
    bool replied = false;
    if (admitted > 0) { // an empty datagram is one, too
        const uint32_t bytes = admitted < count ? admitted * step : size;
        replied = ask_service(at, buffer, source, buffers.bytes(buffer).first(bytes), step);
    }
    buffers.move(buffer, Owner::worker, replied ? Owner::backend : Owner::pool);
}

/// How many of the `count` datagrams in the buffer, of up to `size` bytes, may be answered.
uint32_t Datagrams::admit(
    const ListenerSlot& at, BufferId buffer, SourceKey& source, uint32_t size, uint32_t count) {
    const DatagramInfo& arrival = turn_.pools.datagrams.info(buffer);
    ResponseRateLimit::Grant grant{};
    if (const auto refusal = rules_.refuses(arrival, source))
        grant = {0, *refusal};
    else if (at.socket.access != nullptr && !at.socket.access->permits(source))
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

/// The datagrams lie at the front of the buffer, `step` bytes each but for the last. Is there a
/// reply? Then the buffer is to go to the backend.
bool Datagrams::ask_service(
    ListenerSlot& at, BufferId buffer, const SourceKey& source, std::span<std::byte> datagrams,
    size_t step) {
    const bool logs = log::enabled(LogLevel::debug);
    const Service& service = *at.socket.service;
    ReplyTrain train(buffer, datagrams);
    uint32_t answers = 0;
    uint64_t answer_bytes = 0;
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
            ++answers;
            answer_bytes += reply.size;
            answer(at, buffer, train, datagram.first(reply.size));
        } else if (reply.verdict == DatagramReply::Verdict::drop) {
            ++unanswered;
        } else if (longer_answers_to_.longest_match(source) == CidrSet::none) {
            ++too_long;
        } else if (const auto size = answer_longer(at, buffer)) {
            ++answers;
            answer_bytes += *size;
        }
    } while (!datagrams.empty());
    rates_.charge(answers, answer_bytes);
    if (unanswered > 0)
        telemetry_.metrics.add(at.socket.kind, Counter::datagrams_unanswered, unanswered);
    if (too_long > 0)
        telemetry_.metrics.add(at.socket.kind, Counter::datagrams_too_long, too_long);
    const bool replied = train.count() > 0;
    if (replied)
        push(at, train);
    if (train.buffer() != buffer) // then the first train lies in that one
        turn_.pools.datagrams.buffers().move(train.buffer(), Owner::worker, Owner::backend);
    return replied;
}

void Datagrams::answer(
    ListenerSlot& at, BufferId question, ReplyTrain& train, std::span<const std::byte> reply) {
    DatagramPool& pool = turn_.pools.datagrams;
    if (!train.takes(reply.size())) {
        const BufferId another = pool.buffers().take(Owner::worker);
        if (another == no_buffer) {
            telemetry_.metrics.add(at.socket.kind, Counter::datagrams_send_failed);
            return;
        }
        push(at, train);
        if (train.buffer() != question)
            pool.buffers().move(train.buffer(), Owner::worker, Owner::backend);
        pool.info(another) = pool.info(question);
        train = ReplyTrain(another, pool.buffers().bytes(another));
    }
    train.append(reply);
}

/// In a buffer of its own: how many bytes, if it was answered.
std::optional<uint32_t> Datagrams::answer_longer(ListenerSlot& at, BufferId question) {
    DatagramPool& pool = turn_.pools.datagrams;
    const BufferId room = pool.buffers().take(Owner::worker);
    if (room == no_buffer) {
        telemetry_.metrics.add(at.socket.kind, Counter::datagrams_send_failed);
        return std::nullopt;
    }
    const uint32_t size = at.socket.service->longer_reply(
        {turn_.wall_seconds}, LongerReplyBuffer(pool.buffers().bytes(room)));
    if (size == 0) {
        telemetry_.metrics.add(at.socket.kind, Counter::datagrams_too_long);
        pool.buffers().move(room, Owner::worker, Owner::pool);
        return std::nullopt;
    }
    pool.info(room) = pool.info(question);
    ReplyTrain train(room, pool.buffers().bytes(room));
    train.append(pool.buffers().bytes(room).first(size));
    push(at, train);
    pool.buffers().move(room, Owner::worker, Owner::backend);
    telemetry_.metrics.add(at.socket.kind, Counter::datagrams_longer);
    return size;
}

/// The caller passes the buffer on, as soon as nothing more is read from it.
void Datagrams::push(ListenerSlot& at, const ReplyTrain& train) {
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

void Datagrams::sent(ListenerSlot& from, const Event& event) {
    const Reply reply = replies_[event.buffer];
    uint64_t count = event.result >= 0 ? 1 : 0;
    if (reply.segment_bytes != 0 && event.result >= 0) // of what went, at most one was shorter
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
    --from.replies;
    turn_.pools.datagrams.buffers().move(event.buffer, Owner::worker, Owner::pool);
}

bool Datagrams::all_taken(uint32_t replies_in_flight) const noexcept {
    const BufferPool& buffers = turn_.pools.datagrams.buffers();
    return buffers.held(Owner::pool) == 0 && buffers.held(Owner::backend) == replies_in_flight;
}

void Datagrams::log_datagram(
    const ListenerSlot& at, BufferId buffer, std::span<const std::byte> datagram) {
    uint64_t suppressed = 0;
    if (!debug_limit_.allow(turn_.now_ms, suppressed))
        return;
    const DatagramInfo& arrival = turn_.pools.datagrams.info(buffer);
    SocketAddress peer{.storage = arrival.peer.any, .size = arrival.peer_size};
    std::string_view text(reinterpret_cast<const char*>(datagram.data()), datagram.size());
    log::write(
        LogLevel::debug,
        fmt::format(
            "received from {}: \"{}\"{}", to_string(peer), escape(text), log::left_out(suppressed)),
        {{"RIPOSTE_PEER", to_string(peer)}, {"RIPOSTE_LISTENER", at.socket.label}});
}

/// Of a train, the datagram `first` and those that are as many further as there is one told of.
void Datagrams::tell_access(
    const ListenerSlot& at, BufferId buffer, std::span<const std::byte> datagrams, uint32_t step,
    uint32_t first, uint32_t admitted) {
    const DatagramInfo& arrival = turn_.pools.datagrams.info(buffer);
    const AccessPeer peer{
        .address = {.storage = arrival.peer.any, .size = arrival.peer_size},
        .listener = at.socket.label,
        .service = at.socket.kind};
    uint64_t index = first;
    do { // an empty datagram is one, too
        const auto rest = datagrams.subspan(static_cast<size_t>(index) * step);
        telemetry_.access_log.datagram(
            peer, rest.first(std::min<size_t>(step, rest.size())), index >= admitted, turn_.now_ms);
        index += telemetry_.access_log.datagrams_every();
    } while (index * step < datagrams.size());
}

void Datagrams::log_refused(
    const ListenerSlot& at, BufferId buffer, uint32_t count, DropReason why) {
    uint64_t suppressed = 0;
    if (!refused_limit_.allow(turn_.now_ms, suppressed))
        return;
    const DatagramInfo& arrival = turn_.pools.datagrams.info(buffer);
    SocketAddress peer{.storage = arrival.peer.any, .size = arrival.peer_size};
    log::write(
        LogLevel::debug,
        fmt::format(
            "not answered: {} {} from {}{}", count, row_of(counter_of(why)).text, to_string(peer),
            log::left_out(suppressed)),
        {{"RIPOSTE_PEER", to_string(peer)},
         {"RIPOSTE_LISTENER", at.socket.label},
         {"RIPOSTE_REASON", std::string(row_of(counter_of(why)).token)}});
}

} // namespace riposte
