// The names of the DSCP, the six bits of an IP header that say how routers should treat a packet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace riposte::client {

inline constexpr uint8_t dscp_max = 63;

/// "ef", "AF11", "cs0", "be"; the names of RFC 2474, 2597, 3246, 5865 and 8622, in any case.
std::optional<uint8_t> parse_dscp_name(std::string_view name);

/// Its name, or the number if it has none. 0 is "be".
std::string dscp_text(uint8_t dscp);

} // namespace riposte::client
