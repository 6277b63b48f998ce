// From the time to live that is left of a packet to the routers on its way.
#pragma once

#include "client/measure/reply_headers.h"

#include <cstdint>
#include <optional>

namespace riposte::client {

/// How many routers packets passed, at least and at most.
struct Hops {
    uint8_t least = 0;
    uint8_t most = 0;
    uint64_t changes = 0;
};

/// The time to live that most systems send with, and that is not below `ttl`. No way is as long as
/// the numbers are apart.
constexpr uint8_t initial_ttl(uint8_t ttl) {
    for (const uint8_t usual : {uint8_t{64}, uint8_t{128}})
        if (ttl <= usual)
            return usual;
    return 255;
}

/// Of packets that were sent with the time to live `sent`; absent: as initial_ttl() says.
inline std::optional<Hops> hops_of(const ReplyHeaders& headers, std::optional<uint8_t> sent) {
    const std::optional<uint8_t> lowest = headers.ttl_min();
    const std::optional<uint8_t> highest = headers.ttl_max();
    if (!lowest || !highest)
        return std::nullopt;
    const uint8_t initial = sent.value_or(initial_ttl(*highest));
    if (*highest > initial)
        return std::nullopt; // the far end does not tell the truth
    return Hops{
        .least = static_cast<uint8_t>(initial - *highest),
        .most = static_cast<uint8_t>(initial - *lowest),
        .changes = headers.ttl_changes()};
}

} // namespace riposte::client
