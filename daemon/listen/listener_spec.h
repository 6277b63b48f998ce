// One socket of a worker's plan, with all that the worker needs to serve on it.
#pragma once

#include "common/endpoint.h"
#include "daemon/acl/acl.h"
#include "daemon/listen/listener_config.h"
#include "daemon/listen/listener_load.h"
#include "daemon/services/service.h"
#include "daemon/services/stamp_sessions.h"
#include "daemon/telemetry/counters.h"

#include <cstdint>
#include <memory>
#include <string>

namespace riposte {

/// Listeners (listeners.h) owns the socket; the worker borrows its descriptor.
struct ListenerSpec {
    uint64_t id = 0; ///< of the socket; the same across reloads, never reused
    int fd = -1;     ///< borrowed; non-blocking, listening if it is a stream
    Transport transport = Transport::tcp;
    ServiceKind kind = ServiceKind::hello;
    std::shared_ptr<const Service> service{};
    std::shared_ptr<const Acl> acl{}; ///< null: every peer is permitted
    /// Open connections of the address in all workers; the same object for the same id.
    std::shared_ptr<ListenerLoad> load = std::make_shared<ListenerLoad>();
    uint32_t connections_max = connections_most; ///< limit of `load`
    /// This worker's counts for the address; the same object for the same id.
    std::shared_ptr<ListenerCounts> counts = std::make_shared<ListenerCounts>();
    uint16_t port = 0;                            ///< that the socket is bound to
    std::shared_ptr<const CidrSet> twamp_light{}; ///< null: no peer
    /// Sessions of the service stamp, whose sockets measure; null for every other service.
    std::shared_ptr<StampSessions> sessions{};
    std::string label{}; ///< "hello on tcp://127.0.0.1:7001", with the port that the kernel gave
};

} // namespace riposte
