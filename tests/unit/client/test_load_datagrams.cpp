// Which datagram answers which request, how long a request keeps its place, and the rate limit that
// answers show.
#include "client/load/load_datagrams.h"
#include "client/load/load_windows.h"
#include "client/load/round_trip_timer.h"
#include "client/measure/probe.h"
#include "tests/support/nanoseconds.h"

#include <algorithm>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

using riposte::test::second;

namespace {

constexpr uint64_t tick = 1'000'000;
constexpr uint64_t origin = 1'000 * second;
constexpr uint32_t session = 0x1234'5678;
constexpr DatagramShape echo_64{.request_bytes = 64, .answer_bytes = 64};

std::vector<std::byte> datagram(const ProbeHeader& header, size_t bytes = 64) {
    std::vector<std::byte> probe(bytes);
    write_probe(probe, header);
    return probe;
}

DatagramArrival arrive(
    DatagramTracker& book, std::span<const std::byte> bytes, const DatagramShape& shape = echo_64) {
    std::vector<std::byte> scratch(shape.request_bytes);
    return book.arrive(shape, bytes, scratch);
}

RequestTimes sent_at(uint64_t ns) {
    return {.intended_ns = ns - 1, .sent_ns = ns};
}

} // namespace

TEST_CASE("an answer in any order finds its request and frees its place") {
    std::mt19937 random(4);
    for (const uint32_t depth : {1U, 2U, 3U, 16U, 100U, 1000U}) {
        CAPTURE(depth);
        DatagramTracker book(session, depth);
        std::vector<std::pair<uint64_t, std::vector<std::byte>>> under_way;
        uint64_t now = origin;
        uint64_t greatest_answered = 0; // the time it was sent
        for (int i = 0; i < 2000; i++) {
            CHECK(book.outstanding() == under_way.size());
            CHECK(book.kept() == under_way.size());
            CHECK(book.room() <= depth - under_way.size());
            CHECK(book.is_full() == (book.room() == 0));
            const bool sends = under_way.empty() || (!book.is_full() && (random() & 1U) != 0);
            if (sends) {
                under_way.emplace_back(now, datagram(book.send(sent_at(now))));
                now++;
                continue;
            }
            const size_t which = random() % under_way.size();
            const DatagramArrival arrival = arrive(book, under_way[which].second);
            REQUIRE(arrival.kind == DatagramKind::answer);
            CHECK(arrival.times->sent_ns == under_way[which].first);
            CHECK(arrival.times->intended_ns == under_way[which].first - 1);
            CHECK(arrival.reordered == (under_way[which].first < greatest_answered));
            greatest_answered = std::max(greatest_answered, under_way[which].first);
            under_way.erase(under_way.begin() + static_cast<ptrdiff_t>(which));
        }
    }
}

TEST_CASE("an answer after one to a later request is reordered, and nothing else") {
    DatagramTracker book(session, 4);
    const auto first = datagram(book.send(sent_at(1)));
    const auto second_one = datagram(book.send(sent_at(2)));
    const auto third = datagram(book.send(sent_at(3)));
    CHECK_FALSE(arrive(book, second_one).reordered);
    CHECK(arrive(book, first).reordered);
    CHECK_FALSE(arrive(book, third).reordered);
}

TEST_CASE("a second answer is a duplicate, however many requests were sent since") {
    DatagramTracker book(session, 2);
    const auto first = datagram(book.send(sent_at(1)));
    CHECK(arrive(book, first).kind == DatagramKind::answer);
    CHECK(arrive(book, first).kind == DatagramKind::duplicate);
    for (uint64_t i = 0; i < 100'000; i++)
        REQUIRE(arrive(book, datagram(book.send(sent_at(2 + i)))).kind == DatagramKind::answer);
    CHECK(arrive(book, first).kind == DatagramKind::duplicate);
    CHECK(book.outstanding() == 0);
}

TEST_CASE("a duplicate of the shortest request is not mistaken for another's damaged answer") {
    const DatagramShape shape{
        .request_bytes = probe_header_bytes, .answer_bytes = probe_header_bytes};
    DatagramTracker book(session, 2);
    std::vector<std::byte> first(probe_header_bytes);
    write_probe(first, book.send(sent_at(1)));
    CHECK(arrive(book, first, shape).kind == DatagramKind::answer);
    book.send(sent_at(2));
    CHECK(arrive(book, first, shape).kind == DatagramKind::duplicate);
    CHECK(book.outstanding() == 1);
    first[0] ^= std::byte{0x01}; // now it could answer any request
    CHECK(arrive(book, first, shape).kind == DatagramKind::corrupted);
}

TEST_CASE("the first answer to a lost request is late, a further one is a duplicate") {
    DatagramTracker book(session, 100);
    const auto first = datagram(book.send(sent_at(origin)));
    const auto later = datagram(book.send(sent_at(origin + 10)));
    std::vector<uint64_t> lost;
    const auto note = [&](const RequestTimes& times, uint64_t) { lost.push_back(times.sent_ns); };
    CHECK(book.oldest_ns() == origin);
    book.expire(origin + second - 1, second, note);
    CHECK(lost.empty());
    book.expire(origin + second, second, note);
    CHECK(lost == std::vector{origin});
    CHECK(book.outstanding() == 1);
    CHECK(arrive(book, later).kind == DatagramKind::answer);
    const DatagramArrival late = arrive(book, first);
    CHECK(late.kind == DatagramKind::late);
    CHECK(late.times->sent_ns == origin);
    CHECK(late.reordered); // after a later request's
    const DatagramArrival again = arrive(book, first);
    CHECK(again.kind == DatagramKind::duplicate);
    CHECK_FALSE(again.reordered);
    CHECK(again.times->sent_ns == origin);
    book.expire(origin + 5 * second, second, note);
    CHECK(lost.size() == 1);
    CHECK(book.oldest_ns() == UINT64_MAX);
    // A refused request may be answered, too.
    const auto refused = book.send(sent_at(origin + 6 * second));
    REQUIRE(book.fail(refused));
    CHECK(arrive(book, datagram(refused)).kind == DatagramKind::late);
    CHECK(arrive(book, datagram(refused)).kind == DatagramKind::duplicate);
}

TEST_CASE("every request that waits too long is lost, those sent after a loss too") {
    DatagramTracker book(session, 8);
    uint64_t lost = 0;
    for (uint64_t i = 0; i < 50; i++) {
        const uint64_t now = origin + i * second;
        book.expire(now, 3 * second, [&](const RequestTimes& times, uint64_t kept_ns) {
            CHECK(times.sent_ns == now - 3 * second);
            CHECK(kept_ns == 3 * second);
            lost++;
        });
        const auto unanswered = book.send(sent_at(now));
        const auto answered = book.send(sent_at(now));
        CHECK(unanswered.sequence != answered.sequence);
        CHECK(arrive(book, datagram(answered)).kind == DatagramKind::answer);
        CHECK(book.outstanding() == std::min<uint64_t>(i + 1, 3));
    }
    CHECK(lost == 47);
}

TEST_CASE("a hundred thousand outstanding requests block no other, and each has an outcome") {
    // One in thirty is lost; the others are answered out of order and are found at once.
    constexpr uint64_t requests = 400'000;
    constexpr uint64_t step = 50'000; // 20,000 a second
    DatagramTracker book(session, uint64_t{1} << 20);
    uint64_t answered = 0;
    uint64_t lost = 0;
    uint64_t most = 0;
    const auto note = [&](const RequestTimes&, uint64_t) { lost++; };
    std::vector<ProbeHeader> sent;
    const DatagramShape shape{
        .request_bytes = probe_header_bytes, .answer_bytes = probe_header_bytes};
    for (uint64_t i = 0; i < requests; i++) {
        const uint64_t now = origin + i * step;
        book.expire(now, 5 * second, note);
        REQUIRE_FALSE(book.is_full());
        sent.push_back(book.send(sent_at(now)));
        most = std::max(most, book.outstanding());
        // For the first half no answer arrives.
        if (i < requests / 2 || i % 30 == 0)
            continue;
        const auto bytes = datagram(sent.back(), probe_header_bytes);
        const DatagramArrival arrival = arrive(book, bytes, shape);
        REQUIRE(arrival.kind == DatagramKind::answer);
        REQUIRE(arrival.times->sent_ns == now);
        answered++;
    }
    book.expire(origin + requests * step + 5 * second, 5 * second, note);
    CHECK(most == 100'000);
    CHECK(answered + lost == requests);
    CHECK(lost == requests / 2 + requests / 2 / 30 + 1);
    CHECK(book.outstanding() == 0);
    // The outcomes of the last ones are kept for as long as late answers may arrive.
    CHECK(
        arrive(book, datagram(sent[requests - 10], probe_header_bytes), shape).kind ==
        DatagramKind::late);
    CHECK(
        arrive(book, datagram(sent[requests - 9], probe_header_bytes), shape).kind ==
        DatagramKind::duplicate);
}

TEST_CASE("a book is full when its oldest request is as far back as its window") {
    DatagramTracker book(session, 100);
    const ProbeHeader first = book.send(sent_at(1));
    for (uint64_t i = 2; i <= 100; i++)
        CHECK(arrive(book, datagram(book.send(sent_at(i)))).kind == DatagramKind::answer);
    CHECK(book.is_full());
    CHECK(book.outstanding() == 1);
    CHECK(arrive(book, datagram(first)).kind == DatagramKind::answer);
    CHECK(book.room() == 100);
}

TEST_CASE("a request that gave up its place still waits and may be answered") {
    DatagramTracker book(session, 100);
    const auto first = datagram(book.send(sent_at(origin)));
    book.send(sent_at(origin + 10));
    CHECK(book.kept() == 2);
    CHECK(book.oldest_kept_ns() == origin);
    CHECK(book.give_up_places(origin + 99, 100) == 0);
    CHECK(book.give_up_places(origin + 100, 100) == 1);
    CHECK(book.kept() == 1);
    CHECK(book.oldest_kept_ns() == origin + 10);
    CHECK(book.oldest_ns() == origin);
    CHECK(book.outstanding() == 2);
    CHECK(arrive(book, first).kind == DatagramKind::answer);
    CHECK(book.kept() == 1);
    CHECK(book.give_up_places(origin + 3'000'010, 100) == 1);
    CHECK(book.oldest_kept_ns() == UINT64_MAX);
    uint64_t kept = 0;
    book.expire(origin + second + 10, second, [&](const RequestTimes&, uint64_t kept_ns) {
        kept += kept_ns;
    });
    CHECK(kept == 3'000'000); // not the rest of the second
    CHECK(book.outstanding() == 0);
}

TEST_CASE("an answer without an owner is that of the expected request, or the last") {
    const DatagramShape shape{.request_bytes = 64, .answer_bytes = 5, .echo = false};
    const std::vector<std::byte> answer(5);
    DatagramTracker book(session, 100);
    book.send(sent_at(origin));
    book.give_up_places(origin + 100, 100);
    book.send(sent_at(origin + 100));
    CHECK(arrive(book, answer, shape).times->sent_ns == origin + 100); // the other one is lost
    book.send(sent_at(origin + 200));
    book.give_up_places(origin + 300, 100);
    CHECK(arrive(book, answer, shape).times->sent_ns == origin + 200);
    CHECK(arrive(book, answer, shape).times->sent_ns == origin);
    CHECK(arrive(book, answer, shape).kind == DatagramKind::stray);
}

TEST_CASE("a damaged duplicate is a duplicate, however short") {
    const DatagramShape shape{.request_bytes = 32, .answer_bytes = 32};
    DatagramTracker book(session, 100);
    const auto first = datagram(book.send(sent_at(1)), 32);
    CHECK(arrive(book, first, shape).kind == DatagramKind::answer);
    book.send(sent_at(2));
    auto damaged = first;
    damaged[31] ^= std::byte{0x01};
    CHECK(arrive(book, damaged, shape).kind == DatagramKind::duplicate);
    CHECK(book.outstanding() == 1);
}

TEST_CASE("a damaged answer is corrupted, wherever it is damaged") {
    for (size_t damaged = 0; damaged < 64; damaged++) {
        CAPTURE(damaged);
        DatagramTracker book(session, 4);
        for (uint64_t i = 0; i < 300; i++)
            arrive(book, datagram(book.send(sent_at(1 + i))));
        book.send(sent_at(998));
        auto answer = datagram(book.send(sent_at(999)));
        answer[damaged] ^= std::byte{0x01};
        const DatagramArrival arrival = arrive(book, answer);
        CHECK(arrival.kind == DatagramKind::corrupted);
        CHECK(arrival.times->sent_ns == 999);
        CHECK(book.outstanding() == 1);
    }
}

TEST_CASE("without comparison, a damaged answer counts as an answer") {
    DatagramTracker book(session, 1);
    auto answer = datagram(book.send(sent_at(1)));
    answer[40] ^= std::byte{0x01};
    const DatagramShape shape{.request_bytes = 64, .answer_bytes = 64, .compare = false};
    CHECK(arrive(book, answer, shape).kind == DatagramKind::answer);
}

TEST_CASE("a shorter or longer answer has the wrong size") {
    for (const size_t bytes : {1U, 10U, 23U, 24U, 63U, 65U, 1000U}) {
        CAPTURE(bytes);
        DatagramTracker book(session, 2);
        book.send(sent_at(1));
        auto answer = datagram(book.send(sent_at(2)));
        answer.resize(bytes);
        const DatagramArrival arrival = arrive(book, answer);
        CHECK(arrival.kind == DatagramKind::wrong_size);
        if (bytes >= probe_header_bytes) // less is nearly the same for both
            CHECK(arrival.times->sent_ns == 2);
    }
}

TEST_CASE("an unsolicited datagram is a stray and changes nothing") {
    DatagramTracker book(session, 2);
    book.send(sent_at(1));
    std::mt19937 random(5);
    std::vector<std::byte> noise(64);
    for (std::byte& byte : noise)
        byte = static_cast<std::byte>(random());
    CHECK(arrive(book, noise).kind == DatagramKind::stray);
    CHECK(arrive(book, {}).kind == DatagramKind::stray);
    // One of another session, and one that was never sent.
    CHECK(
        arrive(book, datagram({.session = session + 1, .sequence = 2, .sent_ns = 1})).kind ==
        DatagramKind::stray);
    CHECK(
        arrive(book, datagram({.session = session, .sequence = 2000, .sent_ns = 1})).kind ==
        DatagramKind::stray);
    CHECK(book.outstanding() == 1);
}

TEST_CASE("without an echo service, an answer is the oldest request's") {
    const DatagramShape shape{.request_bytes = 64, .answer_bytes = 5, .echo = false};
    const std::vector<std::byte> answer(5);
    DatagramTracker book(session, 3);
    book.send(sent_at(1));
    book.send(sent_at(2));
    CHECK(arrive(book, answer, shape).times->sent_ns == 1);
    book.send(sent_at(3));
    CHECK(arrive(book, std::span(answer).first(4), shape).kind == DatagramKind::wrong_size);
    CHECK(arrive(book, answer, shape).times->sent_ns == 3);
    CHECK(arrive(book, answer, shape).kind == DatagramKind::stray);
}

TEST_CASE("a request that ended otherwise no longer waits") {
    DatagramTracker book(session, 3);
    const ProbeHeader first = book.send(sent_at(1));
    const ProbeHeader second_one = book.send(sent_at(2));
    book.send(sent_at(3));
    REQUIRE(book.fail(second_one));
    CHECK_FALSE(book.fail(second_one));
    CHECK_FALSE(book.fail({.session = session + 1, .sequence = first.sequence, .sent_ns = 1}));
    CHECK(book.fail_oldest()->sent_ns == 1);
    CHECK(book.fail_oldest()->sent_ns == 3);
    CHECK_FALSE(book.fail_oldest());
}

// ---- How long a lost datagram blocks a socket.

TEST_CASE("the timeout follows the round trips as RFC 6298 computes it") {
    RoundTripTimer timer;
    CHECK(timer.timeout_ns() == second);
    timer.sample(100 * tick); // SRTT 100, RTTVAR 50
    CHECK(timer.timeout_ns() == 300 * tick);
    timer.sample(180 * tick); // RTTVAR 57.5, SRTT 110
    CHECK(timer.timeout_ns() == 340 * tick);
    timer.sample(110 * tick); // RTTVAR 43.125, SRTT 110
    CHECK(timer.timeout_ns() == 282'500'000);
}

TEST_CASE("with a steady round trip the timeout stays at least the granularity above it") {
    RoundTripTimer timer;
    for (int i = 0; i < 100; i++)
        timer.sample(80'000);
    CHECK(timer.timeout_ns() == 80'000 + RoundTripTimer::granularity_ns);
    timer.sample(0); // a clock as coarse as that
    CHECK(timer.timeout_ns() >= RoundTripTimer::granularity_ns);
}

TEST_CASE(
    "the timeout doubles while no answer arrives, and follows the round trip again after one") {
    RoundTripTimer timer;
    timer.sample(10 * tick);
    CHECK(timer.timeout_ns() == 30 * tick);
    timer.expired();
    timer.expired();
    CHECK(timer.timeout_ns() == 120 * tick);
    for (int i = 0; i < 100; i++)
        timer.expired();
    CHECK(timer.timeout_ns() == 60 * second);
    timer.sample(10 * tick); // RTTVAR 3.75
    CHECK(timer.timeout_ns() == 25 * tick);
}

// ---- The rate at which answers stop.

namespace {

/// Sends `rate` a second for this long; `passes(after_ns)` decides which are answered, after 100
/// us.
template<class Passes>
LoadWindows windows_of(uint64_t rate, uint64_t duration_ns, Passes&& passes) {
    LoadWindows windows;
    for (uint64_t i = 0; i < rate * duration_ns / second; i++) {
        const uint64_t after_ns = i * second / rate;
        windows.sent(after_ns, 1);
        if (passes(after_ns))
            windows.answered(after_ns + 100'000, 1);
    }
    return windows;
}

/// A token bucket that holds one second's worth, like riposted's.
class Bucket {
public:
    explicit Bucket(uint64_t rate) : rate_(rate), tokens_(static_cast<double>(rate)) {}
    bool operator()(uint64_t after_ns) {
        const auto rate = static_cast<double>(rate_);
        tokens_ = std::min(rate, tokens_ + static_cast<double>(after_ns - last_ns_) * rate / 1e9);
        last_ns_ = after_ns;
        if (tokens_ < 1)
            return false;
        tokens_ -= 1;
        return true;
    }

private:
    uint64_t rate_;
    double tokens_;
    uint64_t last_ns_ = 0;
};

} // namespace

TEST_CASE("answers stop at the rate of a limit") {
    for (const uint64_t limit : {100U, 1000U, 5000U, 15'000U})
        for (const uint64_t seconds : {8U, 60U}) {
            CAPTURE(limit);
            CAPTURE(seconds);
            const auto windows = windows_of(20'000, seconds * second, Bucket(limit));
            const auto plateau = windows.plateau(seconds * second);
            REQUIRE(plateau);
            CHECK(*plateau == doctest::Approx(static_cast<double>(limit)).epsilon(0.01));
        }
}

TEST_CASE("random loss and bursts of loss are not a limit, however even their rate looks") {
    int told = 0;
    for (uint32_t seed = 0; seed < 200; seed++) {
        std::mt19937 random(seed);
        for (const uint32_t lost_percent : {25U, 50U, 90U}) {
            const auto windows = windows_of(
                2000, 8 * second, [&](uint64_t) { return random() % 100 >= lost_percent; });
            told += static_cast<int>(windows.plateau(8 * second).has_value());
        }
        uint32_t left = 0;
        bool passes = true;
        const auto bursts = windows_of(2000, 8 * second, [&](uint64_t) {
            if (left == 0) {
                left = static_cast<uint32_t>(1 + random() % 100);
                passes = !passes;
            }
            left--;
            return passes;
        });
        told += static_cast<int>(bursts.plateau(8 * second).has_value());
    }
    CHECK(told == 0);
}

TEST_CASE("no limit is reported if nearly all requests are answered, or too few are sent") {
    CHECK_FALSE(windows_of(20'000, 8 * second, Bucket(18'000)).plateau(8 * second));
    CHECK_FALSE(windows_of(20'000, 8 * second, Bucket(100'000)).plateau(8 * second));
    CHECK_FALSE(windows_of(20'000, second, Bucket(1000)).plateau(second));
    CHECK_FALSE(windows_of(100, 8 * second, [](uint64_t) { return false; }).plateau(8 * second));
    CHECK_FALSE(LoadWindows().plateau(8 * second));
    CHECK_FALSE(LoadWindows().plateau(0));
}

TEST_CASE("a limit is found in a run of any length, with bounded memory") {
    LoadWindows windows;
    for (uint64_t i = 0; i < 10'000; i++) { // a day
        windows.sent(i * 8'640'000'000, 1000);
        windows.answered(i * 8'640'000'000, 100);
    }
    const auto plateau = windows.plateau(86'400 * second);
    REQUIRE(plateau);
    CHECK(*plateau == doctest::Approx(100 / 8.64).epsilon(0.01));
}
