// Packets as hexadecimal digits, for tests that name each byte.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace riposte::test {

inline std::string to_hex(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes)
        text += fmt::format("{:02x}", static_cast<unsigned>(byte));
    return text;
}

/// Blanks are ignored; anything else that is no digit is a fault of the test.
inline std::vector<std::byte> from_hex(std::string_view text) {
    std::string digits(text);
    std::erase(digits, ' ');
    REQUIRE(digits.size() % 2 == 0);
    std::vector<std::byte> bytes;
    for (size_t i = 0; i < digits.size(); i += 2) {
        uint8_t byte = 0;
        const char* const end = digits.data() + i + 2;
        REQUIRE(std::from_chars(digits.data() + i, end, byte, 16).ptr == end);
        bytes.push_back(std::byte{byte});
    }
    return bytes;
}

} // namespace riposte::test
