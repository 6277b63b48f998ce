// Timestamps and error estimates as STAMP carries them (RFC 8762, section 4.2.1; RFC 4656, section
// 4.1.2).
//
// A timestamp has 64 bits in one of two formats, and the Z bit of the error estimate beside it says
// in which:
//
//   NTP   seconds since 1900-01-01 in the upper 32 bits, 2^-32 s in the lower ones
//   PTP   seconds since 1970-01-01, nanoseconds (the truncated format of IEEE 1588-2008)
//
// Both seconds wrap, NTP's in 2036 for the first time, so a time is read as the one nearest to a
// time that the reader knows.
#pragma once

#include <cstdint>

namespace riposte::stamp {

enum class TimeFormat : uint8_t { ntp, ptp };

/// `unix_ns`: nanoseconds since 1970-01-01, UTC.
uint64_t to_ntp(uint64_t unix_ns);
uint64_t to_ptp(uint64_t unix_ns);

/// The time in nanoseconds since 1970-01-01 that the timestamp stands for, and that is nearest to
/// `near_ns`. A nanosecond's rounding apart, from_timestamp(to_ntp(t)) is t.
uint64_t from_timestamp(uint64_t timestamp, TimeFormat format, uint64_t near_ns);

/// How far the clock of a timestamp may be from UTC, and whether it is synchronized at all.
struct ErrorEstimate {
    bool synchronized = false; ///< S: to UTC, by an external source
    TimeFormat format = TimeFormat::ntp;
    uint8_t scale = 0;      ///< at most scale_max
    uint8_t multiplier = 1; ///< 0 makes the packet invalid

    static constexpr uint8_t scale_max = 63;

    static ErrorEstimate unpack(uint16_t bits);
    uint16_t pack() const;
    /// multiplier * 2^scale * 2^-32 seconds, in nanoseconds; UINT64_MAX if it is more.
    uint64_t error_ns() const;

    bool operator==(const ErrorEstimate&) const = default;
};

/// The smallest estimate that is not below `error_ns`.
ErrorEstimate estimate_of(uint64_t error_ns, bool synchronized, TimeFormat format);

/// Of a clock of which nothing is known: the largest that can be written.
inline constexpr ErrorEstimate unknown_error{
    .synchronized = false,
    .format = TimeFormat::ntp,
    .scale = ErrorEstimate::scale_max,
    .multiplier = 255};

} // namespace riposte::stamp
