#include "client/throughput/throughput_result.h"

#include "client/measure/verdict.h"
#include "client/show/figures.h"
#include "client/working/working_metrics.h"
#include "common/text.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double cpu_limit = 0.95;        ///< of one core: one thread loads
constexpr double limited_share_min = 0.2; ///< of the time with something to send
constexpr double missed_percent_max = 1.0;

double share_of(uint64_t part, uint64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

void note_silence(const StreamResult& stream, std::vector<std::string>& lines) {
    if (stream.silent_intervals == 0)
        return;
    const bool is_upload = stream.flow == Flow::upload;
    lines.push_back(fmt::format(
        "{} {} in {} of {} intervals{}", to_string(stream.flow),
        is_upload ? "stalled: nothing was acknowledged" : "stalled: nothing arrived",
        stream.silent_intervals, stream.intervals.size(),
        is_upload && share_of(stream.peer_limited_ns, stream.busy_ns) >= limited_share_min
            ? "; the peer did not read"
            : ""));
}

void note_upload(const StreamResult& stream, std::vector<std::string>& lines) {
    const double by_peer = share_of(stream.peer_limited_ns, stream.busy_ns);
    const double by_buffer = share_of(stream.buffer_limited_ns, stream.busy_ns);
    if (by_peer >= limited_share_min)
        lines.push_back(fmt::format(
            "the peer's receive window held the upload back for {} of the time: the peer reads "
            "more slowly, or its window is too small for the path; -c opens more connections",
            percentage(100 * by_peer)));
    if (by_buffer >= limited_share_min)
        lines.push_back(fmt::format(
            "this machine's send buffer held the upload back for {} of the time; raise "
            "net.ipv4.tcp_wmem, or open more connections (-c)",
            percentage(100 * by_buffer)));
    if (stream.returned > 0)
        lines.push_back(fmt::format(
            "{} sends data back ({}), which takes its share of the path: it is not a discard "
            "service",
            stream.name, byte_count(stream.returned)));
}

void note_datagrams(const StreamResult& stream, std::vector<std::string>& lines) {
    const DatagramCounts& counts = stream.datagrams;
    if (stream.flow == Flow::upload && counts.answered == 0)
        lines.emplace_back(
            "the upload's loss is unknown: a discard service answers nothing; with an echo service "
            "answers show the loss of the way there and back");
    else
        lines.emplace_back(
            "loss is of the way there and back: nothing shows which of the two lost a datagram");
    const uint64_t due = counts.sent + counts.unsent;
    const double missed = 100 * share_of(counts.unsent, due);
    if (missed > missed_percent_max)
        lines.push_back(fmt::format(
            "this machine did not send {} of the datagrams in time: the bitrate is more than it, "
            "or its interface, can send",
            percentage(missed)));
    if (counts.dropped_here > 0)
        lines.push_back(fmt::format(
            "this machine dropped {} answers, because the receive buffer of their socket was full; "
            "use more sockets (-c), or raise net.core.rmem_max",
            counts.dropped_here));
    if (stream.fragmented && stream.path_mtu)
        lines.push_back(fmt::format(
            "a datagram does not fit without fragments: the path MTU is {}; choose a smaller -s",
            *stream.path_mtu));
}

uint64_t counted(const ThroughputResult& result, uint64_t StreamResult::* field) {
    return std::accumulate(
        result.streams.begin(), result.streams.end(), uint64_t{0},
        [field](uint64_t sum, const StreamResult& each) { return sum + each.*field; });
}

/// The greatest loss of the streams that have one.
std::optional<double> loss_of(const ThroughputResult& result) {
    std::optional<double> most;
    for (const StreamResult& stream : result.streams)
        if (const auto loss = stream.datagrams.loss_percent();
            loss && stream.transport == Transport::udp &&
            (stream.flow == Flow::download || stream.datagrams.answered > 0))
            most = std::max(most.value_or(0), *loss);
    return most;
}

std::optional<double> rate_of(const ThroughputResult& result, Since since) {
    const StreamResult* stream = &result.streams.front();
    if (since != Since::intended)
        stream = result.find(since == Since::upload ? Flow::upload : Flow::download);
    if (stream == nullptr || stream->elapsed_ns == 0)
        return std::nullopt;
    return stream->rate() / 1e6;
}

bool is_delivering(const StreamResult& stream) {
    return stream.bytes > 0;
}

} // namespace

std::string_view to_string(Flow flow) {
    return flow == Flow::upload ? "upload" : "download";
}

std::optional<double> DatagramCounts::loss_percent() const {
    if (sent == 0)
        return std::nullopt;
    return 100 * static_cast<double>(sent - std::min(sent, answered)) / static_cast<double>(sent);
}

const StreamResult* ThroughputResult::find(Flow flow) const {
    const auto found = std::ranges::find(streams, flow, &StreamResult::flow);
    return found == streams.end() ? nullptr : &*found;
}

uint64_t ThroughputResult::bytes() const {
    return counted(*this, &StreamResult::bytes);
}

double cpu_share(const ThroughputResult& result) {
    return share_of(result.cpu_ns, result.elapsed_ns);
}

std::optional<double> cpu_seconds_per_gbit(const ThroughputResult& result) {
    const double gbits = 8 * static_cast<double>(result.bytes()) / 1e9;
    if (gbits <= 0)
        return std::nullopt;
    return static_cast<double>(result.cpu_ns) / 1e9 / gbits;
}

bool cpu_was_limit(const ThroughputResult& result) {
    return cpu_share(result) >= cpu_limit;
}

std::vector<std::string> notes(const ThroughputResult& result) {
    std::vector<std::string> lines;
    if (cpu_was_limit(result))
        lines.push_back(fmt::format(
            "this machine's CPU was the limit: the loading thread used {:.0f}% of one core",
            100 * cpu_share(result)));
    for (const StreamResult& stream : result.streams) {
        note_silence(stream, lines);
        if (stream.transport == Transport::udp)
            note_datagrams(stream, lines);
        else if (stream.flow == Flow::upload)
            note_upload(stream, lines);
        else if (stream.full_receive_buffer > 0 && !cpu_was_limit(result))
            lines.push_back(fmt::format(
                "this machine's receive buffer ({}) was the limit of a connection; raise the last "
                "value of net.ipv4.tcp_rmem, or open more connections (-c)",
                byte_count(stream.full_receive_buffer)));
    }
    if (result.latency && !result.latency->trouble.empty())
        lines.push_back(result.latency->trouble);
    return lines;
}

std::optional<double> metric(const ThroughputResult& result, const Metric& metric) {
    if (metric.kind == MetricKind::mbits)
        return rate_of(result, metric.since);
    if (metric.kind == MetricKind::retransmits)
        return static_cast<double>(counted(result, &StreamResult::retransmits));
    if (metric.kind == MetricKind::loss)
        return loss_of(result);
    return result.latency ? working_metric(*result.latency, metric) : std::nullopt;
}

uint64_t maximum_of(const ThroughputResult& result, const Metric& metric) {
    return result.latency ? working_maximum_of(*result.latency, metric) : 0;
}

Exit verdict(const ThroughputResult& result, const FailIf& fail_if) {
    const bool tolerates_loss = mentions(fail_if, MetricKind::loss);
    for (const StreamResult& stream : result.streams)
        if (!is_delivering(stream) || stream.ended > 0)
            return Exit::failed;
    if (!tolerates_loss && loss_of(result).value_or(0) > 0)
        return Exit::failed;
    if (result.latency && result.latency->working.counts.answered == 0)
        return Exit::failed;
    const auto measured = [&](const Metric& wanted) { return metric(result, wanted); };
    for (const Check& each : check(fail_if, measured))
        if (each.met)
            return Exit::failed;
    return Exit::ok;
}

} // namespace riposte::client
