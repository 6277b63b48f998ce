// [datagrams]: to whom, and how much, datagrams are answered.

#include "daemon/config/config_reader.h"

namespace riposte {
namespace {

/// The most that the buckets' arithmetic holds (response_rate_limit.h): 16 GiB a second, and more
/// replies than any machine sends.
constexpr uint64_t bytes_rate_max = uint64_t{16} << 30;
constexpr uint32_t answers_rate_max = 1'000'000'000;

template<uint64_t UdpLimits::* rate>
Result<void> read_rate(const Value& value, UdpLimits& datagrams) {
    uint32_t number = 0;
    auto read = read_integer(value, 1, answers_rate_max, number);
    if (read)
        datagrams.*rate = number;
    return read;
}

constexpr std::array<Key<UdpLimits>, 9> datagrams_keys{{
    {"prefix_ipv4",
     [](const Value& value, UdpLimits& datagrams) {
         return read_integer(value, 0, 32, datagrams.prefix_ipv4_bits);
     }},
    {"prefix_ipv6",
     [](const Value& value, UdpLimits& datagrams) {
         return read_integer(value, 0, 128, datagrams.prefix_ipv6_bits);
     }},
    {"rate_per_prefix", read_rate<&UdpLimits::rate_per_prefix>},
    {"bytes_per_prefix",
     [](const Value& value, UdpLimits& datagrams) {
         return read_size(value, bytes_rate_min, bytes_rate_max, datagrams.bytes_per_prefix);
     }},
    {"rate", read_rate<&UdpLimits::rate>},
    {"bytes",
     [](const Value& value, UdpLimits& datagrams) {
         return read_size(value, 2 * bytes_rate_min, bytes_rate_max, datagrams.bytes);
     }},
    {"rate_exempt",
     [](const Value& value, UdpLimits& datagrams) {
         return read_prefixes(value, datagrams.rate_exempt);
     }},
    {"port_exempt",
     [](const Value& value, UdpLimits& datagrams) {
         return read_prefixes(value, datagrams.port_exempt);
     }},
    {"longer_answers_to",
     [](const Value& value, UdpLimits& datagrams) {
         return read_prefixes(value, datagrams.longer_answers_to);
     }},
}};

} // namespace

Result<void> read_datagrams(const Value& value, Config& config) {
    return read_table<UdpLimits>(value, Place::datagrams, datagrams_keys, config.datagrams);
}

std::vector<std::string_view> datagrams_key_names() {
    return key_names(datagrams_keys);
}

} // namespace riposte
