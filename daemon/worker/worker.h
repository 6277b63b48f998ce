// One thread's loop: events in, operations out.
//
// A worker shares nothing with the others: its own backend, buffers, connections, counters. It
// never blocks but in its backend, never owns a listening socket, and logs only what it decided.
// Driven by turn(), by a thread (worker_thread.h) or by the simulator (tests/sim), which turns the
// same code.
#pragma once

#include "daemon/acl/port_set.h"
#include "daemon/core/host.h"
#include "daemon/core/vector_reservation.h"
#include "daemon/io/backend.h"
#include "daemon/io/turn.h"
#include "daemon/listen/listener_spec.h"
#include "daemon/tcp/engine.h"
#include "daemon/tcp/handoff.h"
#include "daemon/tcp/tcp_limits.h"
#include "daemon/telemetry/worker_telemetry.h"
#include "daemon/udp/responder.h"
#include "daemon/udp/udp_limits.h"
#include "daemon/worker/busy_poll.h"

#include <array>
#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

namespace riposte {

/// What a worker is to do: the sockets it answers on and its share of the limits.
struct WorkerPlan {
    std::vector<ListenerSpec> listeners;
    TcpLimits limits;
    uint32_t busy_poll_us = 0; ///< see BusyPoll
    UdpLimits datagrams{};
    AccessLogConfig access_log{};
    std::shared_ptr<const PortSet> served{}; ///< the ports of all datagram listeners; null: none
    uint32_t descriptors_max = 0;            ///< of the process, as far as is to be expected
    uint32_t listeners_max =
        0; ///< for reserve(): how many there may be, where they are not known yet
    uint32_t rate_entries =
        ResponseRateLimit::entries_of_all_workers; ///< fixed with the first plan
};

class Worker {
public:
    /// After EMFILE and its like, accepting pauses for this long, or until a connection closes.
    static constexpr uint32_t accept_pause_ms = 500;
    static constexpr uint32_t drain_repeat_ms = 50;
    /// So long after buffers were used, those of them that are free again are given back to the
    /// system, but for some that stay warm. An idle worker holds no more.
    static constexpr uint32_t trim_after_ms = 1000;
    static constexpr uint32_t warm_buffers = 4;

    Worker(Host& environment, Backend& backend, Pools pools, const WorkerPlan& plan);

    /// One turn: gives the backend what was decided, waits for events, decides. False when a drain
    /// or abort has ended: nothing is open, armed or in flight any more.
    bool turn();

    // Commands; call between turns.

    /// Memory for apply() with this plan, which then allocates none. Throws std::bad_alloc, and
    /// then nothing has changed.
    void reserve(const WorkerPlan& plan);
    void give_up() noexcept; ///< what was reserved: the plan does not come
    /// Adopts a plan, the last that was reserved, if any was: new listeners are armed, missing ones
    /// stopped, services and limits replaced. No connection is lost. settled() says when nothing is
    /// in flight on those that are gone.
    void apply(WorkerPlan plan);
    bool settled() const noexcept;
    /// Connections go on as if they had been accepted here, or are finished if they can not stay.
    void adopt(std::vector<handoff::Adopted> connections);
    /// Stops accepting, finishes what is owed, closes; after `timeout_ms`, by force. Up to
    /// `handoff_max` connections that another process can go on with are not closed: see
    /// take_released().
    void drain(uint32_t timeout_ms, uint32_t handoff_max = 0);
    /// Ends every connection now, by force.
    void abort();

    const Counters& metrics() const noexcept { return telemetry_.metrics; }
    uint32_t connections() const noexcept { return tcp_.open(); }
    std::vector<handoff::Released> take_released() { return tcp_.take_released(); }

private:
    void handle(const Event& event);
    void on_accept(const Event& event);
    void on_datagram(const Event& event);
    void on_datagram_sent(const Event& event);
    void on_datagram_error(ListenerSlot& listening, int error);
    void wake_starved(); ///< when a datagram buffer has come back

    void reserve_places(size_t count);
    ListenerSlot& free_place();
    ListenerSlot& listening(const Event& event);
    void add(ListenerSpec socket);
    void leave(ListenerSlot& listening);
    void arm(ListenerSlot& listening);
    void pause(ListenerSlot& listening);
    void forget_if_done(ListenerSlot& listening) noexcept;
    void resume(bool fd_freed);
    void keep_deadlines();
    void trim_buffers();

    bool stopped() const noexcept;
    std::chrono::milliseconds until_deadline() noexcept;

    Backend& backend_;
    Turn turn_;
    WorkerTelemetry telemetry_;
    Engine tcp_;
    UdpResponder datagrams_;
    std::deque<ListenerSlot> listening_; ///< places stay where they are: connections point to them
    std::array<Event, 256> events_{};
    BusyPoll busy_poll_;
    uint64_t drain_deadline_ms_ = TimerWheel::never;
    uint64_t resume_ms_ = TimerWheel::never; ///< the earliest paused listener's
    uint64_t trim_ms_ = TimerWheel::never;
    log::Limit accept_limit_{1, 10'000};
    log::Limit datagram_limit_{1, 10'000};
    VectorReservation<Op> ops_room_;
    bool reserved_ = false; ///< since the last plan was applied
    bool starved_ = false;  ///< some listener waits for a datagram buffer
};

} // namespace riposte
