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
    Connection& c = slots_[slot];
    if (handover_left_ == 0 || !c.is_open() || c.handing_off || c.peer_finished ||
        c.finish_requested || !c.service->resumable(c.service_state))
        return;
    c.handing_off = true;
    --handover_left_;
    set_deadline(slot);
}

/// It ends here after all, and leaves its place to another one.
void Connections::keep(uint32_t slot) {
    Connection& c = slots_[slot];
    if (!c.handing_off)
        return;
    c.handing_off = false;
    ++handover_left_;
    if (c.is_open())
        set_deadline(slot);
}

/// After anything that came for it: is it still one that another process can go on with?
void Connections::reconsider(uint32_t slot) {
    const Connection& c = slots_[slot];
    if (c.handing_off && (!c.is_open() || c.peer_finished || c.finish_requested ||
                          !c.service->resumable(c.service_state)))
        keep(slot);
}

void Connections::give_release(uint32_t slot) {
    Connection& c = slots_[slot];
    c.release();
    timers_.clear(slot);
    turn_.ops.push_back({.kind = OpKind::release, .token = {slot, c.generation}, .fd = c.fd});
}

void Connections::on_released(uint32_t slot) {
    const Connection& c = slots_[slot];
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
    auto free = static_cast<uint32_t>(free_.size());
    if (free < count)
        grow(static_cast<uint32_t>(slots_.size()) + count - free);
}

void Connections::adopted(int fd, ServiceKind kind, ListenerSlot* listening) {
    SocketAddress peer = turn_.environment.peer_address(fd);
    SourceKey source = source_key(peer);
    std::optional<Refusal> refusal =
        Refusal{Counter::connections_refused, "its service is no longer there"};
    if (listening != nullptr)
        refusal = enter(source, listening->socket);
    const bool stays = !refusal;
    if (!stays) { // it counts until it has ended
        sources_.enter(source, UINT32_MAX);
        if (listening != nullptr)
            listening->socket.load->enter(UINT32_MAX);
    }
    uint32_t slot = open_slot(fd, peer, source);
    Connection& c = slots_[slot];
    c.kind = kind;
    c.heard = true; // perhaps by the process before
    c.listener = listening;
    if (listening != nullptr) {
        c.service = listening->socket.service;
        ++listening->connections;
        ListenerCounts::add(listening->socket.counts->opened);
    }
    tally(c, Counter::connections_adopted);
    if (stays && turn_.draining) {
        offer(slot);
    } else if (!stays) {
        // In the middle of a conversation, a close could meet unread input: FIN, and the rest of
        // the way of any finished connection.
        tally(c, refusal->reason);
        log_refused(
            log::Event::adopted_finished, "finished an adopted connection", peer, listener_of(c),
            refusal->reason, refusal->why);
        turn_.ops.push_back({.kind = OpKind::finish, .token = {slot, c.generation}, .fd = fd});
        c.finish();
        telemetry_.access_log.note(slot, refusal->why);
    }
    set_deadline(slot);
    run(slot);
}

} // namespace riposte
