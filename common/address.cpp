// Addresses that are written as numbers never reach the name service: they are read with
// AI_NUMERICHOST first, so that 127.0.0.1 and ::1 work on a host without a network. AI_ADDRCONFIG
// is not used for the same reason: loopback does not count as configured there.

#include "common/address.h"

#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

namespace riposte {
namespace {

/// A copy of the storage as the family's own type: no type punning.
template<class T>
T as(const SocketAddress& address) {
    T specific{};
    static_assert(sizeof specific <= sizeof address.storage);
    std::memcpy(&specific, &address.storage, sizeof specific);
    return specific;
}

template<class T>
SocketAddress from(const T& specific) {
    SocketAddress address;
    static_assert(sizeof specific <= sizeof address.storage);
    std::memcpy(&address.storage, &specific, sizeof specific);
    address.size = sizeof specific;
    return address;
}

std::string ipv4_text(const in_addr& address) {
    char text[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &address, text, sizeof text);
    return text;
}

std::string ipv6_text(const sockaddr_in6& address) {
    if (IN6_IS_ADDR_V4MAPPED(&address.sin6_addr)) {
        in_addr mapped{};
        std::memcpy(&mapped, address.sin6_addr.s6_addr + 12, sizeof mapped);
        return fmt::format("{}:{}", ipv4_text(mapped), ntohs(address.sin6_port));
    }
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof text);
    std::string zone;
    if (address.sin6_scope_id != 0) {
        char name[IF_NAMESIZE] = "";
        zone = if_indextoname(address.sin6_scope_id, name) != nullptr
                   ? fmt::format("%{}", name)
                   : fmt::format("%{}", address.sin6_scope_id);
    }
    return fmt::format("[{}{}]:{}", text, zone, ntohs(address.sin6_port));
}

std::string unix_text(const SocketAddress& address) {
    const auto path_at = offsetof(sockaddr_un, sun_path);
    if (address.size <= path_at)
        return "unix:"; // unnamed
    const auto specific = as<sockaddr_un>(address);
    std::string_view path(
        specific.sun_path, std::min(address.size - path_at, sizeof specific.sun_path));
    if (path.starts_with('\0'))
        return fmt::format("unix:@{}", escape(path.substr(1)));
    return fmt::format("unix:{}", escape(path.substr(0, path.find('\0'))));
}

bool same(const SocketAddress& a, const SocketAddress& b) {
    return a.size == b.size && std::memcmp(&a.storage, &b.storage, a.size) == 0;
}

SocketAddress any_address(Family family, uint16_t port) {
    if (family == Family::ipv4) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        return from(address);
    }
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    return from(address); // in6addr_any is all zeros
}

/// "localhost" and every name below it are loopback, whatever a name service says: RFC 6761, 6.3.
bool is_localhost(std::string host) {
    if (host.ends_with('.'))
        host.pop_back();
    for (char& c : host)
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return host == "localhost" || host.ends_with(".localhost");
}

/// Why getaddrinfo(3) failed. `numeric`: the host is an address, which no name service was asked
/// about.
std::string failure(const std::string& host, Family family, bool numeric, int code, int error) {
    const std::string shown = escape(host, 255);
    if (numeric && family == Family::ipv4 && host.find(':') != std::string::npos)
        return fmt::format("'{}' is not an IPv4 address", shown);
    if (numeric && family == Family::ipv6 && host.find(':') == std::string::npos)
        return fmt::format("'{}' is not an IPv6 address", shown);
    const size_t percent = host.find('%');
    if (numeric && percent != std::string::npos)
        return fmt::format(
            "cannot use '{}': '{}' is not a network interface here, or the address is "
            "not link-local",
            shown, escape(host.substr(percent + 1), 32));
    return fmt::format(
        "cannot resolve '{}': {}", shown,
        code == EAI_SYSTEM ? errno_text(error) : std::string(gai_strerror(code)));
}

} // namespace

uint16_t SocketAddress::port() const {
    if (family() == AF_INET)
        return ntohs(as<sockaddr_in>(*this).sin_port);
    if (family() == AF_INET6)
        return ntohs(as<sockaddr_in6>(*this).sin6_port);
    return 0;
}

std::string to_string(const SocketAddress& address) {
    if (address.size == 0)
        return "(no address)";
    switch (address.family()) {
    case AF_INET: {
        const auto specific = as<sockaddr_in>(address);
        return fmt::format("{}:{}", ipv4_text(specific.sin_addr), ntohs(specific.sin_port));
    }
    case AF_INET6:
        return ipv6_text(as<sockaddr_in6>(address));
    case AF_UNIX:
        return unix_text(address);
    default:
        return fmt::format("(address family {})", address.family());
    }
}

SocketAddress local_address(int fd) {
    SocketAddress address;
    address.size = sizeof address.storage;
    if (getsockname(fd, address.get(), &address.size) != 0)
        return {};
    return address;
}

SocketAddress peer_address(int fd) {
    SocketAddress address;
    address.size = sizeof address.storage;
    if (getpeername(fd, address.get(), &address.size) != 0)
        return {};
    return address;
}

bool is_numeric_host(const std::string& host) {
    in6_addr address{};
    return host.find(':') != std::string::npos || inet_pton(AF_INET, host.c_str(), &address) == 1;
}

std::expected<std::vector<SocketAddress>, std::string> resolve(
    const Endpoint& endpoint, Transport transport, Family family, bool passive) {
    if (endpoint.host == "*")
        return std::vector{any_address(family, endpoint.port)};

    addrinfo hints{};
    hints.ai_family = family == Family::ipv4   ? AF_INET
                      : family == Family::ipv6 ? AF_INET6
                                               : AF_UNSPEC;
    hints.ai_socktype = transport == Transport::tcp ? SOCK_STREAM : SOCK_DGRAM;
    const bool numeric = is_numeric_host(endpoint.host);
    hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0) | (numeric ? AI_NUMERICHOST : 0);
    const std::string service = std::to_string(endpoint.port);
    addrinfo* found = nullptr;
    const bool local = is_localhost(endpoint.host);
    // The hosts file has no final dot, with which the name would be asked for in the DNS.
    const std::string host = local && endpoint.host.ends_with('.')
                                 ? endpoint.host.substr(0, endpoint.host.size() - 1)
                                 : endpoint.host;
    int code = getaddrinfo(host.c_str(), service.c_str(), &hints, &found);
    if (code != 0 && local) {
        // Also where no hosts file says so (a container, a chroot). No name and not passive means
        // loopback to getaddrinfo(3).
        hints.ai_flags &= ~AI_PASSIVE;
        code = getaddrinfo(nullptr, service.c_str(), &hints, &found);
    }
    if (code != 0)
        return std::unexpected(failure(endpoint.host, family, numeric, code, errno));
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);

    std::vector<SocketAddress> addresses;
    for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
        SocketAddress address;
        if (entry->ai_addrlen > sizeof address.storage)
            continue;
        std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
        address.size = entry->ai_addrlen;
        if (std::ranges::none_of(
                addresses, [&](const SocketAddress& other) { return same(address, other); }))
            addresses.push_back(address);
    }
    if (addresses.empty())
        return std::unexpected(
            fmt::format("cannot resolve '{}': it has no address", escape(endpoint.host, 255)));
    return addresses;
}

} // namespace riposte
