// The document "riposte/throughput/1". Its keys are a contract:
// packaging/schema/riposte-throughput-1.schema.json.
#include "client/show/json.h"
#include "client/throughput/throughput_report.h"
#include "client/working/working_report.h"

namespace riposte::client {

namespace {

Json intervals_json(const StreamResult& stream) {
    Json all = Json::array();
    for (const RateInterval& interval : stream.intervals) {
        Json each;
        each["begin"] = to_seconds(interval.begin_ns);
        each["end"] = to_seconds(interval.end_ns);
        each["bytes"] = interval.bytes;
        each["bits_per_second"] = bits_per_second(interval);
        if (stream.transport == Transport::tcp && stream.flow == Flow::upload)
            each["retransmits"] = interval.retransmits;
        all.push_back(std::move(each));
    }
    return all;
}

Json datagrams_json(const StreamResult& stream) {
    const DatagramCounts& counts = stream.datagrams;
    Json each;
    each["sent"] = counts.sent;
    each["answered"] = counts.answered;
    each["unsent"] = counts.unsent;
    each["dropped_here"] = counts.dropped_here;
    each["bytes_answered"] = counts.bytes_answered;
    if (counts.answered > 0)
        each["service"] = counts.are_echoes ? "echo" : "other";
    if (counts.are_echoes) {
        each["duplicated"] = counts.duplicated;
        each["reordered"] = counts.reordered;
    }
    if (stream.flow == Flow::download || counts.answered > 0)
        set_number(each, "loss_percent", counts.loss_percent());
    each["fragmented"] = stream.fragmented;
    if (stream.path_mtu)
        each["path_mtu"] = *stream.path_mtu;
    return each;
}

void set_tcp(Json& document, const StreamResult& stream) {
    document["ended"] = stream.ended;
    if (stream.flow == Flow::upload) {
        document["retransmits"] = stream.retransmits;
        document["unacknowledged_bytes"] = stream.unacknowledged;
        document["returned_bytes"] = stream.returned;
        document["delivery_rate"] = 8 * static_cast<double>(stream.delivery_rate);
        document["busy"] = to_seconds(stream.busy_ns);
        document["limited_by_peer"] = to_seconds(stream.peer_limited_ns);
        document["limited_by_send_buffer"] = to_seconds(stream.buffer_limited_ns);
    } else {
        document["out_of_order"] = stream.out_of_order;
    }
    document["tcp"] = tcp_json(stream.tcp);
    set_distribution(document, "rtt", stream.rtt);
}

Json stream_json(const StreamResult& stream) {
    Json each;
    each["direction"] = to_string(stream.flow);
    each["name"] = stream.name;
    each["address"] = stream.address;
    each["transport"] = to_string(stream.transport);
    each["connections"] = stream.connections;
    each["chunk_bytes"] = stream.chunk_bytes;
    set_number(each, "bitrate", stream.bitrate);
    each["elapsed"] = to_seconds(stream.elapsed_ns);
    each["bytes"] = stream.bytes;
    if (stream.elapsed_ns > 0)
        each["bits_per_second"] = stream.rate();
    each["silent_intervals"] = stream.silent_intervals;
    each["intervals"] = intervals_json(stream);
    if (stream.transport == Transport::tcp)
        set_tcp(each, stream);
    else
        each["datagrams"] = datagrams_json(stream);
    each["errors"] = causes_json(stream.causes, 0);
    return each;
}

Json generator_json(const ThroughputResult& result) {
    Json each;
    if (result.elapsed_ns > 0)
        each["cpu_share"] = cpu_share(result);
    set_number(each, "cpu_seconds_per_gbit", cpu_seconds_per_gbit(result));
    each["bottleneck"] = cpu_was_limit(result);
    each["notes"] = notes(result);
    return each;
}

} // namespace

std::string throughput_json(
    const ThroughputResult& result, const FailIf& fail_if, Exit exit, std::string_view error) {
    Json document = document_head("riposte/throughput/1", result.started_at, exit);
    if (!error.empty())
        document["error"] = error;
    document["fail_if"] =
        checks_json(check(fail_if, [&](const Metric& wanted) { return metric(result, wanted); }));
    document["warmup"] = to_seconds(result.warmup_ns);
    document["elapsed"] = to_seconds(result.elapsed_ns);
    document["interrupted"] = result.interrupted;
    set_path(document, result.path);
    document["streams"] = Json::array();
    for (const StreamResult& stream : result.streams)
        document["streams"].push_back(stream_json(stream));
    if (result.latency)
        document["latency_under_load"] = working_json(*result.latency);
    document["generator"] = generator_json(result);
    return dump(document);
}

} // namespace riposte::client
