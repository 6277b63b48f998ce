// How connections end by time: deadlines that pass, and drains.

#include "daemon/connections.h"

#include <algorithm>
#include <utility>

namespace riposte {

void Connections::set_deadline(uint32_t slot) {
    Connection& c = slots_[slot];
    const LimitsConfig& limits = state_.limits;
    uint32_t timeout = limits.idle_timeout_ms;
    if (c.state == ConnectionState::finishing) {
        timeout = limits.linger_timeout_ms;
    } else if (c.handing_over && !owes(c)) {
        timers_.clear(slot); // its stream is being stopped, then it goes
        return;
    } else if (owes(c)) {
        timeout = limits.write_stall_timeout_ms / 4;
        c.progress_ms = state_.now_ms;
        c.unacknowledged = UINT32_MAX;
    } else if (state_.draining) {
        timeout = state_.now_ms >= state_.drain_grace_ms ? 0 : drain_quiet_ms;
    }
    timers_.set(slot, state_.now_ms + timeout);
}

void Connections::probe_stall(uint32_t slot) {
    Connection& c = slots_[slot];
    uint32_t timeout = state_.limits.write_stall_timeout_ms;
    uint32_t before =
        std::exchange(c.unacknowledged, state_.environment.unacknowledged_bytes(c.fd));
    // The first look has nothing to compare with. One that comes when the time is over says that
    // this process was late, and of the peer nothing: its time begins anew.
    const bool is_over = state_.now_ms - c.progress_ms >= timeout;
    if (before == UINT32_MAX ? is_over : c.unacknowledged < before)
        c.progress_ms = state_.now_ms;
    if (state_.now_ms - c.progress_ms >= timeout) {
        state_.metrics.add(Count::write_stall_timeouts);
        fail(slot, "the peer took nothing within write_stall_timeout");
        return;
    }
    uint64_t end = c.progress_ms + timeout;
    timers_.set(slot, std::min(state_.now_ms + std::max(timeout / 4, 1u), end));
}

void Connections::expire() {
    for (uint32_t slot = Timers::none; (slot = timers_.expired(state_.now_ms)) != Timers::none;) {
        on_deadline(slot);
        run(slot);
    }
}

void Connections::on_deadline(uint32_t slot) {
    Connection& c = slots_[slot];
    if (c.state == ConnectionState::finishing) {
        // Everything was sent, and the kernel goes on delivering it after the close.
        state_.metrics.add(Count::linger_timeouts);
        log_peer(slot, "ended", ": the peer did not finish within linger_timeout");
        c.state = ConnectionState::closing;
    } else if (c.state != ConnectionState::open) {
        return;
    } else if (owes(c)) {
        probe_stall(slot);
    } else {
        if (!state_.draining) {
            state_.metrics.add(Count::idle_timeouts);
            log_peer(slot, "idle", ": nothing came within idle_timeout");
        }
        c.finish_requested = true;
    }
}

void Connections::begin_drain(uint32_t handover_max) {
    handover_left_ = handover_max;
    for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
        Connection& c = slots_[slot];
        if (c.state != ConnectionState::open)
            continue;
        if (!c.starved)
            c.generating = false;
        if (c.owed.bytes == 0)
            set_deadline(slot);
        offer(slot);
        if (c.handing_over)
            run(slot);
    }
}

void Connections::end_drain() {
    for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
        Connection& c = slots_[slot];
        if (c.state == ConnectionState::finishing)
            c.state = ConnectionState::closing; // it was sent everything: no need for a reset
        else if (c.state == ConnectionState::open)
            fail(slot, "drain_timeout has passed");
        run(slot);
    }
}

void Connections::abort_all(std::string_view reason) {
    for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
        if (slots_[slot].state == ConnectionState::free)
            continue;
        fail(slot, reason);
        run(slot);
    }
    handover_left_ = 0; // whoever would have gone has given its place back
}

} // namespace riposte
