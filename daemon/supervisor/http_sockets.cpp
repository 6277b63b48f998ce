#include "daemon/supervisor/http_sockets.h"

#include "common/address.h"
#include "common/text.h"
#include "daemon/listen/listen_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace riposte {
namespace {

// Inherited --------------------------------------------------------------------------------------

std::unexpected<Error> refuse_inherited(
    int fd, std::string_view name, std::string_view why, Exit exit = Exit::config) {
    return fail(exit, fmt::format("inherited socket {} '{}': {}", fd, escape(name), why));
}

int option(int fd, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

std::string inherited_address(int fd, int family) {
    const SocketAddress local = local_address(fd);
    if (family != AF_UNIX)
        return fmt::format("tcp://{}", to_string(local));
    sockaddr_un address{};
    std::memcpy(&address, &local.storage, std::min<size_t>(local.size, sizeof address));
    constexpr size_t begin = offsetof(sockaddr_un, sun_path);
    if (local.size <= begin)
        return "unix:";
    const size_t size = local.size - begin;
    if (address.sun_path[0] == '\0') // abstract; printed with '@', as ss(8) does
        return fmt::format("unix:@{}", escape({&address.sun_path[1], size - 1}));
    return fmt::format("unix:{}", escape({address.sun_path, ::strnlen(address.sun_path, size)}));
}

/// Moves the descriptor and keeps the name.
Result<HttpSocket> adopt(systemd::InheritedSocket& socket) {
    const int fd = socket.fd.get();
    const int family = option(fd, SO_DOMAIN);
    if (family < 0)
        return refuse_inherited(fd, socket.name, "not a socket");
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
        return refuse_inherited(
            fd, socket.name,
            fmt::format(
                "address family {}; metrics are served over IPv4, IPv6 and AF_UNIX only", family));
    if (option(fd, SO_TYPE) != SOCK_STREAM)
        return refuse_inherited(
            fd, socket.name, "not a stream; metrics need ListenStream= in the socket unit");
    if (option(fd, SO_ACCEPTCONN) != 1)
        return refuse_inherited(
            fd, socket.name, "a stream that does not listen (a socket unit needs Accept=no)");
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        ::fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return refuse_inherited(
            fd, socket.name, fmt::format("cannot set its flags: {}", errno_text(errno)), Exit::os);
    return HttpSocket{.fd = std::move(socket.fd), .address = inherited_address(fd, family)};
}

// TCP --------------------------------------------------------------------------------------------

Result<void> bind_tcp(const Endpoint& endpoint, std::vector<HttpSocket>& sockets) {
    auto addresses = resolve(endpoint, Transport::tcp, Family::any, true);
    if (!addresses)
        return fail(Exit::config, addresses.error());
    // `*` and names work without IPv6, as those of the listeners do (listeners.cpp).
    const bool is_wildcard = endpoint.host == "*";
    const bool is_name = !is_wildcard && !endpoint.host.contains(':');
    std::optional<Error> lacking;
    Reason note;
    const size_t before = sockets.size();
    for (const SocketAddress& resolved : *addresses) {
        ListenAddress address{Transport::tcp, resolved, is_wildcard};
        auto fd = bind_socket(address, false);
        if (!fd && is_wildcard && lacks_ipv6(fd.error(), resolved)) {
            note = ipv6_missing(fd.error(), "IPv4 alone is served");
            address = {Transport::tcp, any_ipv4(endpoint.port), false};
            fd = bind_socket(address, false);
        }
        if (!fd && is_name && lacks_ipv6(fd.error(), resolved)) {
            note = ipv6_missing(fd.error(), fmt::format("{} is left out", to_string(resolved)));
            lacking = bind_error(fd.error(), address);
            continue;
        }
        if (!fd)
            return std::unexpected(bind_error(fd.error(), address));
        ::listen(fd->get(), http_backlog); // shrinks the backlog
        const ListenAddress bound{Transport::tcp, local_address(fd->get()), address.dual_stack};
        sockets.push_back({.fd = std::move(*fd), .address = to_string(bound)});
    }
    if (sockets.size() == before && lacking)
        return std::unexpected(*std::move(lacking));
    if (sockets.size() > before)
        sockets.back().note = std::move(note);
    return {};
}

} // namespace

bool is_metrics_name(std::string_view name) {
    return name == "metrics" || name == "riposted-metrics.socket";
}

Result<std::vector<HttpSocket>> take_http_sockets(
    std::vector<systemd::InheritedSocket>& inherited) {
    std::vector<HttpSocket> sockets;
    for (systemd::InheritedSocket& socket : inherited) {
        if (!is_metrics_name(socket.name))
            continue;
        auto adopted = adopt(socket);
        if (!adopted)
            return std::unexpected(adopted.error());
        sockets.push_back(std::move(*adopted));
    }
    std::erase_if(inherited, [](const auto& socket) { return is_metrics_name(socket.name); });
    return sockets;
}

Result<std::vector<HttpSocket>> bind_http_sockets(const MetricsConfig& config) {
    std::vector<HttpSocket> sockets;
    const auto open = [&](const HttpAddress& address) -> Result<void> {
        if (!address.is_unix())
            return bind_tcp(address.endpoint, sockets);
        auto socket = listen_on_unix(address.path);
        if (!socket)
            return std::unexpected(socket.error());
        sockets.push_back(std::move(*socket));
        return {};
    };
    for (const HttpAddress& address : config.listen) {
        const auto opened = open(address);
        if (!opened)
            return fail(
                opened.error().exit, fmt::format(
                                         "{}: metrics on {}: {}", config.origin,
                                         escape(to_string(address)), opened.error().message));
    }
    return sockets;
}

Result<std::vector<HttpSocket>> open_http_sockets(
    const MetricsConfig& config, std::vector<systemd::InheritedSocket>& inherited) {
    auto sockets = take_http_sockets(inherited);
    if (sockets && sockets->empty())
        sockets = bind_http_sockets(config);
    if (sockets && sockets->size() > http_sockets_max)
        return fail(
            Exit::config, fmt::format(
                              "{} sockets for metrics; pass or configure at most {}",
                              sockets->size(), http_sockets_max));
    return sockets;
}

} // namespace riposte
