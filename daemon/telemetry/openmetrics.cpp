#include "daemon/telemetry/openmetrics.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace riposte {
namespace {

/// Which services are shown: they have a listener, or counted something.
class Shown {
public:
    explicit Shown(const Snapshot& snapshot) {
        for (const ListenerReport& listener : snapshot.listeners)
            shown_[static_cast<size_t>(listener.kind)] = true;
        for (size_t kind = 0; kind < service_kinds; ++kind)
            for (const CounterRow& row : counter_rows())
                shown_[kind] |= snapshot.totals.of(at(kind), row.counter) > 0;
    }

    /// In the order of ServiceKind.
    void each(auto&& act) const {
        for (size_t kind = 0; kind < service_kinds; ++kind)
            if (shown_[kind])
                act(at(kind), to_string(at(kind)));
    }

private:
    static ServiceKind at(size_t kind) { return static_cast<ServiceKind>(kind); }

    std::array<bool, service_kinds> shown_{};
};

void write_build(ExpositionWriter& out, const Snapshot& snapshot) {
    out.begin({"riposte_build_info", MetricType::gauge, "Always 1; its labels say what runs."});
    out.sample({{"version", snapshot.version}, {"backend", snapshot.backend}}, 1);
    out.single(
        {"riposte_start_time_seconds", MetricType::gauge, "When the daemon was ready, since 1970."},
        snapshot.start_seconds);
    out.single({"riposte_workers", MetricType::gauge, "Threads that answer."}, snapshot.workers);
    out.begin({"riposte_backend_workers", MetricType::gauge, "Threads that answer, by backend."});
    out.sample({{"backend", "io_uring"}}, snapshot.workers_on_uring);
    out.sample({{"backend", "epoll"}}, snapshot.workers_on_epoll);
    out.single(
        {"riposte_draining", MetricType::gauge,
         "1 while the daemon stops and sends its pending replies."},
        snapshot.state == DaemonState::running ? 0 : 1);
    out.single(
        {"riposte_config_last_reload_successful", MetricType::gauge,
         "1 if the last reload, or the start, took the configuration over; 0 if it was refused."},
        snapshot.reload.ok ? 1 : 0);
    out.single(
        {"riposte_config_last_reload_success_timestamp_seconds", MetricType::gauge,
         "When a configuration was last taken over, since 1970."},
        snapshot.reload.success_seconds);
    out.single(
        {"riposte_config_reloads", MetricType::counter, "Reloads that were asked for."},
        snapshot.reload.count);
}

void write_listeners(ExpositionWriter& out, const Snapshot& snapshot, const Shown& shown) {
    out.begin({"riposte_listeners", MetricType::gauge, "Addresses that are answered on."});
    shown.each([&](ServiceKind kind, std::string_view name) {
        for (const Transport transport : {Transport::tcp, Transport::udp}) {
            const auto count =
                std::ranges::count_if(snapshot.listeners, [&](const ListenerReport& listener) {
                    return listener.kind == kind && listener.transport == transport;
                });
            out.sample({{"service", name}, {"transport", to_string(transport)}}, count);
        }
    });
}

void write_connections(ExpositionWriter& out, const Snapshot& snapshot, const Shown& shown) {
    const Totals& totals = snapshot.totals;
    out.begin({"riposte_connections", MetricType::gauge, "Connections that are open."});
    shown.each([&](ServiceKind kind, std::string_view name) {
        out.sample({{"service", name}}, totals.connections_open(kind));
    });
    out.single(
        {"riposte_connections_limit", MetricType::gauge, "[limits] connections."},
        snapshot.connections_max);
}

/// Only stamp has sessions.
void write_sessions(ExpositionWriter& out, const Snapshot& snapshot, const Shown& shown) {
    const auto sample = [&](uint64_t value) {
        shown.each([&](ServiceKind kind, std::string_view name) {
            if (kind == ServiceKind::stamp)
                out.sample({{"service", name}}, value);
        });
    };
    out.begin(
        {"riposte_sessions", MetricType::gauge, "Sessions that asked within the last 15 minutes."});
    sample(snapshot.stamp_sessions);
    out.begin({"riposte_sessions_limit", MetricType::gauge, "Places for sessions."});
    sample(snapshot.stamp_sessions_max);
}

uint64_t dropped_datagrams(const Totals& totals, ServiceKind kind) {
    uint64_t dropped = 0;
    for (const CounterRow& row : counter_rows())
        if (row.drop != DropStage::none && row.transport == Transport::udp)
            dropped += totals.of(kind, row.counter);
    return dropped;
}

/// A sample of each counter of the family: of one service, or of all together.
void write_family(
    ExpositionWriter& out, const CounterFamilyRow& family, const Totals& totals,
    std::optional<ServiceKind> kind) {
    const auto sample = [&](std::string_view transport, std::string_view value, uint64_t count) {
        MetricLabels labels;
        if (kind)
            labels.add("service", to_string(*kind));
        if (family.by_transport)
            labels.add("transport", transport);
        if (!family.label.empty())
            labels.add(family.label, value);
        out.sample(labels, count);
    };
    for (const CounterRow& row : counter_rows())
        if (row.family == family.family)
            sample(
                to_string(row.transport), row.token,
                kind ? totals.of(*kind, row.counter) : totals[row.counter]);
    if (family.family == CounterFamily::datagrams && kind) // the sum of all reasons
        sample("udp", "dropped", dropped_datagrams(totals, *kind));
}

void write_counters(ExpositionWriter& out, const Snapshot& snapshot, const Shown& shown) {
    for (const CounterFamilyRow& family : family_rows()) {
        out.begin({family.name, MetricType::counter, family.help});
        if (family.by_service)
            shown.each([&](ServiceKind kind, std::string_view) {
                write_family(out, family, snapshot.totals, kind);
            });
        else
            write_family(out, family, snapshot.totals, std::nullopt);
    }
}

void write_latency(
    ExpositionWriter& out, std::string_view service, Transport transport,
    const LatencyTotals& latency) {
    const MetricLabels labels{{"service", service}, {"transport", to_string(transport)}};
    uint64_t below = 0;
    for (size_t i = 0; i < latency_bounds; ++i) {
        below += latency.buckets[i];
        const std::string bound = bound_text(latency_bound_seconds(i));
        out.sample("_bucket", labels.with("le", bound), below);
    }
    below += latency.buckets[latency_bounds];
    out.sample("_bucket", labels.with("le", "+Inf"), below);
    out.sample("_sum", labels, static_cast<double>(latency.sum_ns) / 1e9);
    out.sample("_count", labels, below);
}

void write_latencies(ExpositionWriter& out, const Snapshot& snapshot, const Shown& shown) {
    out.begin(
        {"riposte_answer_latency_seconds", MetricType::histogram,
         "From the arrival of a message until the kernel had the answer."});
    shown.each([&](ServiceKind kind, std::string_view name) {
        for (const Transport transport : {Transport::tcp, Transport::udp})
            write_latency(out, name, transport, snapshot.totals.latency(kind, transport));
    });
}

void write_memory(ExpositionWriter& out, const Snapshot& snapshot) {
    out.single(
        {"riposte_buffer_memory_bytes", MetricType::gauge, "Stream buffers that hold something."},
        snapshot.buffer_used_bytes);
    out.single(
        {"riposte_buffer_memory_limit_bytes", MetricType::gauge, "[limits] buffer_memory."},
        snapshot.buffer_max_bytes);
    out.single(
        {"riposte_memory_bound_bytes", MetricType::gauge,
         "What the process can take at most with this configuration."},
        snapshot.memory_bound_bytes);
}

void write_scrapes(ExpositionWriter& out, const Snapshot& snapshot) {
    out.begin(
        {"riposte_scrapes", MetricType::counter, "Requests to the metrics socket, by answer."});
    for (const auto& [code, count] : snapshot.scrapes)
        out.sample({{"code", code}}, count);
    out.begin(
        {"riposte_scrapes_rejected", MetricType::counter,
         "Connections to the metrics socket that got no answer, by reason."});
    for (const auto& [reason, count] : snapshot.scrapes_rejected)
        out.sample({{"reason", reason}}, count);
}

/// An unknown value is left out: it is not 0.
void write_process(ExpositionWriter& out, const ProcessFigures& process) {
    const auto single = [&](const MetricFamily& family, const auto& figure) {
        if (figure)
            out.single(family, *figure);
    };
    single(
        {"process_cpu_seconds", MetricType::counter, "Time on the CPU, user and system."},
        process.cpu_seconds);
    single(
        {"process_resident_memory_bytes", MetricType::gauge, "Memory in RAM."},
        process.resident_bytes);
    single(
        {"process_virtual_memory_bytes", MetricType::gauge, "Address space."},
        process.virtual_bytes);
    single({"process_open_fds", MetricType::gauge, "Open descriptors."}, process.open_descriptors);
    single(
        {"process_max_fds", MetricType::gauge, "How many may be open."}, process.descriptors_max);
    single(
        {"process_start_time_seconds", MetricType::gauge, "When the process began, since 1970."},
        process.start_time_seconds);
    single({"process_threads", MetricType::gauge, "Threads of the process."}, process.threads);
}

} // namespace

std::string exposition(const Snapshot& snapshot, ExpositionFormat format) {
    ExpositionWriter out(format);
    const Shown shown(snapshot);
    write_build(out, snapshot);
    write_listeners(out, snapshot, shown);
    write_connections(out, snapshot, shown);
    write_sessions(out, snapshot, shown);
    write_counters(out, snapshot, shown);
    write_latencies(out, snapshot, shown);
    write_memory(out, snapshot);
    write_scrapes(out, snapshot);
    write_process(out, snapshot.process);
    return std::move(out).finish().text();
}

} // namespace riposte
