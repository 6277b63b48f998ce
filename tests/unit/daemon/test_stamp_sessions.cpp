#include "daemon/services/stamp_sessions.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>

using namespace riposte;

namespace {

constexpr HashSecret session_secret{1, 2};

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
    StampSessions sessions(StampSessions::ways, session_secret);
    const auto find = [&](uint32_t host, uint64_t now_ms) {
        return sessions.find(sender(host), now_ms) != nullptr;
    };
    for (const uint64_t now_ms : {uint64_t{0}, uint64_t{StampSessions::confirm_ms}}) // confirms
        for (uint32_t host = 1; host <= StampSessions::ways; ++host)
            CHECK(find(host, now_ms));
    constexpr uint64_t from_ms = StampSessions::confirm_ms;
    CHECK_FALSE(find(100, from_ms + StampSessions::newcomer_ms));
    uint32_t taken = 0;
    for (uint32_t host = 100; find(host, from_ms + StampSessions::newcomer_ms + 1); ++host)
        ++taken;
    CHECK(taken == StampSessions::quick_ways);
    uint32_t kept = 0;
    for (const StampSession& session : sessions.places())
        kept += session.confirmed ? 1U : 0U;
    CHECK(kept == StampSessions::ways - StampSessions::quick_ways);
    CHECK(find(200, from_ms + StampSessions::idle_ms + 1));
}

TEST_CASE("a session that was seen once gives its place to another one") {
    const auto taken_after = [](uint64_t idle_ms) {
        StampSessions sessions(StampSessions::ways, session_secret);
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
    StampSessions sessions(StampSessions::ways, session_secret);
    for (uint64_t now_ms = 0; now_ms < StampSessions::confirm_ms; ++now_ms)
        CHECK_FALSE(sessions.find(sender(1), now_ms)->confirmed);
    CHECK(sessions.find(sender(1), StampSessions::confirm_ms)->confirmed);
}

TEST_CASE(
    "a session whose place no other one needs continues after a long pause, confirmed or not") {
    StampSessions sessions(64, session_secret);
    sessions.find(sender(1), 0)->sent = 7;
    CHECK(sessions.find(sender(1), StampSessions::idle_ms)->sent == 7);
    CHECK(sessions.find(sender(1), 2 * StampSessions::idle_ms + 1)->sent == 0);
}

TEST_CASE("in a flood sessions in use keep their places, slow ones too, and new ones find one") {
    constexpr uint64_t flood_from_ms = 30'000;
    constexpr uint64_t new_from_ms = 60'000;
    constexpr uint64_t end_ms = 120'000;
    StampSessions sessions(1024, session_secret);
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

TEST_CASE("sources that ask twice, at any distance, keep no new session out, and take no place of "
          "others") {
    constexpr uint64_t end_ms = 40'000;
    for (const uint64_t apart_ms : {100U, 1'000U, 5'000U}) {
        CAPTURE(apart_ms);
        StampSessions sessions(1024, secret);
        auto brisk = senders(0x0a000000, 100, 1'000, 0);
        for (uint64_t now_ms = 0; now_ms <= 1'000; ++now_ms)
            for (Sender& one : brisk)
                one.ask(sessions, now_ms);
        for (const uint64_t now_ms : {uint64_t{1'001}, 1'001 + apart_ms})
            for (uint32_t host = 0; host < 10'000; ++host)
                sessions.find(sender(0x0b000000 + host), now_ms);
        auto late = senders(0x0a020000, 100, 1'000, 22'000);
        for (uint64_t now_ms = 1'001; now_ms < end_ms; ++now_ms) {
            for (Sender& one : brisk)
                one.ask(sessions, now_ms);
            for (Sender& one : late)
                one.ask(sessions, now_ms);
        }
        CHECK(sum(brisk, &Sender::forgotten) + sum(brisk, &Sender::refused) == 0);
        CHECK(sum(late, &Sender::forgotten) + sum(late, &Sender::refused) == 0);
    }
}

TEST_CASE("sessions in use are counted until they were idle for a quarter of an hour") {
    const auto in_use = std::make_shared<StampSessionCount>();
    StampSessions sessions(64, secret, in_use);
    const auto count = [&](uint64_t now_ms) {
        return in_use->in_use(static_cast<uint32_t>(now_ms));
    };
    constexpr uint64_t begin_ms = (uint64_t{1} << 32) - 200'000; // the low 32 bits begin anew soon
    for (uint32_t host = 1; host <= 5; ++host)
        for (const uint64_t later_ms : {0U, 10U, 100'000U, 300'000U})
            sessions.find(sender(host), host == 1 ? begin_ms : begin_ms + later_ms);
    CHECK(count(begin_ms + 300'000) == 5);
    CHECK(count(begin_ms + 840'000) == 5);
    CHECK(count(begin_ms + 300'000 + StampSessions::idle_ms - 65'536) == 4); // without the first
    CHECK(count(begin_ms + 300'000 + StampSessions::idle_ms + 65'536) == 0);
    sessions.find(sender(2), begin_ms + 3'000'000);
    CHECK(count(begin_ms + 3'000'000) == 1);
}

TEST_CASE("a session whose place another one takes is not in use any more") {
    const auto in_use = std::make_shared<StampSessionCount>();
    StampSessions sessions(StampSessions::ways, secret, in_use);
    for (uint32_t host = 0; host < 100; ++host)
        sessions.find(sender(host), host);
    CHECK(in_use->in_use(100) == StampSessions::ways);
    for (uint32_t host = 100; host < 200; ++host)
        sessions.find(sender(host), 20'000 + host);
    CHECK(in_use->in_use(20'200) == StampSessions::ways);
}

TEST_CASE("sessions continue in another table with the same secret") {
    StampSessions before(64, session_secret);
    for (uint32_t host = 1; host <= 3; ++host)
        before.find(sender(host), 5)->sent = host;
    StampSessions after(StampSessions::ways, session_secret);
    for (const StampSession& session : before.places())
        CHECK(after.adopt(session) == (session.tag != 0));
    for (uint32_t host = 1; host <= 3; ++host)
        CHECK(after.find(sender(host), 6)->sent == host);
    for (uint64_t tag = 2; tag < 7; ++tag)
        CHECK(after.adopt({.tag = tag}));
    CHECK_FALSE(after.adopt({.tag = 9}));
}
