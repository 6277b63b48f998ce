#include "daemon/listen/listen_socket.h"

#include "common/text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

namespace riposte {

namespace {

constexpr int backlog = 4096;                  // net.core.somaxconn limits it further
constexpr int receive_bytes = 8 * 1024 * 1024; // queued datagrams, with the kernel's overhead

template<class T>
T as(const SocketAddress& address) {
    T specific{};
    std::memcpy(&specific, &address.storage, sizeof specific);
    return specific;
}

template<class T>
SocketAddress from(const T& specific) {
    SocketAddress address;
    std::memcpy(&address.storage, &specific, sizeof specific);
    address.size = sizeof specific;
    return address;
}

/// Does any interface have an IPv6 address? See proc_net(5).
bool has_ipv6_address() {
    const Fd table(::open("/proc/net/if_inet6", O_RDONLY | O_CLOEXEC));
    char first = 0;
    return table && ::read(table.get(), &first, 1) == 1;
}

bool is_any(const SocketAddress& address) {
    if (address.family() == AF_INET)
        return as<sockaddr_in>(address).sin_addr.s_addr == htonl(INADDR_ANY);
    const auto specific = as<sockaddr_in6>(address);
    return IN6_IS_ADDR_UNSPECIFIED(&specific.sin6_addr);
}

/// Does `a` include every address of the other's family?
bool covers(const ListenAddress& a, const ListenAddress& other) {
    return is_any(a.address) && (a.dual_stack || a.address.family() == other.address.family());
}

bool set_option(int fd, int level, int name, int value) {
    return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

std::optional<int> get_option(int fd, int level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    if (::getsockopt(fd, level, name, &value, &size) != 0)
        return std::nullopt;
    return value;
}

/// Does a socket bound to `address` reply from the address that the request was sent to? If it is
/// bound to all addresses, or to a broadcast or multicast one, it does not, and needs the
/// destination address from the kernel.
bool replies_from_destination(const SocketAddress& address) {
    if (address.family() == AF_INET) {
        const uint32_t host = ntohl(as<sockaddr_in>(address).sin_addr.s_addr);
        return host != INADDR_ANY && host != INADDR_BROADCAST && !IN_MULTICAST(host);
    }
    const auto specific = as<sockaddr_in6>(address);
    const in6_addr& host = specific.sin6_addr;
    return !IN6_IS_ADDR_UNSPECIFIED(&host) && !IN6_IS_ADDR_MULTICAST(&host) &&
           !IN6_IS_ADDR_V4MAPPED(&host); // ::ffff:0.0.0.0 stands for all of IPv4
}

/// Enlarges the receive buffer. Datagrams wait in the kernel while the worker is busy or does not
/// get the CPU. The default of 208 KiB holds a few hundred small datagrams; a flood fills it in
/// less than a millisecond, and honest datagrams are then lost, too. Only a privileged process may
/// exceed net.core.rmem_max (ReceiveBuffer= in the socket unit); the kernel doubles the requested
/// value (socket(7)).
void enlarge_receive_buffer(int fd) {
    const int current = get_option(fd, SOL_SOCKET, SO_RCVBUF).value_or(0);
    if (current < 2 * receive_bytes && !set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, receive_bytes) &&
        current < receive_bytes)
        set_option(fd, SOL_SOCKET, SO_RCVBUF, receive_bytes);
}

/// Sets the options that a worker relies on, for bound and inherited sockets. False: see errno.
bool set_options(int fd, const SocketAddress& address, Transport transport) {
    if (transport == Transport::tcp) // accepted sockets inherit both
        return set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&
               set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1); // urgent data is data (RFC 6093)
    set_option(fd, SOL_UDP, UDP_GRO, 1); // a kernel without it delivers datagrams one by one
    // The kernel then refuses replies to broadcast addresses; it alone knows them all.
    set_option(fd, SOL_SOCKET, SO_BROADCAST, 0);
    enlarge_receive_buffer(fd);
    // On a dual-stack socket the IPv6 control message has IPv4 destinations, too, v4-mapped; only
    // the IPv4 message shows whether the destination is a group's address.
    const int report = replies_from_destination(address) ? 0 : 1;
    return set_option(fd, IPPROTO_IP, IP_PKTINFO, report) &&
           (address.family() != AF_INET6 || set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, report));
}

/// Sets all options that must be set before bind(2). False: see errno.
bool set_bind_options(int fd, const ListenAddress& address, bool reuse_port) {
    // SO_REUSEADDR: a restart need not wait until old connections leave TIME_WAIT. On UDP it would
    // instead let another process share the port.
    if (address.transport == Transport::tcp && !set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1))
        return false;
    if (reuse_port && !set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1))
        return false;
    if (address.address.family() == AF_INET6 &&
        !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, address.dual_stack ? 0 : 1))
        return false;
    return set_options(fd, address.address, address.transport);
}

std::unexpected<Error> refuse(int fd, std::string_view name, std::string_view why) {
    return fail(Exit::config, fmt::format("inherited socket {} '{}': {}", fd, escape(name), why));
}

Result<Transport> inherited_transport(int fd, std::string_view name) {
    const auto type = get_option(fd, SOL_SOCKET, SO_TYPE);
    const auto family = get_option(fd, SOL_SOCKET, SO_DOMAIN);
    if (!type || !family)
        return refuse(fd, name, "not a socket");
    if (*family == AF_UNIX)
        return refuse(fd, name, "an AF_UNIX socket; services answer over IPv4 and IPv6 only");
    if (*family != AF_INET && *family != AF_INET6)
        return refuse(
            fd, name,
            fmt::format("address family {}; services answer over IPv4 and IPv6 only", *family));
    if (*type == SOCK_DGRAM)
        return Transport::udp;
    if (*type != SOCK_STREAM)
        return refuse(
            fd, name,
            fmt::format("socket type {}; services answer on streams and datagrams only", *type));
    if (get_option(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1)
        return refuse(fd, name, "a stream that does not listen (a socket unit needs Accept=no)");
    return Transport::tcp;
}

std::optional<ServiceKind> service_of_name(std::string_view name) {
    constexpr std::array<std::string_view, 4> unnamed{"", "unknown", "riposted", "riposted.socket"};
    if (std::ranges::find(unnamed, name) != unnamed.end())
        return ServiceKind::hello;
    constexpr std::string_view prefix = "riposted-";
    constexpr std::string_view suffix = ".socket";
    if (name.starts_with(prefix) && name.ends_with(suffix)) {
        name.remove_prefix(prefix.size());
        name.remove_suffix(suffix.size());
    }
    return parse_service(name);
}

} // namespace

std::string to_string(const ListenAddress& address) {
    if (address.dual_stack)
        return fmt::format("{}://*:{}", to_string(address.transport), address.address.port());
    return fmt::format("{}://{}", to_string(address.transport), to_string(address.address));
}

bool overlap(const ListenAddress& a, const ListenAddress& b) {
    if (a.transport != b.transport || a.address.port() != b.address.port())
        return false;
    return covers(a, b) || covers(b, a) || to_string(a.address) == to_string(b.address);
}

SocketAddress with_port(const SocketAddress& address, uint16_t port) {
    if (address.family() == AF_INET) {
        auto specific = as<sockaddr_in>(address);
        specific.sin_port = htons(port);
        return from(specific);
    }
    auto specific = as<sockaddr_in6>(address);
    specific.sin6_port = htons(port);
    return from(specific);
}

SocketAddress any_ipv4(uint16_t port) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(port);
    return from(any);
}

bool lacks_ipv6(int error, const SocketAddress& address) {
    if (address.family() != AF_INET6)
        return false;
    if (error == EAFNOSUPPORT)
        return true;
    if (error != EADDRNOTAVAIL)
        return false;
    const auto specific = as<sockaddr_in6>(address);
    return IN6_IS_ADDR_LOOPBACK(&specific.sin6_addr) || !has_ipv6_address();
}

Reason ipv6_missing(int error, std::string_view consequence) {
    return {
        .token = errno_name(error),
        .text = fmt::format("no IPv6 here ({}): {}", errno_text(error), consequence)};
}

void accept_with_first_bytes(int fd, bool defer) {
    constexpr int seconds = 1;
    set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, defer ? seconds : 0); // optional: it may fail
}

void measure_datagrams(int fd, const SocketAddress& address, bool on) {
    constexpr int system_default = -1;
    const int flag = on ? 1 : 0;
    const int report = on || !replies_from_destination(address) ? 1 : 0;
    const int ttl = on ? 255 : system_default;
    set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, flag);
    if (!on)
        set_option(fd, SOL_SOCKET, SO_TIMESTAMPING, 0); // see transmit_times.h
    set_option(fd, SOL_UDP, UDP_GRO, on ? 0 : 1);
    set_option(fd, IPPROTO_IP, IP_PKTINFO, report);
    set_option(fd, IPPROTO_IP, IP_RECVTTL, flag);
    set_option(fd, IPPROTO_IP, IP_RECVTOS, flag);
    set_option(fd, IPPROTO_IP, IP_TTL, ttl);
    if (address.family() != AF_INET6)
        return;
    set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, report);
    set_option(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, flag);
    set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, flag);
    set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl);
}

std::expected<Fd, int> bind_socket(const ListenAddress& address, bool reuse_port) {
    const int type = address.transport == Transport::tcp ? SOCK_STREAM : SOCK_DGRAM;
    Fd fd(::socket(address.address.family(), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd)
        return std::unexpected(errno);
    if (!set_bind_options(fd.get(), address, reuse_port))
        return std::unexpected(errno);
    if (::bind(fd.get(), address.address.get(), address.address.size) != 0)
        return std::unexpected(errno);
    if (address.transport == Transport::tcp && ::listen(fd.get(), backlog) != 0)
        return std::unexpected(errno);
    return fd;
}

Error bind_error(int error, const ListenAddress& address) {
    const uint16_t port = address.address.port();
    switch (error) {
    case EADDRINUSE:
        return {
            Exit::os, fmt::format(
                          "address already in use; another process holds the port "
                          "(ss -l{}np 'sport = {}' shows it)",
                          address.transport == Transport::tcp ? 't' : 'u', port)};
    case EACCES:
    case EPERM:
        if (port == 0 || port >= 1024)
            return {Exit::permission, "permission denied"};
        return {
            Exit::permission,
            "permission denied; ports below 1024 are privileged: grant CAP_NET_BIND_SERVICE, "
            "use a port from 1024 up, or let systemd pass the socket (socket activation)"};
    case EADDRNOTAVAIL:
        return {
            Exit::os,
            "address not available: no network interface has it ('ip address' lists the addresses "
            "of this host)"};
    case EAFNOSUPPORT:
        return {Exit::os, "address family not supported by this system"};
    case EMFILE:
        return {Exit::os, "too many open files: raise LimitNOFILE= (ulimit -n)"};
    case EINVAL:
        return {
            Exit::os,
            "not an address to listen on (a link-local one needs its zone: [fe80::1%eth0])"};
    default:
        return {Exit::os, errno_text(error)};
    }
}

Result<ListenAddress> prepare_inherited(int fd, std::string_view name) {
    const auto transport = inherited_transport(fd, name);
    if (!transport)
        return std::unexpected(transport.error());
    ListenAddress address{*transport, local_address(fd), false};
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        ::fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || !set_options(fd, address.address, *transport))
        return fail(
            Exit::os, fmt::format(
                          "inherited socket {} '{}': cannot set its options: {}", fd, escape(name),
                          errno_text(errno)));
    if (*transport == Transport::udp) { // ICMP errors would end streams
        set_option(fd, IPPROTO_IP, IP_RECVERR, 0);
        if (address.address.family() == AF_INET6)
            set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 0);
    }
    address.dual_stack = address.address.family() == AF_INET6 && is_any(address.address) &&
                         get_option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0;
    return address;
}

Result<ServiceKind> inherited_service(int fd, std::string_view name) {
    if (const auto kind = service_of_name(name))
        return *kind;
    std::vector<std::string_view> names(service_names().begin(), service_names().end());
    names.emplace_back("metrics"); // valid, but such sockets do not get here (http_sockets.h)
    const std::string_view near = nearest(name, names);
    return refuse(
        fd, name,
        fmt::format(
            "no such service{}; FileDescriptorName= must be one of {}",
            near.empty() ? "" : fmt::format(", did you mean '{}'?", near), fmt::join(names, ", ")));
}

} // namespace riposte
