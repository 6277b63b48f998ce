// From an endpoint to a connected, non-blocking socket.
//
// A name may have several addresses, and the service may listen on only one of them: they are
// tried in turn, and what went wrong with each is kept for the one line that is printed when none
// answered.
#pragma once

#include "client/lookup.h"
#include "client/options.h"
#include "client/patience.h"
#include "common/fd.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

/// Where to connect to, in the order to try, and from where.
struct Target {
    std::string name; ///< the endpoint's canonical spelling, for people
    Transport transport;
    uint32_t timeout_ms;
    std::string source;                 ///< --source as written
    std::vector<SocketAddress> sources; ///< at most one per family; empty: the kernel chooses
    std::vector<SocketAddress> addresses;
};

/// The look-up of an endpoint and of --source; that of several endpoints may go on at once.
class TargetLookup {
public:
    TargetLookup(const Endpoint& endpoint, const CommonOptions& common);

    /// Exit::usage if a name does not resolve, which takes no longer than `patience`, or if
    /// --source is of another family than the endpoint. `limit` as in lookup.h. Called once.
    Result<Target> wait(const Patience& patience, std::string_view limit);

private:
    Target target_;
    Lookup addresses_;
    std::optional<Lookup> sources_;
};

/// The same of one endpoint, where the deadline is that of -W.
Result<Target> resolve_target(
    const Endpoint& endpoint, const CommonOptions& common, const Patience& patience);

/// What went wrong with one address. ETIMEDOUT: not connected within `waited_ms`.
struct Failure {
    SocketAddress address;
    int error = 0;
    bool at_source = false; ///< --source could not be bound
    uint32_t waited_ms = 0;
};

/// One line for all addresses, with the likely cause and the exit code: Exit::failed if it is the
/// network or the peer, Exit::usage if it is this machine.
Error connect_error(const Target& target, std::span<const Failure> failures);

/// A non-blocking socket whose connecting to one address has begun, TCP with TCP_NODELAY. It is
/// writable when it is connected, or has failed: SO_ERROR tells (UDP is connected at once).
std::expected<Fd, Failure> begin_connect(const Target& target, const SocketAddress& address);

/// Is the TCP socket connected to itself? So it is, by TCP's simultaneous open, when the kernel
/// happened to choose the very port that was asked for as its own: nobody listens there.
bool is_self_connected(int fd);

/// A socket connected to one address within `wait_ms` (UDP does not wait), TCP with TCP_NODELAY.
std::expected<Fd, Failure> connect_to(
    const Target& target, const SocketAddress& address, uint32_t wait_ms);

/// The first address that takes the connection. Each gets an equal share of the time that is left
/// until the deadline, so that one that swallows packets does not hide the next.
Result<Fd> connect_any(const Target& target, uint64_t deadline_ms);

/// The one of the target's addresses that answers, for commands that measure one address: the only
/// one if there is only one. Else, with TCP, the first that takes a connection (which is closed
/// again); with UDP, `probe` is sent to each in turn, and the first whose answer comes within
/// 250 ms is it, else the first that did not refuse. If none does until the deadline, the first of
/// all: measuring will tell.
SocketAddress choose_address(
    const Target& target, std::span<const std::byte> probe, uint64_t deadline_ms);

} // namespace riposte::client
