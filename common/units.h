// Quantities with units, as written in configuration and on command lines.
//
//     duration = number [ms|s|m|h]     a bare number is seconds: "250ms", "10s", "2m", "1.5"
//     size     = number [B|KiB|MiB|GiB] a bare number is bytes:  "64KiB"
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace riposte {

/// Milliseconds; the error says what was read and what would be right. Negative, empty, not a
/// number, unknown unit, finer than a millisecond or above 2^31-1 ms are refused.
std::expected<uint32_t, std::string> parse_duration_ms(std::string_view text);

/// The shortest spelling that parse_duration_ms() reads back: "250ms", "10s", "2m".
std::string format_duration(uint32_t milliseconds);

/// Bytes. Negative, empty, not a number, unknown unit, fractions of a byte or above 2^40 refused.
std::expected<uint64_t, std::string> parse_size(std::string_view text);

} // namespace riposte
