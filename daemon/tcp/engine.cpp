#include "daemon/tcp/engine.h"

#include "common/text.h"
#include "daemon/tcp/transfer_rate.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

namespace riposte {

// Events ------------------------------------------------------------------------------------------

void Engine::handle(const Event& event) {
    const uint32_t slot = event.token.slot;
    if (slot == refused_slot) {
        assert(event.kind == OpKind::close && refused_ > 0);
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
    recheck_handoff(slot);
    run(slot);
}

void Engine::on_receive(uint32_t slot, const Event& event) {
    Connection& c = table_[slot];
    assert(c.receiving());
    if (event.last)
        c.end_receive();
    if (event.result > 0) {
        answer(slot, event.buffer, static_cast<uint32_t>(event.result));
    } else if (c.is_over() || event.result == -ECANCELED || event.result == -EINTR) {
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
        if (buffers_used() == turn_.pools.streams.count())
            starve(slot);
    } else {
        count(c, Counter::connections_reset);
        fail(slot, errno_text(-event.result));
    }
}

/// `size` bytes came in `buffer`: the service answers in place.
void Engine::answer(uint32_t slot, BufferId buffer, uint32_t size) {
    Connection& c = table_[slot];
    c.heard = true;
    count(c, Counter::stream_received_bytes, size);
    const std::span<std::byte> bytes = turn_.pools.streams.bytes(buffer);
    telemetry_.access_log.received(slot, bytes.first(size));
    if (c.listener != nullptr)
        ListenerCounts::add(c.listener->socket.counts->received_bytes, size);
    if (!c.is_open() || c.finish_requested) {
        release_buffer(buffer);
        return;
    }
    if (log::enabled(LogLevel::debug))
        log_.debug_received(c, {reinterpret_cast<const char*>(bytes.data()), size}, turn_.now_ms);
    const bool was_pending = c.pending.bytes > 0;
    const StreamReply reply = c.service->arrived(context(), c.service_state, bytes, size);
    enqueue(slot, buffer, reply.size, turn_.now_ns);
    c.finish_requested = reply.finish;
    if (was_pending) {
        c.peer_sends = {}; // it is judged by what it reads
        return;
    }
    if (transfer_rate::sends_too_slowly(c, limits_, size, turn_.now_ms)) {
        c.finish_requested = true;
        count(c, Counter::read_rates_low);
        log_.debug(c, "ended", ": it sent less than rate_min", turn_.now_ms);
        telemetry_.access_log.note(slot, "it sent less than rate_min");
    }
    renew_deadline(slot);
}

void Engine::on_sent(uint32_t slot, int32_t result) {
    Connection& c = table_[slot];
    if (c.state() == ConnectionState::aborting) {
        drop_pending(c);
        return;
    }
    if (result == -EINTR) // nothing went; it is given again
        return;
    if (result <= 0) {
        count(c, Counter::connections_reset);
        fail(slot, errno_text(result == 0 ? EPIPE : -result));
        return;
    }
    const auto size = static_cast<uint32_t>(result);
    count(c, Counter::stream_sent_bytes, size);
    telemetry_.access_log.sent(slot, size);
    if (c.listener != nullptr)
        ListenerCounts::add(c.listener->socket.counts->sent_bytes, size);
    transfer_rate::count_sent(c, size);
    c.answered = true;
    const uint64_t since_ns = queues_.front(c.pending).since_ns;
    if (const BufferId sent = queues_.consume(c.pending, size); sent != no_buffer) {
        release_buffer(sent);
        if (since_ns != SendQueues::unasked)
            telemetry_.metrics.answered(c.kind, Transport::tcp, turn_.now_ns - since_ns);
    }
    const bool grace_over = turn_.draining && turn_.now_ms >= turn_.drain_grace_ms;
    if (grace_over && c.is_open() && c.pending.bytes == 0 && !c.handing_off) {
        c.finish_requested = true;
        telemetry_.access_log.note(slot, "drained");
    }
    renew_deadline(slot);
}

void Engine::on_closed(uint32_t slot) {
    Connection& c = table_[slot];
    c.end_close();
    timers_.clear(slot);
    vacate_slot(slot);
    ++freed_;
    count(c, Counter::connections_closed);
}

void Engine::on_released(uint32_t slot) {
    const Connection& c = table_[slot];
    assert(c.state() == ConnectionState::releasing);
    log_.debug(c, "handed over", "", turn_.now_ms);
    log_.end(slot, c, "handed over", turn_.now_ms);
    released_.push_back({Fd(c.fd), c.kind});
    vacate_slot(slot);
    count(c, Counter::connections_handed_over);
}

// Steps -------------------------------------------------------------------------------------------

void Engine::run(uint32_t slot) {
    while (take_step(slot, advance(table_[slot], window_bytes()))) {
    }
}

bool Engine::take_step(uint32_t slot, Step step) {
    Connection& c = table_[slot];
    const Token token = token_of(slot);
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
        push(OpKind::finish, token, c.fd);
        c.finish();
        renew_deadline(slot);
        return true;
    case Step::leave:
        log_.debug(c, "ended", ": finished", turn_.now_ms);
        leave(slot, "finished");
        return true;
    case Step::stop:
        turn_.ops.push_back(
            {.kind = OpKind::stop, .target = OpKind::receive, .token = token, .fd = c.fd});
        c.begin_stop();
        return true;
    case Step::close:
        c.begin_close();
        push(OpKind::close, token, c.fd);
        return true;
    case Step::release:
        c.release();
        timers_.clear(slot);
        push(OpKind::release, token, c.fd);
        return true;
    }
    return false;
}

void Engine::ask_service(uint32_t slot, Step step) {
    Connection& c = table_[slot];
    BufferPool& pool = turn_.pools.streams;
    const BufferId buffer = pool.take(Owner::worker);
    if (buffer == no_buffer) {
        starve(slot);
        return;
    }
    const bool was_pending = c.pending.bytes > 0;
    const uint64_t since_ns = step == Step::generate ? asked_since_ns(c) : SendQueues::unasked;
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
    if (!was_pending) // else the time of a peer that reads nothing goes on
        renew_deadline(slot);
}

void Engine::push_send(uint32_t slot) {
    Connection& c = table_[slot];
    const SendQueues::Chunk& chunk = queues_.front(c.pending);
    turn_.pools.streams.move(c.pending.head, Owner::worker, Owner::backend);
    // The last bytes and the FIN go in one segment, if nothing is left to say in between.
    const bool last = c.finish_requested && !c.farewell_due && !c.generating &&
                      chunk.end - chunk.begin == c.pending.bytes;
    turn_.ops.push_back(
        {.kind = OpKind::send,
         .more = last,
         .token = token_of(slot),
         .fd = c.fd,
         .buffer = c.pending.head,
         .offset = chunk.begin,
         .size = chunk.end - chunk.begin});
    c.begin_send();
    ++sends_in_flight_;
}

void Engine::push_receive(uint32_t slot) {
    Connection& c = table_[slot];
    turn_.ops.push_back(
        {.kind = OpKind::receive,
         .token = token_of(slot),
         .fd = c.fd,
         .size = std::max(window_bytes() - std::min(window_bytes(), c.pending.bytes), 1u)});
    c.begin_receive();
}

// What is pending, and its buffers ----------------------------------------------------------------

void Engine::enqueue(uint32_t slot, BufferId buffer, uint32_t size, uint64_t since_ns) {
    if (size == 0 || !queues_.append(table_[slot].pending, buffer, size, since_ns))
        release_buffer(buffer);
}

/// A service that speaks first was asked by the connection as such: since when is known to the
/// millisecond, or exactly, if that was in this turn. What it says later answers nothing.
uint64_t Engine::asked_since_ns(const Connection& c) const noexcept {
    if (c.answered || c.pending.bytes > 0)
        return SendQueues::unasked;
    return c.progress_ms >= turn_.now_ms ? turn_.now_ns : c.progress_ms * 1'000'000;
}

void Engine::drop_pending(Connection& c) {
    for (BufferId buffer = no_buffer; (buffer = queues_.drop(c.pending, c.sending())) != no_buffer;)
        release_buffer(buffer);
}

void Engine::release_buffer(BufferId buffer) {
    turn_.pools.streams.move(buffer, Owner::worker, Owner::pool);
    relief_.buffer_released();
}

void Engine::starve(uint32_t slot) {
    Connection& c = table_[slot];
    if (c.starved)
        return;
    const bool read_all = c.pending.bytes == 0 && turn_.host.unacknowledged_bytes(c.fd) == 0;
    relief_.starve(slot, c, read_all);
}

uint32_t Engine::window_bytes() const noexcept {
    const BufferPool& pool = turn_.pools.streams;
    const uint64_t used = buffers_used();
    const bool scarce = used * 4 >= uint64_t{pool.count()} * 3;
    return pool.buffer_bytes() * (scarce ? 1 : window_buffers_);
}

} // namespace riposte
