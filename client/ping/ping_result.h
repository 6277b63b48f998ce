// What pinging one endpoint has measured so far: plain data, filled by PingAccount and the probers,
// read by the reports.
//
// Each probe has one outcome (outcome.h). The first answer decides it; further ones are
// `duplicated`, and one that comes when the probe was given up already is `late` (the probe stays
// lost). A probe is undecided while it waits; after the run only where a second interrupt ended the
// wait for it.
#pragma once

#include "client/measure/above_least.h"
#include "client/measure/fail_if.h"
#include "client/measure/fate_series.h"
#include "client/measure/flow_verdict.h"
#include "client/measure/histogram.h"
#include "client/measure/outages.h"
#include "client/measure/outcome.h"
#include "client/measure/reply_headers.h"
#include "client/measure/series.h"
#include "client/measure/tcp_info.h"
#include "client/net/receive_time.h"
#include "client/options/path_options.h"
#include "client/stamp/stamp_result.h"
#include "common/endpoint.h"
#include "common/error.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace riposte::client {

/// Of the probes from one local port.
struct FlowResult {
    uint16_t port = 0;
    OutcomeCounts counts; ///< what comes beside first answers is not counted here
    Histogram rtt;
    uint64_t failure_runs = 0;       ///< flow_verdict.h
    uint64_t run_ns = 0;             ///< when the latest of them was counted; these are due times
    uint64_t failed_ns = 0;          ///< of the latest unanswered probe
    uint64_t answered_ns = 0;        ///< the greatest of an answered one
    uint64_t repaired = 0;           ///< TCP: answered probes during which TCP repaired something
    uint64_t segments = 0;           ///< TCP: as in TcpTotals
    uint64_t retransmits = 0;        ///< TCP
    uint64_t out_of_order = 0;       ///< TCP: segments that arrived before an earlier one
    std::optional<FateSeries> fates; ///< if the run is drawn
};

struct PingResult {
    std::string name;    ///< the endpoint's canonical spelling
    std::string address; ///< that is measured: "127.0.0.1:7001"; empty: the name has none
    static constexpr size_t earlier_addresses_max = 16;
    std::vector<std::string> earlier_addresses; ///< with --resolve-every, the latest last
    Transport transport = Transport::udp;
    PathOptions path;           ///< as it was asked for
    bool connects_only = false; ///< a probe is a connection: `rtt` is the time that it took
    uint32_t payload_bytes = 0;
    uint64_t interval_ns = 0;
    uint64_t timeout_ns = 0;
    uint64_t wait_ns = 0;    ///< what a probe is waited for: the timeout, or less in the lingering
    double started_at = 0;   ///< seconds since 1970
    uint64_t started_ns = 0; ///< the same moment of CLOCK_MONOTONIC
    uint64_t elapsed_ns = 0;

    OutcomeCounts counts;
    Histogram rtt;      ///< of the answered, from the actual time of sending
    Histogram lateness; ///< of all probes: actual less intended time of sending
    Histogram connect;  ///< TCP: of each connection that was made
    Histogram refusal;  ///< of the refused: how long the refusal took
    /// Inter-packet delay variation (RFC 5481, RFC 3393): the absolute difference of the round
    /// trips of two probes with neighbouring sequence numbers that both were answered, in whatever
    /// order.
    Histogram ipdv;
    AboveLeast delay_variation;   ///< the round trips again, for pdv()
    double rfc3550_jitter_ns = 0; ///< section 6.4.1: smoothed over the answers, as they came
    uint64_t connections = 0;
    Outages outages;
    CauseTally causes; ///< of those that got no answer, without Outcome::lost on a connection
    TcpTotals tcp;     ///< what the kernel says of the connections
    std::optional<uint32_t> path_mtu; ///< UDP: as far as this machine knows it, in bytes
    ReplyHeaders headers;             ///< UDP: of the answers
    std::vector<FlowResult>
        flows;                  ///< with --flows: probe n has that of (n - 1) modulo their number
    bool fragmented = false;    ///< UDP: probes of this size were, or must be, sent in fragments
    bool other_service = false; ///< not an echo service: answers are not verified
    ReceiveClock clock = ReceiveClock::none;
    std::shared_ptr<const StampResult> stamp; ///< of a reflector of STAMP
    std::unique_ptr<Series> series;           ///< with --plot: rtt over the time of sending

    /// Packet delay variation (RFC 5481): each round trip less the least one. Empty: fewer than two
    /// round trips.
    Histogram pdv() const {
        return delay_variation.count() < 2 ? Histogram() : delay_variation.histogram();
    }

    /// The time of day, in seconds since 1970, at which the run's clock read so.
    double wall_seconds(uint64_t monotonic_ns) const {
        return started_at +
               (static_cast<double>(monotonic_ns) - static_cast<double>(started_ns)) / 1e9;
    }
};

/// Which flows are worse than the others.
FlowVerdict judge_flows(const PingResult& result);

/// The value of a metric of --fail-if, in its unit (fail_if.h); nothing if it was not measured.
std::optional<double> metric(const PingResult& result, const Metric& metric);

/// How many values it is the maximum of; 0: it is not a maximum.
uint64_t maximum_of(const PingResult& result, const Metric& metric);

/// Exit::ok or Exit::failed: every probe whose outcome is known was answered correctly, at least
/// one was, and no condition of `fail_if` is met. A condition takes the place of the rule that
/// there be none of what it speaks of (verdict.h); one on `refused` makes a refusal an answer where
/// probes only connect.
Exit verdict(const PingResult& result, const FailIf& fail_if);

} // namespace riposte::client
