// What the words mean that say where packets go (path_options.h).
#include "client/options/dscp.h"
#include "client/options/options_values.h"
#include "client/options/raw_options.h"
#include "common/text.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <net/if.h>

namespace riposte::client {

namespace {

constexpr uint64_t hop_limit_max = 255;

/// 23 or 0x17; nothing if it is neither, or more than `max`.
std::optional<uint32_t> parse_bits(std::string_view text, uint32_t max) {
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    const std::string_view digits = hexadecimal ? text.substr(2) : text;
    uint32_t bits = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), bits, hexadecimal ? 16 : 10);
    if (error != std::errc{} || end != digits.data() + digits.size() || bits > max)
        return std::nullopt;
    return bits;
}

Result<void> read_interface(const RawValue& word, std::string& target) {
    if (!word)
        return {};
    if (word->empty() || word->size() >= IFNAMSIZ)
        return usage(fmt::format(
            "--interface '{}': a name of an interface has 1 to {} bytes (`ip link` lists them)",
            escape(*word, 40), IFNAMSIZ - 1));
    target = *word;
    return {};
}

Result<void> read_mark(const RawValue& word, std::optional<uint32_t>& target) {
    if (!word)
        return {};
    target = parse_bits(*word, UINT32_MAX);
    if (!target)
        return usage(fmt::format(
            "--mark: '{}' is not a number from 0 to 4294967295; write it like 23 or 0x17",
            escape(*word, 40)));
    return {};
}

Result<void> read_dscp(const RawValue& word, std::optional<uint8_t>& target) {
    if (!word)
        return {};
    target = parse_dscp_name(*word);
    if (const auto number = parse_bits(*word, dscp_max); number)
        target = static_cast<uint8_t>(*number);
    if (!target)
        return usage(fmt::format(
            "--dscp: '{}' is none of be, le, cs0 to cs7, af11 to af43, ef, va, and no number from "
            "0 "
            "to {}",
            escape(*word, 40), dscp_max));
    return {};
}

/// Where ADDR ends and :PORT begins; npos: there is no port. An IPv6 address with a port has
/// brackets.
size_t port_colon(const std::string& word) {
    const bool bare_ipv6 = !word.starts_with('[') && std::ranges::count(word, ':') > 1;
    return bare_ipv6 || word.ends_with(']') ? std::string::npos : word.rfind(':');
}

} // namespace

Result<void> read_source(const RawValue& word, bool may_have_port, PathOptions& path) {
    if (!word)
        return {};
    const size_t colon = may_have_port ? port_colon(*word) : std::string::npos;
    auto source = parse_host(word->substr(0, colon));
    if (!source)
        return usage(fmt::format(
            "--source '{}', column {}: {}", escape(*word), source.error().offset + 1,
            source.error().message));
    path.source = std::move(*source);
    if (colon == std::string::npos)
        return {};
    return read_number(
        "--source, the port", word->substr(colon + 1), 1, UINT16_MAX, path.source_port);
}

Result<void> read_path(const RawCommon& common, const RawPath& words, PathOptions& path) {
    path.df = words.df;
    return all_of(
        {read_source(common.source, true, path), read_interface(words.interface, path.interface),
         read_mark(words.mark, path.mark), read_dscp(words.dscp, path.dscp),
         read_number("--ttl", words.ttl, 1, hop_limit_max, path.ttl)});
}

Result<void> check_df(const PathOptions& path, const Endpoint& endpoint) {
    if (!path.df || endpoint.transport == Transport::udp)
        return {};
    return usage(fmt::format(
        "--df is for UDP (-u); over TCP, to {}, data is cut to fit", to_string(endpoint)));
}

Result<void> check_source_port(const PingOptions& ping, const PathOptions& path) {
    if (path.source_port == 0)
        return {};
    if (ping.flows > 0)
        return {}; // they begin there
    if (ping.reconnect || ping.connect)
        return usage(fmt::format(
            "--source with a port and {} exclude each other; connections that overlap need a port "
            "each: write the address alone",
            ping.connect ? "--connect" : "--reconnect"));
    if (std::ranges::count(ping.endpoints, Transport::udp, &Endpoint::transport) > 1)
        return usage(
            "--source with a port: over UDP it serves one ENDPOINT; write the address alone, or "
            "start a riposte for each");
    return {};
}

Result<void> check_source_port(const LoadOptions& load, const PathOptions& path) {
    if (path.source_port == 0)
        return {};
    if (load.reconnect)
        return usage(
            "--source with a port and --reconnect exclude each other; a connection that has ended "
            "holds its port for a while (TIME_WAIT): write the address alone");
    if (load.connections > 1)
        return usage(fmt::format(
            "--source with a port: it serves one {} to a peer, and {} are wanted; add -c 1, or "
            "write the address alone",
            load.endpoint.transport == Transport::tcp ? "connection" : "socket", load.connections));
    return {};
}

} // namespace riposte::client
