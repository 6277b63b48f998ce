// The options of `riposte ping stamp://`.
#include "client/options/options.h"

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

Result<Options> parse_ping(std::vector<const char*> words) {
    words.insert(words.begin(), {"riposte", "ping"});
    return parse_options(static_cast<int>(words.size()), words.data());
}

PingOptions stamp_options(const std::vector<const char*>& words) {
    const auto options = parse_ping(words);
    REQUIRE_MESSAGE(options.has_value(), options.error().message);
    return std::get<PingOptions>(options->command);
}

std::string stamp_refusal(const std::vector<const char*>& words) {
    const auto options = parse_ping(words);
    REQUIRE_FALSE(options.has_value());
    CHECK(options.error().exit == Exit::usage);
    return options.error().message;
}

} // namespace

TEST_CASE("stamp:// is UDP at port 862, beside other endpoints") {
    const PingOptions ping = stamp_options({"stamp://a", "stamp://[::1]:5000", "udp://a", "a"});
    REQUIRE(ping.endpoints.size() == 4);
    CHECK(to_string(ping.endpoints[0]) == "stamp://a:862");
    CHECK(ping.endpoints[0].transport == Transport::udp);
    CHECK(ping.endpoints[0].stamp);
    CHECK(to_string(ping.endpoints[1]) == "stamp://[::1]:5000");
    CHECK_FALSE(ping.endpoints[2].stamp);
    CHECK(to_string(ping.endpoints[3]) == "tcp://a:7001");
    CHECK(stamp_options({"-u", "stamp://a"}).endpoints[0].stamp);
    const PingOptions many = stamp_options({"stamp://192.0.2.0/30"});
    REQUIRE(many.endpoints.size() == 2);
    CHECK(to_string(many.endpoints[1]) == "stamp://192.0.2.2:862");
}

TEST_CASE("only ping knows stamp://") {
    for (const char* command : {"send", "load", "status"}) {
        const std::vector<const char*> words{"riposte", command, "stamp://a"};
        const auto options = parse_options(static_cast<int>(words.size()), words.data());
        REQUIRE_FALSE(options.has_value());
        CHECK(options.error().message.contains("unknown scheme 'stamp'"));
    }
    CHECK(stamp_refusal({"http://a"}).contains("use tcp://, udp:// or stamp://"));
    CHECK(stamp_refusal({"stamp:/a"}).contains("the scheme lacks a '/'"));
}

TEST_CASE("the size of a question is that of its parts, or more than their padding takes") {
    CHECK_FALSE(stamp_options({"stamp://a"}).stamp.bytes.has_value());
    CHECK(stamp_options({"-s", "44", "stamp://a"}).stamp.bytes == 44);
    CHECK(stamp_options({"-s", "48", "stamp://a"}).stamp.bytes == 48);
    CHECK(stamp_options({"-s", "52", "--dscp", "ef", "stamp://a"}).stamp.bytes == 52);
    CHECK(
        stamp_refusal({"-s", "43", "stamp://a"}) ==
        "--size 43: a question of STAMP has 44 bytes, or 48 and more");
    CHECK(stamp_refusal({"-s", "45", "stamp://a"}).contains("44 bytes, or 48 and more"));
    CHECK(stamp_refusal({"-s", "44", "--dscp", "ef", "stamp://a"})
              .contains("52 bytes with --dscp, or 56 and more"));
}

TEST_CASE("the session's number is chosen, or none, and is for stamp:// alone") {
    CHECK_FALSE(stamp_options({"stamp://a"}).stamp.ssid.has_value());
    CHECK(stamp_options({"--ssid", "4660", "stamp://a"}).stamp.ssid == 4660);
    CHECK(stamp_options({"--ssid", "0", "stamp://a"}).stamp.ssid == 0);
    CHECK(stamp_refusal({"--ssid", "65536", "stamp://a"}).contains("must be from 0 to 65,535"));
    CHECK(stamp_refusal({"--ssid", "1", "udp://a"}).contains("--ssid is for endpoints that begin"));
    CHECK(stamp_refusal({"--key-file", "k", "a"}).contains("--key-file is for endpoints"));
    CHECK(stamp_refusal({"--key-file", "/nowhere/key", "stamp://a"})
              .contains("cannot read /nowhere/key"));
}

TEST_CASE("conditions on one way are for stamp:// alone") {
    CHECK(stamp_options({"--fail-if", "there.loss>1%", "stamp://a"}).report.fail_if.size() == 1);
    CHECK(
        stamp_refusal({"--fail-if", "back.lost>0", "stamp://a", "udp://b:7"}) ==
        "--fail-if back.lost>0: udp://b:7 does not tell one way from the other; only a reflector "
        "of stamp:// does");
    for (const char* option : {"-u", "--upload"}) {
        const std::vector<const char*> words{"riposte",       "load", "--fail-if",
                                             "there.loss>1%", option, "a:9"};
        const auto options = parse_options(static_cast<int>(words.size()), words.data());
        REQUIRE_FALSE(options.has_value());
        CHECK(
            options.error().message ==
            "--fail-if there.loss>1%: there.loss is measured by riposte ping only");
    }
}

TEST_CASE("what is of udp:// alone is refused with stamp://") {
    CHECK(stamp_refusal({"--mtu", "stamp://a"}).contains("--mtu is for udp://, not for stamp://"));
    CHECK(stamp_refusal({"--flows", "4", "stamp://a"}).contains("--flows is for udp://"));
    CHECK(stamp_refusal({"--connect", "stamp://a"}).contains("--connect is for TCP"));
    CHECK(stamp_refusal({"--reconnect", "stamp://a"}).contains("--reconnect is for TCP"));
}
