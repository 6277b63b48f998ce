#include "daemon/acl/cidr.h"
#include "daemon/listen/listener_load.h"
#include "daemon/tcp/source_table.h"

#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

SourceKey key(uint32_t number) {
    SourceKey key{};
    std::memcpy(key.data(), &number, sizeof number);
    return key;
}

} // namespace

TEST_CASE("a source is refused at its limit and admitted again below it") {
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

TEST_CASE("a listener is full at its limit, and has room again below it") {
    ListenerLoad load;
    CHECK(load.enter(2));
    CHECK(load.enter(2));
    CHECK_FALSE(load.enter(2));
    CHECK(load.open() == 2);
    load.leave();
    CHECK(load.enter(2));
    CHECK(load.enter(3)); // a reload raised it
    CHECK_FALSE(load.enter(1));
    CHECK(load.open() == 3);
}

TEST_CASE("several workers together never exceed a listener's limit") {
    constexpr uint32_t max = 3;
    ListenerLoad load;
    std::atomic<uint32_t> most{0};
    std::atomic<uint32_t> entered{0};
    std::vector<std::thread> workers;
    workers.reserve(4);
    for (int worker = 0; worker < 4; ++worker)
        workers.emplace_back([&] {
            for (int i = 0; i < 20'000; ++i) {
                if (!load.enter(max))
                    continue;
                ++entered;
                for (uint32_t open = load.open(), seen = most; open > seen;)
                    if (most.compare_exchange_weak(seen, open))
                        break;
                std::this_thread::yield(); // so that they collide with few CPUs, too
                load.leave();
            }
        });
    for (std::thread& worker : workers)
        worker.join();
    CHECK(load.open() == 0);
    CHECK(most <= max);
    CHECK(entered > 0);
}

TEST_CASE("addresses that agree in the bits of a prefix are one source") {
    const auto address = [](std::string_view text) { return parse_cidr(text)->network; };
    SourceTable table(16, {.ipv4_bits = 24, .ipv6_bits = 64});
    CHECK(table.enter(address("192.0.2.1"), 2));
    CHECK(table.enter(address("::ffff:192.0.2.255"), 2));
    CHECK_FALSE(table.enter(address("192.0.2.7"), 2));
    CHECK(table.enter(address("192.0.3.7"), 2));
    CHECK(table.enter(address("2001:db8:0:1::1"), 1));
    CHECK_FALSE(table.enter(address("2001:db8:0:1:ffff::"), 1));
    CHECK(table.enter(address("2001:db8:0:2::1"), 1));
    table.leave(address("192.0.2.255")); // any of them that leaves makes room
    CHECK(table.enter(address("192.0.2.7"), 2));
    CHECK_FALSE(table.enter(address("192.0.2.1"), 2));
}

TEST_CASE("a prefix of no bits is all of its family, but not of the other one") {
    const auto address = [](std::string_view text) { return parse_cidr(text)->network; };
    SourceTable table(16, {.ipv4_bits = 0, .ipv6_bits = 0});
    CHECK(table.enter(address("192.0.2.1"), 1));
    CHECK_FALSE(table.enter(address("203.0.113.1"), 1));
    CHECK(table.enter(address("2001:db8::1"), 1));
    CHECK_FALSE(table.enter(address("fe80::1"), 1));
    SourceTable single(16, {.ipv4_bits = 32, .ipv6_bits = 128});
    CHECK(single.enter(address("192.0.2.1"), 1));
    CHECK(single.enter(address("192.0.2.0"), 1));
    CHECK(single.enter(address("2001:db8::1"), 1));
    CHECK(single.enter(address("2001:db8::"), 1));
}

TEST_CASE("limits of the process are divided, rounded up") {
    TcpLimits limits{.connections_max = 10, .connections_per_source_max = 3};
    TcpLimits share = worker_share(limits, 4);
    CHECK(share.connections_max == 3);
    CHECK(share.connections_per_source_max == 1);
    CHECK(share.idle_timeout_ms == limits.idle_timeout_ms);
    CHECK(worker_share(limits, 1) == limits);
}
