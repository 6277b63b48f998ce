// How the words of every command are read: each function checks one value and names the option,
// what was read, and what would be right. An option that was not given leaves its target as it is.
#pragma once

#include "client/options/raw_options.h"
#include "common/error.h"
#include "common/text.h"
#include "common/units.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

inline constexpr uint64_t count_max = 1'000'000'000'000'000; ///< 10^15: no run lives to see more

std::unexpected<Error> usage(std::string message);

/// "1,000,000".
std::string grouped(uint64_t number);

/// The first of the results that is an error, if any.
Result<void> all_of(std::initializer_list<Result<void>> results);

template<class T>
Result<void> read_number(
    std::string_view name, const RawValue& word, uint64_t min, uint64_t max, T& target) {
    if (!word)
        return {};
    uint64_t number = 0;
    const char* const text_end = word->data() + word->size();
    const auto [end, error] = std::from_chars(word->data(), text_end, number);
    const bool too_large = error == std::errc::result_out_of_range;
    if (end != text_end || (error != std::errc{} && !too_large))
        return usage(fmt::format("{}: '{}' is not a whole number", name, escape(*word, 40)));
    if (too_large || number < min || number > max)
        return usage(fmt::format("{}: must be from {} to {}", name, grouped(min), grouped(max)));
    target = static_cast<T>(number);
    return {};
}

template<class T>
Result<void> read_duration_ms(
    std::string_view name, const RawValue& word, bool may_be_zero, T& target) {
    if (!word)
        return {};
    const auto milliseconds = parse_duration_ms(*word);
    if (!milliseconds)
        return usage(fmt::format("{}: {}", name, milliseconds.error()));
    if (*milliseconds == 0 && !may_be_zero)
        return usage(fmt::format("{}: must be more than zero", name));
    target = *milliseconds;
    return {};
}

/// -s. A probe's header makes the least size, where there is one.
Result<void> read_payload(const RawValue& word, uint64_t min, uint64_t max, uint32_t& target);
/// The name of a file to write; standard output is taken.
Result<void> read_file(std::string_view name, const RawValue& word, std::string& target);
/// All but the source.
Result<CommonOptions> read_common(const RawCommon& words);
/// --source: ADDR or ADDR:PORT.
Result<void> read_source(const RawValue& word, bool may_have_port, PathOptions& path);
/// Where packets go, with the source.
Result<void> read_path(const RawCommon& common, const RawPath& words, PathOptions& path);
/// The transport and the port are set.
Result<Endpoint> read_endpoint(const std::string& text, bool udp, uint16_t port = default_port);
/// The same of a HOST that may be a prefix or a range of addresses (endpoint_range.h), and that may
/// be a reflector of STAMP.
Result<std::vector<Endpoint>> read_endpoints(const std::string& text, bool udp, size_t max);
/// The operands of ping, and those of --targets.
Result<std::vector<Endpoint>> read_targets(const RawPing& words);
Result<ReportOptions> read_report(const RawReport& words);

/// --df is for UDP.
Result<void> check_df(const PathOptions& path, const Endpoint& endpoint);
/// A local port serves one connection to a peer at a time.
Result<void> check_source_port(const PingOptions& ping, const PathOptions& path);
Result<void> check_source_port(const LoadOptions& load, const PathOptions& path);
/// What is shown while a run goes on: options_meanwhile.cpp.
Result<void> read_meanwhile(const RawReport& words, ReportOptions& report);

/// What is for stamp:// alone: options_stamp.cpp.
Result<void> read_stamp(const RawPing& words, const PathOptions& path, PingOptions& ping);
/// --reconnect is for TCP.
Result<void> check_reconnect(const Endpoint& endpoint);
std::unexpected<Error> no_endpoint(std::string_view command);

/// --connect --flows: how long an attempt may take before its port comes round again, with a tenth
/// to spare for probes that leave late.
inline uint64_t flow_free_us(const PingOptions& ping) {
    return ping.flows * ping.interval_us / 10 * 9;
}

} // namespace riposte::client
