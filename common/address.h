// Socket addresses: resolving an endpoint, and printing what the kernel gave.
#pragma once

#include "common/endpoint.h"

#include <expected>
#include <string>
#include <vector>

#include <sys/socket.h>

namespace riposte {

/// An IPv4 or IPv6 (or, inherited, any other) socket address with its length.
struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    int family() const { return storage.ss_family; }
    uint16_t port() const; ///< host byte order; 0 for a family without ports
};

/// "127.0.0.1:7001", "[::1]:7001", "[fe80::1%eth0]:7001"; v4-mapped addresses print as IPv4.
std::string to_string(const SocketAddress& address);

/// The address that `fd` is bound to, or its peer's; size 0 where the kernel gives none.
SocketAddress local_address(int fd);
SocketAddress peer_address(int fd);

enum class Family : uint8_t { any, ipv4, ipv6 };

/// Is it written as an address? Then resolve() asks no name service about it.
bool is_numeric_host(const std::string& host);

/// Every address of the endpoint, in getaddrinfo(3)'s order, without duplicates. `*` is [::] (the
/// caller makes it dual stack). The error is one line that names the host and what went wrong.
std::expected<std::vector<SocketAddress>, std::string> resolve(
    const Endpoint& endpoint, Transport transport, Family family, bool passive);

} // namespace riposte
