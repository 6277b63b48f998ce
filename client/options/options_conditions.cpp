#include "client/options/options_conditions.h"

#include <algorithm>

#include <fmt/format.h>

namespace riposte::client {

namespace {

Result<void> refuse_condition(const Condition& condition, std::string_view why) {
    return fail(Exit::usage, fmt::format("--fail-if {}: {}", condition.text, why));
}

/// Over UDP nothing connects.
Result<void> check_transport(const Condition& condition, const Endpoint& endpoint) {
    const Metric& metric = condition.metric;
    const bool of_tcp = metric.since == Since::connect || metric.kind == MetricKind::retransmits;
    if (!of_tcp || endpoint.transport == Transport::tcp)
        return {};
    return refuse_condition(condition, fmt::format("{} makes no connection", to_string(endpoint)));
}

/// An echo does not tell where a probe was lost.
Result<void> check_way(const Condition& condition, const Endpoint& endpoint) {
    if (!is_of_way(condition.metric) || endpoint.stamp)
        return {};
    return refuse_condition(
        condition, fmt::format(
                       "{} does not tell one way from the other; only a reflector of stamp:// does",
                       to_string(endpoint)));
}

bool is_of_ping(const Metric& metric) {
    return metric.since == Since::ipdv || metric.since == Since::pdv ||
           metric.kind == MetricKind::rfc3550_jitter || is_of_way(metric);
}

Result<void> refuse_command(const Condition& condition, std::string_view command) {
    return refuse_condition(
        condition, fmt::format("{} is measured by riposte {} only", condition.name, command));
}

/// What only a schedule has, and what waits for a connection.
Result<void> check_loop(const Condition& condition, const LoadOptions& load) {
    const Since since = condition.metric.since;
    if (!load.rate && (since == Since::lateness || since == Since::wait))
        return refuse_condition(
            condition, fmt::format("{} is measured with -r only", condition.name));
    if (load.endpoint.transport == Transport::udp && since == Since::wait)
        return refuse_condition(condition, "over UDP nothing waits for a connection");
    return {};
}

/// What --while-pinging measures, and what --upload and --download do.
Result<void> check_working(const Condition& condition, bool is_pinging) {
    if (is_of_working(condition.metric) && !is_pinging)
        return refuse_condition(
            condition,
            fmt::format("{} is measured by riposte load --while-pinging only", condition.name));
    return {};
}

bool has_flow(const ThroughputOptions& throughput, Flow flow) {
    return std::ranges::find(throughput.directions, flow, &Direction::flow) !=
           throughput.directions.end();
}

Result<void> check_direction(const Condition& condition, const ThroughputOptions& throughput) {
    const Since since = condition.metric.since;
    if (since == Since::intended && throughput.directions.size() > 1)
        return refuse_condition(
            condition, "there are two directions; write upload.mbits or download.mbits");
    if ((since == Since::upload && !has_flow(throughput, Flow::upload)) ||
        (since == Since::download && !has_flow(throughput, Flow::download)))
        return refuse_condition(
            condition, since == Since::upload ? "there is no --upload" : "there is no --download");
    return {};
}

/// Is there a direction of that transport?
bool has_transport(const ThroughputOptions& throughput, Transport transport) {
    return std::ranges::any_of(throughput.directions, [&](const Direction& each) {
        return each.endpoint.transport == transport;
    });
}

} // namespace

Result<void> check_conditions(const PingOptions& ping) {
    for (const Condition& condition : ping.report.fail_if) {
        if (is_of_working(condition.metric) || condition.metric.kind == MetricKind::mbits)
            return refuse_command(condition, "load");
        if (condition.metric.since == Since::wait)
            return refuse_command(condition, "load");
        for (const Endpoint& endpoint : ping.endpoints)
            for (const auto& checked :
                 {check_transport(condition, endpoint), check_way(condition, endpoint)})
                if (!checked)
                    return checked;
    }
    return {};
}

Result<void> check_conditions(const LoadOptions& load) {
    for (const Condition& condition : load.report.fail_if) {
        if (is_of_ping(condition.metric))
            return refuse_command(condition, "ping");
        if (condition.metric.kind == MetricKind::mbits)
            return refuse_command(condition, "load --upload or --download");
        if (auto checked = check_working(condition, load.while_pinging.has_value()); !checked)
            return checked;
        if (auto checked = check_loop(condition, load); !checked)
            return checked;
        if (auto checked = check_transport(condition, load.endpoint); !checked)
            return checked;
    }
    return {};
}

Result<void> check_conditions(const ProbeOptions& probe) {
    for (const Condition& condition : probe.fail_if) {
        const Metric& metric = condition.metric;
        const bool is_count =
            metric.since == Since::intended && value_kind(metric.kind) != ValueKind::duration &&
            value_kind(metric.kind) != ValueKind::number && metric.kind != MetricKind::retransmits;
        const bool is_kept =
            metric.kind == MetricKind::mean || metric.kind == MetricKind::percentile;
        const bool is_measured = metric.since == Since::intended || metric.since == Since::send ||
                                 metric.since == Since::lateness;
        if (!is_count && !(is_kept && is_measured))
            return refuse_condition(
                condition,
                "probe measures means and percentiles of round trips and lateness, loss, errors "
                "and counts: p99, rtt.mean, lateness.p99, loss, lost and the like");
    }
    return {};
}

Result<void> check_conditions(const ThroughputOptions& throughput) {
    for (const Condition& condition : throughput.report.fail_if) {
        const Metric& metric = condition.metric;
        if (is_of_way(metric))
            return refuse_command(condition, "ping");
        if (auto checked = check_working(condition, throughput.while_pinging.has_value()); !checked)
            return checked;
        if (is_of_working(metric))
            continue;
        if (metric.kind == MetricKind::mbits) {
            if (auto checked = check_direction(condition, throughput); !checked)
                return checked;
        } else if (metric.kind == MetricKind::retransmits) {
            if (!has_transport(throughput, Transport::tcp))
                return refuse_condition(condition, "UDP retransmits nothing");
        } else if (metric.kind == MetricKind::loss) {
            if (!has_transport(throughput, Transport::udp))
                return refuse_condition(
                    condition, "over TCP nothing is lost, but sent again; write retransmits");
        } else {
            return refuse_condition(
                condition,
                "--upload and --download measure mbits, retransmits and loss; with --while-pinging "
                "also idle.p99, working.p99 and the like, and rpm");
        }
    }
    return {};
}

} // namespace riposte::client
