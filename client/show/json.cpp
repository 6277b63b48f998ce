#include "client/show/json.h"

#include "build_features.h"

#include <cmath>

namespace riposte::client {

Json document_head(std::string_view schema, double started_at, Exit exit) {
    Json document;
    document["schema"] = schema;
    document["version"] = RIPOSTE_VERSION;
    document["started_at"] = utc_time(started_at);
    document["exit"] = static_cast<int>(exit);
    return document;
}

namespace {

Json figures_json(const Histogram& histogram) {
    const Figures of = figures(histogram);
    Json each;
    each["count"] = histogram.count();
    each["min"] = of.min_ns / 1e9;
    each["mean"] = of.mean_ns / 1e9;
    const auto set_percentile = [&](const char* name, std::optional<double> ns) {
        if (ns)
            each[name] = *ns / 1e9;
    };
    set_percentile("median", of.median_ns);
    set_percentile("p95", of.p95_ns);
    set_percentile("p99", of.p99_ns);
    set_percentile("p99_9", of.p999_ns);
    each["max"] = of.max_ns / 1e9;
    each["stddev"] = of.stddev_ns / 1e9;
    return each;
}

} // namespace

void set_figures(Json& document, std::string_view key, const Histogram& histogram) {
    if (!histogram.empty())
        document[std::string(key)] = figures_json(histogram);
}

void set_distribution(Json& document, std::string_view key, const Histogram& histogram) {
    if (histogram.empty())
        return;
    Json each = figures_json(histogram);
    Json buckets = Json::array();
    for (const Histogram::Bucket& bucket : histogram.buckets())
        buckets.push_back(
            Json::array({to_seconds(bucket.low_ns), to_seconds(bucket.high_ns), bucket.count}));
    each["histogram"] = std::move(buckets);
    document[std::string(key)] = std::move(each);
}

void set_number(Json& document, std::string_view key, std::optional<double> value) {
    if (value && std::isfinite(*value))
        document[std::string(key)] = *value;
}

Json counts_json(const OutcomeCounts& counts) {
    Json each;
    each["sent"] = counts.sent;
    each["answered"] = counts.answered;
    each["lost"] = counts.lost;
    each["corrupted"] = counts.corrupted;
    each["wrong_size"] = counts.wrong_size;
    each["refused"] = counts.refused;
    each["unreachable"] = counts.unreachable;
    each["closed"] = counts.closed;
    each["too_big"] = counts.too_big;
    each["local"] = counts.local;
    return each;
}

Json causes_json(const CauseTally& causes, uint64_t lost) {
    Json all = Json::array();
    const CauseTally tally = causes.with_lost(lost);
    for (const CauseTally::Entry& entry : tally.entries()) {
        const Cause& cause = entry.cause;
        Json each;
        each["kind"] = to_key(cause.kind);
        if (cause.kind == CauseKind::icmp || cause.kind == CauseKind::icmpv6) {
            each["type"] = cause.type;
            each["code"] = cause.code;
        }
        if (const std::string from = host_text(cause.from); !from.empty())
            each["from"] = from;
        if (cause.mtu > 0)
            each["mtu"] = cause.mtu;
        each["text"] = describe(cause);
        each["count"] = entry.count;
        all.push_back(std::move(each));
    }
    if (tally.others() > 0)
        all.push_back(Json{{"kind", "others"}, {"text", "others"}, {"count", tally.others()}});
    return all;
}

Json tcp_json(const TcpTotals& totals) {
    Json each;
    each["connections"] = totals.connections;
    each["retransmits"] = totals.retransmits;
    each["handshake_retransmits"] = totals.handshake_retransmits;
    each["segments_sent"] = totals.segments_sent;
    if (totals.min_rtt_ns)
        each["min_rtt"] = to_seconds(*totals.min_rtt_ns);
    if (const auto smoothed = totals.smoothed_rtt_ns())
        each["smoothed_rtt"] = *smoothed / 1e9;
    if (!totals.congestion.empty())
        each["congestion"] = totals.congestion;
    each["state"] = to_key(totals.state);
    return each;
}

void set_path(Json& document, const PathOptions& path) {
    if (path == PathOptions{})
        return;
    Json each;
    if (!path.interface.empty())
        each["interface"] = path.interface;
    if (!path.source.empty())
        each["source"] = path.source;
    if (path.source_port != 0)
        each["source_port"] = path.source_port;
    if (path.mark)
        each["mark"] = *path.mark;
    if (path.dscp)
        each["dscp"] = *path.dscp;
    if (path.ttl)
        each["ttl"] = *path.ttl;
    if (path.df)
        each["df"] = true;
    document["path"] = std::move(each);
}

Json checks_json(const std::vector<Check>& checks) {
    Json all = Json::array();
    for (const Check& check : checks) {
        Json each;
        each["condition"] = check.condition->text;
        set_number(each, "value", check.value);
        each["met"] = check.met;
        all.push_back(std::move(each));
    }
    return all;
}

std::string dump(const Json& document) {
    return document.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

} // namespace riposte::client
