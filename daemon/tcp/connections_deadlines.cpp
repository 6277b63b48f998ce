// How connections end by time: deadlines that pass, and drains.

#include "daemon/tcp/connections.h"

#include <algorithm>

#include <fmt/format.h>

namespace riposte {

void Connections::set_deadline(uint32_t slot) {
    Connection& c = slots_[slot];
    const TcpLimits& limits = limits_;
    c.progress_ms = turn_.now_ms;
    uint32_t timeout = first_byte_due(c) ? limits.first_byte_timeout_ms : limits.idle_timeout_ms;
    if (c.is_finishing() || !c.reply_pending())
        c.peer_reads = {};
    if (c.is_finishing()) {
        timeout = limits.linger_timeout_ms;
    } else if (c.handing_off && !c.reply_pending()) {
        timers_.clear(slot); // its stream is being stopped, then it goes
        return;
    } else if (c.reply_pending()) {
        timeout = std::min(limits.write_stall_timeout_ms / 4, open_taking_window(c));
        c.unacknowledged = Connection::not_looked;
    } else if (turn_.draining) {
        timeout = turn_.now_ms >= turn_.drain_grace_ms ? 0 : drain_quiet_ms;
    }
    timers_.set(slot, turn_.now_ms + timeout);
}

void Connections::probe_stall(uint32_t slot) {
    Connection& c = slots_[slot];
    uint32_t timeout = limits_.write_stall_timeout_ms;
    const bool first = c.unacknowledged == Connection::not_looked;
    const bool took = look(c);
    // The first look has nothing to compare with. One that comes when the time is over says that
    // this process was late, and of the peer nothing: its time begins anew. A peer that has
    // acknowledged everything keeps nobody waiting: what it is still owed waits for us.
    const bool is_over = turn_.now_ms - c.progress_ms >= timeout;
    if ((first ? is_over : took) || c.unacknowledged == 0)
        c.progress_ms = turn_.now_ms;
    if (turn_.now_ms - c.progress_ms >= timeout) {
        tally(c, Counter::write_stall_timeouts);
        fail(slot, "the peer took nothing within write_stall_timeout");
        return;
    }
    if (takes_too_little(c)) {
        tally(c, Counter::write_rates_low);
        fail(slot, "the peer took less than write_rate_min");
        return;
    }
    const uint32_t wait = std::max(std::min(timeout / 4, open_taking_window(c)), 1u);
    timers_.set(slot, std::min(turn_.now_ms + wait, c.progress_ms + timeout));
}

void Connections::expire() {
    for (uint32_t slot = TimerWheel::none;
         (slot = timers_.expired(turn_.now_ms)) != TimerWheel::none;) {
        on_deadline(slot);
        run(slot);
    }
}

void Connections::on_deadline(uint32_t slot) {
    Connection& c = slots_[slot];
    if (c.is_finishing()) {
        // Everything was sent, and the kernel goes on delivering it after the close.
        tally(c, Counter::linger_timeouts);
        log_peer(slot, "ended", ": the peer did not finish within linger_timeout");
        tell_end(slot, "the peer did not finish within linger_timeout");
        c.leave();
    } else if (!c.is_open()) {
        return;
    } else if (c.reply_pending()) {
        probe_stall(slot);
    } else {
        end_idle(slot);
    }
}

/// The shorter one counts: who never spoke is idle, too.
bool Connections::first_byte_due(const Connection& c) const noexcept {
    return !c.heard && limits_.first_byte_timeout_ms <= limits_.idle_timeout_ms;
}

void Connections::end_idle(uint32_t slot) {
    Connection& c = slots_[slot];
    c.finish_requested = true;
    if (turn_.draining) {
        telemetry_.access_log.note(slot, "drained");
        return;
    }
    const bool silent = first_byte_due(c);
    tally(c, silent ? Counter::first_byte_timeouts : Counter::idle_timeouts);
    const std::string_view why =
        silent ? "it said nothing within first_byte_timeout" : "nothing came within idle_timeout";
    telemetry_.access_log.note(slot, why);
    if (log::enabled(LogLevel::debug))
        log_peer(slot, "idle", fmt::format(": {}", why));
}

void Connections::begin_drain(uint32_t handover_max) {
    handover_left_ = handover_max;
    for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
        Connection& c = slots_[slot];
        if (!c.is_open())
            continue;
        if (!c.starved)
            c.generating = false;
        if (c.pending.bytes == 0)
            set_deadline(slot);
        offer(slot);
        if (c.handing_off)
            run(slot);
    }
}

void Connections::end_drain() {
    for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
        Connection& c = slots_[slot];
        if (c.is_finishing()) {
            c.leave(); // it was sent everything: no need for a reset
            tell_end(slot, "drained");
        } else if (c.is_open()) {
            fail(slot, "drain_timeout has passed");
        }
        run(slot);
    }
}

void Connections::abort_all(std::string_view reason) {
    for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
        if (slots_[slot].is_free())
            continue;
        fail(slot, reason);
        run(slot);
    }
    handover_left_ = 0; // whoever would have gone has given its place back
}

} // namespace riposte
