// Where the packets of a command go, and how they are marked: the options that ping, load and send
// share. client/net/path_shape.h gives a socket this shape.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace riposte::client {

/// What is absent or empty is as the kernel chooses it.
struct PathOptions {
    std::string interface;        ///< its name, or that of a VRF
    std::string source;           ///< a local address, without brackets
    uint16_t source_port = 0;     ///< host byte order; 0: the kernel chooses
    std::optional<uint32_t> mark; ///< SO_MARK, for policy routing and firewalls
    std::optional<uint8_t> dscp;  ///< RFC 2474, 0 to 63
    std::optional<uint8_t> ttl;   ///< IPv4 time to live, IPv6 hop limit; at least 1
    bool df = false;              ///< UDP: no fragments

    bool operator==(const PathOptions&) const = default;
};

} // namespace riposte::client
