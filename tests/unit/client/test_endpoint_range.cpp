#include "client/options/endpoint_range.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

constexpr size_t max = 300;
const EndpointRules rules{.wildcard = false, .default_port = 7001};

std::vector<std::string> hosts(std::string_view text) {
    const auto endpoints = parse_endpoints(text, rules, max);
    REQUIRE_MESSAGE(endpoints, std::string(text));
    std::vector<std::string> all;
    for (const Endpoint& each : *endpoints)
        all.push_back(to_string(each));
    return all;
}

/// "column: message".
std::string refusal(std::string_view text) {
    const auto endpoints = parse_endpoints(text, rules, max);
    REQUIRE_MESSAGE(!endpoints, std::string(text));
    return std::to_string(endpoints.error().offset + 1) + ": " + endpoints.error().message;
}

using Hosts = std::vector<std::string>;

} // namespace

TEST_CASE("an IPv4 prefix has no network and no broadcast address, unless it is a /31 or /32") {
    CHECK(hosts("udp://192.0.2.0/30:7") == Hosts{"udp://192.0.2.1:7", "udp://192.0.2.2:7"});
    CHECK(hosts("192.0.2.4/31") == Hosts{"192.0.2.4:7001", "192.0.2.5:7001"});
    CHECK(hosts("tcp://192.0.2.4/32:9") == Hosts{"tcp://192.0.2.4:9"});
    CHECK(hosts("10.0.0.0/24").size() == 254);
    CHECK(hosts("10.0.0.0/24").back() == "10.0.0.254:7001");
}

TEST_CASE("a range has both of its ends, and may go over the last number") {
    CHECK(
        hosts("udp://192.0.2.10-12:7") ==
        Hosts{"udp://192.0.2.10:7", "udp://192.0.2.11:7", "udp://192.0.2.12:7"});
    CHECK(hosts("192.0.2.255-192.0.3.0:9") == Hosts{"192.0.2.255:9", "192.0.3.0:9"});
    CHECK(hosts("192.0.2.1-1:9") == Hosts{"192.0.2.1:9"});
}

TEST_CASE("IPv6 prefixes have all their addresses, and ranges are of whole addresses") {
    CHECK(
        hosts("udp://[2001:db8::/127]:7") ==
        Hosts{"udp://[2001:db8::]:7", "udp://[2001:db8::1]:7"});
    CHECK(hosts("[2001:db8::fe/128]") == Hosts{"[2001:db8::fe]:7001"});
    CHECK(
        hosts("[2001:db8::ffff-2001:db8::1:1]:9") ==
        Hosts{"[2001:db8::ffff]:9", "[2001:db8::1:0]:9", "[2001:db8::1:1]:9"});
}

TEST_CASE("what only looks like a range is one endpoint, as before") {
    CHECK(hosts("my-host:9") == Hosts{"my-host:9"});
    CHECK(hosts("10-20") == Hosts{"10-20:7001"});
    CHECK(hosts("3com-1.test") == Hosts{"3com-1.test:7001"});
    CHECK(hosts("[fe80::1%eth-0]:9") == Hosts{"[fe80::1%eth-0]:9"});
    CHECK(
        refusal("a/b") ==
        "2: a host name cannot contain '/'; write a name, an IPv4 address or [IPv6]");
}

TEST_CASE("a fault of a range is reported where it is, with what to write") {
    const std::vector<std::pair<std::string_view, std::string>> cases{
        {"udp://10.0.0.0/8:7",
         "7: '10.0.0.0/8' has 16,777,214 addresses, and at most 300 endpoints are possible; write "
         "a longer prefix, or a shorter range"},
        {"[2001:db8::/32]",
         "2: '2001:db8::/32' has 2^96 addresses, and at most 300 endpoints are possible; write a "
         "longer prefix, or a shorter range"},
        {"[2001:db8::/64]",
         "2: '2001:db8::/64' has 2^64 addresses, and at most 300 endpoints are possible; write a "
         "longer prefix, or a shorter range"},
        {"[2001:db8::1-2002:db8::2]",
         "2: '2001:db8::1-2002:db8::2' has more than 2^64 addresses, and at most 300 endpoints are "
         "possible; write a longer prefix, or a shorter range"},
        {"0.0.0.0/0",
         "1: '0.0.0.0/0' has 4,294,967,294 addresses, and at most 300 endpoints are possible; "
         "write a longer prefix, or a shorter range"},
        {"192.0.2.5/24", "1: '192.0.2.5/24' has bits behind its prefix; write 192.0.2.0/24"},
        {"192.0.2.0/33", "11: '33' is not the length of a prefix; write a number from 0 to 32"},
        {"192.0.2.0/", "11: '' is not the length of a prefix; write a number from 0 to 32"},
        {"[2001:db8::/129]",
         "13: '129' is not the length of a prefix; write a number from 0 to 128"},
        {"192.0.2/24", "1: '192.0.2' is not an address; write a prefix like 192.0.2.0/24"},
        {"192.0.2.9-2", "1: '192.0.2.9-2' ends before it begins; exchange the ends"},
        {"192.0.2.9-256", "11: '256' is not an address; write a range like 192.0.2.10-20"},
        {"[fe80::1-fe80::2%eth0]", "17: a range cannot have a zone; name the interface with -I"},
        {"2001:db8::/120",
         "1: a range of IPv6 addresses needs brackets; write it like [2001:db8::/120]:7001"},
        {"udp://192.0.2.0/30:x", "20: 'x' is not a port; write a number from 0 to 65535"},
        {"[::ffff:192.0.2.0/126]",
         "2: '::ffff:192.0.2.0' is an IPv4-mapped address, which no packet carries; write "
         "192.0.2.0"},
    };
    for (const auto& [text, message] : cases)
        CHECK(refusal(text) == message);
}
