// The account of pinging one endpoint. Sans-I/O: it is given what was sent and what arrived, with
// the times, decides the outcome of each probe and keeps the counts (ping_result.h).
//
// Memory is bounded: a ring remembers the last `window` probes, those that wait and those whose
// outcome is known, so that a duplicate differs from a stray. A probe that falls out of the ring
// while it waits is lost (the command line's limits on -i and -W make that impossible). Times are
// of CLOCK_MONOTONIC, in nanoseconds.
#pragma once

#include "client/measure/probe.h"
#include "client/ping/ping_result.h"
#include "client/ping/probe_fate.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace riposte::client {

/// What one arrival means for its probe.
struct ProbeOutcome {
    Outcome outcome = Outcome::pending; ///< of the probe because of it; waiting: it changed nothing
    uint64_t sequence = 0;              ///< 0: a stray
    bool duplicate = false;
    bool reordered = false;
    bool late = false;
    bool first_of_other_service = false; ///< the moment to say so, once
    uint64_t rtt_ns = 0;                 ///< from the sending; also of late ones
    uint64_t waited_ns = 0;              ///< from the sending to the arrival
    uint64_t late_by_ns = 0;             ///< how late the probe was sent
    uint64_t connect_ns = 0;             ///< of the connection that this probe opened
    size_t bytes = 0;
    size_t wrong_byte = 0;       ///< corrupted: offset of the first wrong byte
    ReplyHeader header = {};     ///< UDP: of the datagram
    std::string_view fault = {}; ///< corrupted or wrong_size by the rules of another protocol
};

/// An answer of another protocol than the echo, as that protocol judges it.
struct JudgedAnswer {
    uint64_t sequence = 0;
    Outcome outcome = Outcome::answered; ///< or corrupted, or wrong_size
    uint64_t sent_ns = 0;                ///< when the probe left
    uint64_t received_ns = 0;
    uint64_t apart_ns = 0; ///< what does not count as round trip of the time between
    size_t bytes = 0;
};

/// Of a flow over TCP (tcp_info.h).
struct FlowSegments {
    uint64_t sent = 0;
    uint64_t retransmits = 0;
    uint64_t out_of_order = 0; ///< that arrived

    void add(const FlowSegments& other) {
        sent += other.sent;
        retransmits += other.retransmits;
        out_of_order += other.out_of_order;
    }
    uint64_t repairs() const { return retransmits + out_of_order; }
    void add_socket(int fd) {
        if (const auto reading = read_tcp_info(fd))
            add(
                {.sent = reading->segments_sent,
                 .retransmits = reading->retransmits,
                 .out_of_order = reading->out_of_order});
    }
};

struct PingSettings {
    uint32_t session;
    uint32_t payload_bytes;
    uint64_t timeout_ns;
    size_t window; ///< probes remembered, a power of two
    /// Of the endpoint, for its result (ping_result.h).
    std::string name = {};
    std::string address = {};
    Transport transport = Transport::udp;
    uint64_t interval_ns = 0;
    PathOptions path = {};
    bool connects_only = false; ///< TCP: a probe is a connection, on which nothing is sent
};

/// At least twice as many probes as can be waiting at once, and those of a minute up to 1,024, as a
/// power of two: 64 to 2^20.
size_t window_for(uint64_t interval_ns, uint64_t timeout_ns);

class PingAccount {
public:
    explicit PingAccount(const PingSettings& settings);
    /// What one takes, without its histograms.
    static uint64_t memory_bytes(uint64_t window, uint64_t payload_bytes) {
        return sizeof(PingAccount) + window * sizeof(Probe) + payload_bytes;
    }

    /// A probe is about to be sent: its sequence number. `connect_ns` is the time that connecting
    /// for it took: it is no part of its lateness.
    uint64_t send(uint64_t intended_ns, uint64_t now_ns, uint64_t connect_ns = 0);
    /// A probe that waits is about to be sent again, since the peer cannot have taken it: its round
    /// trip counts from now on. How late it first left is recorded already.
    void send_again(uint64_t sequence, uint64_t now_ns, uint64_t connect_ns);
    /// The probe's bytes, valid until the next call of a member. It must be in the window.
    std::span<const std::byte> payload(uint64_t sequence);

    /// A datagram came: finds its probe.
    ProbeOutcome datagram(std::span<const std::byte> bytes, uint64_t received_ns);
    /// All that came of a stream as the answer to this probe. `received_ns`: its last byte's time,
    /// or for a service that is not an echo its first byte's.
    ProbeOutcome answer(uint64_t sequence, std::span<const std::byte> bytes, uint64_t received_ns);
    /// An answer in another protocol. Its probe is remembered.
    ProbeOutcome judged(const JudgedAnswer& answer);
    /// A datagram that answers no probe.
    ProbeOutcome stray(size_t bytes) { return count_stray({.bytes = bytes}); }
    /// Is the probe remembered?
    bool remembers(uint64_t sequence) const { return find(sequence) != nullptr; }
    /// The connection that is the whole probe was made at that time: its answer.
    ProbeOutcome connected(uint64_t sequence, uint64_t made_ns);
    /// Something other than an answer ended the wait: refused, unreachable, closed, or lost when
    /// no connection was made in time. No effect (false) unless the probe waits. `cause`: for the
    /// fate, if it is known.
    bool fail(uint64_t sequence, Outcome outcome, const Cause* cause = nullptr);
    /// The probe that an ICMP error quotes, if it can be identified.
    std::optional<uint64_t> quoted(std::span<const std::byte> bytes) const;

    /// The last probe was sent, at `now_ns` or before: from now on each is given up as linger.h
    /// says. `was_cut_short`: not by its count. A run of a few probes, as by its count, waits out
    /// the timeout as long as nothing was answered, since it is unknown then how long a round trip
    /// takes.
    void linger(uint64_t now_ns, bool was_cut_short);
    /// When a probe expires that was sent, or began to wait for its connection, at `sent_ns`.
    uint64_t give_up_ns(uint64_t sent_ns) const;
    /// The oldest waiting probe whose time has passed; it is lost from now on. Call until empty.
    std::optional<uint64_t> expire(uint64_t now_ns);
    /// When the next one expires; nothing if none waits.
    std::optional<uint64_t> next_expiry_ns() const;
    std::optional<uint64_t> oldest_waiting() const;
    /// Of the probes of a flow, which takes one of `flows` (from 0 on).
    std::optional<uint64_t> oldest_waiting(uint64_t flow, uint64_t flows) const;
    std::optional<uint64_t> latest_waiting() const;
    bool waits(uint64_t sequence) const;
    /// When the probe expires, or has; UINT64_MAX if it is not remembered.
    uint64_t expiry_ns(uint64_t sequence) const;
    /// When it was sent; 0 if it is not remembered.
    uint64_t sent_ns(uint64_t sequence) const;

    /// The run begins: when, in seconds since 1970 and on the clock of all times here, and with
    /// --plot a series.
    void begin(double started_at, uint64_t started_ns, std::unique_ptr<Series> series);
    /// From now on `listener`, which outlives this, gets the fate of each probe.
    void report_fates_to(FateListener& listener) { fates_ = &listener; }
    /// A probe is due; send() follows, at once or when it has a connection.
    void note_due(uint64_t due_ns) { result_.outages.due(due_ns); }
    /// The run is over.
    void end() { result_.outages.finish(); }
    void set_elapsed(uint64_t elapsed_ns) { result_.elapsed_ns = elapsed_ns; }
    /// The books continue with another address.
    void set_address(std::string address);
    void set_clock(ReceiveClock clock) { result_.clock = clock; }
    /// Why a probe got no answer.
    void note_cause(const Cause& cause) { result_.causes.note(cause); }
    void note_refusal(uint64_t took_ns) { result_.refusal.record(took_ns); }
    /// TCP: a connection was made, in that time.
    void note_connected(uint64_t connect_ns);
    void set_tcp(TcpTotals totals) { result_.tcp = std::move(totals); }
    /// Probes take these local ports in turn. Before the first one is sent.
    void set_flows(std::span<const uint16_t> ports);
    /// TCP: what the kernel counted so far on the connections of the flow with that number.
    void set_segments(size_t flow, const FlowSegments& segments);
    /// TCP: something was repaired during an answered probe of that flow.
    void note_repaired(size_t flow) { ++result_.flows[flow].repaired; }
    void note_header(const ReplyHeader& header) { result_.headers.note(header); }
    /// UDP: what this machine knows of the path.
    void set_path(std::optional<uint32_t> mtu, bool fragmented);
    void set_stamp(std::shared_ptr<const StampResult> stamp) { result_.stamp = std::move(stamp); }

    const PingResult& result() const { return result_; }

private:
    struct Probe {
        uint64_t sequence = 0; ///< 0: never used
        uint64_t intended_ns = 0;
        uint64_t sent_ns = 0;
        uint64_t connect_ns = 0;
        uint64_t rtt_ns = 0; ///< once it is answered; 0: no round trip
        uint64_t older = 0;  ///< of those that wait, in the order of sending; 0: none
        uint64_t newer = 0;
        Outcome outcome = Outcome::pending;
        bool late_seen = false;
    };

    Probe& slot(uint64_t sequence);
    const Probe& slot(uint64_t sequence) const;
    Probe* find(uint64_t sequence);
    const Probe* find(uint64_t sequence) const;
    std::span<const std::byte> expected(const Probe& probe, size_t size);
    bool is_echo_of(const Probe& probe, std::span<const std::byte> bytes);
    Probe* most_alike(std::span<const std::byte> bytes);

    ProbeOutcome describe(const Probe& probe, size_t bytes, uint64_t received_ns) const;
    ProbeOutcome settle(Probe& probe, Outcome outcome, const ProbeOutcome& arrival);
    ProbeOutcome settle_echo(Probe& probe, const ProbeOutcome& arrival);
    ProbeOutcome settle_damaged(
        Probe& probe, std::span<const std::byte> bytes, ProbeOutcome arrival);
    ProbeOutcome settle_other(Probe* probe, bool order_known, ProbeOutcome arrival);
    ProbeOutcome count_stray(ProbeOutcome arrival);
    void count_order(ProbeOutcome& arrival);
    FlowResult* flow_of(const Probe& probe);
    static void count_run(FlowResult& flow, uint64_t due_ns, Outcome outcome);
    void begin_waiting(Probe& probe);
    void leave_waiting(Probe& probe);
    void end_waiting(
        Probe& probe, Outcome outcome, uint64_t rtt_ns = 0, const Cause* cause = nullptr);
    void record_rtt(Probe& probe, uint64_t rtt_ns);
    void update_wait();

    uint64_t timeout_ns_;
    uint64_t linger_from_ns_ = UINT64_MAX;
    bool was_cut_short_ = false;
    uint32_t session_;
    std::vector<Probe> ring_;       ///< by the low bits of the sequence number
    std::vector<std::byte> buffer_; ///< of a payload's size: the probe that was last made again
    uint64_t last_ = 0;             ///< sequence numbers; 0: none
    uint64_t oldest_waiting_ = 0;
    uint64_t newest_waiting_ = 0;
    uint64_t highest_answered_ = 0;
    bool echo_seen_ = false;              ///< an answer was verified
    std::optional<uint64_t> last_rtt_ns_; ///< of the answer before, for RFC 3550's jitter
    FateListener* fates_ = nullptr;
    PingResult result_;
};

} // namespace riposte::client
