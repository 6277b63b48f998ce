// How connections come from the process before this one, and go to the next.

#include "daemon/tcp/connections.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>

namespace riposte {

// Giving -----------------------------------------------------------------------------------------

/// Whoever may go on elsewhere, within the bound. Before its next step.
void Connections::offer(uint32_t slot) {
    Connection& c = table_[slot];
    if (handover_left_ == 0 || !c.is_open() || c.handing_off || c.peer_finished ||
        c.finish_requested || !c.service->resumable(c.service_state))
        return;
    c.handing_off = true;
    --handover_left_;
    set_deadline(slot);
}

/// It ends here after all, and leaves its place to another one.
void Connections::keep(uint32_t slot) {
    Connection& c = table_[slot];
    if (!c.handing_off)
        return;
    c.handing_off = false;
    ++handover_left_;
    if (c.is_open())
        set_deadline(slot);
}

/// After anything that came for it: is it still one that another process can go on with?
void Connections::reconsider(uint32_t slot) {
    const Connection& c = table_[slot];
    if (c.handing_off && (!c.is_open() || c.peer_finished || c.finish_requested ||
                          !c.service->resumable(c.service_state)))
        keep(slot);
}

void Connections::give_release(uint32_t slot) {
    Connection& c = table_[slot];
    c.release();
    timers_.clear(slot);
    turn_.ops.push_back({.kind = OpKind::release, .token = {slot, c.generation}, .fd = c.fd});
}

void Connections::on_released(uint32_t slot) {
    const Connection& c = table_[slot];
    assert(c.state() == ConnectionState::releasing);
    log_peer(slot, "handed over", "");
    tell_end(slot, "handed over");
    handed_over_.push_back({c.fd, c.kind});
    free_slot(slot);
    tally(c, Counter::connections_handed_over);
}

std::vector<HandedOver> Connections::take_handed_over() {
    return std::exchange(handed_over_, {});
}

// Taking -----------------------------------------------------------------------------------------

void Connections::make_room(uint32_t count) {
    if (table_.free() < count)
        grow(table_.size() + count - table_.free());
}

void Connections::adopted(int fd, ServiceKind kind, ListenerSlot* listening) {
    const SocketAddress peer = turn_.environment.peer_address(fd);
    const SourceKey source = source_key(peer);
    std::expected<AdmissionTicket, Refusal> ticket = listening != nullptr
                                                         ? ask_admission(source, listening->socket)
                                                         : std::unexpected(Admission::no_service);
    if (!ticket) // it counts until it has ended
        admission_.count_over_limits(
            source, listening != nullptr ? listening->socket.load.get() : nullptr);
    const uint32_t slot = open_slot(fd, peer, source);
    if (ticket)
        ticket->complete();
    Connection& c = table_[slot];
    c.kind = kind;
    c.heard = true; // perhaps by the process before
    c.listener = listening;
    if (listening != nullptr) {
        c.service = listening->socket.service;
        ++listening->connections;
        ListenerCounts::add(listening->socket.counts->opened);
    }
    tally(c, Counter::connections_adopted);
    if (ticket && turn_.draining) {
        offer(slot);
    } else if (!ticket) {
        // In the middle of a conversation, a close could meet unread input: FIN, and the rest of
        // the way of any finished connection.
        tally(c, ticket.error().reason);
        log_refused(
            log::Event::adopted_finished, "finished an adopted connection", peer, listener_of(c),
            ticket.error().reason, ticket.error().why);
        turn_.ops.push_back({.kind = OpKind::finish, .token = {slot, c.generation}, .fd = fd});
        c.finish();
        telemetry_.access_log.note(slot, ticket.error().why);
    }
    set_deadline(slot);
    run(slot);
}

} // namespace riposte
