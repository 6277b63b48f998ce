#include "client/ping/wake_order.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using riposte::client::WakeOrder;

TEST_CASE("the lane with the earliest time is next, and one without a time is not there") {
    WakeOrder order(3);
    CHECK(order.empty());
    CHECK(order.next_ns() == UINT64_MAX);
    order.set(0, 30);
    order.set(1, 10);
    order.set(2, 20);
    CHECK(order.next() == 1);
    CHECK(order.next_ns() == 10);
    order.set(1, 40);
    CHECK(order.next() == 2);
    order.set(2, UINT64_MAX);
    CHECK(order.next() == 0);
    order.set(0, UINT64_MAX);
    order.set(1, UINT64_MAX);
    CHECK(order.empty());
    order.set(2, 0);
    CHECK(order.next_ns() == 0);
}

TEST_CASE("after any changes the next lane is one with the least time") {
    constexpr uint64_t seed = 18;
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    constexpr size_t lanes = 60;
    WakeOrder order(lanes);
    std::vector<uint64_t> times(lanes, UINT64_MAX);
    for (int step = 0; step < 20'000; step++) {
        const size_t lane = random() % lanes;
        times[lane] = random() % 4 == 0 ? UINT64_MAX : random() % 100;
        order.set(lane, times[lane]);
        const uint64_t least = *std::ranges::min_element(times);
        REQUIRE(order.next_ns() == least);
        REQUIRE(order.empty() == (least == UINT64_MAX));
        if (!order.empty())
            REQUIRE(times[order.next()] == least);
    }
}
