#include "daemon/worker/listener_slots.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace riposte {
namespace {

/// The operation that brings what a listener is for.
OpKind stream_of(const ListenerSlot& listener) noexcept {
    return listener.socket.transport == Transport::tcp ? OpKind::accept : OpKind::receive_from;
}

} // namespace

void ListenerSlots::reserve(size_t count) {
    auto free = static_cast<size_t>(std::ranges::count(places_, false, &ListenerSlot::used));
    for (; free < count; ++free)
        places_.push_back({.slot = static_cast<uint32_t>(places_.size())});
}

void ListenerSlots::apply(std::vector<ListenerSpec> planned) {
    for (ListenerSlot& at : places_) {
        const bool stays = std::ranges::any_of(
            planned, [&](const ListenerSpec& socket) { return socket.id == at.socket.id; });
        if (at.used && !at.leaving && !stays)
            leave(at);
    }
    for (ListenerSpec& socket : planned)
        add(std::move(socket));
}

void ListenerSlots::leave_all() {
    for (ListenerSlot& at : places_)
        if (at.used && !at.leaving)
            leave(at);
}

bool ListenerSlots::settled() const noexcept {
    return std::ranges::none_of(
        places_, [](const ListenerSlot& at) { return at.leaving && at.in_flight(); });
}

ListenerSlot& ListenerSlots::of(const Event& event) noexcept {
    assert(event.token.slot < places_.size());
    ListenerSlot& at = places_[event.token.slot];
    assert(at.used && at.generation == event.token.generation);
    return at;
}

ListenerSlot* ListenerSlots::find(uint64_t id) noexcept {
    const auto at = std::ranges::find_if(places_, [&](const ListenerSlot& each) {
        return each.used && !each.leaving && each.socket.id == id;
    });
    return at != places_.end() ? &*at : nullptr;
}

ListenerSlot* ListenerSlots::find(Token token) noexcept {
    if (token.slot >= places_.size())
        return nullptr;
    ListenerSlot& at = places_[token.slot];
    return at.used && at.generation == token.generation ? &at : nullptr;
}

void ListenerSlots::arm(ListenerSlot& listener) {
    if (listener.armed || listener.leaving || listener.starved || listener.resume_ms != 0)
        return;
    turn_.ops.push_back(
        {.kind = stream_of(listener),
         .token = {listener.slot, listener.generation},
         .fd = listener.socket.fd,
         .size = 1});
    listener.armed = true;
}

void ListenerSlots::pause(ListenerSlot& listener) noexcept {
    listener.resume_ms = turn_.now_ms + pause_ms;
    resume_ms_ = std::min(resume_ms_, listener.resume_ms);
}

void ListenerSlots::resume(bool fd_freed) {
    if (resume_ms_ == TimerWheel::never || (!fd_freed && turn_.now_ms < resume_ms_))
        return;
    resume_ms_ = TimerWheel::never;
    for (ListenerSlot& at : places_) {
        if (at.resume_ms == 0)
            continue;
        if (fd_freed || turn_.now_ms >= at.resume_ms) {
            at.resume_ms = 0;
            arm(at);
        } else {
            resume_ms_ = std::min(resume_ms_, at.resume_ms);
        }
    }
}

void ListenerSlots::wake_starved() {
    if (!starving_ || turn_.pools.datagrams.buffers().held(Owner::pool) == 0)
        return;
    starving_ = false;
    for (ListenerSlot& at : places_) {
        if (!at.starved)
            continue;
        at.starved = false;
        arm(at);
    }
}

uint32_t ListenerSlots::replies() const noexcept {
    uint32_t replies = 0;
    for (const ListenerSlot& each : places_)
        replies += each.replies;
    return replies;
}

void ListenerSlots::forget_if_done(ListenerSlot& listener) noexcept {
    if (!listener.leaving || listener.in_flight() || listener.connections > 0)
        return;
    listener.used = false;
    listener.socket.service.reset();
}

void ListenerSlots::add(ListenerSpec socket) {
    if (ListenerSlot* const known = find(socket.id)) {
        known->socket = std::move(socket); // the service or its options may be new
        return;
    }
    ListenerSlot& at = free_place();
    at.used = true;
    at.leaving = at.starved = false;
    at.resume_ms = 0;
    at.generation = (at.generation + 1) & Token::max;
    at.socket = std::move(socket);
    arm(at);
}

void ListenerSlots::leave(ListenerSlot& listener) {
    listener.leaving = true;
    if (listener.armed)
        turn_.ops.push_back(
            {.kind = OpKind::stop,
             .target = stream_of(listener),
             .token = {listener.slot, listener.generation},
             .fd = listener.socket.fd});
    forget_if_done(listener);
}

ListenerSlot& ListenerSlots::free_place() {
    std::ranges::for_each(places_, [&](ListenerSlot& at) { forget_if_done(at); });
    auto free = std::ranges::find(places_, false, &ListenerSlot::used);
    if (free != places_.end())
        return *free;
    places_.push_back({.slot = static_cast<uint32_t>(places_.size())});
    return places_.back();
}

} // namespace riposte
