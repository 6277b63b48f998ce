// [access_log]: what is told of single connections and datagrams.

#include "daemon/config/config_reader.h"

namespace riposte {
namespace {

/// More than a journal takes.
constexpr uint32_t lines_per_second_most = 100'000;
constexpr uint32_t every_most = 1'000'000'000;

constexpr std::array<Key<AccessLogConfig>, 4> access_log_keys{{
    {"connections",
     [](const Value& value, AccessLogConfig& access_log) {
         return read_boolean(value, access_log.connections);
     }},
    {"datagrams_every",
     [](const Value& value, AccessLogConfig& access_log) {
         return read_integer(value, 0, every_most, access_log.datagrams_every);
     }},
    {"rate",
     [](const Value& value, AccessLogConfig& access_log) {
         return read_integer(value, 1, lines_per_second_most, access_log.rate);
     }},
    {"bytes",
     [](const Value& value, AccessLogConfig& access_log) {
         return read_integer(value, 0, access_log_bytes_max, access_log.bytes);
     }},
}};

} // namespace

Result<void> read_access_log(const Value& value, Config& config) {
    return read_table<AccessLogConfig>(
        value, Place::access_log, access_log_keys, config.access_log);
}

std::vector<std::string_view> access_log_key_names() {
    return key_names(access_log_keys);
}

} // namespace riposte
