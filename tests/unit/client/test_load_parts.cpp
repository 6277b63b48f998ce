// The parts of the load engine without sockets: when requests are due, what the bytes of a stream
// mean, and how requests are counted. The datagrams of a socket: test_load_datagrams.
#include "client/load/answer_checker.h"
#include "client/load/load_account.h"
#include "client/load/load_engine.h"
#include "client/load/load_pattern.h"
#include "client/load/load_preflight.h"
#include "client/load/load_schedule.h"
#include "client/measure/probe.h"
#include "tests/support/nanoseconds.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

using riposte::test::second;
constexpr uint64_t millisecond = 1'000'000;
constexpr uint64_t start = 1'000 * second;

LoadSchedule started(const LoadPlan& plan) {
    LoadSchedule schedule(plan);
    schedule.start(start);
    return schedule;
}

/// Takes all due requests; returns their intended times.
std::vector<uint64_t> take_all(LoadSchedule& schedule) {
    std::vector<uint64_t> intended;
    while (schedule.due() > 0)
        intended.push_back(schedule.take_due(UINT64_MAX).intended_ns);
    return intended;
}

} // namespace

// ---- The schedule, open loop.

TEST_CASE("requests of an open loop are evenly spaced from the start on") {
    LoadSchedule schedule = started({.rate = 1000, .duration_ns = second});
    std::vector<uint64_t> all;
    for (uint64_t now = start; now < start + second; now += 100'000) {
        schedule.advance(now);
        for (const uint64_t intended : take_all(schedule)) {
            CHECK(intended <= now);
            CHECK(intended + 100'000 > now);
            all.push_back(intended);
        }
    }
    REQUIRE(all.size() == 1000);
    for (size_t k = 0; k < all.size(); k++)
        CHECK(all[k] == start + k * millisecond);
}

TEST_CASE("intended times do not drift in a day, even if the rate does not divide a second") {
    const double rate = 7;
    const uint64_t day = 86'400 * second;
    LoadSchedule schedule = started({.rate = rate});
    schedule.advance(start + day);
    CHECK(schedule.due() == 7 * 86'400 + 1);
    uint64_t k = 0;
    uint64_t worst = 0;
    while (schedule.due() > 0) {
        const uint64_t exact = start + k * second / 7;
        const uint64_t intended = schedule.take_due(start + day).intended_ns;
        worst = std::max(worst, intended > exact ? intended - exact : exact - intended);
        k++;
    }
    CHECK(worst <= 1); // one nanosecond, by rounding
}

TEST_CASE("a request is due at its intended time and not a nanosecond before, at any rate") {
    for (const double rate : {0.1, 3.0, 999.7, 20'000.0, 333'333.0, 5e6}) {
        CAPTURE(rate);
        LoadSchedule schedule = started({.rate = rate});
        CHECK(take_all(schedule) == std::vector{start});
        for (int i = 0; i < 1000; i++) {
            const uint64_t next = schedule.next_due_ns();
            schedule.advance(next - 1);
            REQUIRE(schedule.due() == 0);
            schedule.advance(next);
            REQUIRE(take_all(schedule) == std::vector{next});
        }
    }
}

TEST_CASE("after a stall every request that fell due is due, with its own intended time") {
    LoadSchedule schedule = started({.rate = 1000, .duration_ns = 10 * second});
    CHECK(take_all(schedule).size() == 1);
    schedule.advance(start + 500 * millisecond);
    CHECK(schedule.due() == 500);
    const auto all = take_all(schedule);
    CHECK(all.front() == start + millisecond);
    CHECK(all.back() == start + 500 * millisecond);
    CHECK(schedule.next_due_ns() == start + 501 * millisecond);
}

TEST_CASE("a request that the generator sends late has no wait") {
    LoadSchedule schedule = started({.rate = 1000});
    take_all(schedule);
    schedule.advance(start + 3 * millisecond);
    for (const uint64_t behind : {uint64_t{2}, uint64_t{1}, uint64_t{0}}) {
        const DueRequest request = schedule.take_due(start + 3 * millisecond + 7);
        CHECK(request.lateness_ns == behind * millisecond + 7);
        CHECK(request.wait_ns == 0);
    }
}

TEST_CASE("a request without room waits from the time at which the generator saw it due") {
    LoadSchedule schedule = started({.rate = 1000});
    take_all(schedule);
    // Three fell due during a stall of the generator, and there is room for one.
    schedule.advance(start + 3 * millisecond);
    CHECK(schedule.take_due(start + 3 * millisecond).intended_ns == start + millisecond);
    // Two more fall due without room: the generator was not late with these.
    schedule.advance(start + 5 * millisecond);
    const uint64_t now = start + 6 * millisecond;
    const auto check = [&](uint64_t intended, uint64_t lateness, uint64_t wait) {
        const DueRequest request = schedule.take_due(now);
        CHECK(request.intended_ns == start + intended * millisecond);
        CHECK(request.lateness_ns == lateness * millisecond);
        CHECK(request.wait_ns == wait * millisecond);
    };
    check(2, 1, 3);
    check(3, 0, 3);
    check(4, 0, 2);
    check(5, 0, 1);
    // All are sent: from now on the generator is late again.
    schedule.advance(start + 8 * millisecond);
    CHECK(schedule.take_due(start + 8 * millisecond).lateness_ns == 2 * millisecond);
}

TEST_CASE("requests that are due and not taken at the end are unsent") {
    LoadSchedule schedule = started({.rate = 100, .duration_ns = second});
    schedule.advance(start + 500 * millisecond);
    CHECK(take_all(schedule).size() == 51);
    schedule.advance(start + 3 * second); // a stall of two seconds
    CHECK(schedule.phase() == LoadPhase::over);
    CHECK(schedule.end_ns() == start + second);
    CHECK(schedule.due() == 49); // until the end, not after it
    schedule.take_due(start + 3 * second);
    schedule.close();
    CHECK(schedule.due() == 0);
    CHECK(schedule.unsent() == 48);
    CHECK(schedule.next_due_ns() == UINT64_MAX);
}

TEST_CASE("the warm-up has its own schedule, and its pending requests are dropped at its end") {
    LoadSchedule schedule = started({.rate = 100, .warmup_ns = second, .duration_ns = second});
    CHECK(schedule.phase() == LoadPhase::warming_up);
    CHECK(schedule.measured_from_ns() == start + second);
    CHECK(schedule.end_ns() == start + 2 * second);
    schedule.advance(start + second - 1);
    CHECK(schedule.due() == 100);
    CHECK(schedule.next_due_ns() == UINT64_MAX); // not before the next phase
    CHECK(schedule.next_phase_ns() == start + second);
    schedule.advance(start + second);
    CHECK(schedule.phase() == LoadPhase::measuring);
    CHECK(take_all(schedule) == std::vector{start + second});
    schedule.advance(start + 2 * second);
    CHECK(take_all(schedule).size() == 99);
    schedule.close();
    CHECK(schedule.unsent() == 0);
}

TEST_CASE("an open loop with a count ends after that many measured requests") {
    LoadSchedule schedule = started({.rate = 100, .warmup_ns = second, .count = 5});
    schedule.advance(start + second - 1);
    CHECK(schedule.due() == 100);
    schedule.advance(start + 10 * second);
    CHECK(take_all(schedule).size() == 5);
    CHECK(schedule.next_due_ns() == UINT64_MAX);
    CHECK(schedule.phase() == LoadPhase::measuring);
    schedule.advance(start + 11 * second);
    CHECK(schedule.phase() == LoadPhase::over);
    CHECK(schedule.end_ns() == start + 11 * second);
    schedule.close();
    CHECK(schedule.unsent() == 0);
}

// ---- The schedule, closed loop.

TEST_CASE("a closed loop takes requests while there is room, until the end of the measured time") {
    LoadSchedule schedule = started({.warmup_ns = second, .duration_ns = second});
    CHECK_FALSE(schedule.is_open_loop());
    CHECK(schedule.take(1'000'000) == 1'000'000);
    schedule.advance(start + second);
    CHECK(schedule.take(7) == 7);
    schedule.advance(start + 2 * second - 1);
    CHECK(schedule.take(7) == 7);
    schedule.advance(start + 2 * second);
    CHECK(schedule.take(7) == 0);
    schedule.close();
    CHECK(schedule.unsent() == 0);
}

TEST_CASE("a closed loop's count does not include the warm-up") {
    LoadSchedule schedule = started({.warmup_ns = second, .count = 10});
    CHECK(schedule.take(100) == 100);
    schedule.advance(start + second);
    CHECK(schedule.take(7) == 7);
    CHECK(schedule.take(7) == 3);
    CHECK(schedule.take(7) == 0);
    schedule.advance(start + 3 * second);
    CHECK(schedule.phase() == LoadPhase::over);
    CHECK(schedule.end_ns() == start + 3 * second);
}

TEST_CASE("requests that a closed loop takes in the warm-up never count as measured") {
    LoadSchedule schedule = started({.warmup_ns = second});
    CHECK(schedule.stamp(start + 5) == start + 5);
    CHECK(schedule.stamp(start + second + 5) == start + second - 1);
    schedule.advance(start + second);
    CHECK(schedule.stamp(start + second + 5) == start + second + 5);
}

TEST_CASE("a run that is stopped in its warm-up has measured nothing") {
    LoadSchedule schedule = started({.rate = 100, .warmup_ns = second, .duration_ns = second});
    schedule.advance(start + 500 * millisecond);
    schedule.stop(start + 500 * millisecond);
    CHECK(schedule.phase() == LoadPhase::over);
    CHECK(schedule.end_ns() == schedule.measured_from_ns());
    CHECK(schedule.due() == 0);
    schedule.close();
    CHECK(schedule.unsent() == 0);
}

TEST_CASE("a closed loop has nothing due, and sleeps until its phase ends") {
    // Also after the warm-up, before the first measured request is sent.
    LoadSchedule schedule = started({.warmup_ns = second, .duration_ns = second});
    CHECK(schedule.take(3) == 3);
    schedule.advance(start + second);
    CHECK(schedule.phase() == LoadPhase::measuring);
    CHECK(schedule.due() == 0);
    CHECK(schedule.next_due_ns() == UINT64_MAX);
    CHECK(schedule.next_phase_ns() == start + 2 * second);
    CHECK(schedule.take(1) == 1);
    CHECK(schedule.due() == 0);
    CHECK(schedule.next_due_ns() == UINT64_MAX);
}

// ---- Streams.

namespace {

/// The bytes that an echo of `requests` requests of `bytes` each sends, from a position on.
std::vector<std::byte> echo_of(
    const LoadPattern& pattern, size_t position, size_t bytes, size_t requests) {
    std::vector<std::byte> stream;
    for (size_t left = bytes * requests; left > 0;) {
        const size_t size = std::min(left, LoadPattern::piece_bytes_max);
        const auto piece = pattern.at(position, size);
        stream.insert(stream.end(), piece.begin(), piece.end());
        position = pattern.advance(position, size);
        left -= size;
    }
    return stream;
}

/// Feeds `stream` in pieces of random sizes; returns the checks of its answers.
std::vector<AnswerCheck> feed(
    AnswerChecker& answers, const AnswerShape& shape, std::span<const std::byte> stream,
    size_t piece_max, std::mt19937& random) {
    std::vector<AnswerCheck> checks;
    std::uniform_int_distribution<size_t> sizes(1, piece_max);
    while (!stream.empty()) {
        const size_t size = std::min(stream.size(), sizes(random));
        answers.take(
            shape, stream.first(size), [&](AnswerCheck check) { checks.push_back(check); });
        stream = stream.subspan(size);
    }
    return checks;
}

} // namespace

TEST_CASE("an echo is correct wherever it is cut, and whatever the size of a request") {
    std::mt19937 random(1);
    for (const size_t bytes : {1U, 2U, 64U, 1000U, 8191U, 8192U, 65'536U, 100'000U, 4U * 8191}) {
        for (const size_t piece_max : {size_t{1}, size_t{3}, size_t{100}, size_t{65'536}}) {
            const size_t requests = 1 + 400'000 / (bytes + 1000);
            if (piece_max < 4 && bytes * requests > 200'000)
                continue;
            CAPTURE(bytes);
            CAPTURE(piece_max);
            const LoadPattern pattern(7, bytes);
            const AnswerShape shape{.pattern = &pattern, .bytes = static_cast<uint32_t>(bytes)};
            AnswerChecker answers;
            answers.restart(4711);
            const auto checks =
                feed(answers, shape, echo_of(pattern, 4711, bytes, requests), piece_max, random);
            CHECK(checks == std::vector(requests, AnswerCheck::correct));
            CHECK(answers.received() == 0);
        }
    }
}

TEST_CASE("a damaged byte corrupts its own answer and no other") {
    std::mt19937 random(2);
    const LoadPattern pattern(7, 64);
    const AnswerShape shape{.pattern = &pattern, .bytes = 64};
    for (const size_t damaged : {0U, 63U, 64U, 100U, 6399U}) {
        for (const size_t piece_max : {1U, 10U, 64U, 1000U, 65'536U}) {
            CAPTURE(damaged);
            CAPTURE(piece_max);
            auto stream = echo_of(pattern, 0, 64, 100);
            stream[damaged] ^= std::byte{0x10};
            AnswerChecker answers;
            answers.restart(0);
            auto expected = std::vector(100, AnswerCheck::correct);
            expected[damaged / 64] = AnswerCheck::damaged;
            CHECK(feed(answers, shape, stream, piece_max, random) == expected);
        }
    }
}

TEST_CASE("an answer that is missing, sent twice or another connection's is out of step") {
    std::mt19937 random(3);
    const LoadPattern pattern(7, 64);
    const AnswerShape shape{.pattern = &pattern, .bytes = 64};
    const auto stream = echo_of(pattern, 0, 64, 10);
    const auto answer = [&](ptrdiff_t index) { return stream.begin() + 64 * index; };
    AnswerChecker answers;

    std::vector<std::byte> left_out(answer(0), answer(3));
    left_out.insert(left_out.end(), answer(4), answer(6));
    answers.restart(0);
    auto checks = feed(answers, shape, left_out, 50, random);
    REQUIRE(checks.size() == 5);
    CHECK(checks[2] == AnswerCheck::correct);
    CHECK(checks[3] == AnswerCheck::out_of_step);

    std::vector<std::byte> twice(answer(0), answer(3));
    twice.insert(twice.end(), answer(2), answer(4));
    answers.restart(0);
    checks = feed(answers, shape, twice, 50, random);
    REQUIRE(checks.size() == 5);
    CHECK(checks[2] == AnswerCheck::correct);
    CHECK(checks[3] == AnswerCheck::out_of_step);

    answers.restart(1031); // where the other connection begins
    checks = feed(answers, shape, std::vector(answer(0), answer(1)), 64, random);
    CHECK(checks == std::vector{AnswerCheck::out_of_step});

    // A byte is missing, so everything after it is shifted.
    std::vector<std::byte> byte_short(stream);
    byte_short.erase(byte_short.begin() + 330);
    answers.restart(0);
    checks = feed(answers, shape, byte_short, 64, random);
    REQUIRE(checks.size() == 9);
    CHECK(checks[4] == AnswerCheck::correct);
    CHECK(checks[5] != AnswerCheck::correct);
    CHECK(checks[6] == AnswerCheck::out_of_step);
    CHECK(answers.received() == 63);
}

TEST_CASE("answers that are not compared are counted by their length alone") {
    AnswerChecker answers;
    answers.restart(0);
    const AnswerShape shape{.pattern = nullptr, .bytes = 18};
    CHECK(answers.missing(shape, 3) == 54);
    size_t count = 0;
    const auto take = [&](size_t bytes) {
        answers.take(
            shape, std::span<const std::byte>(static_cast<const std::byte*>(nullptr), bytes),
            [&](AnswerCheck check) {
                CHECK(check == AnswerCheck::correct);
                count++;
            });
    };
    take(17);
    CHECK(count == 0);
    CHECK(answers.missing(shape, 1) == 1);
    take(1 + 18 + 5);
    CHECK(count == 2);
    CHECK(answers.received() == 5);
}

TEST_CASE("successive requests differ, whatever their size") {
    for (const size_t bytes : {size_t{64}, size_t{8191}, size_t{8179}, size_t{16'382}}) {
        const LoadPattern pattern(9, bytes);
        CHECK(bytes % pattern.period() != 0);
        const size_t second_at = pattern.advance(0, bytes);
        CHECK_FALSE(pattern.matches(second_at, pattern.at(0, 64)));
    }
}

// ---- The account.

namespace {

RequestTimes at(uint64_t ns) {
    return {.intended_ns = ns - 1, .sent_ns = ns};
}

} // namespace

TEST_CASE("requests of the warm-up do not count, whatever their outcome") {
    LoadResult result;
    LoadAccount account(result, false);
    account.sent(at(100), 1, 64); // before the measured time is known
    account.measure_from(start);
    account.sent(at(start), 3, 64); // intended a nanosecond too early
    account.answered(at(start), start + 5, 64);
    account.failed(at(start), Outcome::lost);
    account.finish();
    CHECK(result.counts == LoadCounts{});
    CHECK(result.latency.empty());
    CHECK(account.answers() == 1);
}

TEST_CASE("each request has one outcome") {
    LoadResult result;
    LoadAccount account(result, false);
    account.measure_from(start);
    const RequestTimes times{.intended_ns = start, .sent_ns = start};
    account.sent(times, 10, 64);
    account.answered(times, start + 7, 64);
    account.failed(times, Outcome::lost);
    account.failed(times, Outcome::corrupted, 64);
    account.failed(times, Outcome::wrong_size, 10);
    account.failed(times, Outcome::refused);
    account.failed(times, Outcome::unreachable);
    account.failed(times, Outcome::closed);
    account.failed(times, Outcome::local);
    CHECK(account.pending() == 2);
    account.finish();
    LoadCounts expected{
        {.sent = 10,
         .answered = 1,
         .lost = 1,
         .corrupted = 1,
         .wrong_size = 1,
         .refused = 1,
         .unreachable = 1,
         .closed = 1,
         .local = 1}};
    expected.bytes_sent = 640;
    expected.bytes_received = 138;
    CHECK(result.counts == expected);
    CHECK(result.counts.undecided() == 2);
}

TEST_CASE("an open loop's latency counts from the intended time, a closed loop's from sending") {
    LoadResult result;
    LoadAccount account(result, true);
    account.measure_from(start);
    const RequestTimes times{.intended_ns = start, .sent_ns = start + 40};
    account.sent(times, 1, 64);
    account.answered(times, start + 100, 64);
    CHECK(account.greatest_round_trip_ns() == 60);
    CHECK(account.recent().count() == 1);
    account.fold();
    CHECK(account.recent().empty());
    account.finish();
    CHECK(result.latency.max_ns() == 100);
    CHECK(result.latency_from_send.max_ns() == 60);
    CHECK(result.latency.count() == 1);
}

TEST_CASE("lateness and the wait for a place are separate figures") {
    LoadResult result;
    LoadAccount account(result, true);
    account.measure_from(start);
    const RequestTimes times{.intended_ns = start, .sent_ns = start + 5 * millisecond};
    account.left(times, 2 * millisecond, 3 * millisecond);
    account.left(times, 1 * millisecond, 0);
    account.left({.intended_ns = start - 1, .sent_ns = start}, second, second); // the warm-up
    CHECK(result.lateness.count() == 2);
    CHECK(result.lateness.max_ns() == 2 * millisecond);
    CHECK(result.wait.count() == 2);
    CHECK(result.wait.max_ns() == 3 * millisecond);
    CHECK(result.late_generator == 1);
    CHECK(result.late_blocked == 1);
    // Over UDP requests do not wait for a place.
    result.transport = Transport::udp;
    account.left(times, 0, 0);
    CHECK(result.lateness.count() == 3);
    CHECK(result.wait.count() == 2);
}

TEST_CASE("answers that arrive together count as if they arrived one by one") {
    LoadResult together_result;
    LoadResult apart_result;
    LoadAccount together(together_result, false);
    LoadAccount apart(apart_result, false);
    uint64_t sent_ns = start;
    for (const uint64_t count : {3U, 1U, 16U, 4096U, 2U}) {
        const RequestTimes times{.intended_ns = sent_ns, .sent_ns = sent_ns};
        const uint64_t now = sent_ns + 1000 * count;
        sent_ns += 77;
        for (LoadAccount* account : {&together, &apart}) {
            account->measure_from(start);
            account->sent(times, count, 64);
        }
        together.answered(times, now, 64, count);
        for (uint64_t i = 0; i < count; i++)
            apart.answered(times, now, 64);
    }
    CHECK(together.answers() == apart.answers());
    together.finish();
    apart.finish();
    CHECK(together_result.counts == apart_result.counts);
    const Histogram& one = together_result.latency;
    const Histogram& other = apart_result.latency;
    CHECK(one.count() == 4118);
    CHECK(one.count() == other.count());
    CHECK(one.min_ns() == other.min_ns());
    CHECK(one.max_ns() == other.max_ns());
    CHECK(one.mean_ns() == doctest::Approx(other.mean_ns()));
    CHECK(one.stddev_ns() == doctest::Approx(other.stddev_ns()));
    for (const double percent : {1.0, 50.0, 99.0, 99.97})
        CHECK(one.percentile_ns(percent) == other.percentile_ns(percent));
}

TEST_CASE("both latencies of a closed loop are the same") {
    LoadResult result;
    LoadAccount account(result, false);
    account.measure_from(start);
    const RequestTimes times{.intended_ns = start, .sent_ns = start};
    account.sent(times, 2, 64);
    account.answered(times, start + 100, 64);
    account.fold();
    account.answered(times, start + 50, 64);
    account.finish();
    CHECK(result.latency.count() == 2);
    CHECK(result.latency.min_ns() == 50);
    CHECK(result.latency_from_send.buckets().size() == result.latency.buckets().size());
    CHECK(result.latency_from_send.max_ns() == 100);
}

// ---- Small parts of the engines.

TEST_CASE("connections with room take turns, and each is queued once") {
    RoundRobin ready(3);
    CHECK(ready.empty());
    ready.push(2);
    ready.push(0);
    ready.push(2);
    CHECK(ready.size() == 2);
    CHECK(ready.pop() == 2);
    ready.push(2);
    ready.push(1);
    CHECK(ready.size() == 3);
    CHECK(ready.pop() == 0);
    CHECK(ready.pop() == 2);
    CHECK(ready.pop() == 1);
    CHECK(ready.empty());
}

TEST_CASE("a broken connection is tried again after a while, not before") {
    RetryQueue retries;
    CHECK(retries.next_ns() == UINT64_MAX);
    retries.push(4, start);
    retries.push(5, start + 1);
    CHECK(retries.next_ns() == start + retry_ns);
    CHECK_FALSE(retries.pop(start + retry_ns - 1));
    CHECK(retries.pop(start + retry_ns) == 4U);
    CHECK_FALSE(retries.pop(start + retry_ns));
    CHECK(retries.pop(start + second) == 5U);
}

// ---- The first exchange.

TEST_CASE("the first answer, even damaged, distinguishes an echo from another service") {
    std::vector<std::byte> request(64);
    write_probe(request, {.session = 1, .sequence = 1, .sent_ns = 0});
    auto answer = request;
    const Preflight echo = judge_answer(answer, request, false);
    CHECK(echo.answering == Answering::echo);
    CHECK(echo.answer_bytes == 64);
    CHECK_FALSE(echo.closes);
    answer[3] ^= std::byte{0xff};
    CHECK(judge_answer(answer, request, true).answering == Answering::echo);
    CHECK(judge_answer(answer, request, true).closes);
    answer.resize(20);
    const Preflight shorter = judge_answer(answer, request, false);
    CHECK(shorter.answering == Answering::other);
    CHECK(shorter.answer_bytes == 20);
    std::ranges::fill(answer, std::byte{'x'});
    answer.resize(64, std::byte{'x'});
    CHECK(judge_answer(answer, request, false).answering == Answering::other);
}
