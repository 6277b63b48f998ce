// The results of a run: the value of each metric, and the verdict.
#include "client/load/load_result.h"
#include "client/ping/ping_result.h"

#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

FailIf conditions(std::string_view text) {
    if (text.empty())
        return {};
    const auto parsed = parse_fail_if(text);
    REQUIRE(parsed.has_value());
    return *parsed;
}

PingResult pinged(const OutcomeCounts& counts) {
    PingResult result;
    result.counts = counts;
    result.elapsed_ns = 2'000'000'000;
    for (uint64_t at = 0; at < counts.answered; at++) {
        result.rtt.record((100 + at) * 1000);
        result.delay_variation.record((100 + at) * 1000);
        result.lateness.record((10 + at) * 1000);
    }
    return result;
}

LoadResult loaded(const LoadCounts& counts) {
    LoadResult result;
    result.counts = counts;
    result.elapsed_ns = 2'000'000'000;
    for (uint64_t at = 0; at < counts.answered; at++)
        result.latency.record((100 + at) * 1000);
    return result;
}

template<class Result>
std::optional<double> value_of(const Result& result, std::string_view name) {
    const FailIf parsed = conditions(std::string(name) + (name == "loss" ? ">1%" : ">1"));
    return metric(result, parsed.front().metric);
}

std::optional<double> duration_of(const auto& result, std::string_view name) {
    return metric(result, conditions(std::string(name) + ">1s").front().metric);
}

} // namespace

TEST_CASE("the loss of ping is the share of decided probes without any answer") {
    CHECK_FALSE(loss_percent(OutcomeCounts{}).has_value());
    CHECK_FALSE(loss_percent(OutcomeCounts{.sent = 3}).has_value()); // all still wait
    CHECK(*loss_percent(OutcomeCounts{.sent = 4, .answered = 4}) == 0);
    CHECK(*loss_percent(OutcomeCounts{.sent = 5, .answered = 3, .lost = 1}) == 25);
    CHECK(*loss_percent(OutcomeCounts{.sent = 2, .corrupted = 1, .wrong_size = 1}) == 0);
    CHECK(
        *loss_percent(OutcomeCounts{
            .sent = 8, .lost = 1, .corrupted = 4, .refused = 1, .unreachable = 1, .closed = 1}) ==
        50);
    CHECK(*loss_percent(OutcomeCounts{.sent = 4, .answered = 3, .too_big = 1}) == 25);
}

TEST_CASE("probes and requests that this machine did not send are in no ratio of loss") {
    CHECK(*loss_percent(OutcomeCounts{.sent = 4, .answered = 3, .local = 1}) == 0);
    CHECK(*loss_percent(OutcomeCounts{.sent = 5, .answered = 3, .lost = 1, .local = 1}) == 25);
    CHECK_FALSE(loss_percent(OutcomeCounts{.sent = 4, .local = 4}).has_value());
}

TEST_CASE("the loss of load is that of requests of known outcome") {
    CHECK_FALSE(loss_percent(LoadCounts{}).has_value());
    CHECK(*loss_percent(LoadCounts{{.sent = 5, .answered = 3, .lost = 1}}) == 25);
    CHECK(*loss_percent(LoadCounts{{.sent = 4, .answered = 4}, 100}) == 0); // never sent
}

TEST_CASE("each metric of ping has its value, in its unit") {
    PingResult result = pinged(
        {.sent = 110,
         .answered = 101,
         .lost = 1,
         .corrupted = 2,
         .wrong_size = 3,
         .refused = 1,
         .duplicated = 4,
         .reordered = 5,
         .late = 6});
    result.rfc3550_jitter_ns = 1500;
    result.ipdv.record(20'000);
    result.ipdv.record(40'000);
    result.connect.record(70'000);
    CHECK(*value_of(result, "sent") == 110);
    CHECK(*value_of(result, "answered") == 101);
    CHECK(*value_of(result, "lost") == 1);
    CHECK(*value_of(result, "corrupted") == 2);
    CHECK(*value_of(result, "wrong_size") == 3);
    CHECK(*value_of(result, "refused") == 1);
    CHECK(*value_of(result, "duplicated") == 4);
    CHECK(*value_of(result, "reordered") == 5);
    CHECK(*value_of(result, "late") == 6);
    CHECK(*value_of(result, "errors") == 7); // two still wait
    CHECK(*value_of(result, "rate") == 50.5);
    CHECK(*value_of(result, "loss") == doctest::Approx(100 * 2 / 108.0));
    CHECK(*duration_of(result, "rfc3550_jitter") == doctest::Approx(1.5e-6));
    CHECK(*duration_of(result, "min") == doctest::Approx(100e-6));
    CHECK(*duration_of(result, "mean") == doctest::Approx(150e-6));
    CHECK(*duration_of(result, "median") == doctest::Approx(150e-6).epsilon(0.004));
    CHECK(*duration_of(result, "p99") == doctest::Approx(199e-6).epsilon(0.004));
    CHECK(*duration_of(result, "max") == doctest::Approx(200e-6));
    CHECK(*duration_of(result, "stddev") == doctest::Approx(29.1548e-6));
    CHECK(*duration_of(result, "rtt.min") == doctest::Approx(100e-6));
    CHECK(*duration_of(result, "rtt.p99") == *duration_of(result, "p99"));
    CHECK(*duration_of(result, "lateness.max") == doctest::Approx(110e-6));
    CHECK(*duration_of(result, "lateness.p50") == doctest::Approx(60e-6).epsilon(0.004));
    CHECK(*duration_of(result, "ipdv.mean") == doctest::Approx(30e-6));
    CHECK(*duration_of(result, "jitter") == doctest::Approx(30e-6));
    CHECK(*duration_of(result, "ipdv.max") == doctest::Approx(40e-6));
    CHECK(*duration_of(result, "pdv.min") == 0);
    CHECK(*duration_of(result, "pdv.mean") == doctest::Approx(50e-6));
    CHECK(*duration_of(result, "pdv.max") == doctest::Approx(100e-6));
    CHECK(*value_of(result, "undecided") == 2);
    CHECK(*duration_of(result, "connect.max") == doctest::Approx(70e-6));
}

TEST_CASE("TCP's retransmits are a metric of ping and load, and of TCP only") {
    PingResult pinged_udp = pinged({.sent = 1, .answered = 1});
    CHECK_FALSE(value_of(pinged_udp, "retransmits").has_value());
    PingResult pinged_tcp = pinged({.sent = 1, .answered = 1});
    pinged_tcp.transport = Transport::tcp;
    CHECK(*value_of(pinged_tcp, "retransmits") == 0);
    CHECK(verdict(pinged_tcp, conditions("retransmits>0")) == Exit::ok);
    pinged_tcp.tcp.retransmits = 3;
    CHECK(*value_of(pinged_tcp, "retransmits") == 3);
    CHECK(verdict(pinged_tcp, {}) == Exit::ok);
    CHECK(verdict(pinged_tcp, conditions("retransmits>0")) == Exit::failed);
    LoadResult loaded_tcp = loaded({{.sent = 1, .answered = 1}});
    loaded_tcp.tcp.retransmits = 3;
    CHECK(*value_of(loaded_tcp, "retransmits") == 3);
    CHECK(verdict(loaded_tcp, conditions("retransmits>0")) == Exit::failed);
}

TEST_CASE("a metric that ping did not measure has no value") {
    PingResult result = pinged({.sent = 2, .answered = 1});
    for (const std::string_view name : {"jitter", "ipdv.p95", "pdv.p95", "rfc3550_jitter"})
        CHECK_FALSE(duration_of(result, name).has_value()); // it takes two answers
    CHECK_FALSE(duration_of(result, "connect.p50").has_value());
    result.elapsed_ns = 0;
    CHECK_FALSE(value_of(result, "rate").has_value());
    const PingResult nothing;
    for (const std::string_view name : {"min", "mean", "median", "max", "stddev", "p99.9"})
        CHECK_FALSE(duration_of(nothing, name).has_value());
    CHECK_FALSE(value_of(nothing, "loss").has_value());
    CHECK(*value_of(nothing, "errors") == 0);
    CHECK(*value_of(nothing, "sent") == 0);
}

TEST_CASE("each metric of load has its value, in its unit") {
    LoadCounts counts{
        {.sent = 120,
         .answered = 101,
         .lost = 1,
         .corrupted = 2,
         .wrong_size = 3,
         .refused = 4,
         .unreachable = 1,
         .closed = 2,
         .local = 1,
         .duplicated = 7,
         .reordered = 8,
         .late = 6}};
    counts.unsent = 9;
    const LoadResult result = loaded(counts);
    CHECK(*value_of(result, "sent") == 120);
    CHECK(*value_of(result, "answered") == 101);
    CHECK(*value_of(result, "lost") == 1);
    CHECK(*value_of(result, "corrupted") == 2);
    CHECK(*value_of(result, "wrong_size") == 3);
    CHECK(*value_of(result, "refused") == 4);
    CHECK(*value_of(result, "duplicated") == 7);
    CHECK(*value_of(result, "reordered") == 8);
    CHECK(*value_of(result, "errors") == 23);
    CHECK(*value_of(result, "rate") == 50.5);
    CHECK(*value_of(result, "loss") == doctest::Approx(100 * 8 / 114.0));
    CHECK(*duration_of(result, "min") == doctest::Approx(100e-6));
    CHECK(*value_of(result, "late") == 6);
    CHECK(*value_of(result, "undecided") == 5);
    CHECK_FALSE(duration_of(result, "jitter").has_value());
    CHECK_FALSE(duration_of(result, "connect.min").has_value());
}

TEST_CASE(
    "the time from sending is the latency of a closed loop, and a separate figure of an open one") {
    LoadResult result = loaded({{.sent = 1, .answered = 1}});
    CHECK(*duration_of(result, "rtt.max") == doctest::Approx(100e-6));
    result.rate = 1000;
    result.latency_from_send.record(40'000);
    CHECK(*duration_of(result, "rtt.max") == doctest::Approx(40e-6));
    CHECK(*duration_of(result, "max") == doctest::Approx(100e-6));
    CHECK_FALSE(duration_of(result, "wait.max").has_value());
    result.lateness.record(30'000);
    result.wait.record(20'000);
    CHECK(*duration_of(result, "lateness.max") == doctest::Approx(30e-6));
    CHECK(*duration_of(result, "wait.p50") == doctest::Approx(20e-6));
}

TEST_CASE("max, and a percentile that few answers do not have, are their maximum") {
    const auto maximum = [](const auto& result, std::string_view name) {
        const Metric of = conditions(std::string(name) + ">1s").front().metric;
        return maximum_of(result, of);
    };
    const PingResult few = pinged({.sent = 10, .answered = 10});
    CHECK(maximum(few, "p99") == 10);
    CHECK(maximum(few, "rtt.p99") == 10);
    CHECK(maximum(few, "max") == 10);
    CHECK(maximum(few, "median") == 0);
    CHECK(maximum(few, "mean") == 0);
    CHECK(maximum(pinged({.sent = 1000, .answered = 1000}), "p99") == 0);
    CHECK(maximum(loaded({{.sent = 10, .answered = 10}}), "p99") == 10);
    CHECK(maximum(loaded({{.sent = 10, .answered = 10}}), "ipdv.max") == 0);
}

TEST_CASE("the verdict on ping") {
    struct Row {
        OutcomeCounts counts;
        std::string_view fail_if;
        Exit exit;
    };
    constexpr OutcomeCounts good{.sent = 10, .answered = 10};
    constexpr OutcomeCounts lossy{.sent = 10, .answered = 9, .lost = 1};
    constexpr OutcomeCounts refused{.sent = 10, .answered = 9, .refused = 1};
    constexpr OutcomeCounts too_big{.sent = 10, .answered = 9, .too_big = 1};
    constexpr OutcomeCounts unreachable{.sent = 10, .answered = 9, .unreachable = 1};
    constexpr OutcomeCounts closed{.sent = 10, .answered = 9, .closed = 1};
    constexpr OutcomeCounts corrupted{.sent = 10, .answered = 9, .corrupted = 1};
    constexpr OutcomeCounts wrong_size{.sent = 10, .answered = 9, .wrong_size = 1};
    constexpr OutcomeCounts silent{.sent = 10, .lost = 10};
    constexpr OutcomeCounts local{.sent = 10, .answered = 9, .local = 1};
    const std::vector<Row> rows{
        {good, "", Exit::ok},
        {{}, "", Exit::failed},
        {silent, "", Exit::failed},
        {{.sent = 10, .answered = 9}, "", Exit::ok}, // one undecided: interrupted twice
        {{.sent = 10, .answered = 9}, "undecided>0", Exit::failed},
        {{.sent = 10}, "", Exit::failed},
        {{.sent = 9, .answered = 9, .duplicated = 9, .reordered = 9, .late = 9, .stray = 9},
         "",
         Exit::ok},
        {lossy, "", Exit::failed},
        {refused, "", Exit::failed},
        {unreachable, "", Exit::failed},
        {closed, "", Exit::failed},
        {corrupted, "", Exit::failed},
        {wrong_size, "", Exit::failed},
        // Conditions on loss, and on all that counts as loss.
        {lossy, "loss>10%", Exit::ok},
        {lossy, "loss>9%", Exit::failed},
        {refused, "loss>10%", Exit::ok},
        {unreachable, "loss>10%", Exit::ok},
        {closed, "loss>10%", Exit::ok},
        {corrupted, "loss>10%", Exit::failed},
        {wrong_size, "loss>10%", Exit::failed},
        // Conditions on errors, and so on everything.
        {lossy, "errors>1", Exit::ok},
        {closed, "errors>1", Exit::ok},
        {corrupted, "errors>1", Exit::ok},
        {wrong_size, "errors>1", Exit::ok},
        {wrong_size, "errors>0", Exit::failed},
        // Conditions on one count only.
        {lossy, "lost>1", Exit::ok},
        {lossy, "lost>0", Exit::failed},
        {lossy, "refused>1", Exit::failed},
        {refused, "refused>1", Exit::ok},
        {too_big, "", Exit::failed},
        {too_big, "too_big>0", Exit::failed},
        {too_big, "too_big>1", Exit::ok},
        {too_big, "lost>1", Exit::failed},
        {refused, "lost>1", Exit::failed},
        {corrupted, "corrupted>1", Exit::ok},
        {corrupted, "wrong_size>1", Exit::failed},
        {wrong_size, "wrong_size>1", Exit::ok},
        {local, "", Exit::failed},
        {local, "loss>10%", Exit::failed},
        {local, "errors>1", Exit::ok},
        // No condition accepts silence.
        {silent, "loss>100%", Exit::failed},
        {silent, "errors>100", Exit::failed},
        // Other conditions do not change the rules.
        {good, "p99>1s", Exit::ok},
        {good, "p99>50us", Exit::failed},
        {lossy, "p99>1s", Exit::failed},
        {good, "connect.p99>1s", Exit::failed}, // not measured
        {good, "loss>0%,p99<1s", Exit::failed},
        {{.sent = 9, .answered = 9, .duplicated = 2}, "duplicated>1", Exit::failed},
        {good, "rate<5", Exit::ok},
        {good, "rate<=5", Exit::failed},
    };
    for (const Row& row : rows) {
        CAPTURE(row.fail_if);
        CAPTURE(&row - rows.data());
        CHECK(verdict(pinged(row.counts), conditions(row.fail_if)) == row.exit);
    }
}

TEST_CASE("the verdict on load") {
    struct Row {
        LoadCounts counts;
        std::string_view fail_if;
        Exit exit;
    };
    constexpr LoadCounts good{{.sent = 10, .answered = 10}};
    constexpr LoadCounts lossy{{.sent = 10, .answered = 9, .lost = 1}};
    constexpr LoadCounts local{{.sent = 10, .answered = 9, .local = 1}};
    constexpr LoadCounts unsent{{.sent = 10, .answered = 10}, 1};
    const std::vector<Row> rows{
        {good, "", Exit::ok},
        {{}, "", Exit::failed},
        {{{.sent = 10}}, "", Exit::failed},
        {{{.sent = 10, .answered = 9}}, "", Exit::ok},
        {{{.sent = 9, .answered = 9, .duplicated = 9, .reordered = 9, .stray = 9}}, "", Exit::ok},
        {lossy, "", Exit::failed},
        {lossy, "loss>10%", Exit::ok},
        {lossy, "lost>1", Exit::ok},
        {lossy, "errors>1", Exit::ok},
        {lossy, "loss>=10%", Exit::failed},
        {{{.sent = 10, .answered = 9, .wrong_size = 1}}, "loss>10%", Exit::failed},
        {{{.sent = 10, .answered = 9, .corrupted = 1}}, "errors>1", Exit::ok},
        {{{.sent = 10, .answered = 9, .closed = 1}}, "refused>1", Exit::failed},
        {local, "", Exit::failed},
        {local, "loss>10%", Exit::failed},
        {local, "errors>1", Exit::ok},
        {unsent, "", Exit::failed},
        {unsent, "errors>1", Exit::ok},
        {unsent, "errors>0", Exit::failed},
        {good, "rate<6", Exit::failed},
        {good, "jitter>1s", Exit::failed}, // load does not measure it
    };
    for (const Row& row : rows) {
        CAPTURE(row.fail_if);
        CAPTURE(&row - rows.data());
        CHECK(verdict(loaded(row.counts), conditions(row.fail_if)) == row.exit);
    }
}

TEST_CASE("a generator with CPU to spare that kept its schedule is not a bottleneck") {
    LoadResult result = loaded({{.sent = 1000, .answered = 1000}});
    CHECK(bottlenecks(result).empty());
    CHECK_FALSE(generator_is_bottleneck(result));
    result.cpu_ns = 1'890'000'000; // 94.5% of 2 s
    result.rate = 500;
    result.late_generator = 10; // 1%
    result.late_blocked = 10;
    CHECK(bottlenecks(result).empty());
    CHECK_FALSE(generator_is_bottleneck(result));
    CHECK(bottlenecks(LoadResult{}).empty());
}

TEST_CASE("a generator without CPU to spare is the bottleneck, and says what to do") {
    LoadResult result = loaded({{.sent = 1000, .answered = 1000}});
    result.cpu_ns = 1'980'000'000;
    CHECK(cpu_share(result) == doctest::Approx(0.99));
    CHECK(generator_is_bottleneck(result));
    REQUIRE(bottlenecks(result).size() == 1);
    CHECK(
        bottlenecks(result).front() ==
        "the generator was the bottleneck: its CPU was at 99% of one core; the figures above are "
        "its own limit, not the server's. Use fewer connections (-c), or a rate (-r).");
    result.rate = 1000;
    REQUIRE(bottlenecks(result).size() == 1);
    CHECK(bottlenecks(result).front().ends_with("not the server's. Lower the rate (-r)."));
}

TEST_CASE("a generator that missed its schedule with CPU to spare was on a busy machine") {
    LoadResult result = loaded({{.sent = 1000, .answered = 1000}});
    result.late_generator = 11;
    result.lateness.record(3'000'000);
    CHECK(bottlenecks(result).empty()); // a closed loop has no schedule
    result.rate = 500;
    CHECK(generator_is_bottleneck(result));
    REQUIRE(bottlenecks(result).size() == 1);
    CHECK(
        bottlenecks(result).front() ==
        "this machine was busy: 1.1% of the schedule left more than 1 ms late, by up to 3.000 ms, "
        "which the latency from the intended time includes. Leave riposte a core of its own.");
    // Without CPU to spare that is the cause, also of the requests that had to wait.
    result.cpu_ns = 1'980'000'000;
    result.late_blocked = 500;
    REQUIRE(bottlenecks(result).size() == 1);
    CHECK(bottlenecks(result).front().starts_with("the generator was the bottleneck"));
}

TEST_CASE("a server that is slower than the rate differs from a slow generator") {
    LoadResult result = loaded({{.sent = 1000, .answered = 1000}});
    result.rate = 500;
    result.late_blocked = 13;
    CHECK_FALSE(generator_is_bottleneck(result));
    REQUIRE(bottlenecks(result).size() == 1);
    CHECK(
        bottlenecks(result).front() ==
        "1.3% of the schedule waited for a free connection; the server was slower than the rate, "
        "or raise -c or --depth.");
    result.closes = true;
    CHECK(bottlenecks(result).front().ends_with("than the rate, or raise -c."));
}

TEST_CASE("requests that were never sent had no room") {
    LoadResult result = loaded({{.sent = 500, .answered = 500}, 500});
    result.rate = 500;
    result.late_blocked = 20;
    result.late_generator = 30;
    REQUIRE(bottlenecks(result).size() == 2);
    CHECK(bottlenecks(result)[0].starts_with("this machine was busy: 3% of the schedule"));
    CHECK(bottlenecks(result)[1].starts_with("52% of the schedule waited for a free connection"));
    result.transport = Transport::udp;
    CHECK(
        bottlenecks(result)[1] ==
        "52% of the schedule was held back: the table of outstanding requests was full. Lower the "
        "rate (-r), or use a shorter timeout (-W).");
}

TEST_CASE("a closed loop over UDP says how much of its time losses took") {
    LoadResult result = loaded({{.sent = 1000, .answered = 990, .lost = 10}});
    result.transport = Transport::udp;
    result.connections = 5;
    result.depth = 2;
    result.loss_time_ns = 200'000'000; // of 20 s
    CHECK(bottlenecks(result).empty());
    result.loss_time_ns = 5'000'000'000;
    REQUIRE(bottlenecks(result).size() == 1);
    CHECK(
        bottlenecks(result).front() ==
        "lost datagrams took 25% of the sockets' time: each holds its place until a timeout that "
        "follows the round trips (RFC 6298).");
    CHECK_FALSE(generator_is_bottleneck(result));
    result.outstanding_full = true;
    CHECK(bottlenecks(result).front().starts_with("sockets paused: the table of"));
}

TEST_CASE("a limit of the responder is reported if answers stop at a rate") {
    LoadResult result = loaded({{.sent = 20'000, .answered = 5000, .lost = 15'000}});
    result.transport = Transport::udp;
    result.rate = 2500;
    result.elapsed_ns = 8'000'000'000;
    for (uint64_t ms = 0; ms < 8000; ms += 2) {
        result.windows.sent(ms * 1'000'000, 5);
        result.windows.answered(ms * 1'000'000, ms % 8 == 0 ? 5 : 0);
    }
    REQUIRE(bottlenecks(result).size() == 1);
    CHECK(bottlenecks(result).front().starts_with("answers stop at 62"));
    CHECK(bottlenecks(result).front().ends_with(
        " a second: does the responder limit its rate for a prefix? See riposted.toml(5)."));
    // Unless this machine dropped them.
    result.dropped_here = 15'000;
    REQUIRE(bottlenecks(result).size() == 1);
    CHECK(
        bottlenecks(result).front() ==
        "this machine dropped 15000 answers, because the receive buffer of their socket was full: "
        "it was busy. Lower the rate (-r), or use more sockets (-c).");
}
