#include "daemon/core/timer_wheel.h"

#include <map>
#include <random>

#include <doctest/doctest.h>

using riposte::TimerWheel;

TEST_CASE("an empty wheel needs no wake-up") {
    TimerWheel timers(4);
    CHECK(timers.next_ms() == TimerWheel::never);
    CHECK(timers.expired(1'000'000) == TimerWheel::none);
    timers.set(2, 500);
    timers.clear(2);
    CHECK(timers.next_ms() == TimerWheel::never);
    CHECK(timers.expired(1'000'000) == TimerWheel::none);
}

TEST_CASE("a deadline never expires early and at most one tick late") {
    for (uint64_t deadline : {1u, 15u, 16u, 17u, 1000u, 16'384u, 16'385u, 60'000u, 3'600'000u}) {
        CAPTURE(deadline);
        TimerWheel timers(1);
        timers.set(0, deadline);
        CHECK(timers.expired(deadline) == TimerWheel::none);
        CHECK(timers.expired(deadline + TimerWheel::tick_ms) == 0);
        CHECK(timers.expired(deadline + 2 * TimerWheel::tick_ms) == TimerWheel::none);
    }
}

TEST_CASE("a deadline that is moved expires at its new time, later or earlier") {
    TimerWheel timers(2);
    timers.set(0, 1000);
    timers.set(0, 5000);
    CHECK(timers.expired(4999) == TimerWheel::none);
    CHECK(timers.expired(5020) == 0);
    timers.set(1, 90'000);
    timers.set(1, 6000);
    CHECK(timers.expired(5999) == TimerWheel::none);
    CHECK(timers.expired(6020) == 1);
}

TEST_CASE("the next wake-up is never later than the earliest deadline's tick") {
    std::mt19937 random(7);
    TimerWheel timers(64);
    std::map<uint32_t, uint64_t> model;
    uint64_t now = 1'000'000;
    uint32_t expirations = 0;
    for (int step = 0; step < 20'000; ++step) {
        uint32_t entry = random() % 64;
        switch (random() % 4) {
        case 0:
        case 1:
            model[entry] = now + random() % 40'000;
            timers.set(entry, model[entry]);
            break;
        case 2:
            model.erase(entry);
            timers.clear(entry);
            break;
        default:
            now += random() % (random() % 50 == 0 ? 50'000 : 100);
            for (uint32_t due = TimerWheel::none; (due = timers.expired(now)) != TimerWheel::none;
                 ++expirations) {
                REQUIRE(model.contains(due));
                REQUIRE(model[due] <= now);
                model.erase(due);
            }
            for (auto [index, deadline] : model)
                REQUIRE(deadline + TimerWheel::tick_ms > now);
        }
        uint64_t earliest = TimerWheel::never;
        for (auto [index, deadline] : model)
            earliest = std::min(earliest, deadline);
        if (earliest == TimerWheel::never)
            REQUIRE(timers.next_ms() == TimerWheel::never);
        else
            REQUIRE(timers.next_ms() <= std::max(now, earliest) + TimerWheel::tick_ms);
    }
    CHECK(expirations > 1000);
}
