// [limits]: every bound that a peer could push against.

#include "daemon/config/config_reader.h"

namespace riposte {
namespace {

template<uint32_t TcpLimits::* limit>
Result<void> read_count(const Value& value, TcpLimits& limits) {
    return read_integer(value, 1, connections_most, limits.*limit);
}

template<uint32_t TcpLimits::* limit>
Result<void> read_timeout(const Value& value, TcpLimits& limits) {
    return read_duration(value, 1, limits.*limit);
}

template<uint32_t TcpLimits::* bits, uint32_t most>
Result<void> read_prefix(const Value& value, TcpLimits& limits) {
    return read_integer(value, 0, most, limits.*bits);
}

/// A gigabyte a second, more than a peer can be asked for.
constexpr uint32_t bytes_per_second_most = 1'000'000'000;

template<uint32_t TcpLimits::* rate>
Result<void> read_rate(const Value& value, TcpLimits& limits) {
    return read_integer(value, 0, bytes_per_second_most, limits.*rate);
}

/// Below, a worker could not have the few buffers that it needs at least.
constexpr uint64_t buffer_memory_min_bytes = uint64_t{1} << 20;
constexpr uint64_t buffer_memory_max_bytes = uint64_t{1} << 40;

constexpr std::array<Key<TcpLimits>, 13> limits_keys{{
    {"connections", read_count<&TcpLimits::connections_max>},
    {"connections_per_source", read_count<&TcpLimits::connections_per_source_max>},
    {"source_prefix_ipv4", read_prefix<&TcpLimits::source_prefix_ipv4_bits, 32>},
    {"source_prefix_ipv6", read_prefix<&TcpLimits::source_prefix_ipv6_bits, 128>},
    {"when_full",
     [](const Value& value, TcpLimits& limits) {
         return read_word(value, "when_full", parse_when_full, when_full_names(), limits.when_full);
     }},
    {"first_byte_timeout", read_timeout<&TcpLimits::first_byte_timeout_ms>},
    {"idle_timeout", read_timeout<&TcpLimits::idle_timeout_ms>},
    {"write_stall_timeout", read_timeout<&TcpLimits::write_stall_timeout_ms>},
    {"rate_min", read_rate<&TcpLimits::rate_min>},
    {"write_rate_min", read_rate<&TcpLimits::write_rate_min>},
    {"rate_window", read_timeout<&TcpLimits::rate_window_ms>},
    {"linger_timeout", read_timeout<&TcpLimits::linger_timeout_ms>},
    {"buffer_memory",
     [](const Value& value, TcpLimits& limits) {
         return read_size(
             value, buffer_memory_min_bytes, buffer_memory_max_bytes, limits.buffer_memory_bytes);
     }},
}};

} // namespace

Result<void> read_limits(const Value& value, Config& config) {
    return read_table<TcpLimits>(value, Place::limits, limits_keys, config.limits);
}

std::vector<std::string_view> limits_key_names() {
    return key_names(limits_keys);
}

} // namespace riposte
