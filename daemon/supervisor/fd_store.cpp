#include "daemon/supervisor/fd_store.h"

#include "common/address.h"
#include "common/clock.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

namespace riposte {
namespace {

constexpr std::string_view name_prefix = "connection-";
/// The manager compares each with all that it holds (kcmp(2)): 4096 take it some seconds.
constexpr uint64_t confirm_us = 20'000'000;

std::optional<int> get_option(int fd, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    if (::getsockopt(fd, SOL_SOCKET, name, &value, &size) != 0)
        return std::nullopt;
    return value;
}

/// Why a descriptor is not continued.
struct Fault {
    std::string_view token;
    std::string_view text;

    auto operator<=>(const Fault&) const = default;
};
constexpr Fault no_service{"no_service", "no such service"};

/// None if it is a TCP connection, alive or not.
std::optional<Fault> fault(int fd) {
    const auto family = get_option(fd, SO_DOMAIN);
    if (!family)
        return Fault{"not_a_socket", "not a socket"};
    if ((*family != AF_INET && *family != AF_INET6) || get_option(fd, SO_TYPE) != SOCK_STREAM ||
        get_option(fd, SO_PROTOCOL) != IPPROTO_TCP)
        return Fault{"not_tcp", "not TCP"};
    if (get_option(fd, SO_ACCEPTCONN) != 0)
        return Fault{"listening", "a socket that listens"};
    return std::nullopt;
}

/// Sets the options that accepted connections have. Close-on-exec is set already.
bool prepare(int fd) {
    const int on = 1;
    const int flags = ::fcntl(fd, F_GETFL);
    return flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
           ::setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) == 0;
}

/// The listener that continues a connection; 0 if none does.
uint64_t listener_for(ServiceKind kind, uint16_t port, const std::vector<ListenerSpec>& listeners) {
    uint64_t found = 0;
    for (const ListenerSpec& each : listeners) {
        if (each.kind != kind || each.transport != Transport::tcp)
            continue;
        if (local_address(each.fd).port() == port)
            return each.id;
        if (found == 0)
            found = each.id;
    }
    return found;
}

/// Reads and discards the available input. False when no more can arrive.
bool discard(int fd) {
    std::array<std::byte, 16'384> bytes;
    for (;;) {
        const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (n == 0)
            return false;
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
    }
}

} // namespace

std::string stored_name(ServiceKind kind) {
    return fmt::format("{}{}", name_prefix, to_string(kind));
}

Inheritance take_connections(std::vector<systemd::InheritedSocket>& inherited) {
    Inheritance taken;
    std::map<std::pair<std::string, Fault>, uint32_t> closed; // by name and reason
    for (systemd::InheritedSocket& each : inherited) {
        if (!each.name.starts_with(name_prefix))
            continue;
        Fd fd = std::move(each.fd);
        if (std::ranges::find(taken.names, each.name) == taken.names.end())
            taken.names.push_back(each.name);
        const auto kind = parse_service(std::string_view(each.name).substr(name_prefix.size()));
        if (!kind) {
            ++closed[{each.name, no_service}];
            continue;
        }
        if (const auto why = fault(fd.get()))
            ++closed[{each.name, *why}];
        else if (peer_address(fd.get()).size == 0 || !prepare(fd.get()))
            ++taken.ended;
        else
            taken.connections.push_back({std::move(fd), *kind});
    }
    std::erase_if(
        inherited, [](const auto& socket) { return socket.name.starts_with(name_prefix); });
    for (const auto& [what, count] : closed)
        taken.problems.push_back(
            {.token = std::string(what.second.token),
             .text = fmt::format(
                 "closed {} inherited descriptor{} named '{}': {}", count, count == 1 ? "" : "s",
                 escape(what.first), what.second.text)});
    return taken;
}

std::vector<std::vector<handoff::Adopted>> place_connections(
    std::vector<handoff::Stored> connections, std::span<const std::vector<ListenerSpec>> plans) {
    std::vector<std::vector<handoff::Adopted>> placed(plans.size());
    size_t worker = 0;
    for (handoff::Stored& each : connections) {
        const uint16_t port = local_address(each.fd.get()).port();
        const uint64_t listener = listener_for(each.kind, port, plans[worker]);
        placed[worker].push_back({std::move(each.fd), each.kind, listener});
        worker = (worker + 1) % plans.size();
    }
    return placed;
}

StoreOutcome store_connections(
    std::vector<handoff::Stored> connections, systemd::Notifier& manager, int interrupt) {
    StoreOutcome stored;
    std::ranges::sort(connections, {}, &handoff::Stored::kind);
    std::vector<int> message;
    for (size_t begin = 0; begin < connections.size(); begin += message.size()) {
        const ServiceKind kind = connections[begin].kind;
        message.clear();
        for (size_t i = begin; i < connections.size() && connections[i].kind == kind &&
                               message.size() < systemd::descriptors_per_message;
             ++i)
            message.push_back(connections[i].fd.get());
        const int error = stored.problem.empty()
                              ? manager.store(stored_name(kind), message, confirm_us, interrupt)
                              : ECANCELED;
        if (error == 0) {
            stored.count += static_cast<uint32_t>(message.size());
            continue;
        }
        if (stored.problem.empty())
            stored.problem = {
                .token = errno_name(error),
                .text = fmt::format(
                    "the service manager did not take them: {}{}", errno_text(error),
                    error == ETOOMANYREFS ? "; raise LimitNOFILE=" : "")};
        for (size_t i = begin; i < begin + message.size(); ++i)
            stored.left.push_back(std::move(connections[i].fd));
    }
    // The manager identifies the unit by our process: it must read the messages before we exit.
    const int error = stored.count > 0 ? manager.await_processed(confirm_us, interrupt) : 0;
    if (error != 0 && stored.problem.empty())
        stored.problem = {
            .token = "unconfirmed",
            .text = fmt::format(
                "the service manager did not confirm that it has them: {}", errno_text(error))};
    return stored;
}

void finish_connections(std::vector<Fd> connections, uint32_t timeout_ms) {
    for (const Fd& fd : connections)
        ::shutdown(fd.get(), SHUT_WR);
    const uint64_t deadline = monotonic_ms() + timeout_ms;
    for (uint64_t now = 0; !connections.empty() && (now = monotonic_ms()) < deadline;) {
        std::vector<pollfd> polls;
        polls.reserve(connections.size());
        for (const Fd& fd : connections)
            polls.push_back({fd.get(), POLLIN, 0});
        ::poll(polls.data(), polls.size(), static_cast<int>(deadline - now));
        std::erase_if(connections, [](const Fd& fd) { return !discard(fd.get()); });
    }
    for (const Fd& fd : connections)
        discard(fd.get());
}

} // namespace riposte
