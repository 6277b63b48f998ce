#include "common/stamp/packet.h"
#include "daemon/services/stamp_reflector.h"
#include "tests/support/hex.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

// In the namespace whose names it uses, because other tests of this program have a Key and an
// Answer as well.
namespace riposte::stamp {
namespace {

using test::from_hex;
using test::to_hex;

constexpr uint64_t second_ns = 1'000'000'000;
constexpr uint64_t in_2026_ns = 1'796'000'000 * second_ns;
constexpr HashSecret secret{1, 2};

using Bytes = std::vector<std::byte>;

SocketAddress address_of(const char* host, uint16_t port) {
    SocketAddress address;
    if (std::string_view(host).find(':') == std::string_view::npos) {
        sockaddr_in ipv4{
            .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
        inet_pton(AF_INET, host, &ipv4.sin_addr);
        std::memcpy(&address.storage, &ipv4, sizeof(ipv4));
        address.size = sizeof(ipv4);
    } else {
        sockaddr_in6 ipv6{};
        ipv6.sin6_family = AF_INET6;
        ipv6.sin6_port = htons(port);
        inet_pton(AF_INET6, host, &ipv6.sin6_addr);
        std::memcpy(&address.storage, &ipv6, sizeof(ipv6));
        address.size = sizeof(ipv6);
    }
    return address;
}

struct Clock final : WallClock {
    uint64_t ns = in_2026_ns;
    uint64_t now_ns() const noexcept override { return ns; }
};

Key test_key() {
    return Key(from_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"));
}

StampPolicy with_key(StampPolicy policy = {}) {
    policy.keys.push_back({.ssid = {}, .key = test_key()});
    return policy;
}

/// A reflector with its clock and its sessions, and a sender's address.
struct Harness {
    explicit Harness(StampPolicy policy = {}, uint32_t sessions_max = 64)
        : reflector(std::move(policy)), sessions(sessions_max, secret) {
        clock.ns = in_2026_ns + 1000;
    }

    StampReply ask(Bytes& packet, size_t room = 0) {
        const size_t size = packet.size();
        packet.resize(std::max(size, room));
        const StampReply reply = reflector.reflect(
            {.buffer = packet, .size = size, .arrival = arrival, .now_ms = now_ms}, sessions,
            clock);
        packet.resize(reply.outcome == StampOutcome::answered ? reply.size : size);
        return reply;
    }

    StampReflector reflector;
    StampSessions sessions;
    Clock clock;
    DatagramArrival arrival{
        .peer = address_of("192.0.2.1", 41000),
        .local = address_of("198.51.100.7", 862),
        .received_ns = in_2026_ns,
        .ttl = 61,
        .traffic_class = 0};
    uint64_t now_ms = 1;
};

Bytes question_of(uint32_t sequence, Mode mode = Mode::open, uint64_t sent_ns = in_2026_ns - 500) {
    Bytes packet(layout_of(mode).bytes);
    write_question(
        packet, mode,
        {.sequence = sequence, .time = to_ntp(sent_ns), .error_estimate = 0x8587, .ssid = 0x1234});
    return packet;
}

void sign(Bytes& packet) {
    const std::span bytes(packet);
    std::ranges::copy(test_key().sign(bytes.first(96)), bytes.subspan(96).begin());
}

Bytes signed_question(uint32_t sequence, uint64_t sent_ns = in_2026_ns - 500) {
    Bytes packet = question_of(sequence, Mode::authenticated, sent_ns);
    sign(packet);
    return packet;
}

/// The TLVs of the answer to a question with these TLVs.
std::string tlvs_of(Harness& harness, std::string_view tlvs) {
    Bytes packet = question_of(0);
    const Bytes tail = from_hex(tlvs);
    packet.insert(packet.end(), tail.begin(), tail.end());
    const size_t size = packet.size();
    const StampReply reply = harness.ask(packet);
    if (reply.outcome != StampOutcome::answered)
        return "no answer";
    CHECK(reply.size == size);
    return to_hex(std::span(packet).subspan(open_layout.bytes));
}

} // namespace

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

TEST_CASE("an authenticated question must be recent, if both clocks are synchronized") {
    const auto outcome = [](bool synchronized, uint64_t sent_ns) {
        StampPolicy policy = with_key();
        if (synchronized)
            policy.error_estimate = estimate_of(1'000'000, true, TimeFormat::ntp);
        Harness harness(std::move(policy));
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

TEST_CASE("TLVs: what is understood, what is not, and what is malformed") {
    Harness harness({.tlvs = {.dscps = uint64_t{1} << 46}});
    harness.arrival.traffic_class = 10 << 2 | 2;
    CHECK(tlvs_of(harness, "80010003 aabbcc") == "00010003aabbcc");
    CHECK(tlvs_of(harness, "80030004 00000000") == "0003000405020502");
    CHECK(tlvs_of(harness, "80030003 000000") == "40030003000000");
    CHECK(tlvs_of(harness, "80040004 b8000000") == "00040004b8a80000");
    CHECK(tlvs_of(harness, "80040004 bc000000") == "00040004bca90000");
    CHECK(tlvs_of(harness, "80040003 b80000") == "40040003b80000");
    CHECK(tlvs_of(harness, "8006000400010100") == "8006000400010100");
    CHECK(tlvs_of(harness, "80080010" + std::string(32, '1')) == "80080010" + std::string(32, '1'));
    CHECK(tlvs_of(harness, "80090004 01020304") == "8009000401020304");
    CHECK(tlvs_of(harness, "800c0008 0000000000000000") == "800c00080000000000000000");
    CHECK(tlvs_of(harness, "80fe0004 00000001") == "80fe000400000001");
    // A bad one ends the list: what follows is copied.
    CHECK(tlvs_of(harness, "80010001 aa 80010009 bb 80010000") == "00010001aa40010009bb80010000");
    CHECK(tlvs_of(harness, "80010000 80") == "0001000080");
    CHECK(tlvs_of(harness, "00000000 80010000") == "0000000080010000");
}

TEST_CASE("Direct Measurement and Follow-Up report the session's counts") {
    Harness harness;
    CHECK(
        tlvs_of(harness, "8005000c 00000009 00000000 00000000") ==
        "0005000c000000090000000100000001");
    CHECK(
        tlvs_of(harness, "8005000c 00000009 00000000 00000000") ==
        "0005000c000000090000000200000002");
    CHECK(tlvs_of(harness, "8005000b 0000000900000000000000") == "4005000b0000000900000000000000");
    const std::string sent = fmt::format("{:016x}", to_ntp(harness.clock.ns));
    harness.clock.ns += 5;
    CHECK(
        tlvs_of(harness, "80070010" + std::string(32, '0')) == "00070010"
                                                               "00000002" +
                                                                   sent + "02000000");
    CHECK(tlvs_of(harness, "8007000f" + std::string(30, '7')) == "4007000f" + std::string(30, '0'));

    Harness stateless({.stateful = false});
    CHECK(
        tlvs_of(stateless, "8005000c 00000009 00000000 00000000") ==
        "8005000c000000090000000000000000");
    CHECK(
        tlvs_of(stateless, "80070010" + std::string(32, '0')) == "00070010" + std::string(32, '0'));
}

TEST_CASE("Location reports what the policy permits, in as many bytes") {
    const std::string asked = "8002002c 00000000"
                              "80070010" +
                              std::string(32, '0') + "80040010" + std::string(32, '0');
    Harness none;
    CHECK(tlvs_of(none, asked) == "8002002c00000000" + asked.substr(17));
    Harness source({.tlvs = {.location = StampLocation::source}});
    CHECK(
        tlvs_of(source, asked) == "0002002c0000a028"
                                  "00080010c0000201" +
                                      std::string(24, '0') + "00040010" + std::string(32, '0'));
    Harness all({.tlvs = {.location = StampLocation::all}});
    CHECK(
        tlvs_of(all, asked) == "0002002c035ea028"
                               "00080010c0000201" +
                                   std::string(24, '0') + "00050010c6336407" +
                                   std::string(24, '0'));
    CHECK(
        tlvs_of(all, "80020010 00000000 80010008 0000000000000000") ==
        "00020010035ea028000300080000000000000000");
    all.arrival.peer = address_of("2001:db8::1", 41000);
    CHECK(
        tlvs_of(all, "80020018 00000000 80070010" + std::string(32, '0')) ==
        "00020018035ea0280009001020010db8000000000000000000000001");
    CHECK(tlvs_of(all, "80020003 000000") == "40020003000000");
    CHECK(tlvs_of(all, "80020008 00000000 80070004") == "00020008035ea02840070004");
}

TEST_CASE("a sender that asks for no reply gets none, and return paths are not taken") {
    Harness harness;
    CHECK(tlvs_of(harness, "800a0008 80010004 00000000") == "no answer");
    CHECK(tlvs_of(harness, "800a0008 80010004 00000001") == "800a00088001000400000001");
    CHECK(tlvs_of(harness, "800a0008 80020004 c0000201") == "800a000880020004c0000201");
}

TEST_CASE("the HMAC of the TLVs is verified, and computed anew") {
    const auto ask = [](std::string_view tlvs, bool authenticated) {
        Harness harness(with_key());
        Bytes packet = authenticated ? signed_question(7) : question_of(7);
        const size_t base = packet.size();
        const Bytes tail = from_hex(tlvs);
        packet.insert(packet.end(), tail.begin(), tail.end());
        CHECK(harness.ask(packet).outcome == StampOutcome::answered);
        return to_hex(std::span(packet).subspan(base));
    };
    const auto signature = [](uint32_t sequence, std::string_view tlvs) {
        Bytes number(4);
        write_32(number, 0, sequence);
        return to_hex(test_key().sign(number, from_hex(tlvs)));
    };
    const std::string asked = "80030004 00000000";
    const std::string answered = "0003000405020502";
    for (const bool authenticated : {true, false}) {
        const std::string right = "80080010" + signature(7, asked);
        CHECK(ask(asked + right, authenticated) == answered + "00080010" + signature(0, answered));
        CHECK(
            ask(asked + right + "80010002aabb", authenticated) ==
            answered + "00080010" + signature(0, answered) + "00010002aabb");
        const std::string wrong = "80080010" + signature(8, asked);
        CHECK(
            ask(asked + wrong, authenticated) == "a003000400000000"
                                                 "a0" +
                                                     wrong.substr(2));
        CHECK(
            ask(right + asked, authenticated) ==
            "a0" + right.substr(2) + "a003000400000000"); // misplaced
    }
    CHECK(ask("80010002aabb", true) == "00010002aabb");
    CHECK(ask(asked, true) == "a003000400000000"); // it must be there
    CHECK(ask(asked, false) == answered);
}

} // namespace riposte::stamp
