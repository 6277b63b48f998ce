// What a search for the path MTU prints, and its JSON against the schema.
#include "client/ping/mtu_result.h"
#include "tests/unit/client/samples.h"
#include "tests/unit/client/schema.h"

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>

using namespace riposte;
using namespace riposte::client;

namespace {

constexpr PingStyle usual_style{};

MtuResult found(uint32_t mtu, MtuLimit limit) {
    return {
        .name = "udp://server:7",
        .address = "203.0.113.2:7",
        .path = {},
        .started_at = 1,
        .header_bytes = 28,
        .forward_bytes = mtu,
        .limit = limit,
        .backward_bytes = mtu,
        .trials = {},
        .error = ""};
}

} // namespace

TEST_CASE("the result says how it is known, for each direction") {
    MtuResult result = found(1400, MtuLimit::router);
    result.limit_cause = test::too_big_for(1400);
    CHECK(
        mtu_summary(result, usual_style) ==
        "forward: the path MTU is 1400: the router 198.51.100.1 said so (ICMP)\n"
        "backward: at least 1400: replies of that size come whole\n"
        "datagrams of up to 1372 bytes of payload pass whole (-s 1372)\n");
    CHECK(mtu_summary(found(1500, MtuLimit::link), usual_style)
              .starts_with("forward: the path MTU is 1500: that of this machine's link\n"));
    CHECK(mtu_summary(found(65535, MtuLimit::none), usual_style)
              .starts_with("forward: at least 65535: the largest datagram passes\n"));
    CHECK(mtu_summary(found(0, MtuLimit::silence), usual_style).empty());
}

TEST_CASE("a black hole is forward only if replies would pass") {
    MtuResult result = found(1380, MtuLimit::silence);
    CHECK_FALSE(is_forward_known(result));
    CHECK(mtu_summary(result, usual_style)
              .starts_with("forward: at least 1380: larger ones, or their replies, are lost in "
                           "silence (a\n"));
    result.is_echo = false;
    result.backward_bytes = 46;
    CHECK(is_forward_known(result));
    CHECK(mtu_summary(result, usual_style)
              .starts_with("forward: the path MTU is 1380: larger ones are lost in silence (a "
                           "black hole)\n"
                           "backward: at least 46: the service sends no longer replies"));
    result.is_echo = true;
    result.backward_fragment = 1300;
    CHECK(is_forward_known(result));
    CHECK(mtu_summary(result, usual_style)
              .contains("\nbackward: at least 1300: longer replies do not fit, they come in"));
}

TEST_CASE("a trial is a line") {
    CHECK(
        mtu_trial_line(
            {.bytes = 1400, .fate = MtuTrial::Fate::passed, .probes = 1, .rtt_ns = 321'000},
            usual_style) == "1400 bytes: answered in 0.321 ms\n");
    CHECK(
        mtu_trial_line(
            {.bytes = 1500,
             .fate = MtuTrial::Fate::too_big,
             .probes = 1,
             .cause = test::too_big_for(1400)},
            usual_style) == "1500 bytes: too big: the path MTU is 1400 (ICMP from 198.51.100.1)\n");
    CHECK(
        mtu_trial_line({.bytes = 1450, .fate = MtuTrial::Fate::silent, .probes = 4}, usual_style) ==
        "1450 bytes: no answer to 4 probes\n");
}

TEST_CASE("the JSON document of --mtu matches its schema, and the schema has nothing else") {
    std::vector<MtuResult> results;
    results.push_back(found(1400, MtuLimit::router));
    results.back().limit_cause = test::too_big_for(1400);
    results.back().path = test::full_path();
    results.back().trials = {
        {.bytes = 52, .fate = MtuTrial::Fate::passed, .probes = 1, .rtt_ns = 321'000},
        {.bytes = 1500,
         .fate = MtuTrial::Fate::too_big,
         .probes = 1,
         .cause = test::too_big_for(1400)},
        {.bytes = 1450, .fate = MtuTrial::Fate::silent, .probes = 4}};
    results.push_back(found(0, MtuLimit::silence));
    results.back().error = "udp://server:7: no answer";
    results.push_back(found(1400, MtuLimit::silence));
    results.back().backward_fragment = 1300;
    results.push_back(found(1400, MtuLimit::silence));
    results.back().is_echo = false;
    results.push_back(found(65535, MtuLimit::none));
    results.push_back(found(1500, MtuLimit::link));
    const std::array<NotMeasured, 1> missing{{{.name = "udp://nowhere:7", .error = "unknown"}}};
    Schema schema("riposte-mtu-1");
    const std::string text = mtu_json(results, Exit::failed, missing);
    CHECK(schema.faults(text) == std::vector<std::string>{});
    CHECK(schema.unseen().empty());
    CHECK(schema.undescribed().empty());
    const auto document = nlohmann::json::parse(text);
    const auto& first = document["endpoints"][0];
    CHECK(first["forward"]["mtu"] == 1400);
    CHECK(first["forward"]["exact"] == true);
    CHECK(first["forward"]["from"] == "198.51.100.1");
    CHECK(first["payload_bytes"] == 1372);
    CHECK(document["endpoints"][2]["forward"]["exact"] == true);
    CHECK(document["endpoints"][2]["backward"]["mtu"] == 1300);
    CHECK(document["endpoints"][4]["forward"]["exact"] == false);
}
