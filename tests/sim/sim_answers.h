// The correct reply of each service, implemented a second time, from the RFCs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <time.h>

namespace riposte::sim {

/// Byte `at` of what client `number` sends: a long period, and another one for each client.
inline std::byte sent_byte(uint64_t number, uint64_t at) {
    return static_cast<std::byte>((at * 131 + at / 251 * 17 + number * 29 + 7) & 0xff);
}

/// RFC 864: lines of 72 of the 95 printable characters, each starting one character later.
inline std::byte chargen_byte(uint64_t at) {
    const uint64_t column = at % 74;
    if (column >= 72)
        return static_cast<std::byte>(column == 72 ? '\r' : '\n');
    return static_cast<std::byte>(' ' + (at / 74 + column) % 95);
}

/// RFC 867 in the form of our manual page.
inline std::string daytime_line(int64_t wall_seconds) {
    const time_t now = wall_seconds;
    tm utc{};
    gmtime_r(&now, &utc);
    char day[64];
    char clock[64];
    const size_t day_size = strftime(day, sizeof day, "%A, %B ", &utc);
    const size_t clock_size = strftime(clock, sizeof clock, ", %Y %H:%M:%S-UTC\r\n", &utc);
    return std::string(day, day_size) + std::to_string(utc.tm_mday) +
           std::string(clock, clock_size);
}

/// RFC 868: seconds since 1900, big-endian.
inline std::string time_bytes(int64_t wall_seconds) {
    const auto seconds = static_cast<uint32_t>(wall_seconds + 2'208'988'800);
    std::string bytes;
    for (const unsigned shift : {24U, 16U, 8U, 0U})
        bytes += static_cast<char>(seconds >> shift & 0xff);
    return bytes;
}

inline std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

} // namespace riposte::sim
