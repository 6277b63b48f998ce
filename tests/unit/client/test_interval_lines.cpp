// What ping and load print while they run: the rows of --every, and the documents of --json-lines
// against their schemas.
#include "client/load/load_intervals.h"
#include "client/ping/ping_intervals.h"
#include "client/show/interval_lines.h"
#include "tests/support/nanoseconds.h"
#include "tests/unit/client/schema.h"

#include <cerrno>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

using riposte::test::ms;
using riposte::test::second;

constexpr uint64_t start = 100 * second;

PingResult endpoint_named(std::string name) {
    PingResult result;
    result.name = std::move(name);
    result.interval_ns = second;
    result.timeout_ns = 2 * second;
    result.started_at = 1762000000;
    result.started_ns = start;
    return result;
}

PingOptions every(uint32_t every_ms, bool json_lines = false) {
    PingOptions options;
    options.report.every_ms = every_ms;
    options.report.json_lines = json_lines;
    return options;
}

ProbeFate fate(uint64_t due_ns, Outcome outcome, uint64_t rtt_ns = 0) {
    return {
        .sequence = 1, .due_ns = due_ns, .sent_ns = due_ns, .outcome = outcome, .rtt_ns = rtt_ns};
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (size_t at = 0; at < text.size();) {
        const size_t end = text.find('\n', at);
        REQUIRE(end != std::string::npos);
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

LoadResult loaded() {
    LoadResult result;
    result.name = "tcp://127.0.0.1:7001";
    result.rate = 10;
    result.started_at = 1762000000;
    return result;
}

} // namespace

TEST_CASE("ping's rows stand below their heads, which have the date and the unit") {
    const PingResult result = endpoint_named("udp://127.0.0.1:7001");
    const std::vector<const PingResult*> results{&result};
    PingIntervals intervals(every(2000), results, {});
    for (uint64_t at = 0; at < 4; at++)
        intervals.due(0, start + at * second);
    intervals.decide(0, fate(start, Outcome::answered, 62'100));
    intervals.decide(0, fate(start + second, Outcome::answered, 1'234'567));
    intervals.decide(0, fate(start + 2 * second, Outcome::lost));
    intervals.decide(0, fate(start + 3 * second, Outcome::refused));
    CHECK(
        intervals.take(start + 4 * second, UINT64_MAX) ==
        "2025-11-01  sent  answered   loss      min   median      p99      max  in ms\n"
        "12:26:40Z      2         2     0%   0.0621   0.0621        -    1.235\n"
        "12:26:42Z      2         0   100%        -        -        -        -  1 refused\n");
}

TEST_CASE("a row says what is pending, at the end or when it waited for too long") {
    const PingResult result = endpoint_named("udp://127.0.0.1:7001");
    const std::vector<const PingResult*> results{&result};
    PingIntervals intervals(every(1000), results, {});
    intervals.due(0, start);
    intervals.due(0, start + second);
    CHECK(intervals.take(start + 3 * second, UINT64_MAX).empty()); // -W is 2 s
    const auto late = lines_of(intervals.take(start + 4 * second, UINT64_MAX));
    REQUIRE(late.size() == 2);
    CHECK(
        late[1] ==
        "12:26:40Z      1         0      -        -        -        -        -  1 pending");
    const auto last = lines_of(intervals.take_last(start + 1500 * ms));
    REQUIRE(last.size() == 1);
    CHECK(last[0].ends_with("  1 pending"));
}

TEST_CASE("several endpoints have a row each, with their names in front") {
    const PingResult one = endpoint_named("udp://127.0.0.1:7001");
    const PingResult other =
        endpoint_named("udp://an-endpoint-with-a-rather-long-name.example:7001");
    const std::vector<const PingResult*> results{&one, &other};
    PingIntervals intervals(every(1000), results, {.several = true});
    for (size_t endpoint = 0; endpoint < 2; endpoint++) {
        intervals.due(endpoint, start + endpoint * 500 * ms);
        intervals.decide(
            endpoint, fate(start + endpoint * 500 * ms, Outcome::answered, 100'000 * ms));
    }
    const auto lines = lines_of(intervals.take(start + second, UINT64_MAX));
    REQUIRE(lines.size() == 3);
    CHECK(lines[0].starts_with("in ms"));
    CHECK(lines[1].starts_with("udp:"));
    CHECK(lines[2].starts_with("udp:"));
    CHECK(lines[1].find(" 12:26:40Z") == lines[2].find(" 12:26:40Z"));
    CHECK(lines[0].size() <= 84);
}

TEST_CASE("the heads come again after 20 rows, and with a new date") {
    const PingResult result = endpoint_named("udp://127.0.0.1:7001");
    const std::vector<const PingResult*> results{&result};
    PingIntervals intervals(every(1000), results, {});
    size_t heads = 0;
    for (uint64_t at = 0; at < 45; at++) {
        intervals.due(0, start + at * second);
        intervals.decide(0, fate(start + at * second, Outcome::answered, ms));
        for (const std::string& line :
             lines_of(intervals.take(start + (at + 1) * second, UINT64_MAX)))
            heads += static_cast<size_t>(line.starts_with("2025-11-01"));
    }
    CHECK(heads == 3);
    const uint64_t tomorrow = start + 86'400 * second;
    intervals.due(0, tomorrow);
    intervals.decide(0, fate(tomorrow, Outcome::answered, ms));
    CHECK(
        intervals.take(tomorrow + second, UINT64_MAX).find("\n2025-11-02  sent") !=
        std::string::npos);
}

TEST_CASE("a terminal of 40 columns cuts names, not figures") {
    IntervalLines lines(
        {{"loss", 5}}, std::vector<std::string>{"a-name-that-is-much-too-long-here", "b"}, true,
        {false, 40});
    const std::vector<LineCell> cells{{"100%"}};
    for (const std::string& line : lines_of(lines.row(0, 1762000000.25, cells, "")))
        CHECK(line == "a-name-t...long-here 12:26:40.250Z  100%");
}

TEST_CASE("load's rows have the rate of answers that came, and the rest by when it was due") {
    const LoadResult result = loaded();
    LoadSchedule schedule({.rate = 10, .duration_ns = 2 * second});
    schedule.start(start);
    schedule.advance(start);
    LoadIntervals intervals(result, schedule, 1000, second, false, {});
    for (uint64_t at = 0; at < 11; at++) { // that of the end of the interval belongs to the next
        schedule.advance(start + at * 100 * ms);
        REQUIRE(schedule.due() == 1);
        intervals.intervals().due(0, schedule.take_due(start + at * 100 * ms).intended_ns);
    }
    for (uint64_t at = 0; at < 9; at++) {
        intervals.intervals().decide(0, start + at * 100 * ms, Outcome::answered, 2 * ms);
        intervals.intervals().arrived(0, start + (at < 4 ? at : at + 6) * 100 * ms);
    }
    CHECK(intervals.take(start + 1100 * ms).empty()); // one is pending
    intervals.intervals().decide(0, start + 900 * ms, Outcome::closed);
    const std::string text = intervals.take(start + 1100 * ms);
    CHECK(
        text == "2025-11-01  sent  answers/s  errors   median      p99      max  in ms\n"
                "12:26:40Z     10        4.0       1     2.00        -    2.000\n");
}

TEST_CASE("requests of an open loop that wait to be sent hold their row back, and are counted") {
    const LoadResult result = loaded();
    LoadSchedule schedule({.rate = 10, .duration_ns = 60 * second});
    schedule.start(start);
    LoadIntervals intervals(result, schedule, 1000, second, false, {});
    schedule.advance(start + 2 * second);
    for (uint64_t at = 0; at < 3; at++) {
        const uint64_t due_ns = schedule.take_due(start + 2 * second).intended_ns;
        intervals.intervals().due(0, due_ns);
        intervals.intervals().decide(0, due_ns, Outcome::answered, 2 * ms);
    }
    CHECK(schedule.next_untaken_ns() == start + 300 * ms);
    CHECK(schedule.untaken_before(start + second) == 7);
    CHECK(schedule.untaken_before(start + 300 * ms) == 0);
    CHECK(schedule.untaken_before(start + 301 * ms) == 1);
    CHECK(intervals.take(start + 2 * second).empty());
    schedule.advance(start + 3 * second);
    const std::string text = intervals.take(start + 3 * second);
    CHECK(text.find("  7 not sent yet\n") != std::string::npos);
}

TEST_CASE("nothing that came after the measured time makes an interval") {
    const LoadResult result = loaded();
    LoadSchedule schedule({.duration_ns = 1500 * ms});
    schedule.start(start);
    LoadIntervals intervals(result, schedule, 1000, second, true, {});
    for (const uint64_t at : {start, start + second}) {
        schedule.advance(at);
        intervals.intervals().due(0, at);
        intervals.intervals().decide(0, at, Outcome::answered, ms);
        intervals.intervals().arrived(0, at);
    }
    intervals.intervals().arrived(0, start + 2500 * ms);
    schedule.advance(start + 1500 * ms);
    const auto documents = lines_of(intervals.take_last());
    REQUIRE(documents.size() == 2);
    CHECK(documents[1].find(R"("duration":0.5)") != std::string::npos);
    CHECK(documents[1].find(R"("answer_rate":2.0)") != std::string::npos);
}

TEST_CASE("each document of a probe matches its schema, and the schema has nothing else") {
    const PingResult result = endpoint_named("udp://127.0.0.1:7001");
    Schema schema("riposte-ping-probe-1");
    const Cause cause = cause_of(ECONNREFUSED);
    ProbeFate full = fate(start + 250'001'000, Outcome::answered, 62'100);
    full.connect_ns = 1000;
    full.cause = &cause;
    const std::string text = ping_probe_json(result, full);
    CHECK(
        text.find(R"({"schema":"riposte/ping-probe/1","name":"udp://127.0.0.1:7001","seq":1,)") ==
        0);
    CHECK(
        text.find(
            R"("due_at":"2025-11-01T12:26:40.250001Z","outcome":"answered","rtt":6.21e-05)") !=
        std::string::npos);
    CHECK(text.ends_with("}\n"));
    CHECK(schema.faults(text) == std::vector<std::string>{});
    CHECK(schema.unseen().empty());
    CHECK(schema.undescribed().empty());
    for (const Outcome outcome :
         {Outcome::answered, Outcome::lost, Outcome::corrupted, Outcome::wrong_size,
          Outcome::refused, Outcome::unreachable, Outcome::closed, Outcome::too_big,
          Outcome::local})
        CHECK(schema.faults(ping_probe_json(result, fate(start, outcome))).empty());
}

TEST_CASE("each document of an interval matches its schema, and the schema has nothing else") {
    const PingResult result = endpoint_named("udp://127.0.0.1:7001");
    const std::vector<const PingResult*> results{&result};
    PingIntervals intervals(every(10'000, true), results, {});
    for (uint64_t at = 0; at < 3000; at++) {
        intervals.due(0, start + at * ms);
        intervals.decide(0, fate(start + at * ms, Outcome::answered, (at + 1) * 1000));
    }
    Schema ping("riposte-ping-interval-1");
    const auto documents = lines_of(intervals.take(start + 10 * second, UINT64_MAX));
    REQUIRE(documents.size() == 1);
    CHECK(ping.faults(documents[0]) == std::vector<std::string>{});
    CHECK(ping.unseen().empty());
    CHECK(ping.undescribed().empty());

    Schema load("riposte-load-interval-1");
    IntervalFigures figures;
    figures.counts.sent = 3000;
    for (uint64_t at = 1; at <= 3000; at++) {
        figures.counts.add(Outcome::answered);
        figures.durations.record(at * 1000);
    }
    figures.arrivals = 3000;
    const std::string text = load_interval_json(
        loaded(),
        {.began_at = 1762000000, .duration_ns = second, .unsent = 2, .figures = &figures});
    CHECK(load.faults(text) == std::vector<std::string>{});
    CHECK(load.unseen().empty());
    CHECK(load.undescribed().empty());
}
