#include "daemon/config/schema.h"

#include "common/units.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include <fmt/format.h>

namespace riposte::schema {
namespace table {

constexpr auto section_rows = std::to_array<SectionRow>({
    {Section::top, "", ""},
    {Section::listen, "listen", "[[listen]]", true},
    {Section::limits, "limits", "[limits]"},
    {Section::datagrams, "datagrams", "[datagrams]"},
    {Section::access_log, "access_log", "[access_log]"},
    {Section::metrics, "metrics", "[metrics]"},
});

/// The member at the end of a path that begins in Config, or in one [[listen]] section.
template<auto first, auto... rest>
Member at(Config& config, ListenerConfig& listen) {
    if constexpr (requires { config.*first; })
        return &((config.*first).*....*rest);
    else
        return &((listen.*first).*....*rest);
}
template<auto member>
constexpr auto limit = at<&Config::limits, member>;
template<auto member>
constexpr auto datagrams = at<&Config::datagrams, member>;
template<auto member>
constexpr auto stamp = at<&ListenerConfig::options, &ServiceOptions::stamp, member>;
template<auto member>
constexpr auto access_log = at<&Config::access_log, member>;

/// The longest duration that a timer holds: parse_duration_ms() refuses more.
constexpr uint64_t ms_max = 2'147'483'647;
/// A gigabyte a second: no sensible minimum rate is higher.
constexpr uint64_t stream_rate_max = 1'000'000'000;
/// With less, a worker would lack the few buffers that it needs.
constexpr uint64_t buffer_memory_min = uint64_t{1} << 20;
constexpr uint64_t buffer_memory_max = uint64_t{1} << 40;
/// The limit of the buckets' arithmetic (response_rate_limit.h): more replies than any machine
/// sends, and 16 GiB a second.
constexpr uint64_t answer_rate_max = 1'000'000'000;
constexpr uint64_t bytes_rate_max = uint64_t{16} << 30;
/// More than a journal accepts.
constexpr uint64_t lines_rate_max = 100'000;
constexpr uint64_t every_max = 1'000'000'000;
/// Each is a socket of the main thread.
constexpr uint64_t metrics_addresses_max = 4;

using enum Unit;
constexpr auto restart = Effect::restart;
constexpr auto reload = Effect::reload;

constexpr Section in_top = Section::top;
constexpr Section in_listen = Section::listen;
constexpr Section in_limits = Section::limits;
constexpr Section in_datagrams = Section::datagrams;
constexpr Section in_access_log = Section::access_log;
constexpr Section in_metrics = Section::metrics;

using L = TcpLimits; // the rows are wide enough
using D = UdpLimits;
using A = AccessLogConfig;
using S = StampOptions;

constexpr auto rows = std::to_array<Key>({
    {in_top, "backend", at<&Config::backend>, none, 0, 0, restart},
    {in_top, "workers", at<&Config::workers>, count, 0, workers_max, restart},
    {in_top, "busy_poll", at<&Config::busy_poll_us>, microseconds, 0, busy_poll_us_max},
    {in_top, "drain_timeout", at<&Config::drain_timeout_ms>, milliseconds, 0, ms_max},
    {in_top, "log_level", at<&Config::log_level>},

    {in_listen, "service", at<&ListenerConfig::service>, none, 0, 0, reload, true},
    {in_listen, "address", at<&ListenerConfig::addresses>, none, 1, listen_addresses_max, reload,
     true},
    {in_listen, "allow", at<&ListenerConfig::acl, &AclConfig::allow>},
    {in_listen, "deny", at<&ListenerConfig::acl, &AclConfig::deny>},
    {in_listen, "connections", at<&ListenerConfig::connections_max>, count, 1, connections_most},
    {in_listen, "message", at<&ListenerConfig::options, &ServiceOptions::message>, none, 1,
     message_bytes_max, reload, false, ServiceKind::hello},
    {in_listen, "sequence", stamp<&S::sequence>, none, 0, 0, reload, false, ServiceKind::stamp},
    {in_listen, "sessions_max", stamp<&S::sessions_max>, count, 1, stamp_sessions_max, reload,
     false, ServiceKind::stamp},
    {in_listen, "dscp", stamp<&S::dscp>, none, 0, dscp_max, reload, false, ServiceKind::stamp},
    {in_listen, "cos", stamp<&S::cos>, none, 0, dscp_max, reload, false, ServiceKind::stamp},
    {in_listen, "location", stamp<&S::location>, none, 0, 0, reload, false, ServiceKind::stamp},
    {in_listen, "clock", stamp<&S::clock>, none, 0, 0, reload, false, ServiceKind::stamp},
    {in_listen, "key_file", stamp<&S::key_file>, none, 0, stamp_key_file_bytes_max, reload, false,
     ServiceKind::stamp},
    {in_listen, "keys", stamp<&S::keys>, none, 0, stamp_keys_max, reload, false,
     ServiceKind::stamp},
    {in_listen, "authenticated", stamp<&S::authenticated>, none, 0, 0, reload, false,
     ServiceKind::stamp},
    {in_listen, "twamp_light", at<&ListenerConfig::twamp_light>, none, 0, 0, reload, false,
     ServiceKind::stamp},

    {in_limits, "connections", limit<&L::connections_max>, count, 1, connections_most},
    {in_limits, "connections_per_source", limit<&L::connections_per_source_max>, count, 1,
     connections_most},
    {in_limits, "source_prefix_ipv4", limit<&L::source_prefix_ipv4_bits>, bits, 0, 32},
    {in_limits, "source_prefix_ipv6", limit<&L::source_prefix_ipv6_bits>, bits, 0, 128},
    {in_limits, "when_full", limit<&L::when_full>},
    {in_limits, "first_byte_timeout", limit<&L::first_byte_timeout_ms>, milliseconds, 1, ms_max},
    {in_limits, "idle_timeout", limit<&L::idle_timeout_ms>, milliseconds, 1, ms_max},
    {in_limits, "write_stall_timeout", limit<&L::write_stall_timeout_ms>, milliseconds, 1, ms_max},
    {in_limits, "rate_min", limit<&L::rate_min>, per_second, 0, stream_rate_max},
    {in_limits, "write_rate_min", limit<&L::write_rate_min>, per_second, 0, stream_rate_max},
    {in_limits, "rate_window", limit<&L::rate_window_ms>, milliseconds, 1, ms_max},
    {in_limits, "linger_timeout", limit<&L::linger_timeout_ms>, milliseconds, 1, ms_max},
    {in_limits, "buffer_memory", limit<&L::buffer_memory_bytes>, bytes, buffer_memory_min,
     buffer_memory_max, restart},

    {in_datagrams, "prefix_ipv4", datagrams<&D::prefix_ipv4_bits>, bits, 0, 32},
    {in_datagrams, "prefix_ipv6", datagrams<&D::prefix_ipv6_bits>, bits, 0, 128},
    {in_datagrams, "rate_per_prefix", datagrams<&D::rate_per_prefix>, per_second, 1,
     answer_rate_max},
    {in_datagrams, "bytes_per_prefix", datagrams<&D::bytes_per_prefix>, bytes, bytes_rate_min,
     bytes_rate_max},
    {in_datagrams, "rate", datagrams<&D::rate>, per_second, 1, answer_rate_max},
    {in_datagrams, "bytes", datagrams<&D::bytes>, bytes, 2 * bytes_rate_min, bytes_rate_max},
    {in_datagrams, "rate_exempt", datagrams<&D::rate_exempt>},
    {in_datagrams, "port_exempt", datagrams<&D::port_exempt>},
    {in_datagrams, "longer_answers_to", datagrams<&D::longer_answers_to>},

    {in_access_log, "connections", access_log<&A::connections>},
    {in_access_log, "datagrams_every", access_log<&A::datagrams_every>, count, 0, every_max},
    {in_access_log, "rate", access_log<&A::rate>, per_second, 1, lines_rate_max},
    {in_access_log, "bytes", access_log<&A::bytes>, count, 0, access_log_bytes_max},

    {in_metrics, "listen", at<&Config::metrics, &MetricsConfig::listen>, none, 0,
     metrics_addresses_max, restart},
});

constexpr bool sections_in_order() {
    for (size_t i = 0; i < section_rows.size(); ++i)
        if (static_cast<size_t>(section_rows[i].section) != i)
            return false;
    return section_rows.size() == static_cast<size_t>(Section::end);
}
static_assert(sections_in_order());

/// Rows are sorted by section, names are unique in a section, and bounds are not empty.
constexpr bool well_formed() {
    for (size_t i = 0; i < rows.size(); ++i) {
        if (rows[i].min > rows[i].max || (i > 0 && rows[i].section < rows[i - 1].section))
            return false;
        for (size_t j = 0; j < i; ++j)
            if (rows[j].section == rows[i].section && rows[j].name == rows[i].name)
                return false;
    }
    return true;
}
static_assert(well_formed());

} // namespace table

std::span<const SectionRow> sections() {
    return table::section_rows;
}

const SectionRow& row_of(Section section) {
    return table::section_rows[static_cast<size_t>(section)];
}

std::span<const Key> keys() {
    return table::rows;
}

const Key* find_key(Section section, std::string_view name) {
    for (const Key& key : table::rows)
        if (key.section == section && key.name == name)
            return &key;
    return nullptr;
}

std::string written(Unit unit, uint64_t number) {
    switch (unit) {
    case Unit::none:
        break;
    case Unit::count:
    case Unit::bits:
    case Unit::per_second:
        return fmt::to_string(number);
    case Unit::bytes:
        return format_size(number);
    case Unit::milliseconds:
        return format_duration(static_cast<uint32_t>(number));
    case Unit::microseconds:
        return format_duration_us(number);
    }
    std::unreachable();
}

bool is_quoted(Unit unit) {
    return unit == Unit::bytes || unit == Unit::milliseconds || unit == Unit::microseconds;
}

std::string bounds(const Key& key) {
    const std::string min = written(key.unit, key.min);
    const std::string max = written(key.unit, key.max);
    if (key.unit == Unit::milliseconds) // parse_duration_ms() checks the upper bound
        return fmt::format("at least {}", min);
    if (key.unit == Unit::microseconds)
        return fmt::format("at most {}", max);
    return fmt::format("from {} to {}", min, max);
}

std::string quoted(const Key& key) {
    const auto meanings = std::ranges::count(table::rows, key.name, &Key::name) +
                          std::ranges::count(table::section_rows, key.name, &SectionRow::name);
    if (meanings == 1 || key.section == Section::top)
        return fmt::format("'{}'", key.name);
    return fmt::format("'{} {}'", row_of(key.section).written, key.name);
}

namespace {

/// Calls `act` with the values of one key in two configurations, as references of one type.
void with_both(const Key& key, Config& a, Config& b, auto&& act) {
    assert(key.section != Section::listen);
    ListenerConfig none;
    const Member of_a = key.member(a, none);
    const Member of_b = key.member(b, none);
    std::visit([&]<class Value>(Value* value) { act(*value, *std::get<Value*>(of_b)); }, of_a);
}

} // namespace

bool same(const Key& key, const Config& a, const Config& b) {
    bool is_same = false;
    Config copy_of_a = a; // a member is reached in what may be written
    Config copy_of_b = b;
    with_both(key, copy_of_a, copy_of_b, [&](const auto& one, const auto& other) {
        is_same = one == other;
    });
    return is_same;
}

std::vector<const Key*> keep_until_restart(const Config& running, Config& wanted) {
    std::vector<const Key*> kept;
    Config runs = running;
    for (const Key& key : table::rows) {
        if (key.effect != Effect::restart)
            continue;
        with_both(key, runs, wanted, [&](const auto& running_value, auto& wanted_value) {
            if (running_value == wanted_value)
                return;
            wanted_value = running_value;
            kept.push_back(&key);
        });
    }
    return kept;
}

} // namespace riposte::schema
