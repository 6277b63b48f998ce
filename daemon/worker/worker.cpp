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
      datagrams_(turn_, telemetry_, plan.rate_entries), listeners_(turn_) {
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
    listeners_.resume(tcp_.freed() != freed);
    if (!stopped())
        return true;
    telemetry_.access_log.tell_left_out();
    return false;
}

std::chrono::milliseconds Worker::until_deadline() noexcept {
    uint64_t next = std::min(
        {tcp_.next_deadline_ms(), drain_deadline_ms_, listeners_.resume_ms(), trim_ms_,
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
    case OpKind::transmitted:
        if (ListenerSlot* const at = listeners_.find(event.token))
            datagrams_.transmitted(*at, event);
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

void Worker::on_accept(const Event& event) {
    ListenerSlot& at = listeners_.of(event);
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
                 {"RIPOSTE_REASON", errno_name(-event.result)},
                 {"ERRNO", fmt::to_string(-event.result)}},
                "accepting pauses on {}: {}; raise LimitNOFILE= or lower 'connections'{}",
                at.socket.label, errno_text(-event.result), log::left_out(suppressed));
        listeners_.pause(at);
    }
    listeners_.arm(at);
    listeners_.forget_if_done(at);
}

void Worker::reserve(const WorkerPlan& plan) {
    const size_t listeners = std::max<size_t>(plan.listeners.size(), plan.listeners_max);
    try {
        const uint32_t slots = tcp_.reserve(plan.limits);
        telemetry_.access_log.reserve(plan.access_log, slots);
        datagrams_.reserve(plan.datagrams);
        ops_room_.reserve(
            turn_.ops, 2 * (size_t{slots} + Eviction::at_once_max + listeners) + events_.size());
        listeners_.reserve(listeners);
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
    listeners_.apply(std::move(plan.listeners));
}

// Datagrams ---------------------------------------------------------------------------------------

void Worker::on_datagram(const Event& event) {
    ListenerSlot& at = listeners_.of(event);
    if (event.last)
        at.armed = false;
    if (event.result >= 0) {
        datagrams_.arrived(at, event.buffer, static_cast<uint32_t>(event.result));
        listeners_.wake_starved();
    } else if (event.result != -ECANCELED) {
        on_datagram_error(at, -event.result);
    }
    listeners_.arm(at);
    listeners_.forget_if_done(at);
}

void Worker::on_datagram_error(ListenerSlot& at, int error) {
    if (error == EINTR)
        return;
    if (error == ENOBUFS) {
        // If every buffer is in use, the first one that returns re-arms the listener.
        if (datagrams_.all_buffers_in_use(listeners_.replies()))
            listeners_.starve(at);
        return;
    }
    uint64_t suppressed = 0;
    if (datagram_limit_.allow(turn_.now_ms, suppressed))
        log::warning(
            log::Event::receiving_paused,
            {{"RIPOSTE_LISTENER", at.socket.label},
             {"RIPOSTE_REASON", errno_name(error)},
             {"ERRNO", fmt::to_string(error)}},
            "receiving pauses on {}: {}{}", at.socket.label, errno_text(error),
            log::left_out(suppressed));
    listeners_.pause(at);
}

void Worker::on_datagram_sent(const Event& event) {
    ListenerSlot& from = listeners_.of(event);
    datagrams_.sent(from, event);
    listeners_.forget_if_done(from);
    listeners_.wake_starved();
}

// Endings -----------------------------------------------------------------------------------------

void Worker::adopt(std::vector<handoff::Adopted> connections) {
    tcp_.make_room(static_cast<uint32_t>(connections.size()));
    for (handoff::Adopted& each : connections) {
        // The listener may have left since the supervisor chose it for this connection.
        ListenerSlot* const listener = listeners_.find(each.listener);
        tcp_.adopt(std::move(each), listener);
    }
}

void Worker::drain(uint32_t timeout_ms, uint32_t handoff_max) {
    if (turn_.draining)
        return;
    turn_.draining = true;
    drain_deadline_ms_ = turn_.now_ms + timeout_ms;
    turn_.drain_grace_ms = turn_.now_ms + timeout_ms / 2;
    listeners_.leave_all();
    tcp_.begin_drain(handoff_max);
}

void Worker::abort() {
    drain(0);
    drain_deadline_ms_ = turn_.now_ms;
    tcp_.abort_all("the daemon stops at once");
}

bool Worker::stopped() const noexcept {
    return turn_.draining && tcp_.open() == 0 && listeners_.settled();
}

} // namespace riposte
