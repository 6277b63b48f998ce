#include "client/connect.h"

#include "client/error_queue.h"
#include "client/report.h"
#include "common/units.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

/// Those that the network or the peer answers for; anything else is a matter of this machine.
bool is_remote(int error) {
    switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case EPIPE:
    case EPROTO:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

std::string_view hint(const Failure& failure, Transport transport) {
    if (failure.at_source)
        return failure.error == EADDRNOTAVAIL ? "; it is not an address of this machine" : "";
    switch (failure.error) {
    case ECONNREFUSED:
        return "; is riposted running there?";
    case ETIMEDOUT:
        return transport == Transport::tcp
                   ? "; is the address right, or does a firewall drop it? -W waits longer"
                   : "; is riposted running there? -W waits longer";
    case ENETUNREACH:
    case EHOSTUNREACH:
        return "; is the address right, and is there a route to it?";
    case EACCES:
    case EPERM:
        return failure.heard ? "; a firewall on the way forbids it"
                             : "; does a local firewall forbid it?";
    default:
        return "";
    }
}

std::string describe(const Failure& failure, Transport transport) {
    if (failure.error == ETIMEDOUT && failure.waited_ms > 0)
        return fmt::format(
            "no {} after {}", transport == Transport::tcp ? "connection" : "answer",
            format_duration(failure.waited_ms));
    return reason(failure.error);
}

/// Binds to the source of the address's family, if there is one; 0 or errno.
int bind_source(int fd, std::span<const SocketAddress> sources, int family) {
    const auto source = std::ranges::find(sources, family, &SocketAddress::family);
    if (source == sources.end())
        return 0;
    // The port is chosen by connect(2), when the peer is known: one port then serves many peers.
    const int on = 1;
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    return ::bind(fd, source->get(), source->size) < 0 ? errno : 0;
}

} // namespace

TargetLookup::TargetLookup(const Endpoint& endpoint, const CommonOptions& common)
    : target_{
          .name = to_string(endpoint),
          .transport = endpoint.transport.value_or(Transport::tcp),
          .timeout_ms = common.timeout_ms,
          .source = common.source,
          .sources = {},
          .addresses = {}},
      addresses_(endpoint, target_.transport, common.family) {
    const Endpoint local{.transport = target_.transport, .host = common.source, .port = 0};
    if (!common.source.empty())
        sources_.emplace(local, target_.transport, common.family);
}

Result<Target> TargetLookup::wait(const Patience& patience, std::string_view limit) {
    auto addresses = addresses_.wait(patience, limit);
    if (!addresses)
        return fail(Exit::usage, addresses.error());
    target_.addresses = std::move(*addresses);
    if (!sources_)
        return std::move(target_);

    auto sources = sources_->wait(patience, limit);
    if (!sources)
        return fail(Exit::usage, fmt::format("--source: {}", sources.error()));
    target_.sources = std::move(*sources);
    const auto has_no_source = [&](const SocketAddress& address) {
        return std::ranges::find(target_.sources, address.family(), &SocketAddress::family) ==
               target_.sources.end();
    };
    std::erase_if(target_.addresses, has_no_source);
    if (target_.addresses.empty())
        return fail(
            Exit::usage,
            fmt::format(
                "--source {}: {} has no address of that family", target_.source, target_.name));
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

Error connect_error(const Target& target, std::span<const Failure> failures) {
    const Failure& last = failures.back();
    const bool remote = !last.at_source && (last.heard || is_remote(last.error));
    const Exit exit = remote ? Exit::failed : Exit::usage;
    const std::string what = describe(last, target.transport);
    const std::string_view advice = hint(last, target.transport);
    if (last.at_source)
        return {exit, fmt::format("--source {}: {}{}", target.source, what, advice)};
    if (failures.size() == 1)
        return {exit, fmt::format("{}: {}{}", name_of(target, last.address), what, advice)};
    std::vector<std::string> each;
    for (const Failure& failure : failures)
        each.push_back(
            fmt::format("{}: {}", to_string(failure.address), describe(failure, target.transport)));
    return {exit, fmt::format("{}: {}{}", target.name, fmt::join(each, ", "), advice)};
}

bool is_self_connected(int fd) {
    return to_string(local_address(fd)) == to_string(peer_address(fd));
}

std::expected<Fd, Failure> begin_connect(const Target& target, const SocketAddress& address) {
    const auto failure = [&](int error, bool at_source = false) {
        return std::unexpected(Failure{address, error, at_source, 0});
    };
    const bool stream = target.transport == Transport::tcp;
    const int type = (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    Fd fd(::socket(address.family(), type, 0));
    if (!fd)
        return failure(errno);
    if (const int error = bind_source(fd.get(), target.sources, address.family()); error != 0)
        return failure(error, true);
    if (stream) {
        const int on = 1;
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (::connect(fd.get(), address.get(), address.size) < 0 && errno != EINPROGRESS)
        return failure(errno);
    return fd;
}

int finish_connect(int fd) {
    int error = 0;
    socklen_t size = sizeof(error);
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error == 0)
        error = take_queued_error(fd);
    if (error != 0)
        return error;
    const SocketAddress peer = peer_address(fd);
    if (peer.size == 0)
        return EINPROGRESS;
    // An error that may pass does not break a connection that was made.
    set_error_queue(fd, peer.family(), false);
    return is_self_connected(fd) ? ECONNREFUSED : 0;
}

} // namespace riposte::client
