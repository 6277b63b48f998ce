#include "client/net/path_shape.h"

#include "client/net/path_mtu.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

constexpr std::string_view interface_option = "--interface";
constexpr std::string_view source_option = "--source";
constexpr std::string_view mark_option = "--mark";
constexpr std::string_view dscp_option = "--dscp";
constexpr std::string_view ttl_option = "--ttl";
constexpr uint16_t privileged_ports = 1024;

/// 0 or errno.
int set(int fd, int level, int name, int value) {
    return ::setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? errno : 0;
}

/// For what an IPv6 socket sends as IPv4, when it is connected to a mapped address, too.
int set_both(int fd, int family, int name4, int name6, int value) {
    const int error4 = set(fd, IPPROTO_IP, name4, value);
    return family == AF_INET6 ? set(fd, IPPROTO_IPV6, name6, value) : error4;
}

int bind_interface(int fd, const std::string& name) {
    const auto size = static_cast<socklen_t>(name.size());
    return ::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name.data(), size) < 0 ? errno : 0;
}

int bind_source(int fd, int family, bool stream, std::span<const SocketAddress> sources) {
    const auto source = std::ranges::find(sources, family, &SocketAddress::family);
    if (source == sources.end())
        return 0;
    if (source->port() == 0) {
        // The port is chosen by connect(2), when the peer is known: one port then serves many.
        set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    } else if (stream) {
        // The port may serve connections to other peers, and one that has ended holds it for a
        // minute (TIME_WAIT): the kernel compares both ends only if all share the port. A reset
        // instead of a farewell leaves none of ours behind.
        set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        const linger reset{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    return ::bind(fd, source->get(), source->size) < 0 ? errno : 0;
}

std::string source_text(const PathOptions& path) {
    if (path.source_port == 0)
        return path.source;
    const bool brackets = path.source.find(':') != std::string::npos;
    return fmt::format(
        "{}{}{}:{}", brackets ? "[" : "", path.source, brackets ? "]" : "", path.source_port);
}

std::string describe_source(int error, const PathOptions& path) {
    if (error == EADDRNOTAVAIL)
        return "; it is not an address of this machine: `ip address` lists those";
    if (error == EADDRINUSE)
        return fmt::format(
            "; another socket has port {0}: choose another port (`ss -anp sport = {0}` shows whose "
            "it is)",
            path.source_port);
    if (error == EACCES && path.source_port < privileged_ports)
        return "; ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one, or run riposte "
               "with sudo";
    return "";
}

} // namespace

std::optional<RefusedOption> shape_path(
    int fd, int family, bool stream, const PathOptions& path,
    std::span<const SocketAddress> sources) {
    const auto refuses = [](int error, std::string_view name) {
        return error == 0 ? std::nullopt
                          : std::optional(RefusedOption{.name = name, .error = error});
    };
    if (!path.interface.empty())
        if (auto refused = refuses(bind_interface(fd, path.interface), interface_option))
            return refused;
    if (path.mark)
        if (auto refused =
                refuses(set(fd, SOL_SOCKET, SO_MARK, static_cast<int>(*path.mark)), mark_option))
            return refused;
    if (path.dscp) {
        const int traffic_class = *path.dscp << 2; // the two bits of ECN stay 0 (RFC 3168)
        if (auto refused =
                refuses(set_both(fd, family, IP_TOS, IPV6_TCLASS, traffic_class), dscp_option))
            return refused;
    }
    if (path.ttl)
        if (auto refused =
                refuses(set_both(fd, family, IP_TTL, IPV6_UNICAST_HOPS, *path.ttl), ttl_option))
            return refused;
    if (path.df && !stream)
        forbid_fragments(fd, family);
    return refuses(bind_source(fd, family, stream, sources), source_option);
}

std::string describe(const RefusedOption& refused, const PathOptions& path) {
    std::string value;
    std::string advice;
    if (refused.name == interface_option) {
        value = escape(path.interface);
        if (refused.error == ENODEV)
            return fmt::format(
                "--interface {}: no such interface on this machine; `ip link` lists the interfaces",
                value);
        if (refused.error == EPERM)
            advice =
                "; on this kernel it needs CAP_NET_RAW: run riposte with sudo, or give it that "
                "capability: setcap cap_net_raw+ep";
    } else if (refused.name == mark_option) {
        value = fmt::format("{}", path.mark.value_or(0));
        if (refused.error == EPERM)
            advice = "; it needs CAP_NET_ADMIN: run riposte with sudo, or give it that capability: "
                     "setcap cap_net_admin+ep";
    } else if (refused.name == source_option) {
        value = source_text(path);
        advice = describe_source(refused.error, path);
    } else {
        value = fmt::format(
            "{}", refused.name == dscp_option ? path.dscp.value_or(0) : path.ttl.value_or(0));
    }
    return fmt::format("{} {}: {}{}", refused.name, value, reason(refused.error), advice);
}

} // namespace riposte::client
