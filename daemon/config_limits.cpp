// [limits]: every bound that a peer could push against.

#include "daemon/config_reader.h"

namespace riposte {
namespace {

constexpr uint32_t connections_max = 1'000'000;

template<uint32_t LimitsConfig::* limit>
Result<void> read_count(const Value& value, LimitsConfig& limits) {
    return read_integer(value, 1, connections_max, limits.*limit);
}

template<uint32_t LimitsConfig::* limit>
Result<void> read_timeout(const Value& value, LimitsConfig& limits) {
    return read_duration(value, 1, limits.*limit);
}

constexpr std::array<Key<LimitsConfig>, 5> limits_keys{{
    {"connections", read_count<&LimitsConfig::connections_max>},
    {"connections_per_source", read_count<&LimitsConfig::connections_per_source_max>},
    {"idle_timeout", read_timeout<&LimitsConfig::idle_timeout_ms>},
    {"write_stall_timeout", read_timeout<&LimitsConfig::write_stall_timeout_ms>},
    {"linger_timeout", read_timeout<&LimitsConfig::linger_timeout_ms>},
}};

} // namespace

Result<void> read_limits(const Value& value, Config& config) {
    const auto* table = value.node.as_table();
    if (table == nullptr)
        return value.wrong_type("a table, written as [limits]");
    return read_section<LimitsConfig>(
        value.document, Place::limits, *table, limits_keys, config.limits);
}

std::vector<std::string_view> limits_key_names() {
    return key_names(limits_keys);
}

} // namespace riposte
