// What the words of `riposte load` mean.
#include "client/measure/probe.h"
#include "client/options/options_conditions.h"
#include "client/options/options_throughput.h"
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double rate_min = 0.001;
constexpr double rate_max = 100'000'000;
constexpr uint32_t warmup_ms_max = 1000; ///< unless --warmup says otherwise
constexpr uint32_t open_loop_depth = 64;

Result<void> read_rate(const RawValue& word, std::optional<double>& target) {
    if (!word)
        return {};
    target = parse_decimal(*word);
    if (!target)
        return usage(fmt::format(
            "--rate: '{}' is not a number; write requests a second, like 5000 or 0.5",
            escape(*word, 40)));
    if (*target < rate_min || *target > rate_max)
        return usage(fmt::format("--rate: must be from {} to {:.0f}", rate_min, rate_max));
    return {};
}

Result<void> read_load_numbers(const RawLoad& words, LoadOptions& load) {
    const bool datagrams = load.endpoint.transport == Transport::udp;
    const uint64_t size_min = datagrams ? probe_header_bytes : 1;
    const uint64_t size_max = datagrams ? payload_bytes_max : load_payload_bytes_max;
    if (words.count && !words.duration)
        load.duration_ms = 0;
    if (auto read = all_of(
            {read_number(
                 "--connections", words.connections, 1, load_connections_max, load.connections),
             read_duration_ms("--duration", words.duration, true, load.duration_ms),
             read_number("--count", words.count, 1, count_max, load.count),
             read_rate(words.rate, load.rate),
             read_payload(words.size, size_min, size_max, load.payload_bytes)});
        !read)
        return read;
    load.depth = load.rate && !load.reconnect ? open_loop_depth : 1;
    load.warmup_ms = std::min(warmup_ms_max, load.duration_ms / 10);
    if (load.duration_ms == 0)
        load.warmup_ms = load.count ? 0 : warmup_ms_max;
    return all_of(
        {read_number("--depth", words.depth, 1, load_depth_max, load.depth),
         read_duration_ms("--warmup", words.warmup, true, load.warmup_ms)});
}

Result<void> check_load(const LoadOptions& load, bool has_depth) {
    if (has_depth && load.rate && load.endpoint.transport == Transport::udp)
        return usage(
            "-r and --depth exclude each other over UDP; an open loop waits for no answer there");
    if (load.reconnect) {
        if (auto checked = check_reconnect(load.endpoint); !checked)
            return checked;
        if (load.depth > 1)
            return usage(
                "--reconnect and --depth exclude each other; a connection has one request then");
    }
    if (load.report.json_lines && !load.report.every_ms)
        return usage(
            "--json-lines needs --every with load: a line for each interval, not for each request");
    return check_conditions(load);
}

} // namespace

Result<Options> read_load(const RawLoad& words) {
    if (is_throughput(words))
        return read_throughput(words);
    for (const auto& [word, name] :
         {std::pair{&words.bitrate, "--bitrate"}, std::pair{&words.bytes, "--bytes"}})
        if (*word)
            return usage(
                fmt::format("{} is for --upload and --download; requests have -r and -n", name));
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    if (words.endpoint.value_or("").empty())
        return no_endpoint("load");
    auto endpoint = read_endpoint(*words.endpoint, words.common.udp);
    if (!endpoint)
        return std::unexpected(endpoint.error());
    LoadOptions load;
    load.endpoint = std::move(*endpoint);
    load.reconnect = words.reconnect;
    load.verify = !words.no_verify;
    load.quiet = words.quiet;
    if (auto read = read_load_numbers(words, load); !read)
        return std::unexpected(read.error());
    if (auto read = read_while_pinging(words, load.while_pinging); !read)
        return std::unexpected(read.error());
    auto report = read_report(words.report);
    if (!report)
        return std::unexpected(report.error());
    load.report = std::move(*report);
    if (load.quiet && load.report.histogram)
        return usage("-q and --histogram exclude each other; -q prints one line");
    if (auto read = read_path(words.common, words.path, common->path); !read)
        return std::unexpected(read.error());
    if (auto checked = all_of(
            {check_load(load, words.depth.has_value()), check_df(common->path, load.endpoint),
             check_source_port(load, common->path)});
        !checked)
        return std::unexpected(checked.error());
    return Options{.common = std::move(*common), .command = std::move(load)};
}

} // namespace riposte::client
