// Every TCP connection of one worker: opens them, feeds events to their service, carries out what
// advance() decides, and holds them to their deadlines.
//
// Bounds: a connection owes at most its window (Backend::window_buffers()) and one buffer more, and
// what it owes lies in at most twice as many buffers as its bytes need, because a small arrival is
// copied behind the last one. A reader that never reads costs that, once. When three quarters of
// all buffers are out, the window shrinks to one buffer. When all are, whoever reads nothing is
// reset: see connections_starved.cpp.
//
// A drain may hand connections over to the next process, as many as it was told (`handing_over` in
// connection.h); they are left open, and taken with take_handed_over(). The next process adopts
// them. What it can not keep (a limit, a service that is gone) it finishes, with FIN: such ones
// have a slot beyond the limit until they have ended.
#pragma once

#include "daemon/core/room.h"
#include "daemon/core/timer_wheel.h"
#include "daemon/io/backend.h"
#include "daemon/io/turn.h"
#include "daemon/listen/listener_slot.h"
#include "daemon/log/log.h"
#include "daemon/tcp/admission.h"
#include "daemon/tcp/connection.h"
#include "daemon/tcp/connection_table.h"
#include "daemon/tcp/longest_waiting.h"
#include "daemon/tcp/source_table.h"
#include "daemon/tcp/tcp_limits.h"
#include "daemon/telemetry/worker_telemetry.h"

#include <algorithm>
#include <cstdint>
#include <expected>
#include <string_view>
#include <vector>

namespace riposte {

/// An open connection on which nothing is in flight, for the next process.
struct HandedOver {
    int fd = -1;
    ServiceKind kind = ServiceKind::hello;
};

class Connections {
public:
    /// So many can be on their way out at a time, to make way for others: what comes in one turn.
    static constexpr uint32_t evictions_max = 256;

    /// While somebody waits for a buffer: who took nothing for longer is reset, the longest first.
    static constexpr uint32_t stalled_ms = 1000;
    static constexpr uint32_t relief_pause_ms = 50;
    static constexpr uint32_t reliefs_max = 256; ///< in one turn

    /// `limits`: this worker's share. `window_buffers`: what a connection may owe while buffers are
    /// plenty.
    Connections(
        Turn& turn, WorkerTelemetry& telemetry, const TcpLimits& limits, uint32_t window_buffers);

    /// Memory for apply_limits() with these; how many slots there will be. Throws std::bad_alloc,
    /// and then nothing has changed.
    uint32_t reserve(const TcpLimits& limits);
    void give_up() noexcept; ///< what was reserved
    /// This worker's share is new. Room for so many connections, at most Token::max - 1; never
    /// shrinks below what is open.
    void apply_limits(const TcpLimits& limits);

    /// Takes over an accepted fd, or refuses it: closes it without a word.
    void accepted(int fd, ListenerSlot& listening);
    void handle(const Event& event); ///< receive, send, close, release

    void end_evicted();  ///< after the last event of a turn
    void expire();       ///< deadlines that passed
    void wake_starved(); ///< after buffers were released; if none were, resets who is stalled
    void begin_drain(uint32_t handover_max);
    void end_drain(); ///< its time is over: nobody is waited for any more
    void abort_all(std::string_view reason);

    /// Room for `count` more, beyond the limit if need be, until they have ended.
    void make_room(uint32_t count);
    /// Takes over a connection of the process before this one, or finishes it: over a limit, or
    /// nobody serves it any more (`listening` is null). There must be room.
    void adopted(int fd, ServiceKind kind, ListenerSlot* listening);
    /// Those that were released since the last time, now the caller's.
    std::vector<HandedOver> take_handed_over();

    uint32_t slots() const noexcept { return table_.size(); }
    /// Not free; refused ones included.
    uint32_t open() const noexcept { return table_.used() + refused_; }
    uint64_t freed() const noexcept { return freed_; } ///< connections that were closed, ever
    /// Stream buffers that hold what is owed or read; the others are there for anybody.
    uint32_t buffers_used() const noexcept;
    uint64_t next_deadline_ms() noexcept { return std::min(timers_.next_ms(), next_relief_ms()); }

private:
    /// Stands in the slot of an accepted fd that never got one, only to be closed.
    static constexpr uint32_t refused_slot = Token::max;

    void on_receive(uint32_t slot, const Event& event);
    void on_data(uint32_t slot, BufferId buffer, uint32_t size);
    void on_sent(uint32_t slot, int32_t result);
    void on_closed(uint32_t slot);
    void on_released(uint32_t slot);

    void grow(uint32_t slots);
    static uint32_t slots_for(const TcpLimits& limits) noexcept;
    bool make_way();
    bool evict();
    uint64_t idle_since_ms(uint32_t slot) const noexcept;
    std::expected<AdmissionTicket, Refusal> ask_admission(
        const SourceKey& source, const ListenerSpec& listener);
    void refuse(
        int fd, const SocketAddress& peer, const Refusal& refusal, const ListenerSpec& listener);
    uint32_t open_slot(int fd, const SocketAddress& peer, const SourceKey& source);
    void tally(const Connection& c, Counter count, uint64_t n = 1) noexcept {
        telemetry_.metrics.add(c.kind, count, n);
    }
    void free_slot(uint32_t slot);

    void offer(uint32_t slot);
    void keep(uint32_t slot);
    void reconsider(uint32_t slot);
    void give_release(uint32_t slot);

    void run(uint32_t slot); ///< advance() until it says wait
    bool take_step(uint32_t slot, Step step);
    void ask_service(uint32_t slot, Step step);
    void push_send(uint32_t slot);
    void push_receive(uint32_t slot);

    void enqueue(uint32_t slot, BufferId buffer, uint32_t size, uint64_t since_ns);
    uint64_t asked_ns(const Connection& c) const noexcept;
    void drop_owed(Connection& c); ///< all but a chunk in flight
    void release(BufferId buffer);
    void starve(uint32_t slot);
    void relieve();
    uint64_t next_relief_ms() const noexcept;
    uint64_t stalled_since_ms(uint32_t slot) noexcept;

    void fail(uint32_t slot, std::string_view reason);
    void tell_end(uint32_t slot, std::string_view how);
    void set_deadline(uint32_t slot);
    void on_deadline(uint32_t slot);
    void probe_stall(uint32_t slot);
    void end_idle(uint32_t slot);
    void push_close(uint32_t slot, uint32_t generation, int fd);

    /// Null: adopted, and nobody serves it any more.
    static const ListenerSpec* listener_of(const Connection& c) noexcept {
        return c.listener != nullptr ? &c.listener->socket : nullptr;
    }

    uint32_t window_bytes() const noexcept;
    ServiceContext context() const { return {turn_.wall_seconds}; }

    void log_refused(
        log::Event event, std::string_view what, const SocketAddress& peer,
        const ListenerSpec* listener, Counter reason, std::string_view why);
    void log_peer(uint32_t slot, std::string_view what, std::string_view detail);

    Turn& turn_;
    WorkerTelemetry& telemetry_;
    TcpLimits limits_{}; ///< this worker's share
    uint32_t window_buffers_;
    ConnectionTable table_;
    SendQueues queues_;
    std::vector<uint32_t> starved_;
    std::vector<uint32_t> woken_; ///< wake_starved()'s working copy
    LongestWaiting stalled_;
    uint64_t relief_ms_ = 0;  ///< nobody is reset before
    uint64_t watched_ms_ = 0; ///< since then somebody has been waiting without a long break
    TimerWheel timers_;
    Admission admission_;
    Room<uint32_t> starved_room_;
    Room<uint32_t> woken_room_;
    LongestWaiting victims_;
    uint32_t refused_ = 0; ///< that are being closed
    uint64_t freed_ = 0;
    uint32_t evicted_ = 0;           ///< of them, on their way out
    std::vector<uint32_t> evicting_; ///< of those, in this turn
    uint32_t handover_left_ = 0;     ///< how many more may be handed over
    std::vector<HandedOver> handed_over_;
    uint32_t sends_in_flight_ = 0; ///< each with a buffer that comes back to us
    bool released_ = false;        ///< a stream buffer came back since the starved were woken
    log::Limit debug_limit_{1000, 1000};
    log::Limit refused_limit_{1, 10'000};
};

} // namespace riposte
