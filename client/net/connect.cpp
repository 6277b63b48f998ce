#include "client/net/connect.h"

#include "client/net/error_queue.h"
#include "client/net/path_shape.h"
#include "client/show/figures.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

in_addr ipv4_of(const SocketAddress& address) {
    sockaddr_in specific{};
    std::memcpy(&specific, &address.storage, sizeof(specific));
    return specific.sin_addr;
}

sockaddr_in6 ipv6_of(const SocketAddress& address) {
    sockaddr_in6 specific{};
    std::memcpy(&specific, &address.storage, sizeof(specific));
    return specific;
}

bool is_multicast(const SocketAddress& address) {
    if (address.family() == AF_INET)
        return IN_MULTICAST(ntohl(ipv4_of(address).s_addr));
    return address.family() == AF_INET6 && ipv6_of(address).sin6_addr.s6_addr[0] == 0xff;
}

/// An address that means something on one link only, without the zone that says on which (RFC 4007,
/// section 6): the kernel refuses it as an invalid argument.
bool lacks_zone(const SocketAddress& address, const PathOptions& path) {
    if (address.family() != AF_INET6 || !path.interface.empty())
        return false;
    const sockaddr_in6 specific = ipv6_of(address);
    const in6_addr& host = specific.sin6_addr;
    return specific.sin6_scope_id == 0 &&
           (IN6_IS_ADDR_LINKLOCAL(&host) || IN6_IS_ADDR_MC_LINKLOCAL(&host) ||
            IN6_IS_ADDR_MC_NODELOCAL(&host));
}

/// Which addresses are a network's broadcast address only the routing table knows: a datagram
/// socket is refused to be connected to one (EACCES, as with a prohibited route) unless it asks for
/// it (SO_BROADCAST, socket(7)). Nothing is sent.
bool is_broadcast(const SocketAddress& address, const PathOptions& path) {
    if (address.family() != AF_INET)
        return false;
    if (ipv4_of(address).s_addr == INADDR_BROADCAST)
        return true;
    const Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd)
        shape_path(fd.get(), AF_INET, false, path, {}); // which decides about the route
    if (!fd || ::connect(fd.get(), address.get(), address.size) == 0 || errno != EACCES)
        return false;
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
    return ::connect(fd.get(), address.get(), address.size) == 0;
}

/// Has this machine no address to send from, since IPv6 is switched off? That is no route, but the
/// kernel says of it what it says of TCP when all ports are taken.
bool lacks_source(const SocketAddress& address, const PathOptions& path) {
    const Fd fd(::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd)
        shape_path(fd.get(), address.family(), false, path, {});
    return fd && ::connect(fd.get(), address.get(), address.size) < 0 && errno == EADDRNOTAVAIL;
}

std::string zone_advice(const SocketAddress& address) {
    const std::string text = to_string(address);
    const size_t end = text.rfind(']');
    const std::string host = text.substr(1, end - 1);
    return fmt::format(
        "{} is a link-local address and needs a zone, the interface that leads to it; write "
        "{}%eth0{} (`ip link` lists the interfaces)",
        host, address.port() == 0 ? host : text.substr(0, end),
        address.port() == 0 ? "" : text.substr(end));
}

/// Why there is no single host to be asked at that address; empty if there may be one.
std::string find_unfit(const SocketAddress& address, Transport transport, const PathOptions& path) {
    if (lacks_zone(address, path))
        return zone_advice(address);
    const std::string text = to_string(address);
    const std::string host = text.substr(0, text.rfind(':'));
    if (is_broadcast(address, path))
        return fmt::format(
            "{} is a broadcast address, of all hosts of a network; write the address of one", host);
    if (transport == Transport::tcp && is_multicast(address))
        return fmt::format(
            "{} is a multicast address, of a group of hosts; TCP needs the address of one", host);
    return "";
}

/// Takes those out that are unfit; why, if nothing is left.
std::string remove_unfit(
    std::vector<SocketAddress>& addresses, Transport transport, const PathOptions& path) {
    std::string why;
    const auto is_unfit = [&](const SocketAddress& address) {
        std::string unfit = find_unfit(address, transport, path);
        const bool found = !unfit.empty();
        if (why.empty())
            why = std::move(unfit);
        return found;
    };
    std::erase_if(addresses, is_unfit);
    return addresses.empty() ? why : "";
}

std::string_view hint(const Failure& failure, Transport transport, const PathOptions& path) {
    switch (outcome_of(failure)) {
    case Outcome::refused:
        return "; is riposted running there?";
    case Outcome::lost:
        if (is_multicast(failure.address))
            return "; it is a multicast address, and hosts answer from their own";
        return transport == Transport::tcp
                   ? "; is the address right, or does a firewall drop it? -W waits longer"
                   : "; is riposted running there? -W waits longer";
    case Outcome::unreachable:
        return failure.error == EACCES ? "; a firewall on the way forbids it"
                                       : "; is the address right, and is there a route to it?";
    case Outcome::local:
        if (path.source_port != 0 && shortage_of(failure.error) == Shortage::ports)
            return "; another connection to it has the port of --source, or had it in the last "
                   "minute (TIME_WAIT): choose another port";
        return failure.error == EACCES || failure.error == EPERM
                   ? "; does a local firewall forbid it?"
                   : "";
    case Outcome::too_big:
        return path.df ? "; send less, or leave out --df" : "";
    case Outcome::pending:
    case Outcome::answered:
    case Outcome::corrupted:
    case Outcome::wrong_size:
    case Outcome::closed:
        break;
    }
    return "";
}

std::string describe(const Failure& failure, Transport transport) {
    if (failure.error == ETIMEDOUT && failure.waited_ms > 0)
        return fmt::format(
            "no {} after {}", transport == Transport::tcp ? "connection" : "answer",
            format_duration(failure.waited_ms));
    std::string what = what_failed(failure);
    if (failure.error != ECONNREFUSED || failure.took_ns == 0)
        return what;
    return fmt::format("{} in {} ms", what, milliseconds(static_cast<double>(failure.took_ns)));
}

} // namespace

Target unresolved_target(const Endpoint& endpoint, const CommonOptions& common) {
    return {
        .name = to_string(endpoint),
        .transport = endpoint.transport.value_or(Transport::tcp),
        .stamp = endpoint.stamp,
        .timeout_ms = common.timeout_ms,
        .path = common.path,
        .sources = {},
        .addresses = {}};
}

TargetLookup::TargetLookup(
    const Endpoint& endpoint, const CommonOptions& common, const std::shared_ptr<const Fd>& bell)
    : target_(unresolved_target(endpoint, common)),
      addresses_(endpoint, target_.transport, common.family, bell) {
    const Endpoint local{
        .transport = target_.transport,
        .host = common.path.source,
        .port = common.path.source_port};
    if (!common.path.source.empty())
        sources_.emplace(local, target_.transport, common.family, bell);
}

Result<Target> TargetLookup::wait(const Patience& patience, std::string_view limit) {
    auto addresses = addresses_.wait(patience, limit);
    if (!addresses)
        return fail(Exit::usage, addresses.error());
    target_.addresses = std::move(*addresses);
    if (const std::string why = remove_unfit(target_.addresses, target_.transport, target_.path);
        !why.empty())
        return fail(Exit::usage, fmt::format("{}: {}", target_.name, why));
    if (!sources_)
        return std::move(target_);

    auto sources = sources_->wait(patience, limit);
    if (!sources)
        return fail(Exit::usage, fmt::format("--source: {}", sources.error()));
    target_.sources = std::move(*sources);
    if (lacks_zone(target_.sources.front(), target_.path))
        return fail(Exit::usage, fmt::format("--source: {}", zone_advice(target_.sources.front())));
    const auto has_no_source = [&](const SocketAddress& address) {
        return std::ranges::find(target_.sources, address.family(), &SocketAddress::family) ==
               target_.sources.end();
    };
    std::erase_if(target_.addresses, has_no_source);
    if (target_.addresses.empty())
        return fail(
            Exit::usage, fmt::format(
                             "--source {}: {} has no address of that family", target_.path.source,
                             target_.name));
    return std::move(target_);
}

Result<Target> resolve_target(
    const Endpoint& endpoint, const CommonOptions& common, const Patience& patience) {
    return TargetLookup(endpoint, common)
        .wait(patience, fmt::format("{}; -W waits longer", format_duration(common.timeout_ms)));
}

std::string name_of(const Target& target, const SocketAddress& address) {
    const std::string text = to_string(address);
    return target.name.ends_with("//" + text) ? target.name
                                              : fmt::format("{} ({})", target.name, text);
}

Cause cause_of(const Failure& failure) {
    return failure.cause.error != 0 ? failure.cause : cause_of(failure.error, failure.address);
}

Outcome outcome_of(const Failure& failure) {
    const Outcome outcome = outcome_of(cause_of(failure));
    return failure.heard && outcome == Outcome::local ? Outcome::unreachable : outcome;
}

std::string what_failed(const Failure& failure) {
    const CauseKind kind = failure.cause.kind;
    const bool says_more =
        kind == CauseKind::icmp || kind == CauseKind::icmpv6 || failure.cause.error == EMSGSIZE;
    return failure.cause.error != 0 && says_more ? describe(failure.cause) : reason(failure.error);
}

Error connect_error(const Target& target, std::span<const Failure> failures) {
    const Failure& last = failures.back();
    if (!last.option.empty())
        return {Exit::usage, describe(RefusedOption{last.option, last.error}, target.path)};
    const Exit exit = last.heard ? Exit::failed : exit_of(cause_of(last));
    const std::string what = describe(last, target.transport);
    const std::string_view advice = hint(last, target.transport, target.path);
    if (failures.size() == 1)
        return {exit, fmt::format("{}: {}{}", name_of(target, last.address), what, advice)};
    std::vector<std::string> each;
    for (const Failure& failure : failures)
        each.push_back(
            fmt::format("{}: {}", to_string(failure.address), describe(failure, target.transport)));
    return {exit, fmt::format("{}: {}{}", target.name, fmt::join(each, ", "), advice)};
}

bool is_self_connected(int fd) {
    const SocketAddress local = local_address(fd);
    const SocketAddress peer = peer_address(fd);
    return local.port() == peer.port() && to_string(local) == to_string(peer);
}

std::expected<Fd, Failure> begin_connect(const Target& target, const SocketAddress& address) {
    const uint64_t began_ns = monotonic_ns();
    const auto failure = [&](int error, std::string_view option = {}) {
        return std::unexpected(Failure{.address = address, .error = error, .option = option});
    };
    if (address.size == 0)
        return std::unexpected(Failure{
            .address = address,
            .error = EDESTADDRREQ,
            .cause = {.kind = CauseKind::no_address, .error = EDESTADDRREQ}});
    const bool stream = target.transport == Transport::tcp;
    const int type = (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    Fd fd(::socket(address.family(), type, 0));
    if (!fd)
        return failure(errno);
    if (const auto refused =
            shape_path(fd.get(), address.family(), stream, target.path, target.sources))
        return failure(refused->error, refused->name);
    if (stream) {
        const int on = 1;
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    set_error_queue(fd.get(), address.family(), true);
    if (::connect(fd.get(), address.get(), address.size) == 0 || errno == EINPROGRESS)
        return fd;
    // The answer may be there before connect(2) returns. UDP has another errno for what TCP says
    // when all ports are taken.
    const int error = !stream && errno == EAGAIN ? EADDRNOTAVAIL : errno;
    Cause cause = take_queued_error(fd.get());
    if (cause.error == 0 && error == ECONNREFUSED)
        cause = cause_of(error, address);
    if (cause.error == 0)
        return failure(
            error == EADDRNOTAVAIL && lacks_source(address, target.path) ? ENETUNREACH : error);
    return std::unexpected(Failure{
        .address = address,
        .error = cause.error,
        .heard = cause.kind != CauseKind::local,
        .cause = cause,
        .took_ns = monotonic_ns() - began_ns});
}

Cause finish_connect(int fd, const SocketAddress& peer) {
    int error = 0;
    socklen_t size = sizeof(error);
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (const Cause queued = take_queued_error(fd); queued.error != 0)
        return queued;
    if (error != 0)
        return cause_of(error, peer);
    if (peer_address(fd).size == 0)
        return {.error = EINPROGRESS};
    // An error that may pass does not break a connection that was made.
    set_error_queue(fd, peer.family(), false);
    return is_self_connected(fd) ? cause_of(ECONNREFUSED, peer) : Cause{};
}

} // namespace riposte::client
