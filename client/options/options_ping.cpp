// What the words of `riposte ping` mean.
#include "client/measure/probe.h"
#include "client/options/options_conditions.h"
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

Result<void> read_ping_numbers(const RawPing& words, PingOptions& ping) {
    if (auto read = all_of(
            {read_number("--count", words.count, 1, count_max, ping.count),
             read_duration_ms("--deadline", words.deadline, false, ping.deadline_ms),
             read_payload(words.size, probe_header_bytes, payload_bytes_max, ping.payload_bytes),
             read_duration_ms(
                 "--resolve-every", words.resolve_every, false, ping.resolve_every_ms)});
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

/// N, or FIRST-LAST: as with N and the first port in --source.
Result<void> read_flows(const RawValue& word, PingOptions& ping, PathOptions& path) {
    const std::string text = word.value_or("");
    const size_t dash = text.find('-');
    if (dash == std::string::npos)
        return read_number("--flows", word, 1, ping_flows_max, ping.flows);
    if (path.source_port != 0)
        return usage(
            "--flows FIRST-LAST and --source with a port exclude each other; both say where the "
            "ports begin");
    uint32_t last = 0;
    if (auto read = all_of(
            {read_number(
                 "--flows, the first port", text.substr(0, dash), 1, UINT16_MAX, path.source_port),
             read_number("--flows, the last port", text.substr(dash + 1), 1, UINT16_MAX, last)});
        !read)
        return read;
    if (last < path.source_port || last - path.source_port >= ping_flows_max)
        return usage(fmt::format(
            "--flows {}: write the lowest port first, and at most {} ports", escape(text, 40),
            ping_flows_max));
    ping.flows = last - path.source_port + 1;
    return {};
}

/// Until the port of a probe comes round again; what is shorter than half a second has to be asked
/// for.
uint32_t flow_connect_timeout_ms(const PingOptions& ping) {
    constexpr uint64_t least_ms = 500;
    return static_cast<uint32_t>(
        std::clamp(flow_free_us(ping) / 1000, least_ms, uint64_t{CommonOptions().timeout_ms}));
}

} // namespace

Result<Options> read_ping(const RawPing& words) {
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    auto endpoints = read_targets(words);
    if (!endpoints)
        return std::unexpected(endpoints.error());
    PingOptions ping;
    ping.quiet = words.quiet;
    ping.timestamps = words.timestamps;
    ping.reconnect = words.reconnect;
    ping.mtu = words.mtu;
    ping.connect = words.connect;
    ping.all_addresses = words.all_addresses;
    if (words.alive || words.unreachable)
        ping.listing = words.alive ? Listing::alive : Listing::unreachable;
    ping.endpoints = std::move(*endpoints);
    if (auto read = read_ping_numbers(words, ping); !read)
        return std::unexpected(read.error());
    if (ping.listing != Listing::none && !ping.count && !ping.deadline_ms)
        ping.count = listing_count;
    auto report = read_report(words.report);
    if (!report)
        return std::unexpected(report.error());
    ping.report = std::move(*report);
    if (auto read = read_path(words.common, words.path, common->path); !read)
        return std::unexpected(read.error());
    if (auto read = read_flows(words.flows, ping, common->path); !read)
        return std::unexpected(read.error());
    if (ping.connect && ping.flows > 0 && !words.common.timeout)
        common->timeout_ms = flow_connect_timeout_ms(ping);
    if (auto checked = all_of(
            {check_ping(ping, words, *common), check_conditions(ping),
             read_stamp(words, common->path, ping)});
        !checked)
        return std::unexpected(checked.error());
    return Options{.common = std::move(*common), .command = std::move(ping)};
}

} // namespace riposte::client
