// Quantities with units, as written in configuration and on command lines.
//
//     duration = number [ns|us|ms|s|m|h] a bare number is seconds: "250ms", "10s", "2m", "1.5"
//     size     = number [B|KiB|MiB|GiB] a bare number is bytes:  "64KiB"
//
// Microseconds (us) and nanoseconds (ns) are for measuring alone: a wait in milliseconds knows no
// such unit.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace riposte {

/// Milliseconds; the error says what was read and what would be correct. Negative, empty, not a
/// number, unknown unit, finer than a millisecond or above 2^31-1 ms are refused.
std::expected<uint32_t, std::string> parse_duration_ms(std::string_view text);

/// The shortest spelling that parse_duration_ms() reads back: "250ms", "10s", "2m".
std::string format_duration(uint32_t milliseconds);

/// Microseconds; as parse_duration_ms(), with the unit us. Finer than a microsecond is refused.
std::expected<uint64_t, std::string> parse_duration_us(std::string_view text);

/// Nanoseconds; as parse_duration_us(), with the unit ns. Finer than a nanosecond is refused.
std::expected<uint64_t, std::string> parse_duration_ns(std::string_view text);

/// The shortest spelling that parse_duration_us() reads back: "200us", "1500us", "10ms", "2m".
std::string format_duration_us(uint64_t microseconds);

/// Bytes. Negative, empty, not a number, unknown unit, fractions of a byte or above 2^40 refused.
std::expected<uint64_t, std::string> parse_size(std::string_view text);

/// The shortest spelling that parse_size() reads back: "64KiB", "8MiB", "1500".
std::string format_size(uint64_t bytes);

/// A number without a unit: digits, and perhaps a point and more digits. No sign, no exponent.
std::optional<double> parse_decimal(std::string_view text);

} // namespace riposte
