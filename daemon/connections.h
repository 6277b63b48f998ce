// Every TCP connection of one worker: opens them, feeds events to their service, carries out what
// advance() decides, and holds them to their deadlines.
//
// Bounds: a connection owes at most its window (Backend::window_buffers()) and one buffer more, and
// what it owes lies in at most twice as many buffers as its bytes need, because a small arrival is
// copied behind the last one. A reader that never reads costs that, once. When three quarters of
// all buffers are out, the window shrinks to one buffer, so that slow readers can not starve the
// others.
//
// Deadlines of an open connection: while something is owed, the write-stall timeout, renewed by
// each byte that the peer takes; else the idle timeout, renewed by each byte that it sends. After
// our FIN, the linger timeout, once. The kernel buffers megabytes, so that a slow reader can take
// bytes for a long time before there is room for one of ours: while the write-stall timeout runs,
// each quarter of it asks the kernel what the peer has acknowledged.
//
// A drain may hand connections over to the next process, as many as it was told (`handing_over` in
// connection.h); they are left open, and taken with take_handed_over(). The next process adopts
// them. What it can not keep (a limit, a service that is gone) it finishes, with FIN: such ones
// have a slot beyond the limit until they have ended.
#pragma once

#include "daemon/connection.h"
#include "daemon/environment.h"
#include "daemon/io/backend.h"
#include "daemon/limits.h"
#include "daemon/listeners.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/timers.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace riposte {

/// One socket that a worker answers on. Stays where it is until nothing refers to it.
struct Listening {
    WorkerListener socket{};
    uint32_t slot = 0;
    uint32_t generation = 0;
    bool used = false;      ///< this place holds a listener
    bool armed = false;     ///< an accept or receive_from stream is in flight
    bool leaving = false;   ///< no longer in the plan
    bool starved = false;   ///< a datagram socket that waits for a buffer
    uint64_t resume_ms = 0; ///< paused until then; 0: not paused
    uint32_t connections = 0;
    uint32_t replies = 0; ///< send_to operations in flight

    bool in_flight() const noexcept { return armed || replies > 0; }
};

/// An open connection on which nothing is in flight, for the next process.
struct HandedOver {
    int fd = -1;
    ServiceKind kind = ServiceKind::hello;
};

/// What the parts of one worker share.
struct WorkerState {
    Environment& environment;
    Pools pools;
    uint32_t window_buffers = 1; ///< what a connection may owe while buffers are plenty
    LimitsConfig limits{};       ///< this worker's share
    Metrics metrics{};
    std::vector<Op> ops{}; ///< for the next turn
    uint64_t now_ms = 0;   ///< both clocks stand still during a turn
    int64_t wall_seconds = 0;
    bool draining = false;
    uint64_t drain_grace_ms = 0; ///< from then on, a connection that owes nothing is finished
};

class Connections {
public:
    /// A draining connection is finished when it was quiet for this long.
    static constexpr uint32_t drain_quiet_ms = 20;

    explicit Connections(WorkerState& state);

    /// Room for `max` connections, at most Token::max - 1. Never shrinks below what is open.
    void set_max(uint32_t max);

    /// Takes over an accepted fd, or refuses it: closes it without a word.
    void accepted(int fd, Listening& listening);
    void handle(const Event& event); ///< receive, send, close, release

    void expire();       ///< deadlines that passed
    void wake_starved(); ///< after buffers were released
    void begin_drain(uint32_t handover_max);
    void end_drain(); ///< its time is over: nobody is waited for any more
    void abort_all(std::string_view reason);

    /// Room for `count` more, beyond the limit if need be, until they have ended.
    void make_room(uint32_t count);
    /// Takes over a connection of the process before this one, or finishes it: over a limit, or
    /// nobody serves it any more (`listening` is null). There must be room.
    void adopted(int fd, ServiceKind kind, Listening* listening);
    /// Those that were released since the last time, now the caller's.
    std::vector<HandedOver> take_handed_over();

    uint32_t open() const noexcept { return open_; } ///< not free; refused ones included
    uint64_t next_deadline_ms() noexcept { return timers_.next_ms(); }

private:
    void on_receive(uint32_t slot, const Event& event);
    void on_data(uint32_t slot, BufferId buffer, uint32_t size);
    void on_sent(uint32_t slot, int32_t result);
    void on_closed(uint32_t slot);
    void on_released(uint32_t slot);

    void grow(uint32_t slots);
    std::string_view enter(const SourceKey& source);
    uint32_t open_slot(int fd, const SocketAddress& peer, const SourceKey& source);
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

    void enqueue(uint32_t slot, BufferId buffer, uint32_t size);
    void drop_owed(Connection& c); ///< all but a chunk in flight
    void release(BufferId buffer);
    void starve(uint32_t slot);

    void fail(uint32_t slot, std::string_view reason);
    void set_deadline(uint32_t slot);
    void on_deadline(uint32_t slot);
    void probe_stall(uint32_t slot);
    static bool owes(const Connection& c) noexcept {
        return c.owed.bytes > 0 || c.generating || c.farewell_due;
    }
    void push_close(uint32_t slot, uint32_t generation, int fd);

    uint32_t window_bytes() const noexcept;
    ServiceContext context() const { return {state_.wall_seconds}; }

    void log_refused(std::string_view what, const SocketAddress& peer, std::string_view why);
    void log_peer(uint32_t slot, std::string_view what, std::string_view detail);

    WorkerState& state_;
    std::vector<Connection> slots_;
    std::vector<uint32_t> free_; ///< stack
    SendQueues queues_;
    std::vector<uint32_t> starved_;
    std::vector<uint32_t> woken_; ///< wake_starved()'s working copy
    Timers timers_;
    SourceTable sources_;
    uint32_t max_ = 0;
    uint32_t open_ = 0;
    uint32_t handover_left_ = 0; ///< how many more may be handed over
    std::vector<HandedOver> handed_over_;
    uint32_t sends_in_flight_ = 0; ///< each with a buffer that comes back to us
    bool released_ = false;        ///< a stream buffer came back since the starved were woken
    log::Limit debug_limit_{1000, 1000};
    log::Limit refused_limit_{1, 10'000};
};

} // namespace riposte
