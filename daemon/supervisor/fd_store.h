// Connections that outlive a restart: the service manager's file descriptor store keeps them
// between two processes, under the name "connection-SERVICE". See sd_notify(3), FDSTORE=1.
//
// One connection's way: a worker that drains releases it when everything that was read is answered
// (connection.h), the main thread stores it when the workers have stopped, the next process finds
// it among its inherited descriptors, removes it from the store, and gives it to a worker
// (handoff.h). What its peer sends meanwhile waits in the kernel.
//
// The store's copy must be gone before the first byte is read: a process that found it after a
// crash would go on in the middle of a conversation of which it knows nothing, and until then a
// close(2) of ours does not reach the peer.
#pragma once

#include "common/fd.h"
#include "daemon/listen/listener_spec.h"
#include "daemon/platform/systemd.h"
#include "daemon/services/service.h"
#include "daemon/supervisor/notifier.h"
#include "daemon/tcp/handoff.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace riposte {

/// "connection-echo"
std::string stored_name(ServiceKind kind);

/// What was inherited from the previous process.
struct Inheritance {
    std::vector<handoff::Stored> connections; ///< connected TCP, as accept would have left them
    std::vector<std::string> names;           ///< of all that came out of the store, each once
    std::vector<std::string> problems;        ///< what was closed, and why, in a few lines
    uint32_t ended = 0;                       ///< their peers have reset them meanwhile
};

/// Takes what is named "connection-*" out of `inherited`; the rest are listeners.
Inheritance take_connections(std::vector<systemd::InheritedSocket>& inherited);

/// Which worker continues which connection: round robin, each at a listener of its service, if
/// there is one on its own port at that. `plans` are those of the workers.
std::vector<std::vector<handoff::Adopted>> place_connections(
    std::vector<handoff::Stored> connections, std::span<const std::vector<ListenerSpec>> plans);

/// How storing went: `problem` is "", or why those in `left` were not stored, or may not be.
struct StoreOutcome {
    uint32_t count = 0;
    std::vector<Fd> left;
    std::string problem;
};

/// Leaves them to the service manager, and waits until it has them: for at most some seconds, and
/// until `interrupt` (a descriptor, or -1) can be read.
StoreOutcome store_connections(
    std::vector<handoff::Stored> connections, systemd::Notifier& manager, int interrupt);

/// FIN to each, then reads and throws away what comes until the peers' FIN, for at most
/// `timeout_ms`, and closes: with unread input a close would send RST.
void finish_connections(std::vector<Fd> connections, uint32_t timeout_ms);

} // namespace riposte
