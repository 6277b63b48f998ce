#include "tests/unit/daemon/stamp_harness.h"

#include <algorithm>
#include <random>
#include <string_view>

#include <doctest/doctest.h>

namespace riposte::stamp {

TEST_CASE("an answer repeats the question and adds both times, the sequence and the TTL") {
    Harness harness;
    Bytes packet = question_of(7);
    const Question question = read_question(packet, Mode::open);
    const StampReply reply = harness.ask(packet);
    CHECK(reply.outcome == StampOutcome::answered);
    CHECK(reply.size == 44);
    const Answer expected{
        .sequence = 0,
        .time = to_ntp(in_2026_ns + 1000),
        .receive_time = to_ntp(in_2026_ns),
        .error_estimate = 0x3fff,
        .sender_ttl = 61,
        .question = question};
    CHECK(read_answer(packet, Mode::open) == expected);
}

TEST_CASE("a session counts its answers; sessions differ by SSID, addresses and ports") {
    Harness harness;
    const auto sequence_of_next = [&](uint16_t ssid) {
        Bytes packet = question_of(100);
        write_16(packet, open_layout.ssid, ssid);
        REQUIRE(harness.ask(packet).outcome == StampOutcome::answered);
        return read_answer(packet, Mode::open).sequence;
    };
    CHECK(sequence_of_next(1) == 0);
    CHECK(sequence_of_next(1) == 1);
    CHECK(sequence_of_next(2) == 0);
    CHECK(sequence_of_next(1) == 2);
    harness.arrival.peer = address_of("192.0.2.1", 41001);
    CHECK(sequence_of_next(1) == 0);
    harness.arrival.local = address_of("198.51.100.8", 862);
    CHECK(sequence_of_next(1) == 0);
    harness.arrival.peer = address_of("192.0.2.2", 41001);
    CHECK(sequence_of_next(1) == 0);
    CHECK(sequence_of_next(1) == 1);
}

TEST_CASE("an IPv4 peer is in the same session on a dual-stack socket") {
    Harness harness;
    Bytes packet = question_of(0);
    CHECK(harness.ask(packet).outcome == StampOutcome::answered);
    harness.arrival.peer = address_of("::ffff:192.0.2.1", 41000);
    harness.arrival.local = address_of("::ffff:198.51.100.7", 862);
    packet = question_of(1);
    CHECK(harness.ask(packet).outcome == StampOutcome::answered);
    CHECK(read_answer(packet, Mode::open).sequence == 1);
}

TEST_CASE(
    "a question that waited for more than a minute gets no answer, nor after a step of the clock") {
    const auto outcome = [](int64_t waited_seconds) {
        Harness harness;
        harness.clock.ns = in_2026_ns + static_cast<uint64_t>(waited_seconds) * second_ns;
        Bytes packet = question_of(0);
        const StampOutcome found = harness.ask(packet).outcome;
        if (found == StampOutcome::answered)
            CHECK(is_answer(packet, Mode::open));
        return found;
    };
    for (const int64_t seconds : {60, 0, -60})
        CHECK(outcome(seconds) == StampOutcome::answered);
    for (const int64_t seconds : {61, -61, 86'400, -86'400})
        CHECK(outcome(seconds) == StampOutcome::stale);
}

TEST_CASE("a stateless reflector copies the sender's number and keeps no session") {
    Harness harness({.stateful = false});
    Bytes packet = question_of(41);
    CHECK(harness.ask(packet).outcome == StampOutcome::answered);
    CHECK(read_answer(packet, Mode::open).sequence == 41);
    CHECK(std::ranges::all_of(
        harness.sessions.places(), [](const StampSession& session) { return session.tag == 0; }));
}

TEST_CASE("what gets no answer") {
    Harness harness;
    Bytes packet;
    CHECK(harness.ask(packet).outcome == StampOutcome::too_short);
    for (const size_t size : {1U, 13U, 14U, 40U}) {
        packet = question_of(0);
        packet.resize(size);
        CHECK(harness.ask(packet).outcome == StampOutcome::too_short);
    }
    packet = question_of(0);
    write_8(packet, open_layout.error_estimate + 1, 0);
    CHECK(harness.ask(packet).outcome == StampOutcome::no_multiplier);
    packet = question_of(0);
    REQUIRE(harness.ask(packet).outcome == StampOutcome::answered);
    CHECK(harness.ask(packet).outcome == StampOutcome::reflected);
}

TEST_CASE("a TWAMP sender gets as many bytes as it sent, and more only where it may") {
    for (const size_t size : {41U, 42U, 43U}) {
        Harness harness;
        Bytes packet = question_of(3);
        packet.resize(size);
        CHECK(harness.ask(packet).size == size);
        const Answer answer = read_answer(packet, Mode::open);
        CHECK(answer.question.sequence == 3);
        CHECK(answer.sender_ttl == 61);
    }
    for (const size_t size : {14U, 27U, 40U}) {
        Harness harness;
        Bytes packet = question_of(3);
        packet.resize(size);
        CHECK(harness.ask(packet, 44).size == 44);
        CHECK(read_answer(packet, Mode::open).question.sequence == 3);
    }
}

TEST_CASE("a TWAMP sender's padding comes back") {
    Harness harness;
    Bytes packet = question_of(3);
    packet.resize(200, std::byte{0x5a});
    CHECK(harness.ask(packet).size == 200);
    CHECK(to_hex(std::span(packet).subspan(44)) == [] {
        std::string text;
        for (int i = 0; i < 156; i++)
            text += "5a";
        text[0] = '4'; // 0x5a5a bytes of a TLV do not fit: M
        text[1] = '0';
        return text;
    }());
    packet = question_of(4);
    packet.resize(100);
    CHECK(harness.ask(packet).size == 100);
    CHECK(to_hex(std::span(packet).subspan(44)) == std::string(112, '0'));
}

TEST_CASE("no input gets a longer answer, and no answer another one") {
    std::mt19937_64 random(5);
    Harness ours(with_key());
    Harness other(with_key({.stateful = false}));
    for (int i = 0; i < 50'000; i++) {
        Bytes packet(random() % 1501);
        std::ranges::generate(packet, [&] { return static_cast<std::byte>(random()); });
        if (packet.size() >= 44 && random() % 2 == 0) {
            const Bytes base = question_of(static_cast<uint32_t>(i));
            std::ranges::copy(base, packet.begin());
        }
        if (packet.size() >= 112 && random() % 4 == 0) {
            const Bytes base =
                signed_question(static_cast<uint32_t>(i), in_2026_ns + static_cast<uint64_t>(i));
            std::ranges::copy(base, packet.begin());
        }
        const size_t size = packet.size();
        if (ours.ask(packet).outcome != StampOutcome::answered)
            continue;
        CHECK(packet.size() <= size);
        CHECK(other.ask(packet).outcome == StampOutcome::reflected);
    }
}

TEST_CASE("an authenticated question gets an authenticated answer") {
    Harness harness(with_key({.authenticated_only = true}));
    Bytes packet = signed_question(9);
    const StampReply reply = harness.ask(packet);
    REQUIRE(reply.outcome == StampOutcome::answered);
    CHECK(reply.size == 112);
    const std::span bytes(packet);
    CHECK(test_key().verify(bytes.subspan(96), bytes.first(96)));
    CHECK(read_answer(packet, Mode::authenticated).question.sequence == 9);
    CHECK(read_answer(packet, Mode::authenticated).receive_time == to_ntp(in_2026_ns));
    CHECK(harness.ask(packet).outcome == StampOutcome::reflected);
}

TEST_CASE("questions without a valid HMAC are refused if it is required, else they are open ones") {
    Harness strict(with_key({.authenticated_only = true}));
    Bytes packet = signed_question(0);
    packet[50] ^= std::byte{1};
    CHECK(strict.ask(packet).outcome == StampOutcome::unauthenticated);
    packet = question_of(0);
    CHECK(strict.ask(packet).outcome == StampOutcome::unauthenticated);
    Harness lenient(with_key());
    packet = question_of(0);
    CHECK(lenient.ask(packet).outcome == StampOutcome::answered);
    packet = signed_question(0);
    CHECK(lenient.ask(packet).outcome == StampOutcome::answered);
    CHECK(read_answer(packet, Mode::authenticated).question.ssid == 0x1234);
}

TEST_CASE("each SSID may have a key of its own") {
    StampPolicy policy;
    policy.authenticated_only = true;
    policy.keys.push_back({.ssid = 0x1234, .key = test_key()});
    policy.keys.push_back({.ssid = {}, .key = Key(from_hex("ffffffffffffffffffffffffffffffff"))});
    Harness harness(std::move(policy));
    Bytes packet = signed_question(0);
    CHECK(harness.ask(packet).outcome == StampOutcome::answered);
    packet = question_of(1, Mode::authenticated);
    write_16(packet, authenticated_layout.ssid, 0x4321);
    sign(packet);
    CHECK(harness.ask(packet).outcome == StampOutcome::unauthenticated);
}

TEST_CASE("an authenticated question is answered once") {
    for (const bool stateful : {true, false}) {
        Harness harness(with_key({.stateful = stateful}));
        const auto ask = [&](uint32_t sequence, uint64_t later_ns) {
            Bytes packet = signed_question(sequence, in_2026_ns + later_ns);
            return harness.ask(packet).outcome;
        };
        CHECK(ask(0, 100) == StampOutcome::answered);
        CHECK(ask(0, 100) == StampOutcome::stale);
        CHECK(ask(2, 300) == StampOutcome::answered);
        CHECK(ask(1, 200) == StampOutcome::answered); // it was overtaken
        CHECK(ask(1, 200) == StampOutcome::stale);
        CHECK(ask(100, 10'000) == StampOutcome::answered);
        CHECK(ask(36, 3'600) == StampOutcome::stale); // too far behind to be known
        CHECK(ask(37, 3'700) == StampOutcome::answered);
        // The sender starts again; its time goes on.
        CHECK(ask(0, 20'000) == StampOutcome::answered);
        CHECK(ask(0, 20'000) == StampOutcome::stale);
        CHECK(ask(100, 10'000) == StampOutcome::stale);
        CHECK(ask(99, 9'900) == StampOutcome::stale); // from before
        CHECK(ask(1, 20'100) == StampOutcome::answered);
    }
}

TEST_CASE("an answer says of the clock what is known, or nothing") {
    for (const auto kind : {StampClock::unknown, StampClock::system})
        for (const bool synchronized : {true, false}) {
            Harness harness({.clock = kind});
            harness.clock.estimate = estimate_of(1'000'000, synchronized, TimeFormat::ntp);
            Bytes packet = question_of(0);
            const Bytes information = from_hex("8003000400000000");
            packet.insert(packet.end(), information.begin(), information.end());
            REQUIRE(harness.ask(packet).outcome == StampOutcome::answered);
            const bool told = kind == StampClock::system;
            CHECK(
                read_answer(packet, Mode::open).error_estimate ==
                (told ? (synchronized ? 0x8f84 : 0x0f84) : 0x3fff));
            CHECK(packet[48] == std::byte(told && synchronized ? 1 : 5)); // NTP, or free-running
        }
}

TEST_CASE("an authenticated question must be recent, if both clocks are synchronized") {
    const auto outcome = [](bool synchronized, uint64_t sent_ns) {
        Harness harness(with_key({.clock = StampClock::system}));
        if (synchronized)
            harness.clock.estimate = estimate_of(1'000'000, true, TimeFormat::ntp);
        Bytes packet = signed_question(0, sent_ns);
        return harness.ask(packet).outcome;
    };
    CHECK(outcome(true, in_2026_ns - 29 * second_ns) == StampOutcome::answered);
    CHECK(outcome(true, in_2026_ns - 31 * second_ns) == StampOutcome::stale);
    CHECK(outcome(true, in_2026_ns + 31 * second_ns) == StampOutcome::stale);
    CHECK(outcome(false, in_2026_ns - 3600 * second_ns) == StampOutcome::answered);
}

TEST_CASE("the DSCP of an answer is the question's, a fixed one, or the one that it may ask for") {
    const auto dscp = [](StampPolicy policy, std::string_view tlvs = "") {
        Harness harness(std::move(policy));
        harness.arrival.traffic_class = 10 << 2 | 2;
        Bytes packet = question_of(0);
        const Bytes tail = from_hex(tlvs);
        packet.insert(packet.end(), tail.begin(), tail.end());
        return int{harness.ask(packet).dscp};
    };
    CHECK(dscp({}) == 10);
    CHECK(dscp({.dscp = 8}) == 8);
    const StampPolicy permits{.dscp = 8, .tlvs = {.dscps = uint64_t{1} << 46}};
    CHECK(dscp(permits, "80040004 b8000000") == 46);
    CHECK(dscp(permits, "80040004 bc000000") == 10); // 47 is not permitted
}

} // namespace riposte::stamp
