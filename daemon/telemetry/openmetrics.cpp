#include "daemon/telemetry/openmetrics.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace riposte {
namespace {

enum class Type : uint8_t { counter, gauge, histogram };

struct MetricFamily {
    std::string_view name; ///< without "_total"
    Type type;
    std::string_view help;
};

struct Label {
    std::string_view name;
    std::string_view value;
};
using Labels = std::vector<Label>;

/// Backslash, quote and line feed, as both formats say.
std::string escaped(std::string_view value) {
    std::string text;
    for (const char byte : value) {
        if (byte == '\\' || byte == '"')
            text += '\\';
        if (byte == '\n')
            text += "\\n";
        else
            text += byte;
    }
    return text;
}

std::string_view to_string(Type type) {
    constexpr std::string_view names[] = {"counter", "gauge", "histogram"};
    return names[static_cast<size_t>(type)];
}

/// The last word of a name, if it is a unit of OpenMetrics that is used here.
std::string_view unit_of(std::string_view name) {
    constexpr std::string_view units[] = {"seconds", "bytes"};
    const auto* found =
        std::ranges::find_if(units, [&](std::string_view unit) { return name.ends_with(unit); });
    return found == std::end(units) ? "" : *found;
}

class Writer {
public:
    explicit Writer(ExpositionFormat format) : format_(format) {}

    void begin(const MetricFamily& family) {
        family_ = family;
        const bool open = format_ == ExpositionFormat::openmetrics;
        const bool total = family.type == Type::counter && !open;
        const std::string name = fmt::format("{}{}", family.name, total ? "_total" : "");
        text_ += fmt::format("# HELP {} {}\n", name, family.help);
        text_ += fmt::format("# TYPE {} {}\n", name, to_string(family.type));
        if (const std::string_view unit = unit_of(family.name); open && !unit.empty())
            text_ += fmt::format("# UNIT {} {}\n", name, unit);
    }

    template<class Value>
    void sample(const Labels& labels, Value value) {
        sample(family_.type == Type::counter ? "_total" : "", labels, value);
    }
    template<class Value>
    void sample(std::string_view suffix, const Labels& labels, Value value) {
        text_ += fmt::format("{}{}", family_.name, suffix);
        char before = '{';
        for (const Label& label : labels) {
            text_ += fmt::format("{}{}=\"{}\"", before, label.name, escaped(label.value));
            before = ',';
        }
        text_ += fmt::format("{} {}\n", labels.empty() ? "" : "}", value);
    }

    template<class Value>
    void single(const MetricFamily& family, Value value) {
        begin(family);
        sample(Labels{}, value);
    }

    std::string finish() && {
        if (format_ == ExpositionFormat::openmetrics)
            text_ += "# EOF\n";
        return std::move(text_);
    }

private:
    ExpositionFormat format_;
    MetricFamily family_{};
    std::string text_;
};

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

void write_build(Writer& out, const Snapshot& snapshot) {
    out.begin({"riposte_build_info", Type::gauge, "Always 1; its labels say what runs."});
    out.sample({{"version", snapshot.version}, {"backend", snapshot.backend}}, 1);
    out.single(
        {"riposte_start_time_seconds", Type::gauge, "When the daemon was ready, since 1970."},
        snapshot.start_seconds);
    out.single({"riposte_workers", Type::gauge, "Threads that answer."}, snapshot.workers);
    out.begin({"riposte_backend_workers", Type::gauge, "Threads that answer, by backend."});
    out.sample({{"backend", "io_uring"}}, snapshot.workers_on_uring);
    out.sample({{"backend", "epoll"}}, snapshot.workers_on_epoll);
    out.single(
        {"riposte_draining", Type::gauge,
         "1 while the daemon stops and sends its pending replies."},
        snapshot.state == DaemonState::running ? 0 : 1);
    out.single(
        {"riposte_config_last_reload_successful", Type::gauge,
         "1 if the last reload, or the start, took the configuration over; 0 if it was refused."},
        snapshot.reload.ok ? 1 : 0);
    out.single(
        {"riposte_config_last_reload_success_timestamp_seconds", Type::gauge,
         "When a configuration was last taken over, since 1970."},
        snapshot.reload.success_seconds);
    out.single(
        {"riposte_config_reloads", Type::counter, "Reloads that were asked for."},
        snapshot.reload.count);
}

void write_listeners(Writer& out, const Snapshot& snapshot, const Shown& shown) {
    out.begin({"riposte_listeners", Type::gauge, "Addresses that are answered on."});
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

void write_connections(Writer& out, const Snapshot& snapshot, const Shown& shown) {
    const Totals& totals = snapshot.totals;
    out.begin({"riposte_connections", Type::gauge, "Connections that are open."});
    shown.each([&](ServiceKind kind, std::string_view name) {
        out.sample({{"service", name}}, totals.connections_open(kind));
    });
    out.single(
        {"riposte_connections_limit", Type::gauge, "[limits] connections."},
        snapshot.connections_max);
}

/// Only stamp has sessions.
void write_sessions(Writer& out, const Snapshot& snapshot, const Shown& shown) {
    const auto sample = [&](uint64_t value) {
        shown.each([&](ServiceKind kind, std::string_view name) {
            if (kind == ServiceKind::stamp)
                out.sample({{"service", name}}, value);
        });
    };
    out.begin({"riposte_sessions", Type::gauge, "Sessions that asked within the last 15 minutes."});
    sample(snapshot.stamp_sessions);
    out.begin({"riposte_sessions_limit", Type::gauge, "Places for sessions."});
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
    Writer& out, const CounterFamilyRow& family, const Totals& totals,
    std::optional<ServiceKind> kind) {
    const auto sample = [&](std::string_view transport, std::string_view value, uint64_t count) {
        Labels labels;
        if (kind)
            labels.push_back({"service", to_string(*kind)});
        if (family.by_transport)
            labels.push_back({"transport", transport});
        if (!family.label.empty())
            labels.push_back({family.label, value});
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

void write_counters(Writer& out, const Snapshot& snapshot, const Shown& shown) {
    for (const CounterFamilyRow& family : family_rows()) {
        out.begin({family.name, Type::counter, family.help});
        if (family.by_service)
            shown.each([&](ServiceKind kind, std::string_view) {
                write_family(out, family, snapshot.totals, kind);
            });
        else
            write_family(out, family, snapshot.totals, std::nullopt);
    }
}

/// As OpenMetrics requires a number in a label; in both formats, so that Prometheus has the same
/// series in both.
std::string bound_text(double bound) {
    std::string text = fmt::format("{}", bound);
    if (text.find_first_of(".e") == std::string::npos)
        text += ".0";
    return text;
}

void write_latency(
    Writer& out, std::string_view service, Transport transport, const LatencyTotals& latency) {
    const std::string_view name = to_string(transport);
    uint64_t below = 0;
    for (size_t i = 0; i < latency_bounds; ++i) {
        below += latency.buckets[i];
        const std::string bound = bound_text(latency_bound_seconds(i));
        out.sample("_bucket", {{"service", service}, {"transport", name}, {"le", bound}}, below);
    }
    below += latency.buckets[latency_bounds];
    out.sample("_bucket", {{"service", service}, {"transport", name}, {"le", "+Inf"}}, below);
    out.sample(
        "_sum", {{"service", service}, {"transport", name}},
        static_cast<double>(latency.sum_ns) / 1e9);
    out.sample("_count", {{"service", service}, {"transport", name}}, below);
}

void write_latencies(Writer& out, const Snapshot& snapshot, const Shown& shown) {
    out.begin(
        {"riposte_answer_latency_seconds", Type::histogram,
         "From the arrival of a message until the kernel had the answer."});
    shown.each([&](ServiceKind kind, std::string_view name) {
        for (const Transport transport : {Transport::tcp, Transport::udp})
            write_latency(out, name, transport, snapshot.totals.latency(kind, transport));
    });
}

void write_memory(Writer& out, const Snapshot& snapshot) {
    out.single(
        {"riposte_buffer_memory_bytes", Type::gauge, "Stream buffers that hold something."},
        snapshot.buffer_used_bytes);
    out.single(
        {"riposte_buffer_memory_limit_bytes", Type::gauge, "[limits] buffer_memory."},
        snapshot.buffer_max_bytes);
    out.single(
        {"riposte_memory_bound_bytes", Type::gauge,
         "What the process can take at most with this configuration."},
        snapshot.memory_bound_bytes);
}

void write_scrapes(Writer& out, const Snapshot& snapshot) {
    out.begin({"riposte_scrapes", Type::counter, "Requests to the metrics socket, by answer."});
    for (const auto& [code, count] : snapshot.scrapes)
        out.sample({{"code", code}}, count);
    out.begin(
        {"riposte_scrapes_rejected", Type::counter,
         "Connections to the metrics socket that got no answer, by reason."});
    for (const auto& [reason, count] : snapshot.scrapes_rejected)
        out.sample({{"reason", reason}}, count);
}

/// An unknown value is left out: it is not 0.
void write_process(Writer& out, const ProcessFigures& process) {
    const auto single = [&](const MetricFamily& family, const auto& figure) {
        if (figure)
            out.single(family, *figure);
    };
    single(
        {"process_cpu_seconds", Type::counter, "Time on the CPU, user and system."},
        process.cpu_seconds);
    single(
        {"process_resident_memory_bytes", Type::gauge, "Memory in RAM."}, process.resident_bytes);
    single({"process_virtual_memory_bytes", Type::gauge, "Address space."}, process.virtual_bytes);
    single({"process_open_fds", Type::gauge, "Open descriptors."}, process.open_descriptors);
    single({"process_max_fds", Type::gauge, "How many may be open."}, process.descriptors_max);
    single(
        {"process_start_time_seconds", Type::gauge, "When the process began, since 1970."},
        process.start_time_seconds);
    single({"process_threads", Type::gauge, "Threads of the process."}, process.threads);
}

} // namespace

std::string exposition(const Snapshot& snapshot, ExpositionFormat format) {
    Writer out(format);
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
    return std::move(out).finish();
}

} // namespace riposte
