// What a throughput run has measured: plain data, filled by the streams and the run, read by the
// reports. And what it is worth: notes, metrics of --fail-if, the verdict.
//
// A stream is one direction to one endpoint. What counts as delivered:
//     upload, TCP      bytes that the peer's kernel acknowledged (tcpi_bytes_acked): what waits in
//                      the send buffer is not among them
//     download, TCP    bytes that were read from the sockets
//     upload, UDP      payload that this machine sent: what becomes of it, only answers show
//     download, UDP    payload that came back
// Bytes and retransmissions are of the measured time; datagrams, and what the kernel says of the
// connections, of the whole run, so that each datagram has its fate.
#pragma once

#include "client/measure/cause.h"
#include "client/measure/fail_if.h"
#include "client/measure/histogram.h"
#include "client/measure/tcp_info.h"
#include "client/options/options.h"
#include "client/options/path_options.h"
#include "client/throughput/rate_intervals.h"
#include "client/working/latency_under_load.h"
#include "common/endpoint.h"
#include "common/error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

std::string_view to_string(Flow flow);

/// UDP, of the whole run.
struct DatagramCounts {
    uint64_t sent = 0;
    uint64_t answered = 0;   ///< sent ones with an answer; of an answer without our header: answers
    uint64_t duplicated = 0; ///< further answers to the same; seen only where answers are echoes
    uint64_t reordered = 0;  ///< first answers after one to a later datagram; likewise
    uint64_t unsent = 0;     ///< due by the bitrate, and not sent in time
    uint64_t dropped_here = 0; ///< answers that found no room in a socket's buffer
    uint64_t bytes_answered = 0;
    bool are_echoes = false; ///< answers have the header of what they answer

    /// Datagrams without an answer in percent, of the way there and back together; nothing if the
    /// far side answers none.
    std::optional<double> loss_percent() const;
};

struct StreamResult {
    Flow flow = Flow::upload;
    std::string name;    ///< the endpoint's canonical spelling
    std::string address; ///< the one address that is loaded
    Transport transport = Transport::tcp;
    uint32_t connections = 0; ///< sockets, with UDP
    uint32_t chunk_bytes = 0; ///< of a write, or a datagram
    std::optional<double> bitrate;

    uint64_t bytes = 0; ///< delivered in the measured time, as above
    uint64_t elapsed_ns = 0;
    uint64_t retransmits = 0;      ///< segments that this machine sent again in the measured time
    uint64_t returned = 0;         ///< TCP upload: bytes that the peer sent, which it should not
    uint64_t unacknowledged = 0;   ///< TCP upload: written, and not acknowledged at the end
    uint64_t ended = 0;            ///< TCP: connections that the peer or the network ended
    uint64_t silent_intervals = 0; ///< in which nothing was delivered
    CauseTally causes;
    TcpTotals tcp;
    uint64_t delivery_rate = 0; ///< TCP upload: bytes a second by the kernel, of all connections
    uint64_t busy_ns = 0;       ///< TCP upload, summed over the connections, as tcp_info.h has them
    uint64_t peer_limited_ns = 0;
    uint64_t buffer_limited_ns = 0;
    uint64_t out_of_order = 0; ///< TCP download
    /// TCP download: the largest receive buffer of this machine, in bytes, if it was full; else 0.
    uint64_t full_receive_buffer = 0;
    Histogram rtt; ///< TCP: the kernel's estimates on the connections under load
    DatagramCounts datagrams;
    std::optional<uint32_t> path_mtu; ///< UDP: as far as this machine knows it, in bytes
    bool fragmented = false;          ///< UDP: datagrams of this size must be sent in fragments
    std::vector<RateInterval> intervals;

    double rate() const { return bits_per_second(bytes, elapsed_ns); } ///< bits a second
};

struct ThroughputResult {
    std::vector<StreamResult> streams; ///< an upload, a download, or both in this order
    PathOptions path;                  ///< as it was asked for
    double started_at = 0;             ///< seconds since 1970
    uint64_t warmup_ns = 0;
    uint64_t elapsed_ns = 0;
    uint64_t cpu_ns = 0; ///< of the loading thread in the measured time
    bool interrupted = false;
    bool cut_short = false;                  ///< by a second interrupt
    std::optional<LatencyUnderLoad> latency; ///< with --while-pinging

    const StreamResult* find(Flow flow) const;
    uint64_t bytes() const; ///< of all streams
};

/// 1 is one core.
double cpu_share(const ThroughputResult& result);
/// CPU seconds of this machine for each 10^9 bits of payload; nothing of no payload.
std::optional<double> cpu_seconds_per_gbit(const ThroughputResult& result);
/// The loading thread had no time left.
bool cpu_was_limit(const ThroughputResult& result);

/// What limited the figures other than the network, one line each.
std::vector<std::string> notes(const ThroughputResult& result);

std::optional<double> metric(const ThroughputResult& result, const Metric& metric);
uint64_t maximum_of(const ThroughputResult& result, const Metric& metric);

/// Exit::ok: each stream delivered something, no connection ended early, no datagram is known to be
/// lost unless a condition speaks of loss, and no condition is met.
Exit verdict(const ThroughputResult& result, const FailIf& fail_if);

} // namespace riposte::client
