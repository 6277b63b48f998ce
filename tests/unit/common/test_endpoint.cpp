#include "common/endpoint.h"

#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;

namespace {

constexpr EndpointRules daemon_rules{.wildcard = true, .default_port = std::nullopt};
constexpr EndpointRules client_rules{.wildcard = false, .default_port = 7001};

/// "offset: message"
std::string error_of(std::string_view text, EndpointRules rules) {
    const auto endpoint = parse_endpoint(text, rules);
    if (endpoint)
        return fmt::format("accepted as {}", to_string(*endpoint));
    return fmt::format("{}: {}", endpoint.error().offset, endpoint.error().message);
}

} // namespace

TEST_CASE("scheme, host and port are read, and print back to the same text") {
    struct Case {
        std::string_view text;
        Endpoint endpoint;
    };
    const std::vector<Case> cases{
        {"tcp://127.0.0.1:7001", {Transport::tcp, "127.0.0.1", 7001}},
        {"udp://127.0.0.1:7001", {Transport::udp, "127.0.0.1", 7001}},
        {"127.0.0.1:7001", {std::nullopt, "127.0.0.1", 7001}},
        {"tcp://[::1]:7001", {Transport::tcp, "::1", 7001}},
        {"udp://[fe80::1%eth0.100]:9", {Transport::udp, "fe80::1%eth0.100", 9}},
        {"[::1.2.3.4]:1", {std::nullopt, "::1.2.3.4", 1}},
        {"0x7f.example:80", {std::nullopt, "0x7f.example", 80}},
        {"0xbeer:80", {std::nullopt, "0xbeer", 80}},
        {"tcp://*:0", {Transport::tcp, "*", 0}},
        {"*:65535", {std::nullopt, "*", 65535}},
        {"localhost:7001", {std::nullopt, "localhost", 7001}},
        {"Some-Host_1.example.org.:80", {std::nullopt, "Some-Host_1.example.org.", 80}},
        {"1.2.3.4.example:80", {std::nullopt, "1.2.3.4.example", 80}},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const auto endpoint = parse_endpoint(c.text, daemon_rules);
        REQUIRE(endpoint.has_value());
        CHECK(*endpoint == c.endpoint);
        CHECK(to_string(*endpoint) == c.text);
    }
}

TEST_CASE("only where the rules say so is a port a name, and a missing host a default") {
    const EndpointRules rules{
        .wildcard = false,
        .default_port = 7001,
        .default_host = "localhost",
        .service_port = [](std::string_view name,
                           Transport transport) -> std::expected<uint16_t, std::string> {
            if (name == "echo")
                return transport == Transport::tcp ? 7 : 1007;
            return std::unexpected(fmt::format("no '{}'", name));
        },
        .transport = Transport::udp};
    CHECK(parse_endpoint("a:echo", rules) == Endpoint{std::nullopt, "a", 1007});
    CHECK(parse_endpoint("tcp://a:echo", rules) == Endpoint{Transport::tcp, "a", 7});
    CHECK(parse_endpoint("[::1]:echo", rules) == Endpoint{std::nullopt, "::1", 1007});
    CHECK(parse_endpoint(":echo", rules) == Endpoint{std::nullopt, "localhost", 1007});
    CHECK(parse_endpoint("tcp://:9", rules) == Endpoint{Transport::tcp, "localhost", 9});
    CHECK(parse_endpoint("a:8", rules) == Endpoint{std::nullopt, "a", 8});
    CHECK(error_of("a:b", rules) == "2: no 'b'");
    CHECK(error_of("tcp://a:65536", rules).starts_with("8: port 65536 is out of range"));
    CHECK(error_of("tcp://", rules).starts_with("6: the host is missing"));
    CHECK(error_of("::1", rules).starts_with("0: an IPv6 address needs brackets"));
    for (const EndpointRules& strict : {daemon_rules, client_rules}) {
        CHECK(
            error_of("a:echo", strict) ==
            "2: 'echo' is not a port; write a number from 0 to 65535");
        CHECK(error_of(":7", strict).starts_with("0: the host is missing"));
    }
}

TEST_CASE("only the client may omit the port") {
    CHECK(parse_endpoint("tcp://[::1]", client_rules) == Endpoint{Transport::tcp, "::1", 7001});
    CHECK(parse_endpoint("server", client_rules) == Endpoint{std::nullopt, "server", 7001});
    CHECK(parse_endpoint("server:9", client_rules) == Endpoint{std::nullopt, "server", 9});
    CHECK(
        error_of("tcp://server", daemon_rules) ==
        "12: the port is missing; write ':' and a number from 0 to 65535");
    CHECK(
        error_of("[::1]", daemon_rules) ==
        "5: the port is missing; write ':' and a number from 0 to 65535");
}

TEST_CASE("only the daemon may listen on every address") {
    CHECK(
        error_of("tcp://*:7001", client_rules) ==
        "6: '*' is for listening only; write the host to send to");
}

TEST_CASE("a bad endpoint is refused at the position of the fault, with the remedy") {
    const std::vector<std::pair<std::string, std::string_view>> cases{
        {"", "0: the address is empty; write one like tcp://127.0.0.1:7001"},
        {"http://host:1", "0: unknown scheme 'http'; use tcp:// or udp://"},
        {"TCP://host:1", "0: unknown scheme 'TCP'; use tcp:// or udp://"},
        {"://host:1", "0: unknown scheme ''; use tcp:// or udp://"},
        {"tcp://", "6: the host is missing; write a name, an IPv4 address or [IPv6]"},
        {"tcp://:7001", "6: the host is missing; write a name, an IPv4 address or [IPv6]"},
        {"tcp://ho st:1",
         "8: a host name cannot contain ' '; write a name, an IPv4 address or [IPv6]"},
        {"tcp://host\n:1",
         "10: a host name cannot contain '\\n'; write a name, an IPv4 address or [IPv6]"},
        {"tcp:/host:1", "0: the scheme lacks a '/'; use tcp:// or udp://"},
        {"host:80:90", "5: '80:90' is not a port; write a number from 0 to 65535"},
        {"**:1", "0: a host name cannot contain '*'; write a name, an IPv4 address or [IPv6]"},
        {"a..b:1", "2: a part of the host name is empty; remove the extra dot"},
        {".a:1", "0: a part of the host name is empty; remove the extra dot"},
        {".:1", "0: a part of the host name is empty; remove the extra dot"},
        {"a.." + std::string(":1"), "2: a part of the host name is empty; remove the extra dot"},
        {"x." + std::string(64, 'a') + ":1",
         "2: a part of the host name is longer than 63 characters; shorten it"},
        {"::1:7007", "0: an IPv6 address needs brackets; write it as [::1]:7007, or "
                     "[::1:7007]:7001 if all of it is the address"},
        {"fe80::1%eth0:9", "0: an IPv6 address needs brackets; write it as [fe80::1%eth0]:9"},
        {"udp://2001:db8::1:70000", "6: an IPv6 address needs brackets; write it as [::1]:7001"},
        {"::2", "0: an IPv6 address needs brackets; write it as [::2]:7001"},
        {"1:2:3:4:5:6:7:8:9", "0: an IPv6 address needs brackets; write it as [1:2:3:4:5:6:7:8]:9"},
        {":::", "0: an IPv6 address needs brackets; write it as [::1]:7001"},
        {"tcp://[::1:7001", "6: '[' is not closed; write an IPv6 address as [::1]"},
        {"tcp://[]:1", "7: '' is not an IPv6 address; write one like [::1]"},
        {"[127.0.0.1]:1", "1: '127.0.0.1' is not an IPv6 address; write one like [::1]"},
        {"[::1]7001", "5: '7001' follows the address; write ':' and a port"},
        {"[fe80::1%]:1", "9: the zone is empty; write an interface after '%', like [fe80::1%eth0]"},
        {"[fe80::1%abcdefghijklmnop]:1", "9: the zone 'abcdefghijklmnop' is too long; an "
                                         "interface's name has at most 15 characters"},
        {"[fe80::1%et/0]:1", "11: a zone cannot contain '/'; write an interface's name, like eth0"},
        {"256.0.0.1:1", "0: '256.0.0.1' is not an IPv4 address; write four numbers from 0 to "
                        "255, like 127.0.0.1"},
        {"tcp://127.1:1", "6: '127.1' is not an IPv4 address; write four numbers from 0 to 255, "
                          "like 127.0.0.1"},
        {"7001:", "0: '7001' is not an IPv4 address; write four numbers from 0 to 255, like "
                  "127.0.0.1"},
        {"host:", "5: the port is empty; write a number from 0 to 65535 after ':'"},
        {"tcp://host:port", "11: 'port' is not a port; write a number from 0 to 65535"},
        {"host:-1", "5: '-1' is not a port; write a number from 0 to 65535"},
        {"host:+1", "5: '+1' is not a port; write a number from 0 to 65535"},
        {"host:80/", "5: '80/' is not a port; write a number from 0 to 65535"},
        {"host:65536", "5: port 65536 is out of range; write a number from 0 to 65535"},
        {"host:99999999999999999999",
         "5: port 99999999999999999999 is out of range; write a number from 0 to 65535"},
    };
    for (const auto& [text, message] : cases)
        CHECK(error_of(text, daemon_rules) == message);
}

TEST_CASE("a host that a resolver would read as an address, and we would not, is refused") {
    // inet_aton(3) takes all of these for addresses.
    for (const std::string_view host :
         {"0x7f000001", "0X7F000001", "127.0x1", "127.1", "127.0.0.0x1", "0x7f.1", "0177.0.0.1",
          "127.0.0.01", "0x0", "0", "2130706433", "017700000001", "0x7f.0x0.0x0.0x1", "127.0.0.1.",
          "1.2.3.4.5", "0x", "1.2.3.4."}) {
        CAPTURE(host);
        CHECK(
            error_of(fmt::format("tcp://{}:1", host), daemon_rules) ==
            fmt::format(
                "6: '{}' is not an IPv4 address; write four numbers from 0 to 255, like "
                "127.0.0.1",
                host));
        CHECK_FALSE(parse_host(host).has_value());
    }
}

TEST_CASE("an IPv4-mapped address is refused, with the IPv4 address that it means") {
    CHECK(
        error_of("tcp://[::ffff:1.2.3.4]:1", daemon_rules) ==
        "7: '::ffff:1.2.3.4' is an IPv4-mapped address, which no packet carries; write 1.2.3.4");
    CHECK(
        error_of("[::ffff:7f00:1%lo]", client_rules) ==
        "1: '::ffff:7f00:1' is an IPv4-mapped address, which no packet carries; write 127.0.0.1");
    CHECK_FALSE(parse_host("::ffff:127.0.0.1").has_value());
}

TEST_CASE("a host is read alone where a port is not allowed") {
    for (const auto& [text, host] : std::vector<std::pair<std::string_view, std::string_view>>{
             {"127.0.0.1", "127.0.0.1"},
             {"::1", "::1"},
             {"[::1]", "::1"},
             {"[fe80::1%eth0]", "fe80::1%eth0"},
             {"fe80::1%eth0", "fe80::1%eth0"},
             {"localhost", "localhost"}})
        CHECK(parse_host(text) == host);
    for (const auto& [text, offset] : std::vector<std::pair<std::string_view, size_t>>{
             {"", 0},
             {"*", 0},
             {"a b", 1},
             {"127.0.0.1:80", 9},
             {"[::1", 0},
             {"[::1]:80", 0},
             {"[127.0.0.1]", 1},
             {"[localhost]", 1},
             {"tcp://::1", 0},
             {"[]", 1},
             {"::1%", 4}}) {
        CAPTURE(text);
        const auto host = parse_host(text);
        REQUIRE_FALSE(host.has_value());
        CHECK(host.error().offset == offset);
    }
}

TEST_CASE("a host name has at most 253 characters") {
    const std::string label(49, 'a');
    const std::string name = fmt::format("{0}.{0}.{0}.{0}.{0}", label); // 249
    CHECK(parse_endpoint(name + ".abc:1", daemon_rules).has_value());
    CHECK(parse_endpoint(name + ".abc.:1", daemon_rules).has_value());
    CHECK(
        error_of(name + ".abcd:1", daemon_rules) ==
        "0: the host name is longer than 253 characters; shorten it");
}
