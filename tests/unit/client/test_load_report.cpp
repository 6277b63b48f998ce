// Every text of load, exactly, and its JSON against the schema.
#include "client/load/load_report.h"
#include "client/show/table.h"
#include "tests/unit/client/samples.h"
#include "tests/unit/client/schema.h"
#include "tests/unit/client/under_load.h"

#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <netinet/in.h>

using namespace riposte;
using namespace riposte::client;

namespace {

LoadResult closed_loop() {
    LoadResult result;
    result.name = "tcp://127.0.0.1:7001";
    result.address = "127.0.0.1:7001";
    result.payload_bytes = 64;
    result.connections = 50;
    result.depth = 1;
    result.started_at = 1762000000.25;
    result.warmup_ns = 1'000'000'000;
    result.elapsed_ns = 10'000'000'000;
    result.cpu_ns = 4'500'000'000;
    result.counts.sent = 612'345;
    result.counts.answered = 612'345;
    result.counts.connections = 50;
    result.counts.bytes_sent = 39'190'080;
    result.counts.bytes_received = 39'190'080;
    for (uint64_t at = 1; at <= 100; at++) {
        result.latency.record(at * 10'000);
        result.latency_from_send.record(at * 9'000);
    }
    result.connect.record(90'000);
    return result;
}

LoadResult open_loop() {
    LoadResult result = closed_loop();
    result.rate = 60'000;
    result.depth = 64;
    result.lateness.record(50'000);
    result.wait.record(0);
    return result;
}

bool fits(const std::string& text) {
    std::istringstream lines(text);
    std::string line;
    while (std::getline(lines, line))
        if (columns_of(line) > 80)
            return false;
    return text.ends_with('\n');
}

bool has(const std::string& text, std::string_view part) {
    const bool found = text.find(part) != std::string::npos;
    if (!found)
        MESSAGE(text);
    return found;
}

} // namespace

TEST_CASE("the header describes the run") {
    LoadResult result = closed_loop();
    result.name = "tcp://[::1]:7";
    result.address = "[::1]:7";
    CHECK(
        load_header(result) ==
        "LOAD tcp://[::1]:7: 50 connections, 64 bytes, closed loop, 1 outstanding each\n");
    result.name = "tcp://localhost:7";
    result.connections = 1;
    result.payload_bytes = 1;
    CHECK(
        load_header(result) ==
        "LOAD tcp://localhost:7 ([::1]:7): 1 connection, 1 byte, closed loop,\n"
        "     1 outstanding each\n");
}

TEST_CASE("the header of an open loop says that coordinated omission is corrected") {
    LoadResult result = open_loop();
    result.transport = Transport::udp;
    result.depth = 0;
    result.name = "udp://127.0.0.1:7001";
    CHECK(
        load_header(result) ==
        "LOAD udp://127.0.0.1:7001: 50 sockets, 64 bytes, open loop at 60000/s,\n"
        "     any number outstanding\n"
        "latency from the intended time (coordinated omission corrected)\n");
    result.rate = 0.5;
    CHECK(has(load_header(result), "open loop at 0.5/s"));
}

TEST_CASE("the header says that each request has its own connection") {
    LoadResult result = closed_loop();
    result.reconnect = true;
    CHECK(
        load_header(result) == "LOAD tcp://127.0.0.1:7001: 50 connections, 64 bytes, closed loop,\n"
                               "     a connection per request\n");
}

TEST_CASE("the summary of a closed loop") {
    CHECK(
        load_summary(closed_loop(), false) ==
        "--- tcp://127.0.0.1:7001 load statistics ---\n"
        "loop         closed: 50 connections, 1 outstanding each\n"
        "time         10.000 s measured, 1.000 s of warm-up left out\n"
        "requests     612345 sent, 612345 answered, 0 lost\n"
        "rate         61234.5 requests/s\n"
        "payload      3.92 MB/s sent, 3.92 MB/s received\n"
        "generator    CPU 45% of one core\n"
        "no errors\n"
        "in ms       min    mean  median     p95     p99   p99.9     max  stddev\n"
        "latency  0.0100  0.5050  0.501    0.948   0.989       -  1.0000   0.289\n"
        "connect  0.0900  0.0900  0.0900       -       -       -  0.0900   0.000\n");
}

TEST_CASE("the summary of an open loop has both latencies and the causes of lateness") {
    LoadResult result = open_loop();
    result.late_generator = 600;
    result.late_blocked = 9'000;
    result.wait.record(2'000'000);
    result.warmup_ns = 0;
    result.interrupted = true;
    result.counts.answered -= 27;
    result.counts.lost = 13;
    result.counts.wrong_size = 2;
    CHECK(
        load_summary(result, false) ==
        "--- tcp://127.0.0.1:7001 load statistics ---\n"
        "loop         open at 60000/s, 50 connections, 64 outstanding each;\n"
        "             latency from the intended time (coordinated omission corrected)\n"
        "time         10.000 s measured, interrupted\n"
        "requests     612345 sent, 612318 answered, 13 lost (0.002%)\n"
        "             12 undecided\n"
        "rate         61231.8 requests/s\n"
        "payload      3.92 MB/s sent, 3.92 MB/s received\n"
        "generator    CPU 45% of one core; 0.098% of the schedule late,\n"
        "             1.5% waited for a connection\n"
        "errors       2 wrong size (<0.001%)\n"
        "causes       13 connected, no answer\n"
        "in ms         min    mean  median     p95     p99   p99.9     max  stddev\n"
        "latency   0.01000  0.5050  0.501    0.948   0.989       -  1.0000   0.289\n"
        "from send 0.00900  0.4545  0.450    0.854   0.891       -  0.9000   0.260\n"
        "lateness  0.05000  0.0500  0.0500       -       -       -  0.0500   0.000\n"
        "wait      0.00000  1.0000  0.000        -       -       -  2.0000   1.000\n"
        "connect   0.09000  0.0900  0.0900       -       -       -  0.0900   0.000\n"
        "note: 1.5% of the schedule waited for a free connection; the server was slower\n"
        "      than the rate, or raise -c or --depth.\n");
}

TEST_CASE("the summary over UDP has loss, duplicates and reordering") {
    LoadResult result = closed_loop();
    result.transport = Transport::udp;
    result.connect.clear();
    result.counts.connections = 0;
    result.counts.answered -= 3;
    result.counts.lost = 3;
    result.counts.duplicated = 4;
    result.counts.reordered = 5;
    const std::string text = load_summary(result, false);
    CHECK(has(text, "loop         closed: 50 sockets, 1 outstanding each\n"));
    CHECK(has(text, "datagrams    <0.001% loss, 4 duplicated, 5 reordered\n"));
    result.counts.late = 2;
    result.counts.stray = 6;
    CHECK(has(load_summary(result, false), "5 reordered\n             2 late, 6 stray\n"));
    CHECK_FALSE(load_summary(closed_loop(), false).contains("datagrams"));
}

TEST_CASE("the summary has connections a second if each request has its own") {
    LoadResult result = closed_loop();
    result.counts.connections = 5'000;
    result.reconnect = true;
    std::string text = load_summary(result, false);
    CHECK(has(text, "loop         closed: 50 connections at a time, one per request\n"));
    CHECK(has(text, "connections  5000 made: 500.0 connections/s\n"));
    result.reconnect = false;
    result.closes = true;
    text = load_summary(result, false);
    CHECK(
        has(text, "connections  5000 made: 500.0 connections/s "
                  "(the peer closes after each answer)\n"));
}

TEST_CASE("each kind of error has its share, and is red in colour") {
    LoadResult result = closed_loop();
    result.counts = {
        {.sent = 100,
         .answered = 90,
         .lost = 1,
         .corrupted = 1,
         .wrong_size = 1,
         .refused = 1,
         .unreachable = 1,
         .closed = 1,
         .local = 4},
        100};
    const std::string text = load_summary(result, false);
    CHECK(
        has(text, "errors       1 corrupted (0.5%), 1 wrong size (0.5%)\n"
                  "             1 refused (0.5%), 1 unreachable (0.5%)\n"
                  "             1 closed (0.5%), 100 never sent (50%)\n"
                  "             4 not sent by this machine (2%)\n"));
    CHECK(has(text, "requests     100 sent, 90 answered, 1 lost (1%)\n"));
    CHECK(has(load_summary(result, true), "answered, \033[1;31m1 lost (1%)\033[0m\n"));
    CHECK(has(load_summary(result, true), "errors       \033[1;31m1 corrupted (0.5%)\033[0m, "));
    CHECK_FALSE(load_summary(closed_loop(), true).contains("\033[1;31m"));
}

TEST_CASE("a run without any answer has one line instead of latencies") {
    LoadResult result;
    result.name = "tcp://127.0.0.1:7001";
    result.connections = 10;
    result.depth = 1;
    CHECK(
        load_summary(result, false) == "--- tcp://127.0.0.1:7001 load statistics ---\n"
                                       "loop         closed: 10 connections, 1 outstanding each\n"
                                       "time         0.000 s measured\n"
                                       "requests     0 sent, 0 answered, 0 lost\n"
                                       "no errors\n"
                                       "nothing was sent\n");
    result.elapsed_ns = 1'000'000'000;
    result.counts = {{.sent = 10, .refused = 10}};
    const std::string text = load_summary(result, false);
    CHECK(has(text, "errors       10 refused (100%)\n"));
    CHECK(text.ends_with("no answer came: nothing listens there; is riposted running?\n"));
}

TEST_CASE("the summary says that answers were not verified") {
    LoadResult result = closed_loop();
    result.verify = false;
    CHECK(load_summary(result, false).ends_with("answers were not verified (--no-verify)\n"));
    result.answering = Answering::other;
    CHECK(load_summary(result, false)
              .ends_with(
                  "not an echo service: the lengths of answers were checked, not their bytes\n"));
}

TEST_CASE("the summary has TCP's repairs, the senders of errors, and fragments") {
    LoadResult result = closed_loop();
    result.counts.closed = 2;
    result.causes.note(cause_of(ECONNRESET), 2);
    result.tcp.add({.retransmits = 1, .segments_sent = 4});
    const std::string text = load_summary(result, false);
    CHECK(text.find("\ncauses       2 reset\n") != std::string::npos);
    CHECK(text.find("\nTCP          1 retransmit of 4 segments (25%)\n") != std::string::npos);
    LoadResult udp = open_loop();
    udp.transport = Transport::udp;
    udp.counts.too_big = 1;
    udp.path_mtu = 1400;
    udp.fragmented = true;
    CHECK(load_summary(udp, false).find("1 too big (") != std::string::npos);
    CHECK(
        load_summary(udp, false)
            .find("\nnote: a request does not fit without fragments: the path MTU is 1400\n") !=
        std::string::npos);
}

TEST_CASE("huge numbers stay within 80 columns") {
    LoadResult result = open_loop();
    constexpr uint64_t many = 1'000'000'000'000'000'000;
    result.rate = 1e12;
    result.closes = true;
    result.counts = {{.sent = 9 * many, .answered = many, .lost = many, .refused = 7 * many}};
    result.counts.connections = result.counts.bytes_sent = many;
    result.cpu_ns = 100 * result.elapsed_ns;
    result.late_blocked = result.late_generator = many;
    result.latency.record(86'400'000'000'000);
    result.elapsed_ns = 100'000'000'000'000'000;
    CHECK(fits(load_summary(result, false)));
    CHECK(fits(load_header(result)));
}

TEST_CASE("the interim line is one line") {
    CHECK(
        load_interim(closed_loop()) ==
        "10.000 s: 61234.5 requests/s, median/p99/max 0.501/0.989/1.000 ms, no errors\n");
    LoadResult result;
    result.counts = {{.sent = 1, .lost = 1}};
    CHECK(load_interim(result) == "0.000 s: 0.0 requests/s, 1 error\n");
}

TEST_CASE("the quiet summary is one line, and what is wrong with it") {
    CHECK(
        load_line(closed_loop(), Look(false, 80)) ==
        "tcp://127.0.0.1:7001: 10.000 s: 61234.5 requests/s, median/p99/max 0.501/0.989/1.000 ms, "
        "no errors\n");
    LoadResult limited = closed_loop();
    limited.cpu_ns = limited.elapsed_ns;
    const std::string text = load_line(limited, Look(false, 80));
    CHECK(text.find("\nnote: ") != std::string::npos);
    CHECK(fits(text.substr(text.find('\n') + 1)));
    LoadResult none = closed_loop();
    none.latency = {};
    none.counts = {{.sent = 2, .lost = 2}};
    CHECK(load_line(none, Look(false, 80)).find("errors\nno answer came") != std::string::npos);
}

TEST_CASE("the live line has a bar, rate, p99, errors and the time left") {
    const LoadProgress progress{
        .warming_up = false,
        .done = 0.5,
        .left_ns = 4'200'000'000,
        .rate = 61'234,
        .p99_ns = 1'230'000,
        .errors = 3};
    CHECK(
        load_progress(progress, 80, false) ==
        "[================                ]  61.2 k/s  p99 1.23 ms  3 errors  5 s left");
    CHECK(
        load_progress(progress, 80, true) ==
        "━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄  61.2 k/s  p99 1.23 ms  3 errors  5 s left");
}

TEST_CASE("the live line drops items without room and is never wider than the terminal") {
    const LoadProgress progress{
        .warming_up = true,
        .done = 1.5,
        .left_ns = 4'000'000'000'000,
        .rate = 61'234,
        .p99_ns = 1'230'000,
        .errors = 1};
    CHECK(
        load_progress(progress, 200, false) ==
        "[================================]  warming up  61.2 k/s  p99 1.23 ms  1 error  "
        "1h 06m 40s left");
    CHECK(load_progress(progress, 40, false) == "warm 61.2 k/s p99 1.23 ms 1 err");
    CHECK(load_progress(progress, 24, false) == "[=======]  warm 61.2 k/s");
    CHECK(load_progress(progress, 0, false).empty());
    for (size_t width = 0; width < 120; width++)
        for (const bool unicode : {false, true})
            CHECK(columns_of(load_progress(progress, width, unicode)) <= width);
}

TEST_CASE("on 40 columns the live line says the same in fewer words") {
    const LoadProgress progress{
        .warming_up = false,
        .done = 0.5,
        .left_ns = 599'000'000'000,
        .rate = 1'234'567,
        .p99_ns = 123'000'000,
        .errors = 123'456};
    CHECK(load_progress(progress, 40, false) == "1.23 M/s p99 123 ms 123 k err 599 s");
    CHECK(
        load_progress(progress, 80, false) ==
        "[==============              ]  1.23 M/s  p99  123 ms  123456 errors  599 s left");
}

TEST_CASE("no line is wider than a terminal of 40 columns, and no text is lost there") {
    LoadResult result = open_loop();
    result.counts = {
        {.sent = 11'000'000,
         .answered = 9'000'000,
         .lost = 900'000,
         .corrupted = 100'000,
         .wrong_size = 100'000,
         .refused = 100'000,
         .unreachable = 1,
         .closed = 100'000,
         .local = 100'000,
         .duplicated = 100'000,
         .reordered = 100'000,
         .stray = 100'000},
        100'000,
        0,
        1,
        1};
    result.transport = Transport::udp;
    result.name = "udp://127.0.0.1:7001";
    result.late_blocked = result.late_generator = 900'000;
    result.cpu_ns = result.elapsed_ns;
    result.verify = false;
    const auto words_of = [](const std::string& text) {
        std::istringstream stream(text);
        std::set<std::string> words;
        for (std::string word; stream >> word;)
            words.insert(word);
        return words;
    };
    const std::vector<std::pair<std::string, std::string>> texts{
        {load_header(result, {false, 40}), load_header(result)},
        {load_summary(result, {false, 40}), load_summary(result, false)}};
    for (const auto& [narrow, wide] : texts) {
        CAPTURE(narrow);
        std::istringstream lines(narrow);
        for (std::string line; std::getline(lines, line);)
            CHECK(columns_of(line) <= 40);
        CHECK(words_of(narrow) == words_of(wide));
    }
}

TEST_CASE("the live line of an endless run has no bar, and that of a count has its share") {
    LoadProgress progress;
    CHECK(load_progress(progress, 80, false) == "     0/s");
    progress.done = 0.999;
    CHECK(
        load_progress(progress, 80, false) == "[=============================== ]       0/s  99%");
}

TEST_CASE("the JSON document matches its schema, and the schema has nothing else") {
    const auto fail_if = parse_fail_if("p99>2ms,jitter>1s");
    REQUIRE(fail_if.has_value());
    Schema schema("riposte-load-2");
    const auto faults = [&](const LoadResult& result) {
        return schema.faults(load_json(result, *fail_if, Exit::failed));
    };
    CHECK(faults(LoadResult{}).size() == 1); // no connection: impossible on the command line
    CHECK(faults(closed_loop()) == std::vector<std::string>{});
    CHECK(faults(open_loop()) == std::vector<std::string>{});
    LoadResult udp = open_loop();
    udp.transport = Transport::udp;
    udp.answering = Answering::other;
    udp.depth = 0;
    udp.wait.clear();
    udp.connect.clear();
    udp.latency.record(1'000'000, 1000); // enough for a p99.9
    CHECK(faults(udp) == std::vector<std::string>{});
    LoadResult closed_udp = closed_loop();
    closed_udp.transport = Transport::udp;
    CHECK(faults(closed_udp) == std::vector<std::string>{});
    udp.path_mtu = 1400;
    udp.fragmented = true;
    udp.path = test::full_path();
    udp.causes.note(test::too_big_for(1400));
    CHECK(faults(udp) == std::vector<std::string>{});
    LoadResult repaired = closed_loop();
    repaired.tcp.add(
        {.retransmits = 1, .segments_sent = 4, .min_rtt_ns = 50'000, .smoothed_rtt_ns = 60'000});
    repaired.tcp.congestion = "cubic";
    repaired.under_load = latency_under_load();
    CHECK(faults(repaired) == std::vector<std::string>{});
    const std::string failed = load_json(udp, {}, Exit::failed, "udp://host:7: connection refused");
    CHECK(schema.faults(failed) == std::vector<std::string>{});
    CHECK(nlohmann::json::parse(failed)["error"] == "udp://host:7: connection refused");
    CHECK(schema.unseen().empty());
    CHECK(schema.undescribed().empty());
}

TEST_CASE("the JSON document has the measurement, in seconds") {
    LoadResult result = open_loop();
    result.late_blocked = 9'000;
    result.late_generator = 600;
    const auto document = nlohmann::json::parse(load_json(result, {}, Exit::ok));
    CHECK(document["schema"] == "riposte/load/2");
    CHECK(document["exit"] == 0);
    CHECK(
        document["mode"].dump() == R"({"closes":false,"connections":50,"depth":64,"loop":"open",)"
                                   R"("rate":60000.0,"reconnect":false,"verify":true})");
    CHECK(document["warmup"] == 1.0);
    CHECK(document["elapsed"] == 10.0);
    CHECK(document["counts"]["answered"] == 612'345);
    CHECK(document["rates"]["answers"] == 61'234.5);
    CHECK(document["rates"]["connections"] == 5.0);
    CHECK(document["rates"]["bytes_sent"] == 3'919'008.0);
    CHECK(document["loss_percent"] == 0.0);
    CHECK(document["latency"]["max"] == 0.001);
    CHECK(document["latency_from_send"]["max"] == 0.0009);
    CHECK(document["lateness"]["max"] == 0.00005);
    CHECK(document["wait"]["count"] == 1);
    CHECK(document["generator"]["cpu_share"] == 0.45);
    CHECK(document["generator"]["bottleneck"] == false);
    CHECK(document["generator"]["late_by_generator"] == 600);
    CHECK(document["generator"]["late_blocked"] == 9'000);
    CHECK(document["generator"]["notes"].size() == 1);
}

TEST_CASE("figures that were not measured are absent from the JSON document") {
    LoadResult result;
    const auto document = nlohmann::json::parse(load_json(result, {}, Exit::failed));
    for (const char* key :
         {"service", "loss_percent", "rates", "latency", "latency_from_send", "lateness", "wait",
          "connect"})
        CHECK_FALSE(document.contains(key));
    CHECK_FALSE(document["mode"].contains("rate"));
    for (const char* key : {"cpu_share", "late_by_generator", "late_blocked"})
        CHECK_FALSE(document["generator"].contains(key));
}
