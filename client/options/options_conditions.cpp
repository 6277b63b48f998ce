#include "client/options/options_conditions.h"

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

bool is_of_ping(const Metric& metric) {
    return metric.since == Since::ipdv || metric.since == Since::pdv ||
           metric.kind == MetricKind::rfc3550_jitter;
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

} // namespace

Result<void> check_conditions(const PingOptions& ping) {
    for (const Condition& condition : ping.report.fail_if) {
        if (condition.metric.since == Since::wait)
            return refuse_command(condition, "load");
        for (const Endpoint& endpoint : ping.endpoints)
            if (auto checked = check_transport(condition, endpoint); !checked)
                return checked;
    }
    return {};
}

Result<void> check_conditions(const LoadOptions& load) {
    for (const Condition& condition : load.report.fail_if) {
        if (is_of_ping(condition.metric))
            return refuse_command(condition, "ping");
        if (auto checked = check_loop(condition, load); !checked)
            return checked;
        if (auto checked = check_transport(condition, load.endpoint); !checked)
            return checked;
    }
    return {};
}

} // namespace riposte::client
