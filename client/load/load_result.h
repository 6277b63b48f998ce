// What a load run has measured: plain data, filled by the engine, read by the reports. Everything
// but `warmup_ns` is of the measured time alone: what was sent during the warm-up does not count.
#pragma once

#include "client/measure/fail_if.h"
#include "client/measure/histogram.h"
#include "client/measure/series.h"
#include "common/endpoint.h"
#include "common/error.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace riposte::client {

/// Each request has one outcome:
///     sent = answered + lost + corrupted + wrong_size + refused + unreachable + closed + local
///            + unfinished.
struct LoadCounts {
    uint64_t sent = 0;
    uint64_t answered = 0;
    uint64_t lost = 0;        ///< no answer within the timeout
    uint64_t corrupted = 0;   ///< wrong bytes
    uint64_t wrong_size = 0;  ///< UDP: shorter or longer; TCP: closed in the middle of the answer
    uint64_t refused = 0;     ///< ECONNREFUSED
    uint64_t unreachable = 0; ///< other errors of the network
    uint64_t closed = 0;      ///< closed or reset before the answer
    uint64_t local = 0;       ///< this machine: no free port, no buffer
    uint64_t unfinished = 0;  ///< still under way when the run was interrupted

    uint64_t duplicated = 0;     ///< UDP
    uint64_t reordered = 0;      ///< UDP
    uint64_t stray = 0;          ///< UDP: datagrams that answer no request that waits
    uint64_t unsent = 0;         ///< open loop: due before the end, and never sent
    uint64_t connections = 0;    ///< TCP: made
    uint64_t bytes_sent = 0;     ///< payload
    uint64_t bytes_received = 0; ///< payload

    uint64_t errors() const {
        return lost + corrupted + wrong_size + refused + unreachable + closed + local + unsent;
    }
    bool operator==(const LoadCounts&) const = default;
};

/// How the peer answers, as the first exchange showed.
enum class Answering : uint8_t {
    echo,
    other, ///< something else of always the same length: lengths are checked, bytes are not
};

struct LoadResult {
    std::string name;    ///< the endpoint's canonical spelling
    std::string address; ///< the one address that is loaded: "127.0.0.1:7001"
    Transport transport = Transport::tcp;
    uint32_t payload_bytes = 0;
    uint32_t connections = 0;   ///< sockets, with UDP
    uint32_t depth = 0;         ///< outstanding requests, each connection
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

    LoadCounts counts;
    /// Of the answered. Open loop: from the intended time of sending (coordinated omission is
    /// corrected); closed loop: from the actual one.
    Histogram latency;
    Histogram latency_from_send; ///< from the actual time of sending
    Histogram connect;           ///< TCP: of each connection that was made

    /// Open loop: requests that left more than a millisecond after their time because the
    /// generator was late, and because every connection had `depth` outstanding.
    uint64_t late_generator = 0;
    uint64_t late_blocked = 0;

    std::unique_ptr<Series> series; ///< with --plot: latency over the time of sending

    double seconds() const { return static_cast<double>(elapsed_ns) / 1e9; }
    /// Answers a second.
    double answer_rate() const {
        return elapsed_ns == 0 ? 0 : static_cast<double>(counts.answered) / seconds();
    }
};

/// The generator's CPU time in the measured time: 1 is one core.
double cpu_share(const LoadResult& result);

/// Why the figures may say more about this generator than about the server, as one line each: its
/// CPU was at the limit (95% of one), or more than 1% of the schedule was missed, and by whom.
/// Empty: neither.
std::vector<std::string> bottlenecks(const LoadResult& result);
bool generator_is_bottleneck(const LoadResult& result);

/// Requests without any answer (lost, refused, unreachable, closed) in percent of those whose
/// outcome is known; nothing if none is.
std::optional<double> loss_percent(const LoadCounts& counts);

/// The value of a metric of --fail-if, in its unit (fail_if.h); nothing if it was not measured.
std::optional<double> metric(const LoadResult& result, const Metric& metric);

/// Exit::ok or Exit::failed: as that of ping_result.h.
Exit verdict(const LoadResult& result, const FailIf& fail_if);

} // namespace riposte::client
