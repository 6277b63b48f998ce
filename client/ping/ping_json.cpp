// The document "riposte/ping/2". Its keys are a contract:
// packaging/schema/riposte-ping-2.schema.json.
#include "client/ping/ping_report.h"
#include "client/ping/ping_stamp_report.h"
#include "client/show/json.h"

#include <algorithm>
#include <limits>

namespace riposte::client {

namespace {

Json ping_counts_json(const OutcomeCounts& counts) {
    Json each = counts_json(counts);
    each["undecided"] = counts.undecided();
    each["duplicated"] = counts.duplicated;
    each["reordered"] = counts.reordered;
    each["late"] = counts.late;
    each["stray"] = counts.stray;
    return each;
}

Json outages_json(const PingResult& result) {
    Json each;
    each["count"] = result.outages.count();
    if (const auto longest = result.outages.longest())
        each["longest"] = Json{
            {"probes", longest->probes},
            {"began_at", utc_time(result.wall_seconds(longest->began_ns))},
            {"duration", to_seconds(longest->ended_ns - longest->began_ns)},
            {"over", longest->is_over}};
    return each;
}

std::string_view clock_key(ReceiveClock clock) {
    switch (clock) {
    case ReceiveClock::kernel:
        return "kernel";
    case ReceiveClock::user_space:
        return "user_space";
    case ReceiveClock::mixed:
        return "mixed";
    case ReceiveClock::none:
        break;
    }
    return "none";
}

std::vector<Check> checks_of(const PingResult& result, const FailIf& fail_if) {
    return check(fail_if, [&](const Metric& wanted) { return metric(result, wanted); });
}

Json replies_json(const ReplyHeaders& headers) {
    Json each;
    if (headers.ttl_min())
        each["ttl"] = Json{
            {"min", headers.ttl_min().value_or(0)},
            {"max", headers.ttl_max().value_or(0)},
            {"changes", headers.ttl_changes()}};
    each["dscp"] = headers.dscps();
    const auto& ecn = headers.ecn();
    each["ecn"] = Json{{"not_ect", ecn[0]}, {"ect1", ecn[1]}, {"ect0", ecn[2]}, {"ce", ecn[3]}};
    return each;
}

Json flow_json(const FlowResult& flow, bool is_tcp) {
    Json each;
    each["port"] = flow.port;
    each["sent"] = flow.counts.sent;
    each["answered"] = flow.counts.answered;
    each["unanswered"] = flow.counts.unanswered();
    each["refused"] = flow.counts.refused;
    if (is_tcp) {
        each["repaired"] = flow.repaired;
        each["segments_sent"] = flow.segments;
        each["retransmits"] = flow.retransmits;
        each["out_of_order"] = flow.out_of_order;
    }
    set_number(each, "loss_percent", loss_percent(flow.counts));
    set_distribution(each, "rtt", flow.rtt);
    return each;
}

Json bad_flows_json(std::span<const BadFlows> groups, std::string_view key) {
    Json all = Json::array();
    for (const BadFlows& bad : groups)
        all.push_back(Json{{"ports", bad.ports}, {key, bad.percent}});
    return all;
}

Json verdict_json(const FlowVerdict& verdict, bool is_tcp) {
    Json each;
    each["lossy"] = bad_flows_json(verdict.lossy, "loss_percent");
    each["others_loss_percent"] = verdict.others_loss_percent;
    if (is_tcp) {
        each["repairing"] = bad_flows_json(verdict.repairing, "repairs_percent");
        each["others_repairs_percent"] = verdict.others_repairs_percent;
    }
    each["slow"] = Json::array();
    for (const BadFlows& bad : verdict.slow)
        each["slow"].push_back(Json{{"ports", bad.ports}, {"slower", to_seconds(bad.slower_ns)}});
    return each;
}

Json endpoint_json(const PingResult& result, const FailIf& fail_if) {
    const OutcomeCounts& counts = result.counts;
    Json each;
    each["name"] = result.name;
    each["address"] = result.address;
    if (!result.earlier_addresses.empty())
        each["earlier_addresses"] = result.earlier_addresses;
    each["transport"] = to_string(result.transport);
    each["payload_bytes"] = result.payload_bytes;
    if (result.connects_only)
        each["connect_only"] = true;
    set_path(each, result.path);
    each["interval"] = to_seconds(result.interval_ns);
    each["timeout"] = to_seconds(result.timeout_ns);
    each["elapsed"] = to_seconds(result.elapsed_ns);
    if (counts.answered > 0 && !result.connects_only)
        each["service"] = result.stamp != nullptr ? "stamp"
                          : result.other_service  ? "other"
                                                  : "echo";
    if (result.clock != ReceiveClock::none)
        each["clock"] = clock_key(result.clock);
    each["counts"] = ping_counts_json(counts);
    set_number(each, "loss_percent", loss_percent(counts));
    each["outages"] = outages_json(result);
    set_distribution(each, "rtt", result.rtt);
    set_distribution(each, "lateness", result.lateness);
    set_distribution(each, "connect", result.connect);
    set_distribution(each, "refusal", result.refusal);
    set_distribution(each, "ipdv", result.ipdv);
    set_distribution(each, "pdv", result.pdv());
    set_number(each, "rfc3550_jitter", metric(result, {.kind = MetricKind::rfc3550_jitter}));
    if (result.transport == Transport::tcp) {
        each["connections"] = result.connections;
        each["tcp"] = tcp_json(result.tcp);
    } else {
        each["fragmented"] = result.fragmented;
        if (result.path_mtu)
            each["path_mtu"] = *result.path_mtu;
    }
    if (!result.headers.empty())
        each["replies"] = replies_json(result.headers);
    if (!result.flows.empty()) {
        const bool is_tcp = result.transport == Transport::tcp;
        each["flows"] = Json::array();
        for (const FlowResult& flow : result.flows)
            each["flows"].push_back(flow_json(flow, is_tcp));
        each["flow_verdict"] = verdict_json(judge_flows(result), is_tcp);
    }
    if (result.stamp != nullptr)
        each["stamp"] = stamp_json(result);
    each["errors"] = causes_json(result.causes, counts.lost);
    each["fail_if"] = checks_json(checks_of(result, fail_if));
    return each;
}

/// Of all endpoints: a condition is met when one of them meets it.
Json conditions_json(std::span<const PingResult* const> results, const FailIf& fail_if) {
    Json all = Json::array();
    for (size_t at = 0; at < fail_if.size(); at++) {
        Json each;
        each["condition"] = fail_if[at].text;
        each["met"] = std::ranges::any_of(
            results, [&](const PingResult* result) { return checks_of(*result, fail_if)[at].met; });
        all.push_back(std::move(each));
    }
    return all;
}

} // namespace

std::string ping_json(
    std::span<const PingResult* const> results, const FailIf& fail_if, Exit exit,
    std::span<const NotMeasured> missing) {
    double started_at = std::numeric_limits<double>::max();
    for (const PingResult* result : results)
        started_at = std::min(started_at, result->started_at);
    Json document = document_head("riposte/ping/2", results.empty() ? 0 : started_at, exit);
    document["fail_if"] = conditions_json(results, fail_if);
    document["endpoints"] = Json::array();
    for (const PingResult* result : results)
        document["endpoints"].push_back(endpoint_json(*result, fail_if));
    for (const NotMeasured& each : missing)
        document["not_measured"].push_back(Json{{"name", each.name}, {"error", each.error}});
    return dump(document);
}

} // namespace riposte::client
