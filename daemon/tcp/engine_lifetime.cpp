// How connections begin (admission, adoption), and how they end but by their peer and service:
// errors, deadlines, eviction, relief, drains, handoffs.

#include "daemon/tcp/deadlines.h"
#include "daemon/tcp/engine.h"
#include "daemon/tcp/refusals.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

namespace riposte {

// Memory and limits -------------------------------------------------------------------------------

Engine::Engine(
    Turn& turn, WorkerTelemetry& telemetry, const TcpLimits& limits, uint32_t window_buffers)
    : turn_(turn), telemetry_(telemetry), log_(telemetry.access_log),
      window_buffers_(window_buffers), queues_(turn.pools.streams), timers_(limits.connections_max),
      admission_(limits) {
    apply_limits(limits);
}

uint32_t Engine::slots_for(const TcpLimits& limits) noexcept {
    const uint32_t max = Admission::connections_max(limits);
    return std::min(max + Eviction::slots_beyond(limits, max), ConnectionTable::slots_max);
}

uint32_t Engine::reserve(const TcpLimits& limits) {
    const uint32_t slots = std::max(slots_for(limits), this->slots());
    admission_.reserve(limits, table_, slots);
    table_.reserve(slots);
    relief_.reserve(slots);
    timers_.reserve(slots);
    return slots;
}

void Engine::give_up() noexcept {
    admission_.give_up();
    table_.give_up();
    relief_.give_up();
    timers_.give_up();
}

void Engine::apply_limits(const TcpLimits& limits) {
    limits_ = limits;
    admission_.set(limits);
    const uint32_t slots = slots_for(limits);
    if (slots > table_.size())
        grow(slots);
    else if (admission_.must_recount())
        admission_.recount(table_);
    give_up(); // of what was reserved and is not needed
}

void Engine::grow(uint32_t slots) {
    table_.grow(slots);
    relief_.grow(slots);
    timers_.grow(slots);
    telemetry_.access_log.grow(slots);
    admission_.recount(table_);
}

// Beginnings --------------------------------------------------------------------------------------

void Engine::admit(int fd, ListenerSlot& listener) {
    const SocketAddress peer = turn_.host.peer_address(fd);
    const SourceKey source = source_key(peer);
    if (const auto denial = Admission::denial(source, listener.socket))
        return refuse(fd, peer, *denial, listener.socket);
    auto ticket = ask_admission(source, listener.socket);
    if (!ticket)
        return refuse(fd, peer, ticket.error(), listener.socket);
    const uint32_t slot = open_slot(fd, peer, source, &listener);
    ticket->complete();
    Connection& c = table_[slot];
    c.kind = listener.socket.kind;
    c.generating = c.service->speaks_first();
    c.heard = c.generating;
    count(c, Counter::connections_accepted);
    ListenerCounts::add(listener.socket.counts->accepted);
    if (log::enabled(LogLevel::debug))
        log_.debug(c, "", fmt::format(" ({})", listener.socket.label), turn_.now_ms);
    offer_handoff(slot); // accepted while it drains
    renew_deadline(slot);
    run(slot);
}

/// Places for one more connection of this source and listener, and a slot; or why that cannot be.
std::expected<AdmissionTicket, RefusalReason> Engine::ask_admission(
    const SourceKey& source, const ListenerSpec& listener) {
    auto ticket = admission_.ask(source, listener);
    if (ticket && !make_way()) // last: no connection has to go for one that cannot stay
        return std::unexpected(RefusalReason::full);
    return ticket;
}

/// Is there room for one more, or can it be made?
bool Engine::make_way() {
    // Connections that are refused have no slot, and evict none.
    while (table_.used() - eviction_.leaving() >= admission_.connections_max()) {
        if (limits_.when_full != WhenFull::close_idle || turn_.draining)
            return false;
        const uint32_t slot = eviction_.choose(table_, turn_.now_ms);
        if (slot == Eviction::none)
            return false;
        const Connection& c = table_[slot];
        count(c, row_of(RefusalReason::evicted).counter);
        log_.warn(
            log::Event::connection_evicted, "closed an idle connection", c, RefusalReason::evicted,
            turn_.now_ms);
    }
    return table_.free() > 0;
}

/// It never gets a slot: its descriptor is closed, and until then only counted.
void Engine::refuse(
    int fd, const SocketAddress& peer, RefusalReason refusal, const ListenerSpec& listener) {
    ++refused_;
    telemetry_.metrics.add(listener.kind, row_of(refusal).counter);
    ListenerCounts::add(listener.counts->refused);
    log_.warn(
        log::Event::connection_refused, "refused a connection", peer, &listener, refusal,
        turn_.now_ms);
    push(OpKind::close, {refused_slot, 0}, fd);
}

/// Its places with source and listener are counted already.
uint32_t Engine::open_slot(
    int fd, const SocketAddress& peer, const SourceKey& source, ListenerSlot* listener) {
    const uint32_t slot = table_.take(fd, source, peer.port());
    telemetry_.access_log.opened(slot, turn_.now_ms);
    Connection& c = table_[slot];
    c.listener = listener;
    if (listener != nullptr) {
        c.service = listener->socket.service;
        ++listener->connections;
        ListenerCounts::add(listener->socket.counts->opened);
    }
    return slot;
}

void Engine::make_room(uint32_t connections) {
    if (table_.free() < connections)
        grow(table_.size() + connections - table_.free());
}

void Engine::adopt(handoff::Adopted connection, ListenerSlot* listener) {
    const SocketAddress peer = turn_.host.peer_address(connection.fd.get());
    const SourceKey source = source_key(peer);
    std::expected<AdmissionTicket, RefusalReason> ticket =
        listener != nullptr ? ask_admission(source, listener->socket)
                            : std::unexpected(RefusalReason::no_service);
    if (!ticket) // it counts until it has ended
        admission_.count_over_limits(
            source, listener != nullptr ? listener->socket.load.get() : nullptr);
    const uint32_t slot = open_slot(connection.fd.release(), peer, source, listener);
    if (ticket)
        ticket->complete();
    Connection& c = table_[slot];
    c.kind = connection.kind;
    c.heard = true; // perhaps by the previous process
    count(c, Counter::connections_adopted);
    if (ticket && turn_.draining) {
        offer_handoff(slot);
    } else if (!ticket) {
        // In the middle of a conversation, a close could meet unread input: FIN, and the rest of
        // the way of any finished connection.
        const RefusalReason refusal = ticket.error();
        count(c, row_of(refusal).counter);
        log_.warn(
            log::Event::adopted_finished, "finished an adopted connection", peer, listener_of(c),
            refusal, turn_.now_ms);
        push(OpKind::finish, token_of(slot), c.fd);
        c.finish();
        telemetry_.access_log.note(slot, row_of(refusal).why);
    }
    renew_deadline(slot);
    run(slot);
}

// Endings -----------------------------------------------------------------------------------------

/// The fd is gone, by close or by release.
void Engine::vacate_slot(uint32_t slot) {
    Connection& c = table_[slot];
    assert(!telemetry_.access_log.told_of(slot));
    admission_.leave(c.source, c.listener != nullptr ? c.listener->socket.load.get() : nullptr);
    if (c.listener != nullptr) {
        --c.listener->connections;
        ListenerCounts::add(c.listener->socket.counts->closed);
    }
    eviction_.forget(c);
    table_.give_back(slot);
}

/// By force: RST.
void Engine::fail(uint32_t slot, std::string_view reason) {
    Connection& c = table_[slot];
    if (!c.may_abort())
        return;
    if (log::enabled(LogLevel::debug))
        log_.debug(c, "ended", fmt::format(": {}", reason), turn_.now_ms);
    log_.end(slot, c, reason, turn_.now_ms);
    drop_pending(c);
    withdraw_handoff(slot);
    timers_.clear(slot);
    c.abort();
    push(OpKind::abort, token_of(slot), c.fd);
}

/// Nothing is pending: its stream is stopped, and it is closed.
void Engine::leave(uint32_t slot, std::string_view how) {
    Connection& c = table_[slot];
    c.leave();
    log_.end(slot, c, how, turn_.now_ms);
}

void Engine::renew_deadline(uint32_t slot) {
    const deadlines::Now now{turn_.now_ms, turn_.draining, turn_.drain_grace_ms};
    if (const auto timeout = deadlines::renew(table_[slot], limits_, now))
        timers_.set(slot, turn_.now_ms + *timeout);
    else
        timers_.clear(slot); // its stream is being stopped, then it goes
}

void Engine::expire() {
    for (uint32_t slot = TimerWheel::none;
         (slot = timers_.expired(turn_.now_ms)) != TimerWheel::none;) {
        on_deadline(slot);
        run(slot);
    }
}

void Engine::on_deadline(uint32_t slot) {
    const Connection& c = table_[slot];
    if (c.is_finishing()) {
        // Everything was sent, and the kernel goes on delivering it after the close.
        constexpr std::string_view why = "the peer did not finish within linger_timeout";
        count(c, Counter::linger_timeouts);
        if (log::enabled(LogLevel::debug))
            log_.debug(c, "ended", fmt::format(": {}", why), turn_.now_ms);
        leave(slot, why);
    } else if (!c.is_open()) {
        return;
    } else if (c.reply_pending()) {
        judge_reading(slot);
    } else {
        end_idle(slot);
    }
}

void Engine::judge_reading(uint32_t slot) {
    Connection& c = table_[slot];
    const uint32_t unacknowledged = turn_.host.unacknowledged_bytes(c.fd);
    const deadlines::ReadVerdict verdict =
        deadlines::judge_reading(c, limits_, unacknowledged, turn_.now_ms);
    switch (verdict.reading) {
    case deadlines::Reading::steadily:
        timers_.set(slot, verdict.next_look_ms);
        return;
    case deadlines::Reading::not_at_all:
        count(c, Counter::write_stall_timeouts);
        fail(slot, "the peer took nothing within write_stall_timeout");
        return;
    case deadlines::Reading::too_slowly:
        count(c, Counter::write_rates_low);
        fail(slot, "the peer took less than write_rate_min");
        return;
    }
}

void Engine::end_idle(uint32_t slot) {
    Connection& c = table_[slot];
    c.finish_requested = true;
    if (turn_.draining) {
        telemetry_.access_log.note(slot, "drained");
        return;
    }
    const bool silent = deadlines::first_byte_due(c, limits_);
    count(c, silent ? Counter::first_byte_timeouts : Counter::idle_timeouts);
    const std::string_view why =
        silent ? "it said nothing within first_byte_timeout" : "nothing came within idle_timeout";
    telemetry_.access_log.note(slot, why);
    if (log::enabled(LogLevel::debug))
        log_.debug(c, "idle", fmt::format(": {}", why), turn_.now_ms);
}

void Engine::end_evicted() {
    eviction_.end_chosen([this](uint32_t slot) {
        const Connection& c = table_[slot];
        assert(c.evicted);
        if (c.is_open() && c.reply_pending())
            fail(slot, "it spoke too late to keep its place"); // in this turn
        else if (c.is_open() || c.is_finishing())
            leave(slot, "it was idle for longest, and its place was needed");
        run(slot);
    });
}

void Engine::wake_starved() {
    if (relief_.must_reset(turn_.now_ms))
        reset_stalled();
    relief_.wake(table_, [this](uint32_t slot) { run(slot); });
}

void Engine::reset_stalled() {
    relief_.begin_round(table_, turn_.now_ms);
    const BufferPool& pool = turn_.pools.streams;
    uint32_t coming = 0; // back, when their sends have ended
    for (uint32_t left = BufferRelief::resets_max;
         left > 0 && pool.held(Owner::pool) + coming < relief_.starving(); --left) {
        const uint32_t slot = relief_.longest_stalled(table_, turn_.host, turn_.now_ms);
        if (slot == BufferRelief::none)
            return;
        const Connection& c = table_[slot];
        coming += c.sending();
        count(c, row_of(RefusalReason::stalled).counter);
        log_.warn(
            log::Event::connection_stalled, "reset a connection", c, RefusalReason::stalled,
            turn_.now_ms);
        fail(slot, "it took nothing, and others need its buffers");
        run(slot);
    }
}

// Drains and handoffs -----------------------------------------------------------------------------

void Engine::begin_drain(uint32_t handoff_max) {
    handoff_quota_.set(handoff_max);
    for (uint32_t slot = 0; slot < table_.size(); ++slot) {
        Connection& c = table_[slot];
        if (!c.is_open())
            continue;
        if (!c.starved)
            c.generating = false;
        if (c.pending.bytes == 0)
            renew_deadline(slot);
        offer_handoff(slot);
        if (c.handing_off)
            run(slot);
    }
}

void Engine::end_drain() {
    for (uint32_t slot = 0; slot < table_.size(); ++slot) {
        const Connection& c = table_[slot];
        if (c.is_finishing())
            leave(slot, "drained"); // it was sent everything: no need for a reset
        else if (c.is_open())
            fail(slot, "drain_timeout has passed");
        run(slot);
    }
}

void Engine::abort_all(std::string_view reason) {
    for (uint32_t slot = 0; slot < table_.size(); ++slot) {
        if (table_[slot].is_free())
            continue;
        fail(slot, reason);
        run(slot);
    }
    handoff_quota_.set(0); // the connections that were to go have given their places back
}

/// Before the connection's next step.
void Engine::offer_handoff(uint32_t slot) {
    if (handoff_quota_.mark(table_[slot]))
        renew_deadline(slot);
}

/// It ends here after all, and leaves its place to another connection.
void Engine::withdraw_handoff(uint32_t slot) {
    if (handoff_quota_.unmark(table_[slot]) && table_[slot].is_open())
        renew_deadline(slot);
}

/// After anything that came for it: can another process still continue it?
void Engine::recheck_handoff(uint32_t slot) {
    const Connection& c = table_[slot];
    if (c.handing_off && !handoff::is_possible(c))
        withdraw_handoff(slot);
}

} // namespace riposte
