// From an endpoint to the addresses to connect to, and from one of them to a non-blocking socket.
//
// A name may have several addresses, and the service may listen on only one of them. reach.h tries
// them in turn and keeps the failure of each for the one line that is printed if none answers.
#pragma once

#include "client/measure/outcome.h"
#include "client/net/lookup.h"
#include "client/net/patience.h"
#include "client/options/options.h"
#include "common/fd.h"

#include <cstdint>
#include <expected>
#include <memory>
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
    bool stamp = false; ///< a reflector of STAMP, over UDP
    uint32_t timeout_ms;
    PathOptions path;                   ///< as its sockets shall be
    std::vector<SocketAddress> sources; ///< path.source: at most one per family, with its port
    std::vector<SocketAddress> addresses;
};

/// Without addresses.
Target unresolved_target(const Endpoint& endpoint, const CommonOptions& common);

/// The lookup of an endpoint and of --source; several lookups may run at once.
class TargetLookup {
public:
    /// `bell` as in lookup.h.
    TargetLookup(
        const Endpoint& endpoint, const CommonOptions& common,
        const std::shared_ptr<const Fd>& bell = nullptr);

    /// wait() would not wait.
    bool is_done() const { return addresses_.is_done() && (!sources_ || sources_->is_done()); }
    /// Exit::usage if a name does not resolve, which takes no longer than `patience`, or if
    /// --source is of another family than the endpoint. `limit` as in lookup.h. Called once.
    Result<Target> wait(const Patience& patience, std::string_view limit);

private:
    Target target_;
    Lookup addresses_;
    std::optional<Lookup> sources_;
};

/// The same for one endpoint, with the deadline of -W.
Result<Target> resolve_target(
    const Endpoint& endpoint, const CommonOptions& common, const Patience& patience);

/// Why one address failed. ETIMEDOUT: no connection, or over UDP no answer, within
/// `waited_ms`.
struct Failure {
    SocketAddress address;
    int error = 0;
    std::string_view option = {}; ///< the one that this machine refused (path_shape.h)
    uint32_t waited_ms = 0;
    bool heard = false;   ///< the network reported it, in reply to what was sent
    Cause cause = {};     ///< what exactly, and its sender; no `error`: `error` above is all
    uint64_t took_ns = 0; ///< from the attempt to the error; 0: not known
};

/// The cause that the network reported, or what `error` alone means.
Cause cause_of(const Failure& failure);
/// An error that the network reported is never Outcome::local.
Outcome outcome_of(const Failure& failure);

/// What failed, without the address: an ICMP error with its sender, or what the errno means.
std::string what_failed(const Failure& failure);

/// One line for all addresses, with the likely cause and the exit code: Exit::failed if it is the
/// network or the peer, Exit::usage if it is this machine.
Error connect_error(const Target& target, std::span<const Failure> failures);

/// "tcp://localhost:7001 (127.0.0.1:7001)", or without the brackets where the name says it already.
std::string name_of(const Target& target, const SocketAddress& address);

/// A non-blocking socket, shaped as the target's path, whose connecting to one address has begun,
/// TCP with TCP_NODELAY, with errors of the network queued (error_queue.h). It is writable when it
/// is connected, or has failed (UDP is connected at once). Of a target without an address that is
/// CauseKind::no_address.
std::expected<Fd, Failure> begin_connect(const Target& target, const SocketAddress& address);

/// The result of connecting a TCP socket to `peer`, after poll(2) returned an event for it. `error`
/// 0: it is connected, and ICMP errors are no longer queued for it. EINPROGRESS: not yet. Else why
/// not.
Cause finish_connect(int fd, const SocketAddress& peer);

/// Is the TCP socket connected to itself? This happens, by TCP's simultaneous open, if nothing
/// listens on the port and the kernel chose the same port as the local one.
bool is_self_connected(int fd);

} // namespace riposte::client
