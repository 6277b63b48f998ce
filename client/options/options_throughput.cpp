// What the words of `riposte load --upload` and `--download` mean, and --while-pinging.
#include "client/options/options_throughput.h"

#include "client/measure/probe.h"
#include "client/options/options_conditions.h"
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr uint16_t discard_port = 9;
constexpr uint16_t chargen_port = 19;
constexpr double bitrate_min = 1000;
constexpr double bitrate_max = 1e12;
constexpr uint32_t write_bytes = 131'072;
constexpr uint32_t upload_datagram_bytes = 1400;  ///< fits into a packet of most tunnels
constexpr uint32_t download_datagram_bytes = 512; ///< chargen's longest answer (RFC 864)
constexpr uint32_t stream_warmup_ms_max = 1000;
constexpr uint32_t datagram_sockets_max = 4096;

/// Options of requests, which a stream has none of.
Result<void> refuse_requests(const RawLoad& words) {
    struct Refused {
        bool given;
        std::string_view name;
        std::string_view instead;
    };
    const std::array<Refused, 10> all{
        {{words.endpoint.has_value(), "an ENDPOINT of requests",
          "--upload and --download name their own"},
         {words.count.has_value(), "--count", "--bytes ends after so many bytes"},
         {words.rate.has_value(), "--rate", "--bitrate sets the bits a second"},
         {words.depth.has_value(), "--depth", "nothing is answered"},
         {words.reconnect, "--reconnect", "a connection is kept"},
         {words.no_verify, "--no-verify", "nothing is compared"},
         {words.report.json_lines, "--json-lines", "-j has each interval"},
         {words.report.live, "--live", "a line is printed for each interval"},
         {words.report.histogram && !words.while_pinging, "--histogram",
          "it draws the latency of --while-pinging"},
         {words.report.histogram_file && !words.while_pinging, "--hist",
          "it writes the latency of --while-pinging"}}};
    for (const Refused& each : all)
        if (each.given)
            return usage(fmt::format(
                "{} does not go with --upload and --download; {}", each.name, each.instead));
    return {};
}

Result<void> read_bitrate(const RawValue& word, std::optional<double>& target) {
    if (!word)
        return {};
    std::string_view digits = *word;
    double factor = 1;
    constexpr std::array<std::pair<char, double>, 4> units{
        {{'k', 1e3}, {'K', 1e3}, {'M', 1e6}, {'G', 1e9}}};
    for (const auto& [letter, value] : units)
        if (digits.ends_with(letter)) {
            digits.remove_suffix(1);
            factor = value;
            break;
        }
    const auto number = parse_decimal(digits);
    if (!number)
        return usage(fmt::format(
            "--bitrate: '{}' is not a number of bits a second; write one like 100M or 2.5G",
            escape(*word, 40)));
    const double bits = *number * factor;
    if (bits < bitrate_min || bits > bitrate_max)
        return usage("--bitrate: must be from 1k to 1000G bits a second");
    target = bits;
    return {};
}

Result<void> read_bytes(const RawValue& word, std::optional<uint64_t>& target) {
    if (!word)
        return {};
    const auto bytes = parse_size(*word);
    if (!bytes)
        return usage(fmt::format("--bytes: {}", bytes.error()));
    if (*bytes == 0)
        return usage("--bytes: must be more than zero");
    target = *bytes;
    return {};
}

/// Each direction has a size of its own unless -s sets one for both.
Result<void> read_chunk(
    const RawLoad& words, Flow flow, const Endpoint& endpoint, uint32_t& target) {
    const bool is_datagram = endpoint.transport == Transport::udp;
    target = !is_datagram           ? write_bytes
             : flow == Flow::upload ? upload_datagram_bytes
                                    : download_datagram_bytes;
    return read_payload(
        words.size, is_datagram ? probe_header_bytes : 1,
        is_datagram ? payload_bytes_max : load_payload_bytes_max, target);
}

Result<void> read_directions(const RawLoad& words, ThroughputOptions& options) {
    struct NamedFlow {
        const RawValue& word;
        Flow flow;
        uint16_t port;
        std::string_view name;
    };
    for (const NamedFlow& each :
         {NamedFlow{words.upload, Flow::upload, discard_port, "--upload"},
          NamedFlow{words.download, Flow::download, chargen_port, "--download"}}) {
        if (!each.word)
            continue;
        if (each.word->empty())
            return usage(
                fmt::format("{}: no ENDPOINT; write one like {} server", each.name, each.name));
        auto endpoint = read_endpoint(*each.word, words.common.udp, each.port);
        if (!endpoint)
            return std::unexpected(endpoint.error());
        Direction direction{.flow = each.flow, .endpoint = std::move(*endpoint), .chunk_bytes = 0};
        if (auto read = read_chunk(words, each.flow, direction.endpoint, direction.chunk_bytes);
            !read)
            return read;
        options.directions.push_back(std::move(direction));
    }
    return {};
}

Result<void> read_numbers(const RawLoad& words, ThroughputOptions& options) {
    if (words.bytes && !words.duration)
        options.duration_ms = 0;
    if (auto read = all_of(
            {read_number(
                 "--connections", words.connections, 1, load_connections_max, options.connections),
             read_duration_ms("--duration", words.duration, true, options.duration_ms),
             read_bytes(words.bytes, options.bytes), read_bitrate(words.bitrate, options.bitrate)});
        !read)
        return read;
    if (words.bytes && words.warmup)
        return usage("--bytes and --warmup exclude each other; every byte counts then");
    options.warmup_ms = std::min(stream_warmup_ms_max, options.duration_ms / 10);
    if (options.duration_ms == 0)
        options.warmup_ms = stream_warmup_ms_max;
    if (options.bytes)
        options.warmup_ms = 0;
    return read_duration_ms("--warmup", words.warmup, true, options.warmup_ms);
}

Result<void> check_one_port(const ThroughputOptions& options, const PathOptions& path) {
    if (path.source_port == 0 || (options.connections == 1 && options.directions.size() == 1))
        return {};
    return usage(
        "--source with a port: it serves one connection, of one direction; write the address "
        "alone");
}

Result<void> check(const ThroughputOptions& options, const PathOptions& path) {
    if (auto checked = check_one_port(options, path); !checked)
        return checked;
    for (const Direction& each : options.directions) {
        const bool is_datagram = each.endpoint.transport == Transport::udp;
        if (is_datagram && !options.bitrate)
            return usage(fmt::format(
                "{}: over UDP nothing says how fast to send; write --bitrate, like --bitrate 100M",
                to_string(each.endpoint)));
        if (!is_datagram && each.flow == Flow::download && options.bitrate)
            return usage(fmt::format(
                "--bitrate is for what this machine sends; {} sends as fast as TCP lets it",
                to_string(each.endpoint)));
        if (auto checked = check_df(path, each.endpoint); !checked)
            return checked;
        if (is_datagram && options.connections > datagram_sockets_max)
            return usage(fmt::format(
                "--connections: over UDP at most {} sockets", grouped(datagram_sockets_max)));
    }
    return check_conditions(options);
}

} // namespace

Result<void> read_while_pinging(const RawLoad& words, std::optional<Endpoint>& target) {
    if (!words.while_pinging)
        return {};
    if (words.while_pinging->empty())
        return usage("--while-pinging: no ENDPOINT; write one like --while-pinging server:7");
    auto endpoint = read_endpoint(*words.while_pinging, words.common.udp);
    if (!endpoint)
        return std::unexpected(endpoint.error());
    target = std::move(*endpoint);
    return {};
}

Result<Options> read_throughput(const RawLoad& words) {
    auto common = read_common(words.common);
    if (!common)
        return std::unexpected(common.error());
    ThroughputOptions options;
    if (auto read = refuse_requests(words); !read)
        return std::unexpected(read.error());
    if (auto read = read_path(words.common, words.path, common->path); !read)
        return std::unexpected(read.error());
    if (auto read = read_directions(words, options); !read)
        return std::unexpected(read.error());
    if (auto read = read_numbers(words, options); !read)
        return std::unexpected(read.error());
    if (auto read = read_while_pinging(words, options.while_pinging); !read)
        return std::unexpected(read.error());
    auto report = read_report(words.report);
    if (!report)
        return std::unexpected(report.error());
    options.report = std::move(*report);
    options.quiet = words.quiet;
    if (options.quiet && options.report.histogram)
        return usage("-q and --histogram exclude each other; -q prints a line for each direction");
    if (auto checked = check(options, common->path); !checked)
        return std::unexpected(checked.error());
    return Options{.common = std::move(*common), .command = std::move(options)};
}

} // namespace riposte::client
