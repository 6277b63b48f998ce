// Which options of `riposte ping` have no sense together, or not with its endpoints. An option that
// would have no effect is refused, never ignored.
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "common/units.h"

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr uint64_t waiting_max = uint64_t{1} << 19; ///< half of PingAccount's largest window

struct Given {
    std::string_view name;
    bool given;
};

/// `option` with any of the others.
Result<void> exclude(
    std::string_view option, std::initializer_list<Given> others, std::string_view why) {
    for (const Given& other : others)
        if (other.given)
            return usage(fmt::format("{} and {} exclude each other; {}", option, other.name, why));
    return {};
}

/// The connections of a flow have the same ends, so that there can be one at a time.
Result<void> check_flow_connections(const PingOptions& ping, const CommonOptions& common) {
    if (ping.reconnect)
        return usage("--flows and --reconnect exclude each other; a flow over TCP is one "
                     "connection, or with "
                     "--connect one for each probe");
    if (!ping.connect && ping.payload_bytes > flow_payload_bytes_max)
        return usage(fmt::format(
            "--flows over TCP: probes of at most {} bytes, not {}, so that each is a segment, "
            "which "
            "is lost or not; for larger ones choose UDP (-u)",
            flow_payload_bytes_max, ping.payload_bytes));
    const uint64_t free_us = flow_free_us(ping);
    if (!ping.connect || free_us >= uint64_t{common.timeout_ms} * 1000)
        return {};
    return usage(fmt::format(
        "--connect --flows {}: a port comes round every {}, so that -W is {} at most, not {}; "
        "raise "
        "-i or --flows, or lower -W",
        ping.flows, format_duration_us(ping.flows * ping.interval_us), format_duration_us(free_us),
        format_duration(common.timeout_ms)));
}

Result<void> check_flows(const PingOptions& ping, const CommonOptions& common) {
    const PathOptions& path = common.path;
    if (ping.flows == 0)
        return {};
    if (ping.endpoints.size() > 1)
        return usage("--flows is for one ENDPOINT; start a riposte for each");
    const Endpoint& endpoint = ping.endpoints.front();
    const uint32_t first = path.source_port != 0 ? path.source_port : flow_port_first;
    if (first + ping.flows > uint32_t{UINT16_MAX} + 1)
        return usage(fmt::format(
            "--flows {}: from port {} on there are only {}; begin lower with --source ADDR:PORT",
            ping.flows, first, uint32_t{UINT16_MAX} + 1 - first));
    return endpoint.transport == Transport::tcp ? check_flow_connections(ping, common)
                                                : Result<void>{};
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
    return exclude(
        "--mtu",
        {{"-c", words.count.has_value()},
         {"-i", words.interval.has_value()},
         {"-w", words.deadline.has_value()},
         {"-s", words.size.has_value()},
         {"-D", words.timestamps},
         {"--every", words.report.every.has_value()},
         {"--json-lines", words.report.json_lines},
         {"--live", words.report.live},
         {"--flows", words.flows.has_value()},
         {"--alive", words.alive},
         {"--unreachable", words.unreachable},
         {"--resolve-every", words.resolve_every.has_value()},
         {"--histogram", words.report.histogram},
         {"--hist", words.report.histogram_file.has_value()},
         {"--plot", words.report.plot_file.has_value()},
         {"--fail-if", words.report.fail_if.has_value()}},
        "the search chooses sizes and pace itself");
}

/// --connect sends nothing, and makes a connection for each probe.
Result<void> check_connect(const PingOptions& ping, const RawPing& words) {
    if (!ping.connect)
        return {};
    if (words.common.udp)
        return usage("--connect is for TCP; leave -u out");
    for (const Endpoint& endpoint : ping.endpoints)
        if (endpoint.transport == Transport::udp)
            return usage(
                fmt::format("--connect is for TCP; {} makes no connection", to_string(endpoint)));
    if (auto checked = exclude(
            "--connect", {{"-s", words.size.has_value()}}, "nothing is sent on the connections");
        !checked)
        return checked;
    return exclude(
        "--connect", {{"--reconnect", words.reconnect}},
        "with --connect each probe is a connection");
}

/// --alive and --unreachable print names alone, and are done with an endpoint at its first answer.
Result<void> check_listing(const PingOptions& ping, const RawPing& words) {
    if (words.alive && words.unreachable)
        return usage("--alive and --unreachable exclude each other; run both, or take -j");
    if (ping.listing == Listing::none)
        return {};
    return exclude(
        ping.listing == Listing::alive ? "--alive" : "--unreachable",
        {{"-j", words.report.json},
         {"--json-lines", words.report.json_lines},
         {"--live", words.report.live},
         {"--every", words.report.every.has_value()},
         {"-q", words.quiet},
         {"-D", words.timestamps},
         {"--flows", words.flows.has_value()},
         {"--resolve-every", words.resolve_every.has_value()},
         {"--histogram", words.report.histogram},
         {"--hist", words.report.histogram_file.has_value()},
         {"--plot", words.report.plot_file.has_value()},
         {"--fail-if", words.report.fail_if.has_value()}},
        "a list of endpoints is all that is printed");
}

Result<void> check_names(
    const PingOptions& ping, const RawPing& words, const CommonOptions& common) {
    if (ping.all_addresses && ping.resolve_every_ms)
        return usage(
            "--all-addresses and --resolve-every exclude each other; the addresses are those that "
            "a name has at the start");
    if (ping.all_addresses && ping.flows > 0)
        return usage("--all-addresses and --flows exclude each other; flows are of one address");
    const std::string_view why = "a name may get another address, and a port is bound to one";
    if (ping.resolve_every_ms && ping.flows > 0)
        return usage(fmt::format("--resolve-every and --flows exclude each other; {}", why));
    if (ping.resolve_every_ms && common.path.source_port != 0)
        return usage(
            fmt::format("--resolve-every and --source with a port exclude each other; {}", why));
    if (words.targets == "-" && ping.report.live)
        return usage(
            "--targets - and --live exclude each other; --live reads keys from standard input");
    return {};
}

/// Times stand in front of the lines of probes.
Result<void> check_timestamps(const RawPing& words) {
    if (!words.timestamps)
        return {};
    return exclude(
        "-D", {{"--json-lines", words.report.json_lines}, {"--live", words.report.live}},
        "there are no lines for the time to stand in front of");
}

Result<void> check_plot(const PingOptions& ping) {
    if (ping.report.plot_file.empty() || ping.endpoints.size() <= ping_plotted_max)
        return {};
    return usage(fmt::format(
        "--plot: {} endpoints, and a picture shows at most {}", grouped(ping.endpoints.size()),
        ping_plotted_max));
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

Result<void> check_ping(
    const PingOptions& ping, const RawPing& words, const CommonOptions& common) {
    for (const Endpoint& endpoint : ping.endpoints) {
        const Result<void> checked = all_of(
            {ping.reconnect ? check_reconnect(endpoint) : Result<void>{},
             check_df(common.path, endpoint)});
        if (!checked)
            return checked;
    }
    return all_of(
        {check_waiting(ping, common.timeout_ms), check_every(ping), check_connect(ping, words),
         check_source_port(ping, common.path), check_flows(ping, common), check_mtu(ping, words),
         check_listing(ping, words), check_names(ping, words, common), check_timestamps(words),
         check_plot(ping)});
}

} // namespace riposte::client
