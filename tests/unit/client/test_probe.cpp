// The wire format of a probe, and how similar two payloads must be to count as the same.
#include "client/measure/probe.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

using Bytes = std::vector<std::byte>;

Bytes probe(size_t size, const ProbeHeader& header) {
    Bytes bytes(size);
    write_probe(bytes, header);
    return bytes;
}

/// The bytes after the header.
Bytes pattern(size_t size, const ProbeHeader& header) {
    const Bytes bytes = probe(probe_header_bytes + size, header);
    return {bytes.begin() + probe_header_bytes, bytes.end()};
}

std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes) {
        constexpr std::string_view digits = "0123456789abcdef";
        text += digits[std::to_integer<size_t>(byte) >> 4];
        text += digits[std::to_integer<size_t>(byte) & 15];
    }
    return text;
}

const ProbeHeader example{
    .session = 0x01020304, .sequence = 0x1112131415161718, .sent_ns = 0x2122232425262728};

} // namespace

TEST_CASE("a probe's header is magic, session, sequence and time, all big-endian") {
    CHECK(
        hex(probe(24, example)) == "5269506f01020304"
                                   "1112131415161718"
                                   "2122232425262728");
}

TEST_CASE("the pattern is equal on every machine and in every version") {
    CHECK(
        hex(pattern(16, {.session = 1, .sequence = 1, .sent_ns = 5})) ==
        "21a5715431dc4cc7e1a26c101cc38752");
}

TEST_CASE("the pattern does not depend on the time") {
    ProbeHeader later = example;
    later.sent_ns += 1;
    CHECK(hex(pattern(100, example)) == hex(pattern(100, later)));
}

TEST_CASE("a header that was written is read back") {
    for (const size_t size : {24U, 25U, 56U, 65507U})
        CHECK(read_probe_header(probe(size, example)) == example);
    const ProbeHeader extreme{.session = UINT32_MAX, .sequence = UINT64_MAX, .sent_ns = UINT64_MAX};
    CHECK(read_probe_header(probe(24, extreme)) == extreme);
}

TEST_CASE("a header that is incomplete or has another magic is not read") {
    const Bytes bytes = probe(56, example);
    CHECK_FALSE(read_probe_header({}).has_value());
    CHECK_FALSE(read_probe_header(std::span(bytes).first(23)).has_value());
    CHECK(read_probe_header(std::span(bytes).first(24)) == example);
    for (size_t at = 0; at < 4; ++at) {
        Bytes damaged = bytes;
        damaged[at] ^= std::byte{0x20};
        CHECK_FALSE(read_probe_header(damaged).has_value());
    }
}

TEST_CASE("a shorter probe is the beginning of a longer one, and nothing beyond it is touched") {
    const Bytes longest = probe(200, example);
    for (size_t size = probe_header_bytes; size < longest.size(); ++size) {
        Bytes room(longest.size(), std::byte{0xee});
        write_probe(std::span(room).first(size), example);
        const auto end = room.begin() + static_cast<std::ptrdiff_t>(size);
        REQUIRE(std::equal(room.begin(), end, longest.begin()));
        REQUIRE(std::count(end, room.end(), std::byte{0xee}) == room.end() - end);
    }
}

TEST_CASE("two probes differ in more than nine of ten bytes after the header") {
    constexpr size_t size = 1000;
    const auto alike = [](const ProbeHeader& a, const ProbeHeader& b) {
        return matching_bytes(pattern(size, a), pattern(size, b));
    };
    for (const uint32_t session : {0U, 1U, 0x80000000U, UINT32_MAX}) {
        for (const uint64_t sequence : {1U, 2U, 3U, 1000U}) {
            const ProbeHeader one{.session = session, .sequence = sequence, .sent_ns = 0};
            for (const uint64_t distance : {1U, 2U, 7U, 256U, 65536U}) {
                ProbeHeader other = one;
                other.sequence += distance;
                CHECK(alike(one, other) < size / 10);
                other = one;
                other.session += static_cast<uint32_t>(distance);
                CHECK(alike(one, other) < size / 10);
            }
        }
    }
}

TEST_CASE("no probe's pattern is another's pattern shifted") {
    const Bytes one = pattern(1024, {.session = 7, .sequence = 1, .sent_ns = 0});
    const Bytes next = pattern(1024, {.session = 7, .sequence = 2, .sent_ns = 0});
    for (size_t shift = 0; shift < 512; ++shift) {
        REQUIRE_FALSE(resembles(std::span(one).subspan(shift), next));
        REQUIRE_FALSE(resembles(std::span(next).subspan(shift), one));
    }
}

TEST_CASE("every value of a byte comes about equally often in the pattern") {
    std::array<size_t, 256> seen{};
    for (uint64_t sequence = 1; sequence <= 1000; ++sequence) {
        for (const std::byte byte :
             pattern(1024, {.session = 9, .sequence = sequence, .sent_ns = 0}))
            ++seen[std::to_integer<size_t>(byte)];
    }
    // 4000 are expected; with these fixed seeds no count is five standard deviations (63) off.
    CHECK(*std::ranges::min_element(seen) > 4000 - 5 * 63);
    CHECK(*std::ranges::max_element(seen) < 4000 + 5 * 63);
}

TEST_CASE("bytes match at the same place only, over the shorter of the two") {
    const Bytes a = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    const Bytes shifted = {std::byte{2}, std::byte{3}, std::byte{4}};
    const Bytes beginning = {std::byte{1}, std::byte{2}, std::byte{9}};
    CHECK(matching_bytes(a, a) == 4);
    CHECK(matching_bytes(a, shifted) == 0);
    CHECK(matching_bytes(a, beginning) == 2);
    CHECK(matching_bytes(beginning, a) == 2);
    CHECK(matching_bytes(a, {}) == 0);
}

TEST_CASE("more than half of the common bytes make two payloads similar, exactly half do not") {
    const Bytes sent = probe(100, example);
    Bytes answer = sent;
    for (size_t at = 0; at < 49; ++at)
        answer[at * 2] ^= std::byte{1};
    CHECK(resembles(answer, sent));
    answer[98] ^= std::byte{1};
    CHECK_FALSE(resembles(answer, sent));
    answer.push_back(std::byte{0}); // bytes beyond the probe do not count
    CHECK_FALSE(resembles(answer, sent));
    answer[98] = sent[98];
    CHECK(resembles(answer, sent));
}

TEST_CASE("a part of a probe resembles it, however short, but zero bytes resemble nothing") {
    const Bytes sent = probe(56, example);
    for (size_t size = 1; size <= sent.size(); ++size)
        CHECK(resembles(std::span(sent).first(size), sent));
    CHECK_FALSE(resembles({}, sent));
}

TEST_CASE("text and another probe do not resemble a probe") {
    const Bytes sent = probe(56, example);
    const std::string_view hello = "Hello, i'm server!";
    CHECK_FALSE(resembles(std::as_bytes(std::span(hello)), sent));
    CHECK_FALSE(resembles(probe(56, {.session = 2, .sequence = 5, .sent_ns = 77}), sent));
}
