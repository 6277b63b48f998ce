#include "daemon/limits.h"

#include <cstring>
#include <map>
#include <random>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

SourceKey key(uint32_t number) {
    SourceKey key{};
    std::memcpy(key.data(), &number, sizeof number);
    return key;
}

} // namespace

TEST_CASE("a source is refused at its limit and let in again below it") {
    SourceTable table(8);
    SourceKey a = key(1);
    SourceKey b = key(2);
    CHECK(table.enter(a, 2));
    CHECK(table.enter(a, 2));
    CHECK_FALSE(table.enter(a, 2));
    CHECK(table.enter(b, 2));
    table.leave(a);
    CHECK(table.enter(a, 2));
    CHECK_FALSE(table.enter(a, 2));
    CHECK(table.enter(a, 3)); // a reload raised it
}

TEST_CASE("the table counts as a map does, full, empty and in between") {
    constexpr uint32_t connections = 64;
    SourceTable table(connections);
    std::map<uint32_t, uint32_t> model;
    uint32_t open = 0;
    std::mt19937 random(3);
    uint32_t refused = 0;
    for (int step = 0; step < 100'000; ++step) {
        auto source = static_cast<uint32_t>(random() % 90);
        bool filling = step / 1000 % 2 == 0;
        if (random() % 4 != 0 ? filling : !filling) {
            if (open == connections)
                continue;
            bool let_in = table.enter(key(source), 3);
            REQUIRE(let_in == (model[source] < 3));
            model[source] += let_in;
            open += let_in;
            refused += !let_in;
        } else if (model[source] > 0) {
            table.leave(key(source));
            --model[source];
            --open;
        }
    }
    CHECK(refused > 100);
}

TEST_CASE("limits of the process are shared out, rounded up") {
    LimitsConfig limits{.connections_max = 10, .connections_per_source_max = 3};
    LimitsConfig share = worker_share(limits, 4);
    CHECK(share.connections_max == 3);
    CHECK(share.connections_per_source_max == 1);
    CHECK(share.idle_timeout_ms == limits.idle_timeout_ms);
    CHECK(worker_share(limits, 1) == limits);
}
