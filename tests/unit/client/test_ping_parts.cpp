// The schedule, the tags and the queue of the ping engine, and what it needs of the machine.
#include "client/ping/ping_room.h"
#include "client/ping/ping_schedule.h"
#include "client/ping/prober.h"
#include "client/ping/queue.h"
#include "common/error.h"

#include <cerrno>
#include <cstdint>
#include <deque>
#include <random>

#include <doctest/doctest.h>

using namespace riposte::client;
using riposte::Exit;

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

TEST_CASE("what the machine has available is found in the texts of /proc") {
    CHECK(available_bytes("MemTotal:       24683596 kB\nMemAvailable:   18 kB\n") == 18 * 1024);
    CHECK(available_bytes("MemTotal: 5 kB\n") == UINT64_MAX);
    CHECK(available_bytes("MemAvailable: kB\n") == UINT64_MAX);
    CHECK(available_bytes("") == UINT64_MAX);
    CHECK(ports_in("32768\t60999\n") == 28'232);
    CHECK(ports_in("60999 32768\n") == UINT64_MAX);
    CHECK(ports_in("32768\n") == UINT64_MAX);
    CHECK(find_room().memory_bytes > 0);
}

TEST_CASE("more endpoints than the machine has room for are refused with the limit") {
    PingOptions options;
    const uint64_t each = endpoint_bytes(options, 5000);
    CHECK(each > 8192);
    CHECK(each < 32'768);
    CHECK(check_room(
        options, 5000, {.endpoints = 1000, .datagram_endpoints = 500},
        {.descriptors = 1032, .ports = 500, .memory_bytes = 1000 * each}));
    const auto memory = check_room(
        options, 5000, {.endpoints = 65'536}, {.descriptors = 100'000, .memory_bytes = 64 << 20});
    REQUIRE_FALSE(memory);
    CHECK(memory.error().exit == Exit::usage);
    CHECK(memory.error().message.starts_with("65536 endpoints need some "));
    CHECK(memory.error().message.ends_with(
        " MiB of memory, and 64 MiB are available (free -m): measure fewer at once, or choose a "
        "longer -i or a shorter -W"));
    const auto descriptors = check_room(options, 5000, {.endpoints = 1001}, {.descriptors = 1032});
    REQUIRE_FALSE(descriptors);
    CHECK(
        descriptors.error().message ==
        "1001 endpoints need 1001 sockets, and 1000 are possible here: the limit of open files is "
        "1032 (ulimit -Hn)");
    const auto ports =
        check_room(options, 5000, {.endpoints = 501, .datagram_endpoints = 501}, {.ports = 500});
    REQUIRE_FALSE(ports);
    CHECK(
        ports.error().message ==
        "501 endpoints over UDP need a local port each, and 500 are possible here: measure fewer "
        "at once, or widen net.ipv4.ip_local_port_range (sysctl)");
    options.interval_us = 1000; // many probes are remembered
    CHECK(endpoint_bytes(options, 60'000) > 1'000'000);
}
