// One endpoint's I/O behind a small interface: the schedule says when a probe is due; a prober
// sends it, and passes what comes back to the account (ping_account.h).
//
// Ownership: the prober owns its sockets and its account; the engine owns the loop and the
// listener, which outlive it. Everything happens on one thread, within calls of the engine; nothing
// blocks. Times are of CLOCK_MONOTONIC, in nanoseconds.
#pragma once

#include "client/net/connect.h"
#include "client/net/event_loop.h"
#include "client/net/receive_time.h"
#include "client/ping/ping_account.h"
#include "client/ping/probe_failure.h"
#include "client/stamp/stamp_packet.h"
#include "common/error.h"

#include <cstdint>
#include <memory>
#include <string>

namespace riposte::client {

/// Receives the outcome of each probe, and whatever else arrives.
class ProbeListener {
public:
    virtual void on_arrival(const PingResult& result, const ProbeOutcome& arrival) = 0;
    virtual void on_failure(const PingResult& result, const ProbeFailure& failure) = 0;
    /// Each probe's, before the above; only after Prober::watch_fates().
    virtual void on_fate(size_t /*endpoint*/, const ProbeFate& /*fate*/) {}
    /// An error of this machine that does not end the run: one line, once for each endpoint.
    virtual void on_trouble(const PingResult& result, const std::string& line) = 0;

protected:
    ~ProbeListener() = default;
};

/// The tag of an event (event_loop.h): which endpoint, and which of its sockets. The generation
/// distinguishes a socket from the previous one in the same slot, whose event may still be under
/// way.
struct ProberTag {
    static constexpr unsigned slot_bits = 22;
    static constexpr unsigned generation_bits = 22;
    static constexpr uint64_t endpoints_max = 1 << 16;

    uint64_t endpoint = 0;
    uint64_t generation = 0;
    uint64_t slot = 0;

    uint64_t pack() const {
        constexpr uint64_t generation_mask = (uint64_t{1} << generation_bits) - 1;
        return endpoint << (slot_bits + generation_bits) |
               (generation & generation_mask) << slot_bits | slot;
    }
    static ProberTag unpack(uint64_t tag) {
        return {
            .endpoint = tag >> (slot_bits + generation_bits),
            .generation = tag >> slot_bits & ((uint64_t{1} << generation_bits) - 1),
            .slot = tag & ((uint64_t{1} << slot_bits) - 1)};
    }
};

struct ProberSettings {
    Target target;
    SocketAddress address; ///< the one of the target's that is measured
    PingSettings ping;
    uint64_t endpoint = 0;  ///< its number, for the tags
    bool reconnect = false; ///< TCP: a connection for each probe
    uint32_t flows = 0;     ///< local ports that the probes take in turn; 0: one, any
    std::shared_ptr<const QuestionShape> stamp = {}; ///< of a prober of STAMP
};

class Prober : private FateListener {
public:
    Prober(ProberSettings settings, EventLoop& loop, ProbeListener& listener)
        : settings_(std::move(settings)), loop_(loop), listener_(listener),
          account_(settings_.ping) {}
    virtual ~Prober() = default;
    Prober(const Prober&) = delete;
    Prober& operator=(const Prober&) = delete;

    /// What can be done before the first probe is due.
    virtual Result<void> prepare() = 0;
    /// The probe that was due at `due_ns` leaves, or waits for its connection. An error is one of
    /// this machine, and ends the run.
    virtual Result<void> send(uint64_t due_ns) = 0;
    /// The loop returned an event for a socket of this prober.
    virtual Result<void> ready(ProberTag tag, uint32_t events) = 0;
    /// Expires probes whose time was over before `now_ns`. First reads everything that has arrived:
    /// a probe's outcome is decided by when its answer came, however late it is read.
    virtual Result<void> expire(uint64_t now_ns) = 0;
    /// When expire() is due; UINT64_MAX: no probe waits for anything.
    virtual uint64_t next_deadline_ns() const = 0;
    /// The last probe has left, or waits for its connection: those that are still under way are
    /// waited for as linger.h says.
    virtual void linger(uint64_t now_ns, bool was_cut_short) {
        account_.linger(now_ns, was_cut_short);
    }
    /// The name has another address: probes go there from now on. Those under way may still be
    /// answered by the one before.
    Result<void> move_to(const SocketAddress& address);
    const SocketAddress& address() const { return settings_.address; }
    /// The run is over: reads what has arrived, expires what is lost by now; probes that are still
    /// pending, also for a connection, stay undecided.
    virtual void finish() = 0;
    /// What the kernel knows of the connections goes into the result, as it is now.
    virtual void update() {}
    void begin(double started_at, uint64_t started_ns, std::unique_ptr<Series> series) {
        if (series != nullptr)
            keep_series(started_ns);
        account_.begin(started_at, started_ns, std::move(series));
    }
    /// From now on the listener has on_fate().
    void watch_fates() { account_.report_fates_to(*this); }
    /// A probe is due; send() follows.
    void note_due(uint64_t due_ns) { account_.note_due(due_ns); }
    /// After finish(): what is pending stays undecided.
    void end() { account_.end(); }
    void set_elapsed(uint64_t elapsed_ns) { account_.set_elapsed(elapsed_ns); }

    const PingResult& result() const { return account_.result(); }

protected:
    /// The settings have another address than the sockets that there are.
    virtual Result<void> leave_address() = 0;
    void arrived(const ProbeOutcome& arrival, ReceiveClock clock);
    void failed(const ProbeFailure& failure); ///< if it still waits
    /// The same, by an error that arrived at that time; if the probe had expired by then, it is
    /// lost.
    void failed(const ProbeFailure& failure, ReceiveTime received);
    void give_up(const ProbeFailure& failure); ///< it has expired
    /// What else the prober measures shall be plotted over time, from then on.
    virtual void keep_series(uint64_t /*started_ns*/) {}
    /// The probe has failed, otherwise than by expiring.
    virtual void note_failed(uint64_t /*sequence*/) {}
    uint64_t next_expiry_ns() const { return account_.next_expiry_ns().value_or(UINT64_MAX); }

    const ProberSettings& settings() const { return settings_; }
    EventLoop& loop() { return loop_; }
    PingAccount& account() { return account_; }
    const PingAccount& account() const { return account_; }
    /// Once: a line about a probe that this machine did not send, with `advice` of the transport.
    void report_not_sent(int error, std::string_view advice = "");
    void report_trouble(const std::string& line) { listener_.on_trouble(result(), line); }

private:
    void on_fate(const ProbeFate& fate) final { listener_.on_fate(settings_.endpoint, fate); }

    ProberSettings settings_;
    EventLoop& loop_;
    ProbeListener& listener_;
    PingAccount account_;
    bool reported_not_sent_ = false;
};

std::unique_ptr<Prober> make_udp_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener);
std::unique_ptr<Prober> make_stamp_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener);
std::unique_ptr<Prober> make_tcp_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener);
/// With --flows: a connection for each flow.
std::unique_ptr<Prober> make_tcp_flows_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener);
/// With --connect: each probe is a connection, on which nothing is sent.
std::unique_ptr<Prober> make_connect_prober(
    ProberSettings settings, EventLoop& loop, ProbeListener& listener);

} // namespace riposte::client
