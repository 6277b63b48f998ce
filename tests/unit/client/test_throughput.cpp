// The accounts of a throughput run: units, intervals that are not whole, late samples, the order of
// answers, the schedule of a bitrate; and what is concluded from the figures.
#include "client/throughput/answer_window.h"
#include "client/throughput/bit_schedule.h"
#include "client/throughput/rate_intervals.h"
#include "client/throughput/throughput_plot.h"
#include "client/throughput/throughput_report.h"
#include "client/throughput/throughput_result.h"
#include "tests/unit/client/samples.h"
#include "tests/unit/client/schema.h"
#include "tests/unit/client/under_load.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <netinet/in.h>

using namespace riposte;
using namespace riposte::client;

namespace {

constexpr uint64_t second = 1'000'000'000;
constexpr uint64_t start = 5 * second;

StreamResult upload(uint64_t bytes, uint64_t elapsed_ns) {
    StreamResult stream;
    stream.name = "tcp://server:9";
    stream.address = "192.0.2.7:9";
    stream.connections = 2;
    stream.chunk_bytes = 131'072;
    stream.bytes = bytes;
    stream.elapsed_ns = elapsed_ns;
    stream.intervals = {{.begin_ns = 0, .end_ns = elapsed_ns, .bytes = bytes}};
    return stream;
}

ThroughputResult of(StreamResult stream) {
    ThroughputResult result;
    result.elapsed_ns = stream.elapsed_ns;
    result.streams.push_back(std::move(stream));
    return result;
}

FailIf conditions(std::string_view text) {
    return *parse_fail_if(text);
}

bool has_note(const ThroughputResult& result, std::string_view text) {
    return std::ranges::any_of(
        notes(result), [&](const std::string& line) { return line.contains(text); });
}

} // namespace

TEST_CASE("a byte is eight bits, and a rate needs time") {
    CHECK(bits_per_second(125'000'000, second) == doctest::Approx(1e9));
    CHECK(bits_per_second(1, 8) == doctest::Approx(1e9));
    CHECK(bits_per_second(1000, 0) == 0);
    CHECK(megabits(0) == "0");
    CHECK(megabits(941.4e6) == "941");
    CHECK(megabits(94.14e6) == "94.1");
    CHECK(megabits(9.414e6) == "9.41");
    CHECK(megabits(12'345) == "0.0123");
    CHECK(megabits(9999e6) == "9999");
}

TEST_CASE("intervals are the differences of counters that grow") {
    RateIntervals intervals(second);
    CHECK(intervals.next_ns() == UINT64_MAX);
    CHECK_FALSE(intervals.sample(start, {.bytes = 5}));
    intervals.start(start, {.bytes = 1000, .retransmits = 2});
    CHECK(intervals.next_ns() == start + second);
    const auto first = intervals.sample(start + second, {.bytes = 4000, .retransmits = 3});
    REQUIRE(first);
    CHECK(*first == RateInterval{0, second, 3000, 1});
    intervals.finish(start + 2 * second, {.bytes = 4000, .retransmits = 3});
    CHECK(intervals.bytes() == 3000);
    CHECK(intervals.retransmits() == 1);
    CHECK(intervals.elapsed_ns() == 2 * second);
    CHECK(intervals.next_ns() == UINT64_MAX); // it is over
    REQUIRE(intervals.kept().size() == 2);
    CHECK(intervals.kept()[1] == RateInterval{second, 2 * second, 0, 0});
}

TEST_CASE("a late sample makes a longer interval, and the next ones are due at whole seconds") {
    RateIntervals intervals(second);
    intervals.start(start, {});
    const auto late = intervals.sample(start + 3 * second + second / 4, {.bytes = 3250});
    REQUIRE(late);
    CHECK(late->end_ns - late->begin_ns == 3 * second + second / 4);
    CHECK(bits_per_second(*late) == doctest::Approx(8000));
    CHECK(intervals.next_ns() == start + 4 * second);
}

TEST_CASE("a clock that stands still, or goes back, makes no interval") {
    RateIntervals intervals(second);
    intervals.start(start, {});
    CHECK_FALSE(intervals.sample(start, {.bytes = 10}));
    CHECK_FALSE(intervals.sample(start - second, {.bytes = 10}));
    intervals.finish(start, {.bytes = 10});
    CHECK(intervals.kept().empty());
    CHECK(intervals.elapsed_ns() == 0);
}

TEST_CASE("a rest that is too short for a rate belongs to the interval before it") {
    RateIntervals intervals(second);
    intervals.start(start, {});
    intervals.sample(start + second, {.bytes = 100});
    intervals.finish(start + second + 1000, {.bytes = 105});
    REQUIRE(intervals.kept().size() == 1);
    CHECK(intervals.kept()[0] == RateInterval{0, second + 1000, 105, 0});
    RateIntervals alone(second);
    alone.start(start, {});
    alone.finish(start + 1000, {.bytes = 7});
    REQUIRE(alone.kept().size() == 1);
    CHECK(alone.kept()[0].bytes == 7);
}

TEST_CASE("of a long run neighbours are merged, and no byte is lost") {
    RateIntervals intervals(second);
    intervals.start(start, {});
    const uint64_t count = RateIntervals::kept_max * 3 + 17;
    for (uint64_t i = 1; i <= count; i++)
        intervals.sample(start + i * second, {.bytes = i * 10});
    CHECK(intervals.kept().size() <= RateIntervals::kept_max);
    uint64_t at = 0;
    uint64_t bytes = 0;
    for (const RateInterval& each : intervals.kept()) {
        CHECK(each.begin_ns == at);
        at = each.end_ns;
        bytes += each.bytes;
    }
    CHECK(at == count * second);
    CHECK(bytes == count * 10);
}

TEST_CASE("a further answer to a datagram is a duplicate, an earlier one's is reordered") {
    AnswerWindow window(64);
    CHECK(window.take(1) == AnswerOrder::in_order);
    CHECK(window.take(1) == AnswerOrder::duplicate);
    CHECK(window.take(5) == AnswerOrder::in_order);
    CHECK(window.take(3) == AnswerOrder::reordered);
    CHECK(window.take(3) == AnswerOrder::duplicate);
    CHECK(window.take(2) == AnswerOrder::reordered);
    // What the bits of numbers long ago say has nothing to do with those that take their place.
    CHECK(window.take(1000) == AnswerOrder::in_order);
    CHECK(window.take(999) == AnswerOrder::reordered);
    CHECK(window.take(965) == AnswerOrder::reordered);
    CHECK(window.take(965) == AnswerOrder::duplicate);
    CHECK(window.take(5) == AnswerOrder::reordered); // no longer known
}

TEST_CASE("datagrams are due at their bitrate") {
    BitSchedule schedule(8e6, 1000); // a thousand a second
    schedule.start(start);
    CHECK(schedule.due(start) == 1);
    schedule.sent(1);
    CHECK(schedule.due(start) == 0);
    CHECK(schedule.next_due_ns() == start + 1'000'000);
    CHECK(schedule.due(start + 10'000'000) == 10);
    schedule.sent(10);
    CHECK(schedule.missed() == 0);
}

TEST_CASE("a sender that was late catches up a little, and counts the rest") {
    BitSchedule schedule(8e6, 1000);
    schedule.start(start);
    const uint64_t due = schedule.due(start + second);
    CHECK(due <= BitSchedule::backlog_ns / 1'000'000 + 1);
    CHECK(schedule.missed() + due == 1001);
    schedule.sent(due);
    CHECK(schedule.due(start + second) == 0);
    CHECK(schedule.due(start - second) == 0); // before the start nothing is due
}

TEST_CASE("the loss of datagrams is known only where something answers") {
    DatagramCounts counts;
    CHECK_FALSE(counts.loss_percent());
    counts.sent = 200;
    counts.answered = 190;
    CHECK(*counts.loss_percent() == doctest::Approx(5));
    counts.answered = 210; // of a service that answers more than it is asked
    CHECK(*counts.loss_percent() == 0);

    StreamResult stream = upload(1000, second);
    stream.transport = Transport::udp;
    stream.datagrams.sent = 10;
    CHECK(has_note(of(stream), "loss is unknown"));
    CHECK(verdict(of(stream), {}) == Exit::ok);
    CHECK_FALSE(metric(of(stream), {.kind = MetricKind::loss}));
    stream.datagrams.answered = 9;
    CHECK(verdict(of(stream), {}) == Exit::failed);
    CHECK(verdict(of(stream), conditions("loss>10%")) == Exit::ok);
    CHECK(verdict(of(stream), conditions("loss>9%")) == Exit::failed);
}

TEST_CASE("a run is good if each direction delivered, and no connection ended early") {
    CHECK(verdict(of(upload(1000, second)), {}) == Exit::ok);
    CHECK(verdict(of(upload(0, second)), {}) == Exit::failed);
    StreamResult ended = upload(1000, second);
    ended.ended = 1;
    CHECK(verdict(of(ended), {}) == Exit::failed);
    CHECK(verdict(of(upload(125'000, second)), conditions("mbits<1")) == Exit::ok);
    CHECK(verdict(of(upload(124'999, second)), conditions("upload.mbits<1")) == Exit::failed);
    CHECK(verdict(of(upload(125'000, second)), conditions("rpm>1")) == Exit::failed);
}

TEST_CASE("notes name what limited the run") {
    StreamResult stream = upload(1000, second);
    CHECK(notes(of(stream)).empty());
    stream.busy_ns = 2 * second;
    stream.peer_limited_ns = second;
    CHECK(has_note(of(stream), "the peer's receive window held the upload back for 50%"));
    stream.silent_intervals = 1;
    CHECK(has_note(
        of(stream), "nothing was acknowledged in 1 of 1 intervals; the peer did not read"));
    stream.returned = 77;
    CHECK(has_note(of(stream), "it is not a discard service"));
    ThroughputResult busy = of(upload(1'000'000'000, second));
    busy.cpu_ns = second;
    CHECK(cpu_was_limit(busy));
    CHECK(has_note(
        busy, "this machine's CPU was the limit: the loading thread used 100% of one core"));
    CHECK(*cpu_seconds_per_gbit(busy) == doctest::Approx(0.125));
    CHECK_FALSE(cpu_seconds_per_gbit(of(upload(0, second))));
}

TEST_CASE("the summary fits the terminal") {
    ThroughputResult result = of(upload(1'250'000'000, 10 * second));
    StreamResult back = upload(900'000'000, 10 * second);
    back.flow = Flow::download;
    back.out_of_order = 3;
    result.streams.push_back(back);
    result.warmup_ns = second;
    result.streams[0].unacknowledged = 3'000'000;
    for (const size_t columns : {size_t{40}, size_t{80}}) {
        const std::string text = throughput_header(result, {false, columns}) +
                                 throughput_summary(result, {false, columns});
        for (size_t at = 0; at < text.size();) {
            const size_t end = text.find('\n', at);
            CHECK(end - at <= columns);
            at = end + 1;
        }
    }
    const std::string text = throughput_summary(result, {});
    CHECK(text.contains("upload       1000 Mbit/s, 1.25 GB acknowledged by the peer"));
    CHECK(text.contains("download     720 Mbit/s, 900 MB received"));
    CHECK(text.contains("3 segments arrived out of order"));
    const std::vector<IntervalColumn> columns{
        {.flow = Flow::upload, .interval = RateInterval{0, second, 125'000'000, 3}},
        {.flow = Flow::download, .interval = {}}};
    CHECK(interval_line(columns, second) == "    1.0       1000        3            -\n");
}

TEST_CASE("the plot has a line for each direction, and its figures") {
    ThroughputResult result = of(upload(1'250'000'000, 10 * second));
    StreamResult back = upload(900'000'000, 10 * second);
    back.flow = Flow::download;
    result.streams.push_back(back);
    result.latency = latency_under_load();
    const std::string svg = throughput_plot(result);
    CHECK(svg.contains("upload tcp://server:9: 1000 Mbit/s, 0 retransmissions"));
    CHECK(svg.contains("download tcp://server:9: 720 Mbit/s"));
    CHECK(svg.contains("class=\"line s0\""));
    CHECK(svg.contains("class=\"line s1\""));
    CHECK(svg.contains("median latency idle 20"));
    CHECK(throughput_plot(of(upload(0, 0))).contains("0 Mbit/s")); // nothing measured
}

TEST_CASE("every document is valid, and every property occurs") {
    Schema schema("riposte-throughput-1");
    CHECK(schema.undescribed() == std::vector<std::string>{});
    ThroughputResult result = of(upload(1'250'000'000, 10 * second));
    result.cpu_ns = second;
    result.streams[0].bitrate = 1e9;
    result.streams[0].rtt.record(1'000'000, 1000);
    result.streams[0].causes.note(test::too_big_for(1400));
    result.streams[0].tcp.connections = 2;
    result.streams[0].tcp.add(
        {.retransmits = 1, .segments_sent = 4, .min_rtt_ns = 50'000, .smoothed_rtt_ns = 60'000});
    result.streams[0].tcp.congestion = "cubic";
    StreamResult back = upload(900, second);
    back.flow = Flow::download;
    back.transport = Transport::udp;
    back.datagrams = {.sent = 10, .answered = 9, .are_echoes = true};
    back.path_mtu = 1500;
    result.streams.push_back(back);
    result.latency = latency_under_load();
    CHECK(
        schema.faults(throughput_json(result, conditions("upload.mbits<1,rpm<1"), Exit::ok)) ==
        std::vector<std::string>{});
    CHECK(
        schema.faults(throughput_json(result, {}, Exit::failed, "refused")) ==
        std::vector<std::string>{});
}
