// The document "riposte/probe/1". Its keys are a contract:
// packaging/schema/riposte-probe-1.schema.json.
#include "client/measure/histogram.h"
#include "client/probe/fleet_report.h"
#include "client/show/json.h"

#include <algorithm>

#include <fmt/format.h>

namespace riposte::client {

namespace {

/// Percentiles are upper bounds of their buckets. Buckets: [upper bound, count]; that of the last
/// one may be missing: it holds what is above all bounds.
void set_histogram(Json& document, std::string_view key, const HistogramFigures& histogram) {
    if (histogram.count == 0)
        return;
    Json each;
    each["count"] = histogram.count;
    each["mean"] = to_seconds(histogram.sum_ns) / static_cast<double>(histogram.count);
    for (const auto& [name, percent] :
         {std::pair{"median", 50.0}, std::pair{"p95", 95.0}, std::pair{"p99", 99.0}})
        if (Histogram::has_percentile(histogram.count, percent))
            set_number(each, name, histogram.quantile(percent / 100));
    each["buckets"] = Json::array();
    for (size_t place = 0; place < histogram.counts.size(); place++) {
        if (histogram.counts[place] == 0)
            continue;
        Json bucket;
        set_number(bucket, "le", CompactHistogram::upper_bound(histogram.first + place));
        bucket["count"] = histogram.counts[place];
        each["buckets"].push_back(std::move(bucket));
    }
    document[std::string(key)] = std::move(each);
}

Json fleet_counts_json(const OutcomeCounts& counts) {
    Json each = counts_json(counts);
    each["waiting"] = counts.undecided();
    each["duplicated"] = counts.duplicated;
    each["reordered"] = counts.reordered;
    each["late"] = counts.late;
    return each;
}

Json labels_json(const Labels& labels) {
    Json each = Json::object();
    for (const auto& [name, value] : labels)
        each[name] = value;
    return each;
}

Json target_json(const FleetFigures& figures, const TargetFigures& target, const FailIf& fail_if) {
    Json each;
    each["target"] = target.who->name;
    each["transport"] = to_key(target.who->transport);
    each["labels"] = labels_json(target.who->labels);
    if (!target.address.empty())
        each["address"] = target.address;
    each["listed"] = target.listed;
    each["counts"] = fleet_counts_json(target.counts);
    set_number(each, "loss_percent", loss_percent(target.counts));
    set_histogram(each, "rtt", target.rtt);
    each["resolve_failures"] = target.resolve_failures;
    each["fail_if"] = checks_json(
        check(fail_if, [&](const Metric& wanted) { return metric(figures, target, wanted); }));
    return each;
}

Json prober_json(const ProberFigures& prober) {
    Json each;
    set_histogram(each, "lateness", prober.lateness);
    each["skipped"] = prober.skipped;
    each["receive_overflow"] = prober.receive_overflow;
    each["stray"] = prober.stray;
    each["cpu"] = prober.cpu_seconds;
    return each;
}

Json discovery_json(const DiscoveryFigures& source) {
    Json each;
    each["source"] = source.source;
    each["targets"] = source.targets;
    if (source.succeeded_at > 0)
        each["succeeded_at"] = utc_time(source.succeeded_at);
    each["failures"] = source.failures;
    if (!source.last_error.empty())
        each["last_error"] = source.last_error;
    return each;
}

Json group_json(const GroupFigures& group) {
    Json each;
    each["labels"] = labels_json(group.labels);
    each["transport"] = to_key(group.transport);
    each["targets"] = group.targets;
    each["counts"] = fleet_counts_json(group.counts);
    set_number(each, "loss_percent", loss_percent(group.counts));
    set_histogram(each, "rtt", group.rtt);
    return each;
}

/// Appends ,"key":[...] with one element in memory at a time: as a tree, a fleet needs ten times
/// the memory of its text.
void append_list(
    std::string& text, std::string_view key, const auto& elements, const auto& json_of) {
    text += fmt::format(",\"{}\":[", key);
    std::string_view between;
    for (const auto& element : elements) {
        text += between;
        text += dump(json_of(element));
        text.pop_back(); // the end of the line
        between = ",";
    }
    text += ']';
}

} // namespace

std::string fleet_json(const FleetFigures& figures, const FailIf& fail_if, Exit exit) {
    Json document = document_head("riposte/probe/1", figures.prober.started_at, exit);
    document["interval"] = to_seconds(figures.interval_ns);
    document["timeout"] = to_seconds(figures.timeout_ns);
    document["elapsed"] = std::max(figures.at - figures.prober.started_at, 0.0);
    document["prober"] = prober_json(figures.prober);
    std::string text = dump(document);
    text.resize(text.rfind('}'));
    append_list(text, "targets", figures.targets, [&](const TargetFigures& each) {
        return target_json(figures, each, fail_if);
    });
    append_list(text, "groups", figures.groups, group_json);
    append_list(text, "discovery", figures.discovery, discovery_json);
    return text + "}\n";
}

} // namespace riposte::client
