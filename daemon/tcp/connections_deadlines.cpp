// How connections end by time: deadlines that pass, and drains.

#include "daemon/tcp/connections.h"
#include "daemon/tcp/deadlines.h"

#include <algorithm>

#include <fmt/format.h>

namespace riposte {

void Connections::set_deadline(uint32_t slot) {
    const deadlines::Now now{turn_.now_ms, turn_.draining, turn_.drain_grace_ms};
    if (const auto timeout = deadlines::renew(table_[slot], limits_, now))
        timers_.set(slot, turn_.now_ms + *timeout);
    else
        timers_.clear(slot); // its stream is being stopped, then it goes
}

void Connections::probe_stall(uint32_t slot) {
    Connection& c = table_[slot];
    const uint32_t unacknowledged = turn_.environment.unacknowledged_bytes(c.fd);
    const deadlines::ReadVerdict verdict =
        deadlines::judge_reading(c, limits_, unacknowledged, turn_.now_ms);
    switch (verdict.reading) {
    case deadlines::Reading::steadily:
        timers_.set(slot, verdict.next_look_ms);
        return;
    case deadlines::Reading::not_at_all:
        tally(c, Counter::write_stall_timeouts);
        fail(slot, "the peer took nothing within write_stall_timeout");
        return;
    case deadlines::Reading::too_slowly:
        tally(c, Counter::write_rates_low);
        fail(slot, "the peer took less than write_rate_min");
        return;
    }
}

void Connections::expire() {
    for (uint32_t slot = TimerWheel::none;
         (slot = timers_.expired(turn_.now_ms)) != TimerWheel::none;) {
        on_deadline(slot);
        run(slot);
    }
}

void Connections::on_deadline(uint32_t slot) {
    Connection& c = table_[slot];
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

void Connections::end_idle(uint32_t slot) {
    Connection& c = table_[slot];
    c.finish_requested = true;
    if (turn_.draining) {
        telemetry_.access_log.note(slot, "drained");
        return;
    }
    const bool silent = deadlines::first_byte_due(c, limits_);
    tally(c, silent ? Counter::first_byte_timeouts : Counter::idle_timeouts);
    const std::string_view why =
        silent ? "it said nothing within first_byte_timeout" : "nothing came within idle_timeout";
    telemetry_.access_log.note(slot, why);
    if (log::enabled(LogLevel::debug))
        log_peer(slot, "idle", fmt::format(": {}", why));
}

void Connections::begin_drain(uint32_t handover_max) {
    handover_left_ = handover_max;
    for (uint32_t slot = 0; slot < table_.size(); ++slot) {
        Connection& c = table_[slot];
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
    for (uint32_t slot = 0; slot < table_.size(); ++slot) {
        Connection& c = table_[slot];
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
    for (uint32_t slot = 0; slot < table_.size(); ++slot) {
        if (table_[slot].is_free())
            continue;
        fail(slot, reason);
        run(slot);
    }
    handover_left_ = 0; // whoever would have gone has given its place back
}

} // namespace riposte
