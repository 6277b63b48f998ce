// The section [datagrams].
#include "daemon/config/config.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

UdpLimits parsed_datagrams(std::string_view toml) {
    const auto config = parse_config("[datagrams]\n" + std::string(toml), "riposted.toml");
    REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
    return config->datagrams;
}

std::string refused_datagrams(std::string_view toml) {
    const auto config = parse_config("[datagrams]\n" + std::string(toml), "riposted.toml");
    REQUIRE_FALSE(config.has_value());
    CHECK(config.error().exit == Exit::config);
    return config.error().message;
}

} // namespace

TEST_CASE("every key of [datagrams] is read") {
    CHECK(
        parsed_datagrams(R"(
prefix_ipv4 = 32
prefix_ipv6 = 64
rate_per_prefix = 100
bytes_per_prefix = "1MiB"
rate = 2000
bytes = 20000000
rate_exempt = "192.0.2.0/24"
port_exempt = ["2001:db8::/32", "::ffff:198.51.100.1"]
longer_answers_to = "10.0.0.0/8"
)") == UdpLimits{
           .prefix_ipv4_bits = 32,
           .prefix_ipv6_bits = 64,
           .rate_per_prefix = 100,
           .bytes_per_prefix = uint64_t{1} << 20,
           .rate = 2000,
           .bytes = 20'000'000,
           .rate_exempt = {*parse_cidr("192.0.2.0/24")},
           .port_exempt = {*parse_cidr("2001:db8::/32"), *parse_cidr("198.51.100.1")},
           .longer_answers_to = {*parse_cidr("10.0.0.0/8")}});
    CHECK(parsed_datagrams("") == UdpLimits{});
    CHECK(parsed_datagrams("rate_exempt = []").rate_exempt.empty());
}

TEST_CASE("values at the bounds of a range are accepted in [datagrams]") {
    CHECK(parsed_datagrams("prefix_ipv4 = 0\nprefix_ipv6 = 0").prefix_ipv4_bits == 0);
    CHECK(parsed_datagrams("prefix_ipv6 = 128").prefix_ipv6_bits == 128);
    CHECK(
        parsed_datagrams("rate = 1\nrate_per_prefix = 1000000000").rate_per_prefix ==
        1'000'000'000);
    CHECK(parsed_datagrams("bytes_per_prefix = \"64KiB\"").bytes_per_prefix == 65'536);
    CHECK(parsed_datagrams("bytes = \"16GiB\"").bytes == uint64_t{16} << 30);
}

TEST_CASE("a fault in [datagrams] is refused at its position") {
    const std::vector<std::pair<std::string_view, std::string_view>> cases{
        {"prefix_ipv4 = 33", "riposted.toml:2:15: 'prefix_ipv4' is 33; it must be from 0 to 32"},
        {"prefix_ipv6 = 129", "riposted.toml:2:15: 'prefix_ipv6' is 129; it must be from 0 to 128"},
        {"rate = 0", "riposted.toml:2:8: 'rate' is 0; it must be from 1 to 1000000000"},
        {"rate_per_prefix = \"5\"",
         "riposted.toml:2:19: 'rate_per_prefix' is a string; it must be an integer"},
        {"bytes_per_prefix = 65535",
         "riposted.toml:2:20: 'bytes_per_prefix' is 65535; it must be from 64KiB to 16GiB"},
        {"bytes = \"17GiB\"",
         "riposted.toml:2:9: 'bytes' is 17GiB; it must be from 128KiB to 16GiB"},
        {"bytes = 1.5", "riposted.toml:2:9: 'bytes' is a float; it must be a string like "
                        "\"64KiB\", or a number of bytes"},
        {"bytes = \"1KB\"", "riposted.toml:2:9: bytes: '1KB' has the unknown unit 'KB'; the units "
                            "are B, KiB, MiB or GiB"},
        {"rate_exempt = 1", "riposted.toml:2:15: 'rate_exempt' is an integer; it must be a string "
                            "or an array of strings"},
        {"port_exempt = [1]", "riposted.toml:2:16: an element of 'port_exempt' is an integer; it "
                              "must be a string like \"192.0.2.0/24\""},
        {"rates = 1",
         "riposted.toml:2:1: unknown key 'rates' in [datagrams]; did you mean 'rate'?"},
        {"idle_timeout = 1",
         "riposted.toml:2:1: 'idle_timeout' does not belong here; put it under [limits]"},
    };
    for (const auto& [toml, message] : cases)
        CHECK(refused_datagrams(toml) == message);
    // The error of a bad prefix has the position of its fault.
    CHECK(
        refused_datagrams("port_exempt = [\"192.0.2.0/33\"]").starts_with("riposted.toml:2:26: "));
}
