// The keys of the service stamp in a section [[listen]].
#include "daemon/config/config.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;

namespace {

std::string stamp_with(std::string_view keys) {
    return fmt::format("[[listen]]\nservice = \"stamp\"\naddress = \"*:862\"\n{}", keys);
}

/// The message; "accepted" if there is none.
std::string verdict_on(std::string_view toml) {
    const auto config = parse_config(toml, "riposted.toml");
    return config ? "accepted" : config.error().message;
}

ListenerConfig listener(std::string_view keys) {
    const auto config = parse_config(stamp_with(keys), "riposted.toml");
    REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
    return config->listen[0];
}

StampOptions options(std::string_view keys) {
    return listener(keys).options.stamp;
}

/// keys = [...] with this many.
std::string keys_of(uint32_t count) {
    std::string text;
    for (uint32_t i = 1; i <= count; ++i)
        text += fmt::format("{{ ssid = {}, file = \"k\" }},", i);
    return stamp_with("keys = [" + text + "]");
}

} // namespace

TEST_CASE("stamp is for UDP, and its keys are for stamp") {
    const ListenerConfig plain = listener("");
    REQUIRE(plain.addresses.size() == 1);
    CHECK(plain.addresses[0].transport == Transport::udp);
    CHECK(
        verdict_on(
            "[[listen]]\nservice = \"stamp\"\naddress = [\"udp://*:862\", \"tcp://*:862\"]") ==
        "riposted.toml:3:11: tcp://*:862: stamp is for UDP; write udp://");
    CHECK(
        verdict_on(stamp_with("message = \"a\"")) ==
        "riposted.toml:4:11: 'message' is for the service hello; stamp has none, remove it");
    CHECK(
        verdict_on("[[listen]]\nservice = \"echo\"\naddress = \"*:7\"\nsequence = \"copy\"") ==
        "riposted.toml:4:12: 'sequence' is for the service stamp; echo has none, remove it");
}

TEST_CASE("every value at its bounds is accepted") {
    CHECK(options("") == StampOptions{});
    CHECK(options("sessions_max = 1").sessions_max == 1);
    CHECK(options("sessions_max = 1000000").sessions_max == stamp_sessions_max);
    CHECK_FALSE(options("dscp = \"copy\"").dscp);
    CHECK(options("dscp = 0").dscp == 0);
    CHECK(options("dscp = 63").dscp == dscp_max);
    CHECK(options("cos = []").cos.empty());
    CHECK(options("cos = [0, 63, 0]").cos == std::vector<uint8_t>{0, 63, 0});
    CHECK(options("sequence = \"session\"").sequence == StampSequence::session);
    CHECK(options("sequence = \"copy\"").sequence == StampSequence::copy);
    CHECK(options("location = \"none\"").location == StampLocation::none);
    CHECK(options("location = \"source\"").location == StampLocation::source);
    CHECK(options("location = \"all\"").location == StampLocation::all);
    CHECK(options("clock = \"unknown\"").clock == StampClock::unknown);
    CHECK(options("clock = \"system\"").clock == StampClock::system);
    CHECK(options("authenticated = \"required\"").authenticated == StampAuthentication::required);
    CHECK(options("authenticated = \"accepted\"").authenticated == StampAuthentication::accepted);
    CHECK(options("keys = []").keys.empty());
    CHECK(
        options("keys = [{ ssid = 1, file = \"a\" }, { file = \"b\", ssid = 65535 }]").keys ==
        std::vector<StampKeyFile>{{.ssid = 1, .file = "a"}, {.ssid = 65535, .file = "b"}});
    CHECK(verdict_on(keys_of(stamp_keys_max)) == "accepted");
    const std::string path(stamp_key_file_bytes_max, 'a');
    CHECK(options("key_file = \"" + path + "\"").key_file == path);
    CHECK(options("keys = [{ ssid = 1, file = \"" + path + "\" }]").keys[0].file == path);
    CHECK(listener("twamp_light = []").twamp_light.empty());
    CHECK(listener("twamp_light = [\"0.0.0.0/0\", \"::/0\"]").twamp_light.size() == 2);
}

TEST_CASE("every value beyond its bounds is refused with them") {
    const std::string path(stamp_key_file_bytes_max + 1, 'a');
    const std::vector<std::pair<std::string, std::string>> cases{
        {"sessions_max = 0", "16: 'sessions_max' is 0; it must be from 1 to 1000000"},
        {"sessions_max = 1000001", "16: 'sessions_max' is 1000001; it must be from 1 to 1000000"},
        {"dscp = -1", "8: 'dscp' is -1; it must be from 0 to 63"},
        {"dscp = 64", "8: 'dscp' is 64; it must be from 0 to 63"},
        {"dscp = \"ef\"", "8: 'dscp' is a string; it must be \"copy\", or a number from 0 to 63"},
        {"cos = [46, -1]", "12: 'cos' is -1; it must be from 0 to 63"},
        {"cos = [64]", "8: 'cos' is 64; it must be from 0 to 63"},
        {"cos = 46", "7: 'cos' is an integer; it must be an array of numbers"},
        {"location = \"sauce\"", "12: unknown location 'sauce'; did you mean 'source'?"},
        {"sequence = \"own\"", "12: unknown sequence 'own'; it must be session or copy"},
        {"clock = \"ntp\"", "9: unknown clock 'ntp'; it must be unknown or system"},
        {"authenticated = true", "17: 'authenticated' is a boolean; it must be a string"},
        {"keys = [{ ssid = 0, file = \"a\" }]", "9: 'ssid' is 0; it must be from 1 to 65535"},
        {"keys = [{ ssid = 65536, file = \"a\" }]",
         "9: 'ssid' is 65536; it must be from 1 to 65535"},
        {"keys = [{ ssid = 1, file = \"\" }]", "9: 'file' is empty; name a file, or a credential"},
        {"keys = [{ ssid = 1, file = \"a\" }, { ssid = 1, file = \"b\" }]",
         "35: SSID 1 has a key already; remove one"},
        {"keys = [{ ssid = 1 }]",
         "9: an element of 'keys' must be a table like { ssid = 1, file = \"a.key\" }"},
        {"keys = [{ ssid = 1, file = \"" + path + "\" }]",
         "9: 'file' has 4096 bytes; it must have from 1 to 4095"},
        {"key_file = \"" + path + "\"",
         "12: 'key_file' has 4096 bytes; it must have from 0 to 4095"},
        {"twamp_light = \"192.0.2.0/33\"", "25: '192.0.2.0/33': the length must be from /0 to /32"},
    };
    for (const auto& [keys, message] : cases)
        CHECK(verdict_on(stamp_with(keys)) == "riposted.toml:4:" + message);
    CHECK(
        verdict_on(keys_of(stamp_keys_max + 1)) ==
        "riposted.toml:4:8: 'keys' has 65 keys; it must have at most 64");
}
