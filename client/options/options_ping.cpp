// What the words of `riposte ping` mean.
#include "client/measure/probe.h"
#include "client/options/options_conditions.h"
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "common/text.h"
#include "common/units.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr uint64_t waiting_max = uint64_t{1} << 19; ///< half of PingAccount's largest window

Result<void> read_ping_numbers(const RawPing& words, PingOptions& ping) {
    if (auto read = all_of(
            {read_number("--count", words.count, 1, count_max, ping.count),
             read_duration_ms("--deadline", words.deadline, false, ping.deadline_ms),
             read_payload(words.size, probe_header_bytes, payload_bytes_max, ping.payload_bytes),
             read_number("--flows", words.flows, 1, ping_flows_max, ping.flows)});
        !read)
        return read;
    if (!words.interval)
        return {};
    const auto nanoseconds = parse_duration_ns(*words.interval);
    if (!nanoseconds)
        return usage(fmt::format("--interval: {}", nanoseconds.error()));
    if (*nanoseconds / 1000 < ping_interval_us_min)
        return usage(fmt::format(
            "--interval: must be at least {}; for more, use riposte load",
            format_duration_us(ping_interval_us_min)));
    if (*nanoseconds % 1000 != 0)
        return usage(fmt::format(
            "--interval: '{}' is finer than a microsecond; write whole microseconds",
            escape(*words.interval, 40)));
    ping.interval_us = *nanoseconds / 1000;
    return {};
}

Result<void> check_flows(const PingOptions& ping, const PathOptions& path) {
    if (ping.flows == 0)
        return {};
    if (ping.endpoints.size() > 1)
        return usage("--flows is for one ENDPOINT; start a riposte for each");
    const Endpoint& endpoint = ping.endpoints.front();
    if (endpoint.transport == Transport::tcp)
        return usage(fmt::format(
            "--flows is for UDP (-u); over TCP, to {}, there is one connection",
            to_string(endpoint)));
    const uint32_t first = path.source_port != 0 ? path.source_port : flow_port_first;
    if (first + ping.flows > uint32_t{UINT16_MAX} + 1)
        return usage(fmt::format(
            "--flows {}: from port {} on there are only {}; begin lower with --source ADDR:PORT",
            ping.flows, first, uint32_t{UINT16_MAX} + 1 - first));
    return {};
}

/// --mtu chooses sizes, number and pace of the probes itself, and has one kind of result.
Result<void> check_mtu(const PingOptions& ping, const RawPing& words) {
    if (!ping.mtu)
        return {};
    for (const Endpoint& endpoint : ping.endpoints)
        if (endpoint.transport == Transport::tcp)
            return usage(fmt::format(
                "--mtu is for UDP (-u); over TCP, to {}, the kernel cuts data to fit",
                to_string(endpoint)));
    struct Other {
        std::string_view name;
        bool given;
    };
    for (const Other& other :
         {Other{"-c", words.count.has_value()}, Other{"-i", words.interval.has_value()},
          Other{"-w", words.deadline.has_value()}, Other{"-s", words.size.has_value()},
          Other{"-D", words.timestamps}, Other{"--every", words.report.every.has_value()},
          Other{"--json-lines", words.report.json_lines}, Other{"--flows", words.flows.has_value()},
          Other{"--histogram", words.report.histogram},
          Other{"--hist", words.report.histogram_file.has_value()},
          Other{"--plot", words.report.plot_file.has_value()},
          Other{"--fail-if", words.report.fail_if.has_value()}})
        if (other.given)
            return usage(fmt::format(
                "--mtu and {} exclude each other; the search chooses sizes and pace itself",
                other.name));
    return {};
}

/// A probe stays in memory until it is answered or lost.
Result<void> check_waiting(const PingOptions& ping, uint32_t timeout_ms) {
    const uint64_t interval_us = ping.interval_us;
    const uint64_t timeout_us = uint64_t{timeout_ms} * 1000;
    const uint64_t waiting = (timeout_us + interval_us - 1) / interval_us * ping.endpoints.size();
    if (waiting <= waiting_max)
        return {};
    return usage(fmt::format(
        "--interval {} and --timeout {}: {} probes could wait at once, and {} may; "
        "raise -i or lower -W",
        format_duration_us(interval_us), format_duration(timeout_ms), grouped(waiting),
        grouped(waiting_max)));
}

/// An interval in which no probe is due has nothing to print.
Result<void> check_every(const PingOptions& ping) {
    if (!ping.report.every_ms || uint64_t{*ping.report.every_ms} * 1000 >= ping.interval_us)
        return {};
    return usage(fmt::format(
        "--every {} is shorter than the time between probes, {}; shorten -i, or raise --every",
        format_duration(*ping.report.every_ms), format_duration_us(ping.interval_us)));
}

} // namespace

Result<Options> read_ping(const RawPing& words) {
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    if (words.endpoints.empty())
        return no_endpoint("ping");
    PingOptions ping;
    ping.quiet = words.quiet;
    ping.timestamps = words.timestamps;
    ping.reconnect = words.reconnect;
    ping.mtu = words.mtu;
    std::string before;
    for (const std::string& text : words.endpoints) {
        auto endpoint = read_endpoint(text, words.common.udp);
        if (const std::string meant = endpoint || before.empty() ? "" : with_port(before, text);
            !meant.empty())
            return usage(
                fmt::format("'{0}' is not an endpoint; for port {0} write {1}", text, meant));
        if (!endpoint)
            return std::unexpected(endpoint.error());
        before = text;
        ping.endpoints.push_back(std::move(*endpoint));
    }
    if (ping.endpoints.size() > ping_endpoints_max)
        return usage(fmt::format("at most {} ENDPOINTs at once", ping_endpoints_max));
    if (auto read = read_ping_numbers(words, ping); !read)
        return std::unexpected(read.error());
    if (auto checked = check_waiting(ping, common->timeout_ms); !checked)
        return std::unexpected(checked.error());
    auto report = read_report(words.report);
    if (!report)
        return std::unexpected(report.error());
    ping.report = std::move(*report);
    if (auto read = read_path(words.common, words.path, common->path); !read)
        return std::unexpected(read.error());
    if (auto checked = check_every(ping); !checked)
        return std::unexpected(checked.error());
    for (const Endpoint& endpoint : ping.endpoints) {
        const Result<void> checked = all_of(
            {ping.reconnect ? check_reconnect(endpoint) : Result<void>{},
             check_df(common->path, endpoint)});
        if (!checked)
            return std::unexpected(checked.error());
    }
    if (auto checked = all_of(
            {check_source_port(ping, common->path), check_flows(ping, common->path),
             check_mtu(ping, words)});
        !checked)
        return std::unexpected(checked.error());
    if (auto checked = check_conditions(ping); !checked)
        return std::unexpected(checked.error());
    return Options{.common = std::move(*common), .command = std::move(ping)};
}

} // namespace riposte::client
