// What a load run has measured: plain data, filled by the engine, read by the reports. Everything
// but `warmup_ns` is of the measured time alone: what was sent during the warm-up does not count.
#pragma once

#include "client/load/load_windows.h"
#include "client/measure/fail_if.h"
#include "client/measure/histogram.h"
#include "client/measure/outcome.h"
#include "client/measure/series.h"
#include "client/measure/tcp_info.h"
#include "client/options/path_options.h"
#include "client/working/latency_under_load.h"
#include "common/endpoint.h"
#include "common/error.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace riposte::client {

/// Each request has one outcome (outcome.h).
struct LoadCounts : OutcomeCounts {
    uint64_t unsent = 0;         ///< open loop: due before the end, and never sent
    uint64_t connections = 0;    ///< TCP: made
    uint64_t bytes_sent = 0;     ///< payload
    uint64_t bytes_received = 0; ///< payload

    /// What was not answered correctly, and what was not even sent.
    uint64_t errors() const { return decided() - answered + unsent; }
    bool operator==(const LoadCounts&) const = default;
};

/// How the peer answers, as the first exchange showed.
enum class Answering : uint8_t {
    echo,
    other, ///< something else of always the same length: lengths are checked, bytes are not
};

/// The latest request that was not answered correctly.
struct LastFailure {
    uint64_t due_ns = 0; ///< from the beginning of the measured time
    Outcome outcome = Outcome::lost;
    std::optional<Cause> cause; ///< if it is known
};

struct LoadResult {
    std::string name;    ///< the endpoint's canonical spelling
    std::string address; ///< the one address that is loaded: "127.0.0.1:7001"
    Transport transport = Transport::tcp;
    PathOptions path; ///< as it was asked for
    uint32_t payload_bytes = 0;
    uint32_t connections = 0;   ///< sockets, with UDP
    uint32_t depth = 0;         ///< outstanding requests, each connection; 0: without a bound
    std::optional<double> rate; ///< open loop: requests a second that were asked for
    bool reconnect = false;     ///< a connection per request, because it was asked for
    bool closes = false; ///< a connection per request, because the peer closes after an answer
    bool verify = true;  ///< answers were compared byte for byte
    Answering answering = Answering::echo;

    double started_at = 0; ///< seconds since 1970
    uint64_t warmup_ns = 0;
    uint64_t elapsed_ns = 0; ///< measured time
    uint64_t cpu_ns = 0;     ///< user and system time of this process in it
    bool interrupted = false;
    bool cut_short = false; ///< by a second interrupt: some fates may be undecided

    LoadCounts counts;
    /// Of the answered. Open loop: from the intended time of sending (coordinated omission is
    /// corrected); closed loop: from the actual one.
    Histogram latency;
    Histogram latency_from_send; ///< from the actual time of sending
    Histogram connect;           ///< TCP: of each connection that was made

    std::optional<LastFailure> last_failure;
    CauseTally causes; ///< of requests without an answer, without those lost on a connection
    /// What the kernel says of all connections, from their beginning: the warm-up is in it.
    TcpTotals tcp;
    std::optional<uint32_t> path_mtu; ///< UDP: as far as this machine knows it, in bytes
    bool fragmented = false; ///< UDP: requests of this size were, or must be, sent in fragments

    /// Open loop: how long after its time each request left because the generator itself was late,
    /// and over TCP because every connection had `depth` outstanding. From the intended time is
    /// these two and the time from sending.
    Histogram lateness;
    Histogram wait;
    /// Open loop: requests for which one of the two was more than a millisecond. Over UDP nothing
    /// waits, unless as many requests are outstanding as are remembered (outstanding_full).
    uint64_t late_generator = 0;
    uint64_t late_blocked = 0;

    bool outstanding_full = false; ///< UDP: a socket could not remember more requests
    uint64_t dropped_here = 0;     ///< UDP: answers that found no room in a socket's buffer
    uint64_t loss_time_ns = 0;     ///< UDP, closed loop: time of the places of lost requests
    LoadWindows windows;           ///< UDP: when requests left, and when answers came

    std::unique_ptr<Series> series;             ///< with --plot: latency over the time of sending
    std::optional<LatencyUnderLoad> under_load; ///< with --while-pinging

    double seconds() const { return static_cast<double>(elapsed_ns) / 1e9; }
    /// Answers a second.
    double answer_rate() const {
        return elapsed_ns == 0 ? 0 : static_cast<double>(counts.answered) / seconds();
    }
};

/// The generator's CPU time in the measured time: 1 is one core.
double cpu_share(const LoadResult& result);

/// What limited the figures, other than the network and the service, as one line each; the actual
/// cause, not all possible ones: the generator's CPU was at its limit
/// (95% of one), the generator was late, requests waited for a connection, the responder limits its
/// rate, answers were dropped here, lost datagrams held up their sockets. Empty: none of these.
std::vector<std::string> bottlenecks(const LoadResult& result);
/// Its CPU was at its limit, or more than 1% of the schedule left late by its own fault.
bool generator_is_bottleneck(const LoadResult& result);

/// The value of a metric of --fail-if, in its unit (fail_if.h); nothing if it was not measured.
std::optional<double> metric(const LoadResult& result, const Metric& metric);

/// How many values it is the maximum of; 0: it is not a maximum.
uint64_t maximum_of(const LoadResult& result, const Metric& metric);

/// Exit::ok or Exit::failed: as that of ping_result.h.
Exit verdict(const LoadResult& result, const FailIf& fail_if);

} // namespace riposte::client
