#include "daemon/telemetry/status_json.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

namespace riposte {
namespace {

/// Keys stay in the order in which they are set.
using Json = nlohmann::ordered_json;

std::string_view to_string(DaemonState state) {
    constexpr std::string_view names[] = {"running", "draining", "aborting"};
    return names[static_cast<size_t>(state)];
}

/// An unknown value is left out: it is not 0.
Json limit(
    std::string_view name, std::optional<uint64_t> used, std::optional<uint64_t> max,
    std::string_view unit) {
    Json limit{{"name", name}};
    if (used)
        limit["used"] = *used;
    if (max)
        limit["max"] = *max;
    limit["unit"] = unit;
    return limit;
}

Json reload_json(const ReloadReport& reload) {
    return {
        {"count", reload.count},
        {"ok", reload.ok},
        {"time", reload.time_seconds},
        {"error", reload.error}};
}

Json limits_json(const Snapshot& snapshot) {
    const ProcessFigures& process = snapshot.process;
    Json limits = Json::array(
        {limit("connections", snapshot.totals.connections_open(), snapshot.connections_max, ""),
         limit("buffer_memory", snapshot.buffer_used_bytes, snapshot.buffer_max_bytes, "bytes"),
         limit("descriptors", process.open_descriptors, process.descriptors_max, ""),
         limit("memory", process.resident_bytes, snapshot.memory_bound_bytes, "bytes")});
    if (snapshot.stamp_sessions_max > 0)
        limits.push_back(
            limit("stamp_sessions", snapshot.stamp_sessions, snapshot.stamp_sessions_max, ""));
    return limits;
}

Json listener_json(const ListenerReport& listener, bool inherited) {
    return {
        {"service", to_string(listener.kind)},
        {"address", listener.address},
        {"inherited", inherited},
        {"connections", listener.connections},
        {"accepted", listener.accepted},
        {"received", listener.received},
        {"answered", listener.answered},
        {"received_bytes", listener.received_bytes},
        {"sent_bytes", listener.sent_bytes},
        {"refused", listener.refused}};
}

/// Only for services that answered something.
Json services_json(const Totals& totals) {
    Json services = Json::array();
    for (size_t kind = 0; kind < service_kinds; ++kind) {
        for (const Transport transport : {Transport::tcp, Transport::udp}) {
            const auto service = static_cast<ServiceKind>(kind);
            const LatencyTotals& latency = totals.latency(service, transport);
            const uint64_t count = latency.count();
            if (count == 0)
                continue;
            const double sum = static_cast<double>(latency.sum_ns) / 1e9;
            services.push_back(
                {{"service", to_string(service)},
                 {"transport", to_string(transport)},
                 {"answers", count},
                 {"latency",
                  {{"p50", latency.quantile_seconds(0.5)},
                   {"p99", latency.quantile_seconds(0.99)},
                   {"p999", latency.quantile_seconds(0.999)},
                   {"mean", sum / static_cast<double>(count)}}}});
        }
    }
    return services;
}

Json refused_json(const Totals& totals) {
    Json refused = Json::array();
    for (const CounterRow& row : counter_rows())
        if (const uint64_t count = totals[row.counter]; count > 0 && row.drop != DropStage::none)
            refused.push_back(
                {{"transport", to_string(row.transport)},
                 {"reason", row.token},
                 {"text", row.text},
                 {"count", count}});
    return refused;
}

Json accept_errors_json(const Totals& totals) {
    Json errors = Json::array();
    for (const CounterRow& row : counter_rows())
        if (const uint64_t count = totals[row.counter];
            count > 0 && row.family == CounterFamily::accept_errors)
            errors.push_back({{"errno", row.token}, {"count", count}});
    return errors;
}

uint64_t sum(const std::vector<Labelled>& series) {
    uint64_t all = 0;
    for (const auto& [label, count] : series)
        all += count;
    return all;
}

} // namespace

std::string status_document(const Snapshot& snapshot) {
    Json document{
        {"schema", "riposte/status/1"},
        {"version", snapshot.version},
        {"pid", snapshot.pid},
        {"time", snapshot.time_seconds},
        {"start_time", snapshot.start_seconds},
        {"state", to_string(snapshot.state)},
        {"backend",
         {{"name", snapshot.backend},
          {"reason", snapshot.backend_reason},
          {"workers",
           {{"io_uring", snapshot.workers_on_uring}, {"epoll", snapshot.workers_on_epoll}}}}},
        {"workers", snapshot.workers},
        {"sandbox", snapshot.sandbox},
        {"reload", reload_json(snapshot.reload)},
        {"limits", limits_json(snapshot)}};
    const size_t listed = std::min(snapshot.listeners.size(), status_listeners_max);
    Json& listeners = document["listeners"] = Json::array();
    for (size_t i = 0; i < listed; ++i)
        listeners.push_back(listener_json(snapshot.listeners[i], snapshot.inherited));
    document["listeners_omitted"] = snapshot.listeners.size() - listed;
    document["services"] = services_json(snapshot.totals);
    document["refused"] = refused_json(snapshot.totals);
    document["accept_errors"] = accept_errors_json(snapshot.totals);
    document["scrapes"] = {
        {"answered", sum(snapshot.scrapes)}, {"rejected", sum(snapshot.scrapes_rejected)}};
    return document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace riposte
