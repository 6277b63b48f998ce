// The schedule, the tags and the queue of the ping engine.
#include "client/ping/ping_schedule.h"
#include "client/ping/prober.h"
#include "client/ping/queue.h"

#include <cerrno>
#include <cstdint>
#include <deque>
#include <random>

#include <doctest/doctest.h>

using namespace riposte::client;

TEST_CASE("probe k is due at start + k * interval, and none after the last") {
    PingSchedule schedule(1000, 7, 3);
    for (const uint64_t due : {1000U, 1007U, 1014U}) {
        CHECK(schedule.next_due_ns() == due);
        schedule.advance();
    }
    CHECK(schedule.next_due_ns() == UINT64_MAX);
}

TEST_CASE("a schedule without a count continues until it is stopped") {
    PingSchedule schedule(0, 10, std::nullopt);
    for (int i = 0; i < 1000; i++)
        schedule.advance();
    CHECK(schedule.next_due_ns() == 10'000);
    schedule.stop();
    CHECK(schedule.next_due_ns() == UINT64_MAX);
    CHECK(schedule.skip_before(UINT64_MAX) == 0);
}

TEST_CASE("skipped probes keep the pace and do not count") {
    PingSchedule schedule(100, 10, 2);
    CHECK(schedule.skip_before(100) == 0);
    CHECK(schedule.skip_before(101) == 1);
    CHECK(schedule.next_due_ns() == 110);
    CHECK(schedule.skip_before(140) == 3);
    CHECK(schedule.next_due_ns() == 140);
    schedule.advance();
    CHECK(schedule.next_due_ns() == 150);
    schedule.advance();
    CHECK(schedule.next_due_ns() == UINT64_MAX);
}

TEST_CASE("a tag unpacks as it was packed, with its generation cut to its width") {
    const ProberTag tag{.endpoint = 65'535, .generation = 0x2a'aaaa, .slot = (1 << 22) - 1};
    const ProberTag back = ProberTag::unpack(tag.pack());
    CHECK(back.endpoint == tag.endpoint);
    CHECK(back.generation == tag.generation);
    CHECK(back.slot == tag.slot);
    const ProberTag old{.endpoint = 1, .generation = 5, .slot = 3};
    const ProberTag round{.endpoint = 1, .generation = 5 + (uint64_t{1} << 22), .slot = 3};
    CHECK(old.pack() == round.pack());
    CHECK(old.pack() != ProberTag{.endpoint = 1, .generation = 6, .slot = 3}.pack());
}

TEST_CASE("the queue returns items in order") {
    std::mt19937 random(7);
    Queue<uint64_t> queue;
    std::deque<uint64_t> model;
    for (uint64_t i = 0; i < 100'000; i++) {
        if (random() % 2 == 0) {
            queue.push(i);
            model.push_back(i);
        } else if (!model.empty()) {
            REQUIRE(queue.front() == model.front());
            queue.pop();
            model.pop_front();
        }
        REQUIRE(queue.empty() == model.empty());
    }
}
