#include "daemon/datagrams.h"

#include "common/address.h"
#include "common/text.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

namespace riposte {

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

Datagrams::Datagrams(WorkerState& state)
    : state_(state), replies_(state.pools.datagrams.buffers().count()) {}

void Datagrams::arrived(Listening& at, BufferId buffer, uint32_t size) {
    BufferPool& buffers = state_.pools.datagrams.buffers();
    const uint32_t segment = state_.pools.datagrams.arrival(buffer).segment_bytes;
    const size_t step = segment != 0 ? segment : size;
    const bool logs = log::enabled(LogLevel::debug);
    const Service& service = *at.socket.service;
    std::span<std::byte> rest = buffers.bytes(buffer).first(size);
    ReplyTrain train(buffer, rest);
    uint64_t received = 0;
    uint64_t unanswered = 0;
    uint64_t too_long = 0;
    do { // an empty datagram is one, too
        std::span<std::byte> datagram = rest.first(std::min(step, rest.size()));
        rest = rest.subspan(datagram.size());
        ++received;
        if (logs)
            log_datagram(at, buffer, datagram);
        DatagramReply reply = service.datagram({state_.wall_seconds}, datagram);
        if (reply.verdict == DatagramReply::Verdict::send) {
            assert(reply.size <= datagram.size());
            answer(at, buffer, train, datagram.first(reply.size));
        } else {
            ++(reply.verdict == DatagramReply::Verdict::too_long ? too_long : unanswered);
        }
    } while (!rest.empty());
    state_.metrics.add(Count::datagrams_received, received);
    if (unanswered > 0)
        state_.metrics.add(Count::datagrams_unanswered, unanswered);
    if (too_long > 0)
        state_.metrics.add(Count::datagrams_too_long, too_long);
    const bool replied = train.count() > 0;
    if (replied)
        push(at, train);
    if (train.buffer() != buffer) // then the first train lies in that one
        buffers.move(train.buffer(), Owner::worker, Owner::backend);
    buffers.move(buffer, Owner::worker, replied ? Owner::backend : Owner::pool);
}

void Datagrams::answer(
    Listening& at, BufferId question, ReplyTrain& train, std::span<const std::byte> reply) {
    DatagramPool& pool = state_.pools.datagrams;
    if (!train.takes(reply.size())) {
        const BufferId another = pool.buffers().take(Owner::worker);
        if (another == no_buffer) {
            state_.metrics.add(Count::datagrams_send_failed);
            return;
        }
        push(at, train);
        if (train.buffer() != question)
            pool.buffers().move(train.buffer(), Owner::worker, Owner::backend);
        pool.arrival(another) = pool.arrival(question);
        train = ReplyTrain(another, pool.buffers().bytes(another));
    }
    train.append(reply);
}

/// The caller passes the buffer on, as soon as nothing more is read from it.
void Datagrams::push(Listening& at, const ReplyTrain& train) {
    assert(train.count() > 0);
    replies_[train.buffer()] = {static_cast<uint16_t>(train.count()), train.segment_bytes()};
    ++at.replies;
    state_.ops.push_back(
        {.kind = OpKind::send_to,
         .segment_bytes = train.segment_bytes(),
         .token = {at.slot, at.generation},
         .fd = at.socket.fd,
         .buffer = train.buffer(),
         .size = train.bytes()});
}

void Datagrams::sent(Listening& from, const Event& event) {
    const Reply reply = replies_[event.buffer];
    uint64_t count = event.result >= 0 ? 1 : 0;
    if (reply.segment_bytes != 0 && event.result >= 0) // of what went, at most one was shorter
        count =
            (static_cast<uint32_t>(event.result) + reply.segment_bytes - 1U) / reply.segment_bytes;
    assert(count <= reply.count);
    if (count > 0)
        state_.metrics.add(Count::datagrams_sent, count);
    if (count < reply.count)
        state_.metrics.add(Count::datagrams_send_failed, reply.count - count);
    --from.replies;
    state_.pools.datagrams.buffers().move(event.buffer, Owner::worker, Owner::pool);
}

bool Datagrams::all_taken(uint32_t replies_in_flight) const noexcept {
    const BufferPool& buffers = state_.pools.datagrams.buffers();
    return buffers.held(Owner::pool) == 0 && buffers.held(Owner::backend) == replies_in_flight;
}

void Datagrams::log_datagram(
    const Listening& at, BufferId buffer, std::span<const std::byte> datagram) {
    uint64_t suppressed = 0;
    if (!debug_limit_.allow(state_.now_ms, suppressed))
        return;
    const Arrival& arrival = state_.pools.datagrams.arrival(buffer);
    SocketAddress peer{.storage = arrival.peer.any, .size = arrival.peer_size};
    std::string_view text(reinterpret_cast<const char*>(datagram.data()), datagram.size());
    log::write(
        LogLevel::debug,
        fmt::format(
            "received from {}: \"{}\"{}", to_string(peer), escape(text), log::left_out(suppressed)),
        {{"RIPOSTE_PEER", to_string(peer)}, {"RIPOSTE_LISTENER", at.socket.label}});
}

} // namespace riposte
