#include "daemon/tcp/eviction.h"
#include "tests/unit/daemon/tcp_support.h"

#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr uint64_t full_since_ms = 50'000;

/// A table of ten slots. The first five are taken: idle, the last one for longest.
struct FullTable {
    FullTable() {
        table.grow(10);
        for (uint32_t i = 0; i < 5; ++i)
            table[table.take(10, {}, 1)].progress_ms = full_since_ms - i;
    }
    uint32_t choose() { return eviction.choose(table, full_since_ms); }
    std::vector<uint32_t> chosen() {
        std::vector<uint32_t> slots;
        eviction.end_chosen([&](uint32_t slot) { slots.push_back(slot); });
        return slots;
    }

    ConnectionTable table;
    Eviction eviction;
};

} // namespace

TEST_CASE(
    "a connection is idle while nothing is pending, and while only its peer's FIN is missing") {
    Connection c = opened_connection();
    c.progress_ms = 7;
    CHECK(Eviction::idle_since_ms(c) == 7);
    set_pending(c, 1);
    CHECK(Eviction::idle_since_ms(c) == LongestWaiting::not_waiting);
    set_pending(c, 0);
    c.starved = true;
    CHECK(Eviction::idle_since_ms(c) == LongestWaiting::not_waiting);
    c.starved = false;
    c.finish();
    CHECK(Eviction::idle_since_ms(c) == 7);
    c.evicted = true;
    CHECK(Eviction::idle_since_ms(c) == LongestWaiting::not_waiting);
    c.evicted = false;
    c.leave();
    CHECK(Eviction::idle_since_ms(c) == LongestWaiting::not_waiting);
}

TEST_CASE("slots beyond the limit are for evictions only, and at most as many as the limit") {
    const TcpLimits refuse{.when_full = WhenFull::refuse};
    const TcpLimits close{.when_full = WhenFull::close_idle};
    CHECK(Eviction::slots_beyond(refuse, 1000) == 0);
    CHECK(Eviction::slots_beyond(close, 1000) == Eviction::at_once_max);
    CHECK(Eviction::slots_beyond(close, 3) == 3);
}

TEST_CASE_FIXTURE(FullTable, "the longest idle connection is evicted, then the next") {
    CHECK(choose() == 4);
    CHECK(choose() == 3);
    const bool is_marked = table[4].evicted;
    CHECK(is_marked);
    CHECK(eviction.leaving() == 2);
    CHECK(chosen() == std::vector<uint32_t>{4, 3});
    CHECK(chosen().empty());
}

TEST_CASE_FIXTURE(FullTable, "a connection that was active meanwhile is skipped") {
    CHECK(choose() == 4);
    table[3].progress_ms = full_since_ms;
    set_pending(table[2], 1);
    CHECK(choose() == 1);
}

TEST_CASE_FIXTURE(FullTable, "a place is free again when the evicted connection has closed") {
    CHECK(choose() == 4);
    CHECK(chosen().size() == 1);
    eviction.forget(table[3]); // it was not evicted
    CHECK(eviction.leaving() == 1);
    eviction.forget(table[4]);
    CHECK(eviction.leaving() == 0);
}

TEST_CASE_FIXTURE(FullTable, "no connection is evicted without a slot for the new one") {
    while (table.free() > 0)
        table.take(10, {}, 1);
    CHECK(choose() == Eviction::none);
    CHECK(eviction.leaving() == 0);
}

TEST_CASE("the number of evictions in progress is limited") {
    ConnectionTable table;
    Eviction eviction;
    table.grow(Eviction::at_once_max + 10);
    while (table.free() > 1)
        table.take(10, {}, 1);
    for (uint32_t i = 0; i < Eviction::at_once_max; ++i)
        REQUIRE(eviction.choose(table, 1'000 + i) != Eviction::none);
    CHECK(eviction.choose(table, 100'000) == Eviction::none);
    CHECK(eviction.leaving() == Eviction::at_once_max);
}
