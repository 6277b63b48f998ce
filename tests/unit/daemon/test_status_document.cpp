#include "daemon/telemetry/status_json.h"

#include <nlohmann/json.hpp>
#include <string>

#include <doctest/doctest.h>

using namespace riposte;
using nlohmann::json;

TEST_CASE("the status document has the daemon's figures") {
    Counters metrics;
    metrics.add(ServiceKind::hello, Counter::connections_accepted, 3);
    metrics.add(ServiceKind::hello, Counter::datagrams_over_prefix_rate, 7);
    metrics.add(ServiceKind::hello, Counter::accept_emfile, 2);
    metrics.answered(ServiceKind::hello, Transport::tcp, 1'000'000, 4);
    Snapshot snapshot{
        .version = "1.2.3",
        .backend = "epoll",
        .backend_reason = "io_uring_setup: Operation not permitted",
        .sandbox = "seccomp on",
        .state = DaemonState::draining,
        .pid = 17,
        .time_seconds = 1000.5,
        .workers = 2,
        .connections_max = 8192,
        .memory_bound_bytes = 5000,
        .inherited = true};
    snapshot.listeners.push_back(
        {.kind = ServiceKind::hello,
         .transport = Transport::tcp,
         .address = "tcp://127.0.0.1:7001",
         .connections = 3,
         .accepted = 3,
         .received_bytes = 54});
    snapshot.reload = {.count = 1, .ok = false, .time_seconds = 900, .error = "no \xff such key"};
    snapshot.totals.add(metrics);
    snapshot.scrapes = {{"200", 5}, {"404", 1}};
    snapshot.scrapes_rejected = {{"slow", 2}};

    const std::string text = status_document(snapshot);
    CHECK(text.ends_with("}\n"));
    const json document = json::parse(text);
    CHECK(document["schema"] == "riposte/status/1");
    CHECK(document["state"] == "draining");
    CHECK(document["pid"] == 17);
    CHECK(document["time"] == 1000.5);
    CHECK(document["backend"]["name"] == "epoll");
    CHECK(document["backend"]["reason"] == "io_uring_setup: Operation not permitted");
    CHECK(document["reload"]["ok"] == false);
    CHECK(document["reload"]["error"] == "no \xef\xbf\xbd such key");
    CHECK(
        document["limits"][0] ==
        json{{"name", "connections"}, {"used", 3}, {"max", 8192}, {"unit", ""}});
    CHECK(document["limits"][2] == json{{"name", "descriptors"}, {"unit", ""}}); // unknown
    CHECK(document["limits"][3] == json{{"name", "memory"}, {"max", 5000}, {"unit", "bytes"}});
    CHECK(document["listeners"][0]["address"] == "tcp://127.0.0.1:7001");
    CHECK(document["listeners"][0]["inherited"] == true);
    CHECK(document["listeners"][0]["received_bytes"] == 54);
    CHECK(document["listeners_omitted"] == 0);
    REQUIRE(document["services"].size() == 1);
    CHECK(document["services"][0]["answers"] == 4);
    CHECK(document["services"][0]["latency"]["mean"] == 0.001);
    REQUIRE(document["refused"].size() == 1);
    CHECK(document["refused"][0]["reason"] == "prefix_rate");
    CHECK(document["refused"][0]["transport"] == "udp");
    CHECK(document["refused"][0]["count"] == 7);
    CHECK(document["accept_errors"] == json::array({{{"errno", "EMFILE"}, {"count", 2}}}));
    CHECK(document["scrapes"]["answered"] == 6);
    CHECK(document["scrapes"]["rejected"] == 2);
}

TEST_CASE("of many listeners the first are listed, with the number of the others") {
    Snapshot snapshot;
    for (size_t i = 0; i < status_listeners_max + 5; ++i)
        snapshot.listeners.push_back({ServiceKind::echo, Transport::udp, "udp://[::1]:7"});
    const json document = json::parse(status_document(snapshot));
    CHECK(document["listeners"].size() == status_listeners_max);
    CHECK(document["listeners_omitted"] == 5);
}
