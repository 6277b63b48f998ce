#include "daemon/tcp/connections.h"

#include "common/text.h"
#include "daemon/tcp/transfer_rate.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <fmt/format.h>

namespace riposte {

Connections::Connections(
    Turn& turn, WorkerTelemetry& telemetry, const TcpLimits& limits, uint32_t window_buffers)
    : turn_(turn), telemetry_(telemetry), window_buffers_(window_buffers),
      queues_(turn.pools.streams), timers_(limits.connections_max), admission_(limits) {
    evicting_.reserve(evictions_max);
    apply_limits(limits);
}

void Connections::handle(const Event& event) {
    uint32_t slot = event.token.slot;
    if (slot == refused_slot) {
        assert(event.kind == OpKind::close);
        --refused_;
        return;
    }
    Connection& c = table_[slot];
    assert(!c.is_free() && c.generation == event.token.generation);
    if (event.kind == OpKind::receive) {
        on_receive(slot, event);
    } else if (event.kind == OpKind::send) {
        assert(event.buffer == c.pending.head);
        c.end_send();
        --sends_in_flight_;
        on_sent(slot, event.result);
    } else if (event.kind == OpKind::release) {
        on_released(slot);
        return;
    } else {
        assert(event.kind == OpKind::close);
        on_closed(slot);
        return;
    }
    reconsider(slot);
    run(slot);
}

void Connections::on_receive(uint32_t slot, const Event& event) {
    Connection& c = table_[slot];
    assert(c.receiving());
    if (event.last)
        c.end_receive();
    const bool over = c.is_over();
    if (event.result > 0) {
        on_data(slot, event.buffer, static_cast<uint32_t>(event.result));
    } else if (over || event.result == -ECANCELED || event.result == -EINTR) {
        return; // if it is to go on, it is armed again
    } else if (event.result == 0) {
        c.peer_finished = true;
        if (c.is_open() && !c.finish_requested) {
            c.farewell_due = true;
            c.generating = false;
        }
    } else if (event.result == -ENOBUFS) {
        // Re-armed at once unless every buffer is with us or in one of our sends: then nothing can
        // arrive before we release one, and trying would spin.
        const BufferPool& pool = turn_.pools.streams;
        if (pool.held(Owner::worker) + sends_in_flight_ == pool.count())
            starve(slot);
    } else {
        tally(c, Counter::connections_reset);
        fail(slot, errno_text(-event.result));
    }
}

void Connections::on_data(uint32_t slot, BufferId buffer, uint32_t size) {
    Connection& c = table_[slot];
    c.heard = true;
    tally(c, Counter::stream_received_bytes, size);
    std::span<std::byte> bytes = turn_.pools.streams.bytes(buffer);
    telemetry_.access_log.received(slot, bytes.first(size));
    if (c.listener != nullptr)
        ListenerCounts::add(c.listener->socket.counts->received_bytes, size);
    if (!c.is_open() || c.finish_requested) {
        release(buffer);
        return;
    }
    if (log::enabled(LogLevel::debug)) {
        std::string_view text(reinterpret_cast<const char*>(bytes.data()), size);
        log_peer(slot, "received", fmt::format(": \"{}\"", escape(text)));
    }
    bool owed = c.pending.bytes > 0;
    StreamReply reply = c.service->arrived(context(), c.service_state, bytes, size);
    enqueue(slot, buffer, reply.size, turn_.now_ns);
    c.finish_requested = reply.finish;
    if (owed) {
        c.peer_sends = {}; // it is judged by what it takes
        return;
    }
    if (transfer_rate::sends_too_slowly(c, limits_, size, turn_.now_ms)) {
        c.finish_requested = true;
        tally(c, Counter::read_rates_low);
        log_peer(slot, "ended", ": it sent less than rate_min");
        telemetry_.access_log.note(slot, "it sent less than rate_min");
    }
    set_deadline(slot);
}

void Connections::on_sent(uint32_t slot, int32_t result) {
    Connection& c = table_[slot];
    if (c.state() == ConnectionState::aborting) {
        drop_owed(c);
        return;
    }
    if (result == -EINTR) // nothing went; it is given again
        return;
    if (result <= 0) {
        tally(c, Counter::connections_reset);
        fail(slot, errno_text(result == 0 ? EPIPE : -result));
        return;
    }
    auto size = static_cast<uint32_t>(result);
    tally(c, Counter::stream_sent_bytes, size);
    telemetry_.access_log.sent(slot, size);
    if (c.listener != nullptr)
        ListenerCounts::add(c.listener->socket.counts->sent_bytes, size);
    transfer_rate::count_sent(c, size);
    c.answered = true;
    const uint64_t since_ns = queues_.front(c.pending).since_ns;
    if (BufferId sent = queues_.consume(c.pending, size); sent != no_buffer) {
        release(sent);
        if (since_ns != SendQueues::unasked)
            telemetry_.metrics.answered(c.kind, Transport::tcp, turn_.now_ns - since_ns);
    }
    bool grace_over = turn_.draining && turn_.now_ms >= turn_.drain_grace_ms;
    if (grace_over && c.is_open() && c.pending.bytes == 0 && !c.handing_off) {
        c.finish_requested = true;
        telemetry_.access_log.note(slot, "drained");
    }
    set_deadline(slot);
}

void Connections::on_closed(uint32_t slot) {
    Connection& c = table_[slot];
    c.end_close();
    timers_.clear(slot);
    free_slot(slot);
    ++freed_;
    tally(c, Counter::connections_closed);
}

void Connections::run(uint32_t slot) {
    while (take_step(slot, advance(table_[slot], window_bytes()))) {
    }
}

bool Connections::take_step(uint32_t slot, Step step) {
    Connection& c = table_[slot];
    Token token{slot, c.generation};
    switch (step) {
    case Step::wait:
        return false;
    case Step::farewell:
    case Step::generate:
        ask_service(slot, step);
        return true;
    case Step::send:
        push_send(slot);
        return true;
    case Step::receive:
        push_receive(slot);
        return true;
    case Step::finish:
        turn_.ops.push_back({.kind = OpKind::finish, .token = token, .fd = c.fd});
        c.finish();
        set_deadline(slot);
        return true;
    case Step::leave:
        c.leave();
        log_peer(slot, "ended", ": finished");
        tell_end(slot, "finished");
        return true;
    case Step::stop:
        turn_.ops.push_back(
            {.kind = OpKind::stop, .target = OpKind::receive, .token = token, .fd = c.fd});
        c.begin_stop();
        return true;
    case Step::close:
        c.begin_close();
        push_close(slot, c.generation, c.fd);
        return true;
    case Step::release:
        give_release(slot);
        return true;
    }
    return false;
}

void Connections::ask_service(uint32_t slot, Step step) {
    Connection& c = table_[slot];
    BufferPool& pool = turn_.pools.streams;
    BufferId buffer = pool.take(Owner::worker);
    if (buffer == no_buffer) {
        starve(slot);
        return;
    }
    bool owed = c.pending.bytes > 0;
    const uint64_t since_ns = step == Step::generate ? asked_ns(c) : SendQueues::unasked;
    StreamReply reply{};
    if (step == Step::farewell) {
        reply = c.service->peer_finished(context(), c.service_state, pool.bytes(buffer));
        c.farewell_due = false;
        c.finish_requested = true;
    } else {
        reply = c.service->writable(context(), c.service_state, pool.bytes(buffer));
        c.generating = reply.size > 0 && !reply.finish && !turn_.draining;
        c.finish_requested |= reply.finish;
    }
    enqueue(slot, buffer, reply.size, since_ns);
    if (!owed) // else the time of a peer that takes nothing goes on
        set_deadline(slot);
}

void Connections::push_send(uint32_t slot) {
    Connection& c = table_[slot];
    const SendQueues::Chunk& chunk = queues_.front(c.pending);
    turn_.pools.streams.move(c.pending.head, Owner::worker, Owner::backend);
    // The last bytes and the FIN go in one segment, if nothing is left to say in between.
    bool last = c.finish_requested && !c.farewell_due && !c.generating &&
                chunk.end - chunk.begin == c.pending.bytes;
    turn_.ops.push_back(
        {.kind = OpKind::send,
         .more = last,
         .token = {slot, c.generation},
         .fd = c.fd,
         .buffer = c.pending.head,
         .offset = chunk.begin,
         .size = chunk.end - chunk.begin});
    c.begin_send();
    ++sends_in_flight_;
}

void Connections::push_receive(uint32_t slot) {
    Connection& c = table_[slot];
    turn_.ops.push_back(
        {.kind = OpKind::receive,
         .token = {slot, c.generation},
         .fd = c.fd,
         .size = std::max(window_bytes() - std::min(window_bytes(), c.pending.bytes), 1u)});
    c.begin_receive();
}

void Connections::push_close(uint32_t slot, uint32_t generation, int fd) {
    turn_.ops.push_back({.kind = OpKind::close, .token = {slot, generation}, .fd = fd});
}

void Connections::enqueue(uint32_t slot, BufferId buffer, uint32_t size, uint64_t since_ns) {
    if (size == 0 || !queues_.append(table_[slot].pending, buffer, size, since_ns))
        release(buffer);
}

/// Who speaks first was asked by the connection as such: since when is known to the millisecond, or
/// exactly, if that was in this turn. What it says later, nobody asked for.
uint64_t Connections::asked_ns(const Connection& c) const noexcept {
    if (c.answered || c.pending.bytes > 0)
        return SendQueues::unasked;
    return c.progress_ms >= turn_.now_ms ? turn_.now_ns : c.progress_ms * 1'000'000;
}

uint32_t Connections::buffers_used() const noexcept {
    return turn_.pools.streams.held(Owner::worker) + sends_in_flight_;
}

void Connections::drop_owed(Connection& c) {
    for (BufferId buffer = no_buffer; (buffer = queues_.drop(c.pending, c.sending())) != no_buffer;)
        release(buffer);
}

void Connections::release(BufferId buffer) {
    turn_.pools.streams.move(buffer, Owner::worker, Owner::pool);
    released_ = true;
}

void Connections::fail(uint32_t slot, std::string_view reason) {
    Connection& c = table_[slot];
    if (!c.may_abort())
        return;
    if (log::enabled(LogLevel::debug))
        log_peer(slot, "ended", fmt::format(": {}", reason));
    tell_end(slot, reason);
    drop_owed(c);
    keep(slot);
    timers_.clear(slot);
    c.abort();
    turn_.ops.push_back({.kind = OpKind::abort, .token = {slot, c.generation}, .fd = c.fd});
}

uint32_t Connections::window_bytes() const noexcept {
    const BufferPool& pool = turn_.pools.streams;
    const uint64_t out = buffers_used();
    bool scarce = out * 4 >= uint64_t{pool.count()} * 3;
    return pool.buffer_bytes() * (scarce ? 1 : window_buffers_);
}

} // namespace riposte
