#include "daemon/connections.h"

#include "common/text.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace riposte {
namespace {

/// Stands in the slot of an accepted fd that never got one, only to be closed.
constexpr uint32_t refused_slot = Token::max;

} // namespace

Connections::Connections(WorkerState& state)
    : state_(state), queues_(state.pools.streams), timers_(state.limits.connections_max),
      sources_(state.limits.connections_max) {
    set_max(state.limits.connections_max);
}

void Connections::set_max(uint32_t max) {
    max_ = std::min(max, Token::max - 1);
    if (max_ > slots_.size())
        grow(max_);
}

void Connections::grow(uint32_t slots) {
    assert(slots < Token::max);
    auto old_size = static_cast<uint32_t>(slots_.size());
    slots_.resize(slots);
    free_.reserve(slots);
    starved_.reserve(slots);
    woken_.reserve(slots);
    timers_.grow(slots);
    for (uint32_t slot = slots; slot-- > old_size;)
        free_.push_back(slot);
    SourceTable sources(slots);
    for (const Connection& c : slots_)
        if (c.state != ConnectionState::free)
            sources.enter(c.source, slots);
    sources_ = std::move(sources);
}

/// Counts one more connection of this source; or says why that may not be.
std::string_view Connections::enter(const SourceKey& source) {
    if (open_ >= max_ || free_.empty())
        return "the limit 'connections' is reached";
    if (!sources_.enter(source, state_.limits.connections_per_source_max))
        return "its source has reached 'connections_per_source'";
    return "";
}

/// Whoever is there now has a place in sources_ and no listener yet.
uint32_t Connections::open_slot(int fd, const SocketAddress& peer, const SourceKey& source) {
    uint32_t slot = free_.back();
    free_.pop_back();
    Connection& c = slots_[slot];
    assert(c.state == ConnectionState::free && c.owed.head == no_buffer);
    c = Connection{
        .state = ConnectionState::open,
        .fd = fd,
        .generation = (c.generation + 1) & Token::max,
        .source = source,
        .source_port = peer.port()};
    ++open_;
    return slot;
}

void Connections::accepted(int fd, Listening& listening) {
    SocketAddress peer = state_.environment.peer_address(fd);
    SourceKey source = source_key(peer);
    std::string_view why = enter(source);
    if (!why.empty()) {
        ++open_;
        state_.metrics.add(Count::connections_refused);
        log_refused("refused a connection", peer, why);
        push_close(refused_slot, 0, fd);
        return;
    }
    uint32_t slot = open_slot(fd, peer, source);
    Connection& c = slots_[slot];
    c.kind = listening.socket.kind;
    c.listening = &listening;
    c.service = listening.socket.service;
    c.generating = c.service->speaks_first();
    ++listening.connections;
    state_.metrics.add(Count::connections_accepted);
    if (log::enabled(LogLevel::debug))
        log_peer(slot, "", fmt::format(" ({})", listening.socket.label));
    offer(slot); // accepted while it drains
    set_deadline(slot);
    run(slot);
}

void Connections::handle(const Event& event) {
    uint32_t slot = event.token.slot;
    if (slot == refused_slot) {
        assert(event.kind == OpKind::close);
        --open_;
        return;
    }
    Connection& c = slots_[slot];
    assert(c.state != ConnectionState::free && c.generation == event.token.generation);
    if (event.kind == OpKind::receive) {
        on_receive(slot, event);
    } else if (event.kind == OpKind::send) {
        assert(c.sending && event.buffer == c.owed.head);
        c.sending = false;
        --sends_in_flight_;
        on_sent(slot, event.result);
    } else if (event.kind == OpKind::release) {
        on_released(slot);
        return;
    } else {
        assert(event.kind == OpKind::close && c.close_given);
        on_closed(slot);
        return;
    }
    reconsider(slot);
    run(slot);
}

void Connections::on_receive(uint32_t slot, const Event& event) {
    Connection& c = slots_[slot];
    assert(c.receiving);
    if (event.last)
        c.receiving = c.stopping = false;
    bool over = c.state == ConnectionState::aborting || c.state == ConnectionState::closing;
    if (event.result > 0) {
        on_data(slot, event.buffer, static_cast<uint32_t>(event.result));
    } else if (over || event.result == -ECANCELED || event.result == -EINTR) {
        return; // if it is to go on, it is armed again
    } else if (event.result == 0) {
        c.peer_finished = true;
        if (c.state == ConnectionState::open && !c.finish_requested) {
            c.farewell_due = true;
            c.generating = false;
        }
    } else if (event.result == -ENOBUFS) {
        // Re-armed at once unless every buffer is with us or in one of our sends: then nothing can
        // arrive before we release one, and trying would spin.
        const BufferPool& pool = state_.pools.streams;
        if (pool.held(Owner::worker) + sends_in_flight_ == pool.count())
            starve(slot);
    } else {
        state_.metrics.add(Count::connections_reset);
        fail(slot, errno_text(-event.result));
    }
}

void Connections::on_data(uint32_t slot, BufferId buffer, uint32_t size) {
    Connection& c = slots_[slot];
    state_.metrics.add(Count::stream_received_bytes, size);
    if (c.state != ConnectionState::open || c.finish_requested) {
        release(buffer);
        return;
    }
    std::span<std::byte> bytes = state_.pools.streams.bytes(buffer);
    if (log::enabled(LogLevel::debug)) {
        std::string_view text(reinterpret_cast<const char*>(bytes.data()), size);
        log_peer(slot, "received", fmt::format(": \"{}\"", escape(text)));
    }
    bool owed = c.owed.bytes > 0;
    StreamReply reply = c.service->arrived(context(), c.service_state, bytes, size);
    enqueue(slot, buffer, reply.size);
    c.finish_requested = reply.finish;
    if (!owed)
        set_deadline(slot);
}

void Connections::on_sent(uint32_t slot, int32_t result) {
    Connection& c = slots_[slot];
    if (c.state == ConnectionState::aborting) {
        drop_owed(c);
        return;
    }
    if (result == -EINTR) // nothing went; it is given again
        return;
    if (result <= 0) {
        state_.metrics.add(Count::connections_reset);
        fail(slot, errno_text(result == 0 ? EPIPE : -result));
        return;
    }
    auto size = static_cast<uint32_t>(result);
    state_.metrics.add(Count::stream_sent_bytes, size);
    if (BufferId sent = queues_.consume(c.owed, size); sent != no_buffer)
        release(sent);
    bool grace_over = state_.draining && state_.now_ms >= state_.drain_grace_ms;
    if (grace_over && c.state == ConnectionState::open && c.owed.bytes == 0 && !c.handing_over)
        c.finish_requested = true;
    set_deadline(slot);
}

void Connections::on_closed(uint32_t slot) {
    Connection& c = slots_[slot];
    assert(!c.receiving && !c.sending && c.owed.head == no_buffer);
    timers_.clear(slot);
    free_slot(slot);
    state_.metrics.add(Count::connections_closed);
}

void Connections::free_slot(uint32_t slot) {
    Connection& c = slots_[slot];
    sources_.leave(c.source);
    if (c.listening != nullptr)
        --c.listening->connections;
    c.state = ConnectionState::free;
    c.listening = nullptr;
    c.service.reset();
    c.starved = false;
    free_.push_back(slot);
    --open_;
}

void Connections::run(uint32_t slot) {
    while (take_step(slot, advance(slots_[slot], window_bytes()))) {
    }
}

bool Connections::take_step(uint32_t slot, Step step) {
    Connection& c = slots_[slot];
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
        state_.ops.push_back({.kind = OpKind::finish, .token = token, .fd = c.fd});
        c.state = ConnectionState::finishing;
        set_deadline(slot);
        return true;
    case Step::leave:
        c.state = ConnectionState::closing;
        log_peer(slot, "ended", ": finished");
        return true;
    case Step::stop:
        state_.ops.push_back(
            {.kind = OpKind::stop, .target = OpKind::receive, .token = token, .fd = c.fd});
        c.stopping = true;
        return true;
    case Step::close:
        c.close_given = true;
        push_close(slot, c.generation, c.fd);
        return true;
    case Step::release:
        give_release(slot);
        return true;
    }
    return false;
}

void Connections::ask_service(uint32_t slot, Step step) {
    Connection& c = slots_[slot];
    BufferPool& pool = state_.pools.streams;
    BufferId buffer = pool.take(Owner::worker);
    if (buffer == no_buffer) {
        starve(slot);
        return;
    }
    StreamReply reply{};
    if (step == Step::farewell) {
        reply = c.service->peer_finished(context(), c.service_state, pool.bytes(buffer));
        c.farewell_due = false;
        c.finish_requested = true;
    } else {
        reply = c.service->writable(context(), c.service_state, pool.bytes(buffer));
        c.generating = reply.size > 0 && !reply.finish && !state_.draining;
        c.finish_requested |= reply.finish;
    }
    enqueue(slot, buffer, reply.size);
    set_deadline(slot);
}

void Connections::push_send(uint32_t slot) {
    Connection& c = slots_[slot];
    const SendQueues::Chunk& chunk = queues_.front(c.owed);
    state_.pools.streams.move(c.owed.head, Owner::worker, Owner::backend);
    // The last bytes and the FIN go in one segment, if nothing is left to say in between.
    bool last = c.finish_requested && !c.farewell_due && !c.generating &&
                chunk.end - chunk.begin == c.owed.bytes;
    state_.ops.push_back(
        {.kind = OpKind::send,
         .more = last,
         .token = {slot, c.generation},
         .fd = c.fd,
         .buffer = c.owed.head,
         .offset = chunk.begin,
         .size = chunk.end - chunk.begin});
    c.sending = true;
    ++sends_in_flight_;
}

void Connections::push_receive(uint32_t slot) {
    Connection& c = slots_[slot];
    state_.ops.push_back(
        {.kind = OpKind::receive,
         .token = {slot, c.generation},
         .fd = c.fd,
         .size = std::max(window_bytes() - std::min(window_bytes(), c.owed.bytes), 1u)});
    c.receiving = true;
}

void Connections::push_close(uint32_t slot, uint32_t generation, int fd) {
    state_.ops.push_back({.kind = OpKind::close, .token = {slot, generation}, .fd = fd});
}

void Connections::enqueue(uint32_t slot, BufferId buffer, uint32_t size) {
    if (size == 0 || !queues_.append(slots_[slot].owed, buffer, size))
        release(buffer);
}

void Connections::drop_owed(Connection& c) {
    for (BufferId buffer = no_buffer; (buffer = queues_.drop(c.owed, c.sending)) != no_buffer;)
        release(buffer);
}

void Connections::release(BufferId buffer) {
    state_.pools.streams.move(buffer, Owner::worker, Owner::pool);
    released_ = true;
}

void Connections::starve(uint32_t slot) {
    if (slots_[slot].starved)
        return;
    slots_[slot].starved = true;
    starved_.push_back(slot);
}

void Connections::wake_starved() {
    // All of them: the one that is woken alone may have nothing to receive, and the buffer would
    // wait with it while another starves.
    if (!released_)
        return;
    released_ = false;
    woken_.swap(starved_);
    for (uint32_t slot : woken_) {
        if (!slots_[slot].starved)
            continue;
        slots_[slot].starved = false;
        run(slot);
    }
    woken_.clear();
}

void Connections::fail(uint32_t slot, std::string_view reason) {
    Connection& c = slots_[slot];
    if (c.state == ConnectionState::aborting || c.state == ConnectionState::releasing ||
        c.close_given)
        return;
    if (log::enabled(LogLevel::debug))
        log_peer(slot, "ended", fmt::format(": {}", reason));
    drop_owed(c);
    keep(slot);
    timers_.clear(slot);
    c.state = ConnectionState::aborting;
    state_.ops.push_back({.kind = OpKind::abort, .token = {slot, c.generation}, .fd = c.fd});
}

uint32_t Connections::window_bytes() const noexcept {
    const BufferPool& pool = state_.pools.streams;
    bool scarce = uint64_t{pool.held(Owner::worker)} * 4 >= uint64_t{pool.count()} * 3;
    return pool.buffer_bytes() * (scarce ? 1 : state_.window_buffers);
}

void Connections::log_refused(
    std::string_view what, const SocketAddress& address, std::string_view why) {
    uint64_t suppressed = 0;
    if (!refused_limit_.allow(state_.now_ms, suppressed))
        return;
    std::string peer = to_string(address);
    log::write(
        LogLevel::warning,
        fmt::format("{} from {}: {}{}", what, peer, why, log::left_out(suppressed)),
        {{"RIPOSTE_PEER", peer}});
}

void Connections::log_peer(uint32_t slot, std::string_view what, std::string_view detail) {
    uint64_t suppressed = 0;
    if (!log::enabled(LogLevel::debug) || !debug_limit_.allow(state_.now_ms, suppressed))
        return;
    const Connection& c = slots_[slot];
    std::string peer = to_string(source_address(c.source, c.source_port));
    std::string line;
    if (what == "received")
        line = fmt::format("received from {}{}", peer, detail);
    else
        line = fmt::format("connection from {}{}{}{}", peer, what.empty() ? "" : " ", what, detail);
    log::write(
        LogLevel::debug, line + log::left_out(suppressed),
        {{"RIPOSTE_PEER", peer},
         {"RIPOSTE_LISTENER", c.listening != nullptr ? c.listening->socket.label : "none"}});
}

} // namespace riposte
