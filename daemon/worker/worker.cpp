#include "daemon/worker/worker.h"

#include "common/text.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <new>
#include <utility>

namespace riposte {
namespace {

/// Errors of accept(2) that concern the connection to be accepted and not this process: the
/// connection is gone, and the next one may be fine (accept(2), "Error handling").
bool belongs_to_peer(int error) {
    switch (error) {
    case ECONNABORTED:
    case ECONNRESET:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EINTR:
    case EAGAIN:
        return true;
    default:
        return false;
    }
}

} // namespace

Worker::Worker(Host& host, Backend& backend, Pools pools, const WorkerPlan& plan)
    : backend_(backend),
      turn_{
          .host = host,
          .pools = pools,
          .now_ns = host.now_ns(),
          .now_ms = host.now_ns() / 1'000'000,
          .wall_seconds = host.wall_seconds()},
      tcp_(turn_, telemetry_, plan.limits, backend.window_buffers()),
      datagrams_(turn_, telemetry_, plan.rate_entries) {
    apply(plan);
}

bool Worker::turn() {
    size_t count = backend_.turn(turn_.ops, events_, busy_poll_.wait(until_deadline()));
    turn_.ops.clear();
    turn_.now_ns = turn_.host.now_ns();
    turn_.now_ms = turn_.now_ns / 1'000'000;
    turn_.wall_seconds = turn_.host.wall_seconds();
    if (busy_poll_.on())
        busy_poll_.turned(count, turn_.now_ns / 1000);
    const uint64_t freed = tcp_.freed();
    for (const Event& event : std::span(events_).first(count))
        handle(event);
    tcp_.end_evicted();
    keep_deadlines();
    tcp_.wake_starved();
    telemetry_.metrics.set_buffers_used(tcp_.buffers_used());
    trim_buffers();
    if (resume_ms_ != TimerWheel::never)
        resume(tcp_.freed() != freed);
    if (!stopped())
        return true;
    telemetry_.access_log.tell_left_out();
    return false;
}

std::chrono::milliseconds Worker::until_deadline() noexcept {
    uint64_t next = std::min(
        {tcp_.next_deadline_ms(), drain_deadline_ms_, resume_ms_, trim_ms_,
         telemetry_.access_log.next_ms()});
    if (next == TimerWheel::never)
        return std::chrono::milliseconds(-1);
    return std::chrono::milliseconds(next > turn_.now_ms ? next - turn_.now_ms : 0);
}

void Worker::handle(const Event& event) {
    switch (event.kind) {
    case OpKind::accept:
        on_accept(event);
        break;
    case OpKind::receive_from:
        on_datagram(event);
        break;
    case OpKind::send_to:
        on_datagram_sent(event);
        break;
    case OpKind::receive:
    case OpKind::send:
    case OpKind::close:
    case OpKind::release:
        tcp_.handle(event);
        break;
    case OpKind::stop:
    case OpKind::finish:
    case OpKind::abort:
        assert(false && "these have no event");
        break;
    }
}

void Worker::keep_deadlines() {
    tcp_.expire();
    telemetry_.access_log.expire(turn_.now_ms);
    if (turn_.now_ms < drain_deadline_ms_)
        return;
    tcp_.end_drain();
    drain_deadline_ms_ = turn_.now_ms + drain_repeat_ms; // for connections accepted meanwhile
}

void Worker::trim_buffers() {
    BufferPool& streams = turn_.pools.streams;
    BufferPool& datagrams = turn_.pools.datagrams.buffers();
    if (turn_.now_ms >= trim_ms_) {
        trim_ms_ = TimerWheel::never;
        streams.trim(warm_buffers);
        datagrams.trim(warm_buffers);
    } else if (
        trim_ms_ == TimerWheel::never &&
        (streams.used_since_trim() || datagrams.used_since_trim())) {
        trim_ms_ = turn_.now_ms + trim_after_ms;
    }
}

// Listeners ---------------------------------------------------------------------------------------

ListenerSlot& Worker::listening(const Event& event) {
    assert(event.token.slot < listening_.size());
    ListenerSlot& listening = listening_[event.token.slot];
    assert(listening.used && listening.generation == event.token.generation);
    return listening;
}

void Worker::on_accept(const Event& event) {
    ListenerSlot& at = listening(event);
    if (event.last)
        at.armed = false;
    if (event.result >= 0) {
        tcp_.admit(event.result, at);
    } else if (event.result != -ECANCELED && !belongs_to_peer(-event.result)) {
        telemetry_.metrics.add(at.socket.kind, accept_error(-event.result));
        uint64_t suppressed = 0;
        if (accept_limit_.allow(turn_.now_ms, suppressed))
            log::warning(
                log::Event::accepting_paused,
                {{"RIPOSTE_LISTENER", at.socket.label},
                 {"RIPOSTE_REASON", errno_text(-event.result)},
                 {"ERRNO", fmt::to_string(-event.result)}},
                "accepting pauses on {}: {}; raise LimitNOFILE= or lower 'connections'{}",
                at.socket.label, errno_text(-event.result), log::left_out(suppressed));
        pause(at);
    }
    arm(at);
    forget_if_done(at);
}

void Worker::arm(ListenerSlot& listening) {
    if (listening.armed || listening.leaving || listening.starved || listening.resume_ms != 0)
        return;
    bool tcp = listening.socket.transport == Transport::tcp;
    turn_.ops.push_back(
        {.kind = tcp ? OpKind::accept : OpKind::receive_from,
         .token = {listening.slot, listening.generation},
         .fd = listening.socket.fd,
         .size = 1});
    listening.armed = true;
}

void Worker::pause(ListenerSlot& listening) {
    listening.resume_ms = turn_.now_ms + accept_pause_ms;
    resume_ms_ = std::min(resume_ms_, listening.resume_ms);
}

void Worker::resume(bool fd_freed) {
    if (!fd_freed && turn_.now_ms < resume_ms_)
        return;
    resume_ms_ = TimerWheel::never;
    for (ListenerSlot& at : listening_) {
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

void Worker::reserve(const WorkerPlan& plan) {
    const size_t listeners = std::max<size_t>(plan.listeners.size(), plan.listeners_max);
    try {
        const uint32_t slots = tcp_.reserve(plan.limits);
        telemetry_.access_log.reserve(plan.access_log, slots);
        datagrams_.reserve(plan.datagrams);
        ops_room_.reserve(
            turn_.ops, 2 * (size_t{slots} + Eviction::at_once_max + listeners) + events_.size());
        reserve_places(listeners);
        backend_.reserve(plan.descriptors_max, static_cast<uint32_t>(listeners));
    } catch (const std::bad_alloc&) {
        give_up();
        throw;
    }
    reserved_ = true;
}

void Worker::give_up() noexcept {
    tcp_.give_up();
    telemetry_.access_log.give_up();
    datagrams_.give_up();
    ops_room_.give_up();
    reserved_ = false;
}

void Worker::apply(WorkerPlan plan) {
    if (!reserved_)
        reserve(plan);
    reserved_ = false;
    ops_room_.take_over(turn_.ops);
    tcp_.apply_limits(plan.limits);
    datagrams_.set(plan.datagrams, plan.served);
    telemetry_.access_log.set(plan.access_log, tcp_.slots());
    busy_poll_.set(plan.busy_poll_us);
    for (ListenerSlot& at : listening_) {
        bool planned = std::ranges::any_of(
            plan.listeners, [&](const ListenerSpec& socket) { return socket.id == at.socket.id; });
        if (at.used && !at.leaving && !planned)
            leave(at);
    }
    for (ListenerSpec& socket : plan.listeners)
        add(std::move(socket));
}

void Worker::add(ListenerSpec socket) {
    for (ListenerSlot& at : listening_) {
        if (at.used && !at.leaving && at.socket.id == socket.id) {
            at.socket = std::move(socket); // the service or its options may have changed
            return;
        }
    }
    ListenerSlot& at = free_place();
    at.used = true;
    at.leaving = at.starved = false;
    at.resume_ms = 0;
    at.generation = (at.generation + 1) & Token::max;
    at.socket = std::move(socket);
    arm(at);
}

/// Makes sure that `count` places are free, because those in use may leave only later.
void Worker::reserve_places(size_t count) {
    auto free = static_cast<size_t>(std::ranges::count(listening_, false, &ListenerSlot::used));
    for (; free < count; ++free)
        listening_.push_back({.slot = static_cast<uint32_t>(listening_.size())});
}

ListenerSlot& Worker::free_place() {
    std::ranges::for_each(listening_, [&](ListenerSlot& at) { forget_if_done(at); });
    auto free = std::ranges::find(listening_, false, &ListenerSlot::used);
    if (free != listening_.end())
        return *free;
    listening_.push_back({.slot = static_cast<uint32_t>(listening_.size())});
    return listening_.back();
}

void Worker::leave(ListenerSlot& listening) {
    listening.leaving = true;
    if (listening.armed) {
        bool tcp = listening.socket.transport == Transport::tcp;
        turn_.ops.push_back(
            {.kind = OpKind::stop,
             .target = tcp ? OpKind::accept : OpKind::receive_from,
             .token = {listening.slot, listening.generation},
             .fd = listening.socket.fd});
    }
    forget_if_done(listening);
}

void Worker::forget_if_done(ListenerSlot& listening) noexcept {
    if (!listening.leaving || listening.in_flight() || listening.connections > 0)
        return;
    listening.used = false;
    listening.socket.service.reset();
}

bool Worker::settled() const noexcept {
    return std::ranges::none_of(
        listening_, [](const ListenerSlot& at) { return at.leaving && at.in_flight(); });
}

// Datagrams ---------------------------------------------------------------------------------------

void Worker::on_datagram(const Event& event) {
    ListenerSlot& at = listening(event);
    if (event.last)
        at.armed = false;
    if (event.result >= 0) {
        datagrams_.arrived(at, event.buffer, static_cast<uint32_t>(event.result));
        wake_starved();
    } else if (event.result != -ECANCELED) {
        on_datagram_error(at, -event.result);
    }
    arm(at);
    forget_if_done(at);
}

void Worker::on_datagram_error(ListenerSlot& at, int error) {
    if (error == EINTR)
        return;
    if (error == ENOBUFS) {
        // If every buffer is in use, the first one that returns re-arms the listener.
        uint32_t replies = 0;
        for (const ListenerSlot& each : listening_)
            replies += each.replies;
        at.starved = datagrams_.all_buffers_in_use(replies);
        starved_ = starved_ || at.starved;
        return;
    }
    uint64_t suppressed = 0;
    if (datagram_limit_.allow(turn_.now_ms, suppressed))
        log::warning(
            log::Event::receiving_paused,
            {{"RIPOSTE_LISTENER", at.socket.label},
             {"RIPOSTE_REASON", errno_text(error)},
             {"ERRNO", fmt::to_string(error)}},
            "receiving pauses on {}: {}{}", at.socket.label, errno_text(error),
            log::left_out(suppressed));
    pause(at);
}

void Worker::on_datagram_sent(const Event& event) {
    ListenerSlot& from = listening(event);
    datagrams_.sent(from, event);
    forget_if_done(from);
    wake_starved();
}

void Worker::wake_starved() {
    if (!starved_ || turn_.pools.datagrams.buffers().held(Owner::pool) == 0)
        return;
    starved_ = false;
    for (ListenerSlot& at : listening_) {
        if (!at.starved)
            continue;
        at.starved = false;
        arm(at);
    }
}

// Endings -----------------------------------------------------------------------------------------

void Worker::adopt(std::vector<handoff::Adopted> connections) {
    tcp_.make_room(static_cast<uint32_t>(connections.size()));
    for (handoff::Adopted& each : connections) {
        // The listener may have left since the supervisor chose it for this connection.
        auto at = std::ranges::find_if(listening_, [&](const ListenerSlot& listening) {
            return listening.used && !listening.leaving && listening.socket.id == each.listener;
        });
        tcp_.adopt(std::move(each), at == listening_.end() ? nullptr : &*at);
    }
}

void Worker::drain(uint32_t timeout_ms, uint32_t handoff_max) {
    if (turn_.draining)
        return;
    turn_.draining = true;
    drain_deadline_ms_ = turn_.now_ms + timeout_ms;
    turn_.drain_grace_ms = turn_.now_ms + timeout_ms / 2;
    for (ListenerSlot& at : listening_)
        if (at.used && !at.leaving)
            leave(at);
    tcp_.begin_drain(handoff_max);
}

void Worker::abort() {
    drain(0);
    drain_deadline_ms_ = turn_.now_ms;
    tcp_.abort_all("the daemon stops at once");
}

bool Worker::stopped() const noexcept {
    return turn_.draining && tcp_.open() == 0 && settled();
}

} // namespace riposte
