// Intervals against what was due in each of them, in any order of outcomes.
#include "client/measure/intervals.h"
#include "tests/support/nanoseconds.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

using riposte::test::ms;
using riposte::test::second;

constexpr uint64_t start = 100 * second;
constexpr uint64_t never = UINT64_MAX;

Intervals of_a_second(size_t lanes = 1) {
    return {start, second, 5 * second, lanes};
}

} // namespace

TEST_CASE("an interval is taken when it has passed and each of its probes has an outcome") {
    Intervals intervals = of_a_second();
    intervals.due(0, start);
    intervals.due(0, start + 999 * ms);
    intervals.due(0, start + second);
    intervals.decide(0, start + 999 * ms, Outcome::answered, 3 * ms);
    CHECK_FALSE(intervals.take(start + second, never).has_value());
    CHECK(intervals.next_ns() == start + 6 * second);
    intervals.decide(0, start, Outcome::answered, 2 * ms);
    CHECK(intervals.next_ns() == start + second);
    CHECK_FALSE(intervals.take(start + second - 1, never).has_value());
    const auto taken = intervals.take(start + second, never);
    REQUIRE(taken.has_value());
    CHECK(taken->from_ns == start);
    CHECK(taken->to_ns == start + second);
    CHECK(taken->pending == 0);
    CHECK(taken->lanes[0].counts.sent == 2);
    CHECK(taken->lanes[0].counts.answered == 2);
    CHECK(taken->lanes[0].durations.histogram().max_ns() == 3 * ms);
}

TEST_CASE("a probe that is due and not sent yet holds its interval back") {
    Intervals intervals = of_a_second();
    intervals.due(0, start);
    intervals.decide(0, start, Outcome::answered, ms);
    CHECK_FALSE(intervals.take(start + 2 * second, start + 900 * ms).has_value());
    CHECK(intervals.take(start + 2 * second, start + second).has_value());
}

TEST_CASE(
    "a pending probe is never counted as lost, and holds its interval back for the patience") {
    Intervals intervals = of_a_second();
    intervals.due(0, start);
    CHECK_FALSE(intervals.take(start + 6 * second - 1, never).has_value());
    const auto taken = intervals.take(start + 6 * second, never);
    REQUIRE(taken.has_value());
    CHECK(taken->pending == 1);
    CHECK(taken->lanes[0].counts.undecided() == 1);
    CHECK(taken->lanes[0].counts.lost == 0);
    intervals.decide(0, start, Outcome::answered, ms); // too late for the interval
    CHECK_FALSE(intervals.take(never, never).has_value());
}

TEST_CASE("lanes share their intervals, and one lane's pending probe holds back all") {
    Intervals intervals = of_a_second(2);
    intervals.due(0, start);
    intervals.due(1, start + second);
    intervals.due(1, start + 500 * ms); // by another lane's schedule
    intervals.decide(0, start, Outcome::lost);
    CHECK_FALSE(intervals.take(start + second, never).has_value());
    intervals.decide(1, start + 500 * ms, Outcome::refused);
    const auto taken = intervals.take(start + second, never);
    REQUIRE(taken.has_value());
    CHECK(taken->lanes[0].counts.lost == 1);
    CHECK(taken->lanes[1].counts.refused == 1);
    CHECK(taken->lanes[1].counts.sent == 1);
}

TEST_CASE("a pause of hours has no intervals, unless it is reached") {
    Intervals intervals = of_a_second();
    intervals.due(0, start);
    intervals.due(0, start + 36'000 * second);
    intervals.decide(0, start, Outcome::lost);
    intervals.decide(0, start + 36'000 * second, Outcome::answered, ms);
    CHECK(intervals.take(start + 40'000 * second, never)->from_ns == start);
    CHECK(intervals.take(start + 40'000 * second, never)->from_ns == start + 36'000 * second);
    CHECK_FALSE(intervals.take(never, never).has_value());
    CHECK(intervals.next_ns() == never);
    intervals.reach(start + 36'001 * second);
    const auto empty = intervals.take(start + 36'002 * second, never);
    REQUIRE(empty.has_value());
    CHECK(empty->lanes[0].counts.sent == 0);
}

TEST_CASE("what is left at the end is taken with its pending probes, and cut at the end") {
    Intervals intervals = of_a_second();
    intervals.due(0, start + 100 * ms);
    intervals.due(0, start + 1100 * ms);
    const auto first = intervals.take_last(start + 1500 * ms);
    REQUIRE(first.has_value());
    CHECK(first->to_ns == start + second);
    CHECK(first->pending == 1);
    CHECK(intervals.take_last(start + 1500 * ms)->to_ns == start + 1500 * ms);
    CHECK_FALSE(intervals.take_last(start + 1500 * ms).has_value());
}

TEST_CASE("before the start nothing counts, as a warm-up's requests") {
    Intervals intervals = of_a_second();
    intervals.due(0, start - 1);
    intervals.decide(0, start - 1, Outcome::answered, ms);
    intervals.arrived(0, start - 1);
    CHECK_FALSE(intervals.take(never, never).has_value());
}

TEST_CASE("no more intervals wait than the bound says") {
    Intervals intervals(start, ms, 3600 * second);
    uint64_t taken = 0;
    for (uint64_t at = 0; at < 1000; at++) {
        intervals.due(0, start + at * ms);
        while (intervals.take(start + at * ms, never))
            taken++;
    }
    CHECK(taken == 1000 - Intervals::open_max);
}

TEST_CASE("few durations are exact, and many are as a histogram has them") {
    Durations durations;
    Histogram all;
    for (uint64_t at = 0; at < 3 * Durations::exact_max; at++) {
        durations.record(1000 + at, 1 + at % 3);
        all.record(1000 + at, 1 + at % 3);
        if (at % 100 == 0) {
            CHECK(durations.histogram().count() == all.count());
            CHECK(durations.histogram().percentile_ns(50) == all.percentile_ns(50));
            CHECK(durations.histogram().max_ns() == all.max_ns());
        }
    }
}

TEST_CASE("each outcome counts in the interval in which its probe was due, in any order") {
    for (uint32_t seed = 0; seed < 200; seed++) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        const auto below = [&](uint64_t bound) { return random() % bound; };
        const size_t lanes = 1 + below(3);
        Intervals intervals(start, 100 * ms, 10 * second, lanes);
        struct Due {
            size_t lane;
            uint64_t at_ns, decided_ns;
            bool is_answered;
        };
        std::vector<Due> all;
        for (size_t at = 0; at < 300; at++) {
            const uint64_t at_ns = start + at * 7 * ms;
            all.push_back({below(lanes), at_ns, at_ns + below(400) * ms, below(4) > 0});
        }
        std::map<uint64_t, std::vector<OutcomeCounts>> expected;
        for (const Due& due : all) {
            auto& counts = expected[(due.at_ns - start) / (100 * ms)];
            counts.resize(lanes);
            counts[due.lane].sent++;
            counts[due.lane].add(due.is_answered ? Outcome::answered : Outcome::lost);
        }
        std::map<uint64_t, std::vector<OutcomeCounts>> found;
        size_t next = 0;
        for (uint64_t now = start; now < start + 4 * second; now += ms) {
            for (; next < all.size() && all[next].at_ns <= now; next++)
                intervals.due(all[next].lane, all[next].at_ns);
            for (const Due& due : all)
                if (due.decided_ns == now)
                    intervals.decide(
                        due.lane, due.at_ns, due.is_answered ? Outcome::answered : Outcome::lost,
                        ms);
            const uint64_t next_due_ns = next < all.size() ? all[next].at_ns : never;
            while (const auto taken = intervals.take(now, next_due_ns))
                for (const IntervalFigures& figures : taken->lanes)
                    found[(taken->from_ns - start) / (100 * ms)].push_back(figures.counts);
        }
        CHECK(found == expected);
    }
}
