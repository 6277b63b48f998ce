// One thread's loop: events in, operations out.
//
// Workers share nothing: each has its own backend, buffers, connections and counters. A worker
// blocks only in its backend, never owns a listening socket, and logs only its own decisions. A
// thread (worker_thread.h) or the simulator (tests/sim) drives the same code by calling turn().
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
#include "daemon/worker/listener_slots.h"

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace riposte {

/// A worker's configuration: the sockets that it serves on and its share of the limits.
struct WorkerPlan {
    std::vector<ListenerSpec> listeners;
    TcpLimits limits;
    uint32_t busy_poll_us = 0; ///< see BusyPoll
    UdpLimits datagrams{};
    AccessLogConfig access_log{};
    std::shared_ptr<const PortSet> served{}; ///< the ports of all datagram listeners; null: none
    uint32_t descriptors_max = 0;            ///< the most that the process is expected to have
    /// For reserve(), before the listeners are known: their number at most.
    uint32_t listeners_max = 0;
    /// Size of the table of ResponseRateLimit; only the first plan's counts.
    uint32_t rate_entries = ResponseRateLimit::entries_of_all_workers;
};

class Worker {
public:
    /// After EMFILE and similar errors, accepting pauses for this long, or until a connection
    /// closes.
    static constexpr uint32_t accept_pause_ms = ListenerSlots::pause_ms;
    static constexpr uint32_t drain_repeat_ms = 50;
    /// When buffers were in use, the memory of the free ones is returned to the system after this
    /// time, except that of a few warm ones. So an idle worker holds only these.
    static constexpr uint32_t trim_after_ms = 1000;
    static constexpr uint32_t warm_buffers = 4;

    Worker(Host& host, Backend& backend, Pools pools, const WorkerPlan& plan);

    /// One turn: passes operations to the backend, waits for events, handles them. False when a
    /// drain or abort has ended: nothing is open, armed or in flight any more.
    bool turn();

    // Commands; call them between turns.

    /// Reserves memory for apply() with this plan, which then allocates none. Throws
    /// std::bad_alloc, and then nothing has changed.
    void reserve(const WorkerPlan& plan);
    void give_up() noexcept; ///< frees what was reserved, because the plan was refused
    /// Applies a plan, which must be the last reserved one, if one was: arms new listeners, stops
    /// missing ones, replaces services and limits. No connection is lost.
    void apply(WorkerPlan plan);
    /// True when nothing is in flight on listeners that left.
    bool settled() const noexcept { return listeners_.settled(); }
    /// Continues connections as if they had been accepted here; finishes those that cannot stay.
    void adopt(std::vector<handoff::Adopted> connections);
    /// Stops accepting, sends pending replies, closes the connections; resets them after
    /// `timeout_ms`. Up to `handoff_max` connections that another process can continue stay open:
    /// see take_released().
    void drain(uint32_t timeout_ms, uint32_t handoff_max = 0);
    /// Resets every connection at once.
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
    void keep_deadlines();
    void trim_buffers();

    bool stopped() const noexcept;
    std::chrono::milliseconds until_deadline() noexcept;

    Backend& backend_;
    Turn turn_;
    WorkerTelemetry telemetry_;
    Engine tcp_;
    UdpResponder datagrams_;
    ListenerSlots listeners_;
    std::array<Event, 256> events_{};
    BusyPoll busy_poll_;
    uint64_t drain_deadline_ms_ = TimerWheel::never;
    uint64_t trim_ms_ = TimerWheel::never;
    log::Limit accept_limit_{1, 10'000};
    log::Limit datagram_limit_{1, 10'000};
    VectorReservation<Op> ops_room_;
    bool reserved_ = false; ///< reserve() was called since the last apply()
};

} // namespace riposte
