// Every TCP connection of one worker: event in, transition, advance(), operation out through the
// seam. The only one that sees all the policies; each of them is a part that can be tested alone:
//
//     connection_table   the slots           eviction        which one is closed for another
//     admission          who is let in       buffer_relief   when buffers run out
//     deadlines,         how a connection    handoff         from and to other processes
//     transfer_rate      ends by time        connection_log  what is logged
//
// Two files: engine.cpp turns events into transitions and steps into operations;
// engine_lifetime.cpp says how connections begin, and how they end but by their peer and service.
//
// Bounds: of a connection at most its window (Backend::window_buffers()) and one buffer more are
// pending, in at most twice as many buffers as the bytes need, because a small arrival is copied
// behind the last one. A reader that never reads costs that, once. When three quarters of all
// buffers are used, the window shrinks to one buffer. When all are, stalled readers are reset
// (buffer_relief.h).
//
// One way out: fail() or a transition to `closing`; then advance() stops the stream, waits for what
// is in flight, and closes; vacate_slot() is the only one to free a slot, and Connection::vacate()
// asserts the rest.
#pragma once

#include "daemon/core/timer_wheel.h"
#include "daemon/io/backend.h"
#include "daemon/io/turn.h"
#include "daemon/listen/listener_slot.h"
#include "daemon/tcp/admission.h"
#include "daemon/tcp/buffer_relief.h"
#include "daemon/tcp/connection.h"
#include "daemon/tcp/connection_log.h"
#include "daemon/tcp/connection_table.h"
#include "daemon/tcp/eviction.h"
#include "daemon/tcp/handoff.h"
#include "daemon/tcp/tcp_limits.h"
#include "daemon/telemetry/worker_telemetry.h"

#include <algorithm>
#include <cstdint>
#include <expected>
#include <string_view>
#include <utility>
#include <vector>

namespace riposte {

class Engine {
public:
    /// `limits`: this worker's share. `window_buffers`: what may be pending of a connection while
    /// buffers are plenty.
    Engine(
        Turn& turn, WorkerTelemetry& telemetry, const TcpLimits& limits, uint32_t window_buffers);

    // Memory and limits.

    /// Memory for apply_limits() with these; how many slots there will be. Throws std::bad_alloc,
    /// and then nothing has changed.
    uint32_t reserve(const TcpLimits& limits);
    void give_up() noexcept; ///< what was reserved
    /// This worker's share is new. Room for so many connections, at most Token::max - 1; never
    /// shrinks below what is open.
    void apply_limits(const TcpLimits& limits);

    // Beginnings.

    /// Takes over an accepted fd, or refuses it: closes it without a byte.
    void admit(int fd, ListenerSlot& listener);
    /// Room for so many more, beyond the limit if need be, until they have ended.
    void make_room(uint32_t connections);
    /// Continues a connection of the previous process, or finishes it: over a limit, or no listener
    /// of its service is left (null). There must be room.
    void adopt(handoff::Adopted connection, ListenerSlot* listener);

    // A turn: every event, then in this order.

    void handle(const Event& event); ///< receive, send, close, release
    void end_evicted();              ///< after the last event
    void expire();                   ///< deadlines that passed
    void wake_starved(); ///< if buffers were released; if none was, resets who reads nothing

    // Endings.

    /// Connections end when they are quiet; as many as `handoff_max` are released instead.
    void begin_drain(uint32_t handoff_max);
    void end_drain(); ///< its time is over: no connection is waited for any more
    void abort_all(std::string_view reason);
    /// Those that were released since the last call.
    std::vector<handoff::Released> take_released() { return std::exchange(released_, {}); }

    uint32_t slots() const noexcept { return table_.size(); }
    /// Slots that are not free, and refused connections that are being closed.
    uint32_t open() const noexcept { return table_.used() + refused_; }
    uint64_t freed() const noexcept { return freed_; } ///< connections that were closed, ever
    /// Stream buffers that hold what is pending or was read; any connection may take the others.
    uint32_t buffers_used() const noexcept {
        return turn_.pools.streams.held(Owner::worker) + sends_in_flight_;
    }
    uint64_t next_deadline_ms() noexcept { return std::min(timers_.next_ms(), relief_.next_ms()); }

private:
    /// Stands in the token of an accepted fd that never got a slot, only to be closed.
    static constexpr uint32_t refused_slot = Token::max;

    // engine.cpp: events.
    void on_receive(uint32_t slot, const Event& event);
    void answer(uint32_t slot, BufferId buffer, uint32_t size);
    void on_sent(uint32_t slot, int32_t result);
    void on_closed(uint32_t slot);
    void on_released(uint32_t slot);

    // engine.cpp: steps.
    void run(uint32_t slot); ///< advance() until it says wait
    bool take_step(uint32_t slot, Step step);
    void ask_service(uint32_t slot, Step step);
    void push_send(uint32_t slot);
    void push_receive(uint32_t slot);
    void push(OpKind kind, const Token& token, int fd) {
        turn_.ops.push_back({.kind = kind, .token = token, .fd = fd});
    }

    // engine.cpp: what is pending, and its buffers.
    void enqueue(uint32_t slot, BufferId buffer, uint32_t size, uint64_t since_ns);
    uint64_t asked_since_ns(const Connection& c) const noexcept;
    void drop_pending(Connection& c); ///< all but a chunk in flight
    void release_buffer(BufferId buffer);
    void starve(uint32_t slot);
    uint32_t window_bytes() const noexcept;

    // engine_lifetime.cpp
    static uint32_t slots_for(const TcpLimits& limits) noexcept;
    void grow(uint32_t slots);
    std::expected<AdmissionTicket, RefusalReason> ask_admission(
        const SourceKey& source, const ListenerSpec& listener);
    bool make_way();
    void refuse(
        int fd, const SocketAddress& peer, RefusalReason refusal, const ListenerSpec& listener);
    uint32_t open_slot(
        int fd, const SocketAddress& peer, const SourceKey& source, ListenerSlot* listener);
    void vacate_slot(uint32_t slot);
    void fail(uint32_t slot, std::string_view reason);
    void leave(uint32_t slot, std::string_view how);
    void renew_deadline(uint32_t slot);
    void on_deadline(uint32_t slot);
    void judge_reading(uint32_t slot);
    void end_idle(uint32_t slot);
    void reset_stalled();
    void offer_handoff(uint32_t slot);
    void withdraw_handoff(uint32_t slot);
    void recheck_handoff(uint32_t slot);

    Token token_of(uint32_t slot) const noexcept { return {slot, table_[slot].generation}; }
    void count(const Connection& c, Counter counter, uint64_t n = 1) noexcept {
        telemetry_.metrics.add(c.kind, counter, n);
    }
    ServiceContext context() const { return {turn_.wall_seconds}; }

    Turn& turn_;
    WorkerTelemetry& telemetry_;
    ConnectionLog log_;
    TcpLimits limits_{}; ///< this worker's share
    uint32_t window_buffers_;
    ConnectionTable table_;
    SendQueues queues_;
    TimerWheel timers_;
    Admission admission_;
    Eviction eviction_;
    BufferRelief relief_;
    handoff::Quota handoff_quota_;
    std::vector<handoff::Released> released_;
    uint32_t refused_ = 0; ///< that are being closed
    uint64_t freed_ = 0;
    uint32_t sends_in_flight_ = 0; ///< each with a buffer that comes back to us
};

} // namespace riposte
