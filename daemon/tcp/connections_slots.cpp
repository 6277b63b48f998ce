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
    const uint32_t max = std::min(limits.connections_max, Token::max - 1);
    const uint32_t evictions =
        limits.when_full == WhenFull::close_idle ? std::min(max, evictions_max) : 0;
    return std::min(max + evictions, Token::max - 1);
}

uint32_t Connections::reserve(const TcpLimits& limits) {
    const uint32_t slots = std::max(slots_for(limits), this->slots());
    next_sources_.reset();
    if (slots > slots_.size() || sources_.prefixes() != source_prefixes(limits))
        next_sources_.emplace(slots, source_prefixes(limits));
    slots_room_.reserve(slots_, slots);
    free_room_.reserve(free_, slots);
    starved_room_.reserve(starved_, slots);
    woken_room_.reserve(woken_, slots);
    timers_.reserve(slots);
    return slots;
}

void Connections::give_up() noexcept {
    next_sources_.reset();
    slots_room_.give_up();
    free_room_.give_up();
    starved_room_.give_up();
    woken_room_.give_up();
    timers_.give_up();
}

void Connections::apply_limits(const TcpLimits& limits) {
    limits_ = limits;
    max_ = std::min(limits_.connections_max, Token::max - 1);
    const uint32_t slots = slots_for(limits_);
    if (slots > slots_.size())
        grow(slots);
    else if (sources_.prefixes() != source_prefixes(limits_))
        count_sources();
    give_up(); // of what was reserved and is not needed
}

void Connections::grow(uint32_t slots) {
    assert(slots < Token::max);
    auto old_size = static_cast<uint32_t>(slots_.size());
    slots_room_.take_over(slots_);
    free_room_.take_over(free_);
    starved_room_.take_over(starved_);
    woken_room_.take_over(woken_);
    slots_.resize(slots);
    free_.reserve(slots);
    starved_.reserve(slots);
    woken_.reserve(slots);
    timers_.grow(slots);
    telemetry_.access_log.grow(slots);
    for (uint32_t slot = slots; slot-- > old_size;)
        free_.push_back(slot);
    count_sources();
}

/// Anew: there may be more of them, or what is one source has changed.
void Connections::count_sources() {
    const auto slots = static_cast<uint32_t>(slots_.size());
    const SourcePrefixes prefixes = source_prefixes(limits_);
    std::optional<SourceTable> reserved = std::exchange(next_sources_, std::nullopt);
    SourceTable sources = reserved && reserved->suits(slots, prefixes)
                              ? std::move(*reserved)
                              : SourceTable(slots, prefixes);
    for (const Connection& c : slots_)
        if (!c.is_free())
            sources.enter(c.source, slots);
    sources_ = std::move(sources);
}

/// Whoever is there now has a place in sources_ and in the load of its listener, which is still to
/// be set.
uint32_t Connections::open_slot(int fd, const SocketAddress& peer, const SourceKey& source) {
    uint32_t slot = free_.back();
    free_.pop_back();
    Connection& c = slots_[slot];
    c.open(fd, source, peer.port());
    ++open_;
    telemetry_.access_log.opened(slot, turn_.now_ms);
    return slot;
}

void Connections::free_slot(uint32_t slot) {
    Connection& c = slots_[slot];
    assert(!telemetry_.access_log.told_of(slot));
    sources_.leave(c.source);
    if (c.listener != nullptr) {
        c.listener->socket.load->leave();
        --c.listener->connections;
        ListenerCounts::add(c.listener->socket.counts->closed);
    }
    evicted_ -= c.evicted;
    c.vacate();
    free_.push_back(slot);
    --open_;
}

// Admission ---------------------------------------------------------------------------------------

/// Counts one more connection of this source and listener; or says why that may not be.
std::optional<Connections::Refusal> Connections::enter(
    const SourceKey& source, const ListenerSpec& listener) {
    if (!sources_.enter(source, limits_.connections_per_source_max))
        return Refusal{
            Counter::connections_over_source, "its source has reached 'connections_per_source'"};
    if (!listener.load->enter(listener.connections_max)) {
        sources_.leave(source);
        return Refusal{
            Counter::connections_over_listener, "its listener has reached its 'connections'"};
    }
    if (!make_way()) { // last: nobody has to go for one that can not stay
        listener.load->leave();
        sources_.leave(source);
        return Refusal{Counter::connections_refused, "the limit 'connections' is reached"};
    }
    return std::nullopt;
}

void Connections::accepted(int fd, ListenerSlot& listening) {
    SocketAddress peer = turn_.environment.peer_address(fd);
    SourceKey source = source_key(peer);
    const Acl* access = listening.socket.access.get();
    if (access != nullptr && !access->permits(source))
        return refuse(
            fd, peer, {Counter::connections_denied, "'allow' and 'deny' do not let it in"},
            listening.socket);
    if (const auto refusal = enter(source, listening.socket))
        return refuse(fd, peer, *refusal, listening.socket);
    uint32_t slot = open_slot(fd, peer, source);
    Connection& c = slots_[slot];
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
    ++open_;
    telemetry_.metrics.add(listener.kind, refusal.reason);
    ListenerCounts::add(listener.counts->refused);
    log_refused(
        log::Event::connection_refused, "refused a connection", peer, &listener, refusal.reason,
        refusal.why);
    push_close(refused_slot, 0, fd);
}

} // namespace riposte
