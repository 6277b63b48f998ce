#include "common/stamp/timestamp.h"

#include <algorithm>

namespace riposte::stamp {

namespace {

constexpr uint64_t ns_per_second = 1'000'000'000;
constexpr uint64_t ntp_seconds_at_1970 = 2'208'988'800;
constexpr uint64_t era_seconds = uint64_t{1} << 32;

/// A product of 32 and 63 bits may need 95.
__extension__ using Wide = unsigned __int128;

} // namespace

uint64_t to_ntp(uint64_t unix_ns) {
    const uint64_t seconds = (unix_ns / ns_per_second + ntp_seconds_at_1970) % era_seconds;
    return seconds << 32 | ((unix_ns % ns_per_second) << 32) / ns_per_second;
}

uint64_t to_ptp(uint64_t unix_ns) {
    return (unix_ns / ns_per_second % era_seconds) << 32 | unix_ns % ns_per_second;
}

uint64_t from_timestamp(uint64_t timestamp, TimeFormat format, uint64_t near_ns) {
    const bool ntp = format == TimeFormat::ntp;
    const uint64_t lower = timestamp & (era_seconds - 1);
    // A fraction that was rounded down by to_ntp() is rounded up here.
    const uint64_t ns =
        ntp ? (lower * ns_per_second + era_seconds - 1) >> 32 : std::min(lower, ns_per_second - 1);
    const uint64_t near_seconds = near_ns / ns_per_second;
    const uint64_t since_1970 =
        ((timestamp >> 32) + era_seconds - (ntp ? ntp_seconds_at_1970 : 0)) % era_seconds;
    uint64_t seconds = near_seconds / era_seconds * era_seconds + since_1970;
    if (seconds > near_seconds && seconds - near_seconds > era_seconds / 2 &&
        seconds >= era_seconds)
        seconds -= era_seconds;
    else if (near_seconds > seconds && near_seconds - seconds > era_seconds / 2)
        seconds += era_seconds;
    return seconds * ns_per_second + ns;
}

ErrorEstimate ErrorEstimate::unpack(uint16_t bits) {
    return {
        .synchronized = (bits & 0x8000) != 0,
        .format = (bits & 0x4000) != 0 ? TimeFormat::ptp : TimeFormat::ntp,
        .scale = static_cast<uint8_t>(bits >> 8 & scale_max),
        .multiplier = static_cast<uint8_t>(bits & 0xff)};
}

uint16_t ErrorEstimate::pack() const {
    return static_cast<uint16_t>(
        (synchronized ? 0x8000 : 0) | (format == TimeFormat::ptp ? 0x4000 : 0) |
        (scale & scale_max) << 8 | multiplier);
}

uint64_t ErrorEstimate::error_ns() const {
    const Wide units = Wide{multiplier} << scale;
    const Wide ns = (units * ns_per_second) >> 32;
    return ns > UINT64_MAX ? UINT64_MAX : static_cast<uint64_t>(ns);
}

ErrorEstimate estimate_of(uint64_t error_ns, bool synchronized, TimeFormat format) {
    Wide units = ((Wide{error_ns} << 32) + ns_per_second - 1) / ns_per_second;
    units = std::max(units, Wide{1});
    uint8_t scale = 0;
    for (; units > 255; ++scale)
        units = (units + 1) >> 1;
    return {
        .synchronized = synchronized,
        .format = format,
        .scale = scale,
        .multiplier = static_cast<uint8_t>(units)};
}

} // namespace riposte::stamp
