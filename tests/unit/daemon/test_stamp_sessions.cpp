#include "daemon/services/stamp_sessions.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>

using namespace riposte;

namespace {

constexpr HashSecret secret{1, 2};

StampSessionId sender(uint32_t host, uint16_t port = 862) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(host);
    address.sin_port = htons(port);
    StampSessionId id;
    std::memcpy(&id.peer.storage, &address, sizeof address);
    id.peer.size = sizeof address;
    id.local = id.peer;
    return id;
}

/// A sender asks, and notices if the reflector has forgotten it.
struct Sender {
    StampSessionId id;
    uint64_t every_ms = 1000;
    uint64_t next_ms = 0;
    uint32_t asked = 0; ///< since it has a place
    uint32_t forgotten = 0;
    uint32_t refused = 0;

    void ask(StampSessions& sessions, uint64_t now_ms) {
        if (now_ms < next_ms)
            return;
        next_ms = now_ms + every_ms;
        StampSession* const session = sessions.find(id, now_ms);
        if (session == nullptr) {
            ++refused;
            return;
        }
        if (session->received++ != asked) {
            ++forgotten;
            asked = 0;
            session->received = 1;
        }
        ++asked;
    }
};

std::vector<Sender> senders(
    uint32_t first_host, uint32_t count, uint64_t every_ms, uint64_t from_ms) {
    std::vector<Sender> made;
    made.reserve(count);
    for (uint32_t i = 0; i < count; ++i)
        made.push_back(
            {.id = sender(first_host + i),
             .every_ms = every_ms,
             .next_ms = from_ms + i * every_ms / count});
    return made;
}

uint64_t sum(const std::vector<Sender>& all, uint32_t Sender::* member) {
    uint64_t total = 0;
    for (const Sender& each : all)
        total += each.*member;
    return total;
}

} // namespace

TEST_CASE("a full table has no place for another session, and keeps those it has") {
    StampSessions sessions(StampSessions::ways, secret);
    const auto find = [&](uint32_t host, uint64_t now_ms) {
        return sessions.find(sender(host), now_ms) != nullptr;
    };
    for (const uint64_t now_ms : {uint64_t{0}, uint64_t{StampSessions::confirm_ms}})
        for (uint32_t host = 1; host <= StampSessions::ways; ++host)
            CHECK(find(host, now_ms));
    CHECK_FALSE(find(100, StampSessions::confirm_ms));
    CHECK_FALSE(find(100, StampSessions::confirm_ms + StampSessions::idle_ms));
    CHECK(find(100, StampSessions::confirm_ms + StampSessions::idle_ms + 1));
    CHECK(sessions.find(sender(2), StampSessions::confirm_ms + StampSessions::idle_ms)->confirmed);
}

TEST_CASE("a session that was seen once gives its place to another one") {
    const auto taken_after = [](uint64_t idle_ms) {
        StampSessions sessions(StampSessions::ways, secret);
        for (uint32_t host = 1; host <= StampSessions::ways; ++host)
            sessions.find(sender(host), 0);
        uint32_t taken = 0;
        for (uint32_t host = 101; sessions.find(sender(host), idle_ms) != nullptr; ++host)
            ++taken;
        return taken;
    };
    CHECK(taken_after(StampSessions::quick_newcomer_ms) == 0);
    CHECK(taken_after(StampSessions::quick_newcomer_ms + 1) == StampSessions::quick_ways);
    CHECK(taken_after(StampSessions::newcomer_ms) == StampSessions::quick_ways);
    CHECK(taken_after(StampSessions::newcomer_ms + 1) == StampSessions::ways);
}

TEST_CASE("a burst of questions confirms no session") {
    StampSessions sessions(StampSessions::ways, secret);
    for (uint64_t now_ms = 0; now_ms < StampSessions::confirm_ms; ++now_ms)
        CHECK_FALSE(sessions.find(sender(1), now_ms)->confirmed);
    CHECK(sessions.find(sender(1), StampSessions::confirm_ms)->confirmed);
}

TEST_CASE(
    "a session whose place no other one needs continues after a long pause, confirmed or not") {
    StampSessions sessions(64, secret);
    sessions.find(sender(1), 0)->sent = 7;
    CHECK(sessions.find(sender(1), StampSessions::idle_ms)->sent == 7);
    CHECK(sessions.find(sender(1), 2 * StampSessions::idle_ms + 1)->sent == 0);
}

TEST_CASE("in a flood sessions in use keep their places, slow ones too, and new ones find one") {
    constexpr uint64_t flood_from_ms = 30'000;
    constexpr uint64_t new_from_ms = 60'000;
    constexpr uint64_t end_ms = 120'000;
    StampSessions sessions(1024, secret);
    auto brisk = senders(0x0a000000, 100, 1'000, 0);
    auto slow = senders(0x0a010000, 100, 10'000, 0);
    auto late = senders(0x0a020000, 100, 1'000, new_from_ms);
    std::mt19937 random(7);
    for (uint64_t now_ms = 0; now_ms < end_ms; ++now_ms) {
        if (now_ms >= flood_from_ms) // 4000 sources a second, 31 for each set of the table
            for (int i = 0; i < 4; ++i)
                sessions.find(
                    sender(static_cast<uint32_t>(random()), static_cast<uint16_t>(random())),
                    now_ms);
        for (auto* each : {&brisk, &slow, &late})
            for (Sender& one : *each)
                one.ask(sessions, now_ms);
    }
    CHECK(sum(brisk, &Sender::forgotten) + sum(brisk, &Sender::refused) == 0);
    CHECK(sum(slow, &Sender::forgotten) + sum(slow, &Sender::refused) == 0);
    // Each of the new ones has a place, and keeps it from its first answer on.
    CHECK(sum(late, &Sender::forgotten) == 0);
    CHECK(std::ranges::all_of(late, [](const Sender& each) { return each.asked > 1; }));
}

TEST_CASE("sessions continue in another table with the same secret") {
    StampSessions before(64, secret);
    for (uint32_t host = 1; host <= 3; ++host)
        before.find(sender(host), 5)->sent = host;
    StampSessions after(StampSessions::ways, secret);
    for (const StampSession& session : before.places())
        CHECK(after.adopt(session) == (session.tag != 0));
    for (uint32_t host = 1; host <= 3; ++host)
        CHECK(after.find(sender(host), 6)->sent == host);
    for (uint64_t tag = 2; tag < 7; ++tag)
        CHECK(after.adopt({.tag = tag}));
    CHECK_FALSE(after.adopt({.tag = 9}));
}
