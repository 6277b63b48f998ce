#include "daemon/tcp/longest_waiting.h"

#include <algorithm>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

constexpr uint64_t wait_start_ms = 1'000'000;

struct Slots {
    std::vector<uint64_t> since;
    uint32_t looks = 0; ///< checks of a slot
    uint64_t now_ms = wait_start_ms;
    LongestWaiting waiting{};

    uint32_t longest() {
        return waiting.longest(static_cast<uint32_t>(since.size()), now_ms, [&](uint32_t at) {
            ++looks;
            return since[at];
        });
    }
};

} // namespace

TEST_CASE("if no slot waits, none is found") {
    Slots none{.since = {}};
    CHECK(none.longest() == LongestWaiting::none);
    Slots busy{.since = std::vector(10, LongestWaiting::not_waiting)};
    CHECK(busy.longest() == LongestWaiting::none);
    busy.since[3] = wait_start_ms;
    CHECK(busy.longest() == 3);
    busy.since[3] = LongestWaiting::not_waiting;
    CHECK(busy.longest() == LongestWaiting::none);
}

TEST_CASE(
    "the longest waiting slot is found, whichever slots came, left or were active meanwhile") {
    std::mt19937 random(5);
    for (const uint32_t count : {1U, 7U, 255U, 256U, 257U, 3000U}) {
        CAPTURE(count);
        Slots slots{.since = std::vector(count, LongestWaiting::not_waiting)};
        for (uint64_t& since : slots.since) // more than are kept, if there are enough
            since = wait_start_ms - random() % 5000;
        uint32_t found = 0;
        for (int step = 0; step < 2000; ++step) {
            slots.now_ms += count / 2000 + 1; // each may check
            for (uint32_t i = random() % 4; i > 0; --i)
                slots.since[random() % count] =
                    random() % 4 == 0 ? LongestWaiting::not_waiting : slots.now_ms;
            const uint32_t slot = slots.longest();
            const uint64_t longest = *std::ranges::min_element(slots.since);
            REQUIRE((slot == LongestWaiting::none) == (longest == LongestWaiting::not_waiting));
            if (slot == LongestWaiting::none)
                continue;
            ++found;
            REQUIRE(slots.since[slot] == longest);
            slots.since[slot] = LongestWaiting::not_waiting;
        }
        CHECK(found > 500);
    }
}

TEST_CASE("the search for the longest waiting is cheap, however frequent") {
    constexpr uint32_t count = 100'000;
    Slots idle{.since = std::vector<uint64_t>(count, wait_start_ms)};
    for (uint32_t i = 0; i < LongestWaiting::kept_max; ++i) {
        const uint32_t slot = idle.longest();
        REQUIRE(slot != LongestWaiting::none);
        idle.since[slot] = LongestWaiting::not_waiting;
    }
    CHECK(idle.looks <= count + LongestWaiting::kept_max);

    Slots busy{.since = std::vector(count, LongestWaiting::not_waiting)};
    for (int i = 0; i < 1000; ++i) // in one millisecond
        CHECK(busy.longest() == LongestWaiting::none);
    CHECK(busy.looks == count);
    busy.now_ms += 1000;
    CHECK(busy.longest() == LongestWaiting::none);
    CHECK(busy.looks == 2 * count);
}
