// The document "riposte/load/2". Its keys are a contract:
// packaging/schema/riposte-load-2.schema.json.
#include "client/load/load_report.h"
#include "client/show/json.h"
#include "client/working/working_report.h"

namespace riposte::client {

namespace {

Json mode_json(const LoadResult& result) {
    Json each;
    each["loop"] = result.rate ? "open" : "closed";
    each["connections"] = result.connections;
    if (result.depth > 0)
        each["depth"] = result.depth;
    set_number(each, "rate", result.rate);
    each["reconnect"] = result.reconnect;
    each["closes"] = result.closes;
    each["verify"] = result.verify;
    return each;
}

Json load_counts_json(const LoadCounts& counts) {
    Json each = counts_json(counts);
    each["undecided"] = counts.undecided();
    each["unsent"] = counts.unsent;
    each["errors"] = counts.errors();
    each["duplicated"] = counts.duplicated;
    each["reordered"] = counts.reordered;
    each["late"] = counts.late;
    each["stray"] = counts.stray;
    each["connections"] = counts.connections;
    each["bytes_sent"] = counts.bytes_sent;
    each["bytes_received"] = counts.bytes_received;
    return each;
}

Json rates_json(const LoadResult& result) {
    const auto rate = [&](uint64_t count) { return static_cast<double>(count) / result.seconds(); };
    Json each;
    each["answers"] = result.answer_rate();
    if (result.transport == Transport::tcp)
        each["connections"] = rate(result.counts.connections);
    each["bytes_sent"] = rate(result.counts.bytes_sent);
    each["bytes_received"] = rate(result.counts.bytes_received);
    return each;
}

Json generator_json(const LoadResult& result) {
    Json each;
    if (result.elapsed_ns > 0)
        set_number(each, "cpu_share", cpu_share(result));
    each["bottleneck"] = generator_is_bottleneck(result);
    if (result.rate) {
        each["late_by_generator"] = result.late_generator;
        each["late_blocked"] = result.late_blocked;
    }
    if (result.transport == Transport::udp) {
        each["dropped_here"] = result.dropped_here;
        if (!result.rate)
            each["loss_time"] = to_seconds(result.loss_time_ns);
        else
            each["outstanding_full"] = result.outstanding_full;
    }
    each["notes"] = bottlenecks(result);
    return each;
}

} // namespace

std::string load_json(
    const LoadResult& result, const FailIf& fail_if, Exit exit, std::string_view error) {
    Json document = document_head("riposte/load/2", result.started_at, exit);
    if (!error.empty())
        document["error"] = error;
    document["fail_if"] =
        checks_json(check(fail_if, [&](const Metric& wanted) { return metric(result, wanted); }));
    document["name"] = result.name;
    document["address"] = result.address;
    document["transport"] = to_string(result.transport);
    document["payload_bytes"] = result.payload_bytes;
    if (result.counts.answered > 0)
        document["service"] = result.answering == Answering::echo ? "echo" : "other";
    set_path(document, result.path);
    document["mode"] = mode_json(result);
    document["warmup"] = to_seconds(result.warmup_ns);
    document["elapsed"] = to_seconds(result.elapsed_ns);
    document["interrupted"] = result.interrupted;
    document["counts"] = load_counts_json(result.counts);
    set_number(document, "loss_percent", loss_percent(result.counts));
    if (result.elapsed_ns > 0)
        document["rates"] = rates_json(result);
    set_distribution(document, "latency", result.latency);
    set_distribution(document, "latency_from_send", result.latency_from_send);
    set_distribution(document, "lateness", result.lateness);
    set_distribution(document, "wait", result.wait);
    set_distribution(document, "connect", result.connect);
    if (result.transport == Transport::tcp) {
        document["tcp"] = tcp_json(result.tcp);
    } else {
        document["fragmented"] = result.fragmented;
        if (result.path_mtu)
            document["path_mtu"] = *result.path_mtu;
    }
    document["errors"] = causes_json(result.causes, result.counts.lost);
    if (result.under_load)
        document["latency_under_load"] = working_json(*result.under_load);
    document["generator"] = generator_json(result);
    return dump(document);
}

} // namespace riposte::client
