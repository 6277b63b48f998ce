// Connections that outlive a restart: the service manager's file descriptor store keeps them
// between two processes, under the name "connection-SERVICE". See sd_notify(3), FDSTORE=1.
//
// The path of a connection: a draining worker releases it when it has answered everything that it
// read (connection.h). The main thread stores it when the workers have stopped. The next process
// finds it among its inherited descriptors, removes it from the store, and gives it to a worker
// (handoff.h). Bytes that its peer sends meanwhile wait in the kernel.
//
// The store's copy must be removed before the first byte is read: a process that found it after a
// crash would continue in the middle of a conversation that it knows nothing of. As long as the
// copy exists, our close(2) does not reach the peer.
#pragma once

#include "common/fd.h"
#include "common/reason.h"
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

/// The connections inherited from the previous process.
struct Inheritance {
    std::vector<handoff::Stored> connections; ///< connected TCP, as accept leaves them
    std::vector<std::string> names;           ///< of everything from the store, each once
    std::vector<Reason> problems;             ///< what was closed and why, in a few lines
    uint32_t ended = 0;                       ///< reset by their peers meanwhile
};

/// Takes the descriptors named "connection-*" out of `inherited`; the rest are listeners.
Inheritance take_connections(std::vector<systemd::InheritedSocket>& inherited);

/// Chooses the worker that continues each connection: round robin, at a listener of the
/// connection's service, preferably one on the connection's own port. `plans` are those of the
/// workers.
std::vector<std::vector<handoff::Adopted>> place_connections(
    std::vector<handoff::Stored> connections, std::span<const std::vector<ListenerSpec>> plans);

/// The outcome of storing: `problem` is empty, or the reason why the connections in `left` were not
/// stored, or may not have been.
struct StoreOutcome {
    uint32_t count = 0;
    std::vector<Fd> left;
    Reason problem;
};

/// Stores them with the service manager and waits until it has them: for at most some seconds, or
/// until `interrupt` (a descriptor, or -1) is readable.
StoreOutcome store_connections(
    std::vector<handoff::Stored> connections, systemd::Notifier& manager, int interrupt);

/// Sends FIN on each, then reads and discards input until the peers' FIN, for at most `timeout_ms`,
/// and closes them: with unread input a close would send RST.
void finish_connections(std::vector<Fd> connections, uint32_t timeout_ms);

} // namespace riposte
