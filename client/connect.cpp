#include "client/connect.h"

#include "client/report.h"
#include "common/clock.h"
#include "common/units.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
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

std::string_view hint(const Failure& failure) {
    if (failure.at_source)
        return failure.error == EADDRNOTAVAIL ? "; it is not an address of this machine" : "";
    switch (failure.error) {
    case ECONNREFUSED:
        return "; is riposted running there?";
    case ETIMEDOUT:
        return "; is the address right, or does a firewall drop it? -W waits longer";
    case ENETUNREACH:
    case EHOSTUNREACH:
        return "; is the address right, and is there a route to it?";
    case EACCES:
    case EPERM:
        return "; does a local firewall forbid it?";
    default:
        return "";
    }
}

std::string describe(const Failure& failure) {
    if (failure.error == ETIMEDOUT && failure.waited_ms > 0)
        return fmt::format("no connection after {}", format_duration(failure.waited_ms));
    return reason(failure.error);
}

/// 0, or the errno that the connection attempt ended with.
int wait_connected(int fd, uint32_t wait_ms) {
    if (const int error = await_ready(fd, POLLOUT, {.deadline_ms = monotonic_ms() + wait_ms});
        error != 0)
        return error;
    int error = 0;
    socklen_t size = sizeof(error);
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return errno;
    return error;
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

Error connect_error(const Target& target, std::span<const Failure> failures) {
    const Failure& last = failures.back();
    const Exit exit = !last.at_source && is_remote(last.error) ? Exit::failed : Exit::usage;
    if (last.at_source)
        return {exit, fmt::format("--source {}: {}{}", target.source, describe(last), hint(last))};
    std::string what = describe(last);
    if (failures.size() > 1) {
        std::vector<std::string> each;
        for (const Failure& failure : failures)
            each.push_back(fmt::format("{}: {}", to_string(failure.address), describe(failure)));
        what = fmt::format("{}", fmt::join(each, ", "));
    }
    return {exit, fmt::format("{}: {}{}", target.name, what, hint(last))};
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

std::expected<Fd, Failure> connect_to(
    const Target& target, const SocketAddress& address, uint32_t wait_ms) {
    const auto failure = [&](int error, uint32_t waited_ms = 0) {
        return std::unexpected(Failure{address, error, false, waited_ms});
    };
    auto fd = begin_connect(target, address);
    if (!fd || target.transport == Transport::udp)
        return fd;
    if (const int error = wait_connected(fd->get(), wait_ms); error != 0)
        return failure(error, error == ETIMEDOUT ? wait_ms : 0);
    if (is_self_connected(fd->get()))
        return failure(ECONNREFUSED);
    return fd;
}

namespace {

struct Connected {
    Fd fd;
    const SocketAddress* address; ///< the target's
};

/// connect_any(), telling which address it is.
std::expected<Connected, std::vector<Failure>> connect_first(
    const Target& target, uint64_t deadline) {
    uint64_t now = monotonic_ms();
    std::vector<Failure> failures;
    for (const SocketAddress& address : target.addresses) {
        const uint64_t left_ms = now < deadline ? deadline - now : 0;
        const uint64_t share_ms = left_ms / (target.addresses.size() - failures.size());
        auto fd =
            connect_to(target, address, static_cast<uint32_t>(std::max(share_ms, uint64_t{1})));
        if (fd)
            return Connected{std::move(*fd), &address};
        failures.push_back(fd.error());
        now = monotonic_ms();
    }
    return std::unexpected(std::move(failures));
}

constexpr uint64_t answer_wait_ms = 250;

enum class Reaction : uint8_t { answer, silence, refusal };

/// What comes of a datagram. A refusal is any error: of the way there, or of this machine.
Reaction reaction_of(
    const Target& target, const SocketAddress& address, std::span<const std::byte> datagram,
    uint64_t until_ms) {
    const auto fd = connect_to(target, address, 0);
    if (!fd || ::send(fd->get(), datagram.data(), datagram.size(), MSG_NOSIGNAL) < 0)
        return Reaction::refusal;
    const uint64_t deadline = std::min(monotonic_ms() + answer_wait_ms, until_ms);
    for (;;) {
        if (const int error = await_ready(fd->get(), POLLIN, {.deadline_ms = deadline}); error != 0)
            return error == ETIMEDOUT ? Reaction::silence : Reaction::refusal;
        char byte = 0; // of the answer only its coming counts
        if (::recv(fd->get(), &byte, sizeof(byte), 0) >= 0)
            return Reaction::answer;
        // A datagram with a bad checksum wakes poll(2), and is gone when it is read.
        if (errno != EAGAIN && errno != EINTR)
            return Reaction::refusal;
    }
}

} // namespace

Result<Fd> connect_any(const Target& target, uint64_t deadline_ms) {
    auto connected = connect_first(target, deadline_ms);
    if (!connected)
        return std::unexpected(connect_error(target, connected.error()));
    return std::move(connected->fd);
}

SocketAddress choose_address(
    const Target& target, std::span<const std::byte> probe, uint64_t deadline_ms) {
    if (target.addresses.size() == 1)
        return target.addresses.front();
    if (target.transport == Transport::tcp) {
        const auto connected = connect_first(target, deadline_ms);
        return connected ? *connected->address : target.addresses.front();
    }
    const SocketAddress* silent = nullptr;
    for (const SocketAddress& address : target.addresses) {
        const Reaction reaction = reaction_of(target, address, probe, deadline_ms);
        if (reaction == Reaction::answer)
            return address;
        if (reaction == Reaction::silence && silent == nullptr)
            silent = &address;
    }
    return silent != nullptr ? *silent : target.addresses.front();
}

} // namespace riposte::client
