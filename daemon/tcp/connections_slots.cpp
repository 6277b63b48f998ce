// Who gets a slot, and who is closed without a word instead: by `allow` and `deny`, by the limits
// of its source, of its listener and of all. What comes before a slot costs a look at the peer's
// address and one at each table.

#include "daemon/tcp/connections.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>

namespace riposte {

// Slots -------------------------------------------------------------------------------------------

uint32_t Connections::slots_for(const TcpLimits& limits) noexcept {
    const uint32_t max = Admission::connections_max(limits);
    const uint32_t evictions =
        limits.when_full == WhenFull::close_idle ? std::min(max, evictions_max) : 0;
    return std::min(max + evictions, ConnectionTable::slots_max);
}

uint32_t Connections::reserve(const TcpLimits& limits) {
    const uint32_t slots = std::max(slots_for(limits), this->slots());
    admission_.reserve(limits, table_, slots);
    table_.reserve(slots);
    starved_room_.reserve(starved_, slots);
    woken_room_.reserve(woken_, slots);
    timers_.reserve(slots);
    return slots;
}

void Connections::give_up() noexcept {
    admission_.give_up();
    table_.give_up();
    starved_room_.give_up();
    woken_room_.give_up();
    timers_.give_up();
}

void Connections::apply_limits(const TcpLimits& limits) {
    limits_ = limits;
    admission_.set(limits);
    const uint32_t slots = slots_for(limits);
    if (slots > table_.size())
        grow(slots);
    else if (admission_.must_recount())
        admission_.recount(table_);
    give_up(); // of what was reserved and is not needed
}

void Connections::grow(uint32_t slots) {
    table_.grow(slots);
    starved_room_.take_over(starved_);
    woken_room_.take_over(woken_);
    starved_.reserve(slots);
    woken_.reserve(slots);
    timers_.grow(slots);
    telemetry_.access_log.grow(slots);
    admission_.recount(table_);
}

/// Its places are counted already; its listener and service are still to be set.
uint32_t Connections::open_slot(int fd, const SocketAddress& peer, const SourceKey& source) {
    const uint32_t slot = table_.take(fd, source, peer.port());
    telemetry_.access_log.opened(slot, turn_.now_ms);
    return slot;
}

void Connections::free_slot(uint32_t slot) {
    Connection& c = table_[slot];
    assert(!telemetry_.access_log.told_of(slot));
    admission_.leave(c.source, c.listener != nullptr ? c.listener->socket.load.get() : nullptr);
    if (c.listener != nullptr) {
        --c.listener->connections;
        ListenerCounts::add(c.listener->socket.counts->closed);
    }
    evicted_ -= c.evicted;
    table_.give_back(slot);
}

// Admission ---------------------------------------------------------------------------------------

/// Places for one more connection of this source and listener, and a slot; or why that cannot be.
std::expected<AdmissionTicket, Refusal> Connections::ask_admission(
    const SourceKey& source, const ListenerSpec& listener) {
    auto ticket = admission_.ask(source, listener);
    if (ticket && !make_way()) // last: no connection has to go for one that cannot stay
        return std::unexpected(Admission::full);
    return ticket;
}

void Connections::accepted(int fd, ListenerSlot& listening) {
    SocketAddress peer = turn_.environment.peer_address(fd);
    SourceKey source = source_key(peer);
    if (const auto denial = Admission::denial(source, listening.socket))
        return refuse(fd, peer, *denial, listening.socket);
    auto ticket = ask_admission(source, listening.socket);
    if (!ticket)
        return refuse(fd, peer, ticket.error(), listening.socket);
    const uint32_t slot = open_slot(fd, peer, source);
    ticket->complete();
    Connection& c = table_[slot];
    c.kind = listening.socket.kind;
    c.listener = &listening;
    c.service = listening.socket.service;
    c.generating = c.service->speaks_first();
    c.heard = c.generating;
    ++listening.connections;
    tally(c, Counter::connections_accepted);
    ListenerCounts::add(listening.socket.counts->accepted);
    ListenerCounts::add(listening.socket.counts->opened);
    if (log::enabled(LogLevel::debug))
        log_peer(slot, "", fmt::format(" ({})", listening.socket.label));
    offer(slot); // accepted while it drains
    set_deadline(slot);
    run(slot);
}

/// It never gets a slot: its descriptor is closed, and until then only counted.
void Connections::refuse(
    int fd, const SocketAddress& peer, const Refusal& refusal, const ListenerSpec& listener) {
    ++refused_;
    telemetry_.metrics.add(listener.kind, refusal.reason);
    ListenerCounts::add(listener.counts->refused);
    log_refused(
        log::Event::connection_refused, "refused a connection", peer, &listener, refusal.reason,
        refusal.why);
    push_close(refused_slot, 0, fd);
}

} // namespace riposte
