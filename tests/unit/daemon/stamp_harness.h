// A reflector with all that it needs, and questions for it.
//
// In the namespace whose names it uses, because other tests of this program have a Key and an
// Answer as well.
#pragma once

#include "common/stamp/packet.h"
#include "daemon/services/stamp_reflector.h"
#include "tests/support/hex.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>

namespace riposte::stamp {

using test::from_hex;
using test::to_hex;

inline constexpr uint64_t second_ns = 1'000'000'000;
inline constexpr uint64_t in_2026_ns = 1'796'000'000 * second_ns;
inline constexpr HashSecret secret{1, 2};

using Bytes = std::vector<std::byte>;

inline SocketAddress address_of(const char* host, uint16_t port) {
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
    ErrorEstimate estimate = unknown_error;
    uint64_t now_ns() const noexcept override { return ns; }
    ErrorEstimate error_estimate() const noexcept override { return estimate; }
};

inline Key test_key() {
    return Key(from_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"));
}

inline StampPolicy with_key(StampPolicy policy = {}) {
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

inline Bytes question_of(
    uint32_t sequence, Mode mode = Mode::open, uint64_t sent_ns = in_2026_ns - 500) {
    Bytes packet(layout_of(mode).bytes);
    write_question(
        packet, mode,
        {.sequence = sequence, .time = to_ntp(sent_ns), .error_estimate = 0x8587, .ssid = 0x1234});
    return packet;
}

inline void sign(Bytes& packet) {
    const std::span bytes(packet);
    std::ranges::copy(test_key().sign(bytes.first(96)), bytes.subspan(96).begin());
}

inline Bytes signed_question(uint32_t sequence, uint64_t sent_ns = in_2026_ns - 500) {
    Bytes packet = question_of(sequence, Mode::authenticated, sent_ns);
    sign(packet);
    return packet;
}

inline Bytes question_with(std::string_view tlvs) {
    Bytes packet = question_of(0);
    const Bytes tail = from_hex(tlvs);
    packet.insert(packet.end(), tail.begin(), tail.end());
    return packet;
}

inline StampReply ask_with(Harness& harness, std::string_view tlvs) {
    Bytes packet = question_with(tlvs);
    return harness.ask(packet);
}

/// The TLVs of the answer to a question with these TLVs.
inline std::string tlvs_of(Harness& harness, std::string_view tlvs) {
    Bytes packet = question_with(tlvs);
    const size_t size = packet.size();
    const StampReply reply = harness.ask(packet);
    if (reply.outcome != StampOutcome::answered)
        return "no answer";
    CHECK(reply.size == size);
    return to_hex(std::span(packet).subspan(open_layout.bytes));
}

} // namespace riposte::stamp
