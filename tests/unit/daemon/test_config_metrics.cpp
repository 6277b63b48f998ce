// The section [metrics].
#include "daemon/config/config.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;

namespace {

std::vector<std::string> parsed_metrics(std::string_view listen) {
    const auto config =
        parse_config(fmt::format("[metrics]\nlisten = {}", listen), "riposted.toml");
    REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
    std::vector<std::string> addresses;
    for (const HttpAddress& address : config->metrics.listen)
        addresses.push_back(to_string(address));
    return addresses;
}

std::string refused_metrics(std::string_view toml) {
    const auto config = parse_config(toml, "riposted.toml");
    REQUIRE_FALSE(config.has_value());
    CHECK(config.error().exit == Exit::config);
    return config.error().message;
}

using Texts = std::vector<std::string>;

} // namespace

TEST_CASE("addresses for metrics are TCP, or the path of a unix socket") {
    CHECK(parsed_metrics("[]") == Texts{});
    CHECK(parsed_metrics("\"tcp://127.0.0.1:9701\"") == Texts{"tcp://127.0.0.1:9701"});
    CHECK(
        parsed_metrics(
            "[\"tcp://[::1]:0\", 'tcp://*:1', \"unix:/run/a b\", 'tcp://localhost:2']") ==
        Texts{"tcp://[::1]:0", "tcp://*:1", "unix:/run/a b", "tcp://localhost:2"});
    CHECK(default_config().metrics.listen.empty());
    const std::string longest = "unix:/" + std::string(unix_path_bytes_max - 1, 'x');
    CHECK(parsed_metrics(fmt::format("'{}'", longest)) == Texts{longest});
}

TEST_CASE("the printed [metrics] reads back") {
    const auto config =
        parse_config("[metrics]\nlisten = ['tcp://*:1', 'unix:/a\"b']\n", "riposted.toml");
    REQUIRE(config.has_value());
    const std::string text = print_config(*config);
    CHECK(text.ends_with("\n[metrics]\nlisten = [\"tcp://*:1\", \"unix:/a\\\"b\"]\n"));
    const auto again = parse_config(text, "riposted.toml");
    REQUIRE(again.has_value());
    CHECK(again->metrics == config->metrics);
}

TEST_CASE("a fault in [metrics] is refused at its position") {
    const std::string no_address = "is no address for metrics; write tcp://127.0.0.1:9701 or "
                                   "unix:/run/riposte/metrics.sock";
    const std::vector<std::pair<std::string, std::string>> wrong{
        {"metrics = 1",
         "riposted.toml:1:11: 'metrics' is an integer; it must be a table, written as [metrics]"},
        {"[metrics]\nlisten = 9701",
         "riposted.toml:2:10: 'listen' is an integer; it must be a string or an array of strings"},
        {"[metrics]\nlisten = ['tcp://a:1', 2]",
         "riposted.toml:2:24: an element of 'listen' is an integer; it must be a string like "
         "\"tcp://127.0.0.1:9701\""},
        {"[metrics]\nlisten = [ '127.0.0.1:9701' ]",
         "riposted.toml:2:13: '127.0.0.1:9701' " + no_address},
        {"[metrics]\nlisten = 'udp://127.0.0.1:9701'",
         "riposted.toml:2:11: 'udp://127.0.0.1:9701' " + no_address},
        {"[metrics]\nlisten = 'unix:metrics.sock'",
         "riposted.toml:2:16: 'metrics.sock' is no absolute path; write one like "
         "unix:/run/riposte/metrics.sock"},
        {"[metrics]\nlisten = 'unix:'",
         "riposted.toml:2:16: '' is no absolute path; write one like "
         "unix:/run/riposte/metrics.sock"},
        {"[metrics]\nlisten = 'unix:/run/'",
         "riposted.toml:2:20: a socket needs a file name; do not end with '/'"},
        {"[metrics]\nlisten = 'unix:/" + std::string(unix_path_bytes_max, 'x') + "'",
         "riposted.toml:2:16: the path of a unix socket has 108 bytes; it must have at most 107"},
        {"[metrics]\nlisten = \"unix:/a\\nb\"",
         "riposted.toml:2:10: the path of a unix socket has a control byte; leave it out"},
        {"[metrics]\nlisten = ['tcp://a:1','tcp://a:2','tcp://a:3','tcp://a:4','tcp://a:5']",
         "riposted.toml:2:10: 'listen' has 5 addresses; it must have at most 4"},
        {"[metrics]\nlisen = []",
         "riposted.toml:2:1: unknown key 'lisen' in [metrics]; did you mean 'listen'?"},
        {"[metric]\nlisten = []",
         "riposted.toml:1:2: unknown key 'metric'; did you mean 'metrics'?"},
        {"[metrics]\nworkers = 1",
         "riposted.toml:2:1: 'workers' does not belong here; put it before the first section"},
        {"[metrics]\nlisten = ['tcp://a:1', 'tcp://A.:1']",
         "riposted.toml:2:10: tcp://A.:1 is listed twice; remove one"},
        {"[metrics]\nlisten = ['unix:/a', 'unix:/a']",
         "riposted.toml:2:10: unix:/a is listed twice; remove one"},
        {"[metrics]\nlisten = ['unix:/\xc3\xa4', 'unix:/\xc3\xa4']",
         "riposted.toml:2:10: unix:/\\xc3\\xa4 is listed twice; remove one"},
        {"[[listen]]\nservice = 'echo'\naddress = 'tcp://[::]:7'\n[metrics]\nlisten = "
         "'tcp://*:7'",
         "riposted.toml:5:10: tcp://*:7 is already listened on at riposted.toml:1:1; remove one"},
    };
    for (const auto& [toml, message] : wrong)
        CHECK(refused_metrics(toml) == message);
}
