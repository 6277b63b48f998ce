// Gives a socket the shape that PathOptions ask for, before it is bound and connected: the only
// place that does, so that all commands and transports send their packets the same way.
#pragma once

#include "client/options/path_options.h"
#include "common/address.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace riposte::client {

/// An option that this machine does not grant.
struct RefusedOption {
    std::string_view name; ///< "--mark"
    int error;             ///< errno
};

/// Interface, mark, traffic class, hop limit, fragments, and the local address: that of `sources`
/// which has the socket's family, if one has. The first option that cannot be had; nothing if the
/// socket is as it was asked for. Sources (7): socket, ip, ipv6, tcp.
std::optional<RefusedOption> shape_path(
    int fd, int family, bool stream, const PathOptions& path,
    std::span<const SocketAddress> sources);

/// The option as it was given, what happened, and what to do about it: one line.
std::string describe(const RefusedOption& refused, const PathOptions& path);

} // namespace riposte::client
