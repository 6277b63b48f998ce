// One socket that a worker is lent, and how to answer on it.
#pragma once

#include "common/endpoint.h"
#include "daemon/acl/acl.h"
#include "daemon/listen/listener_config.h"
#include "daemon/listen/listener_load.h"
#include "daemon/services/service.h"
#include "daemon/telemetry/counters.h"

#include <cstdint>
#include <memory>
#include <string>

namespace riposte {

/// What one worker is lent: one socket, and how to answer on it.
struct ListenerSpec {
    uint64_t id = 0; ///< of the socket; the same across reloads, never used again
    int fd = -1;     ///< lent, not owned; non-blocking, listening if it is a stream
    Transport transport = Transport::tcp;
    ServiceKind kind = ServiceKind::hello;
    std::shared_ptr<const Service> service{};
    std::shared_ptr<const Acl> access{}; ///< null: everybody
    /// Of the address, by all workers; the same for the same id.
    std::shared_ptr<ListenerLoad> load = std::make_shared<ListenerLoad>();
    uint32_t connections_max = connections_most;
    /// Of the address, by this worker alone; the same for the same id.
    std::shared_ptr<ListenerCounts> counts = std::make_shared<ListenerCounts>();
    std::string label{}; ///< "hello on tcp://127.0.0.1:7001", with the port that the kernel gave
};

} // namespace riposte
