// The report of one address that is listened on.
#pragma once

#include "common/endpoint.h"
#include "daemon/services/service.h"

#include <cstdint>
#include <string>

namespace riposte {

/// One address that is listened on, and the sums over all workers since it was opened.
struct ListenerReport {
    ServiceKind kind;
    Transport transport;
    std::string address;      ///< "tcp://127.0.0.1:7001", with the port that the kernel gave
    uint64_t connections = 0; ///< open now
    uint64_t accepted = 0;
    uint64_t refused = 0;
    uint64_t received = 0; ///< datagrams
    uint64_t answered = 0;
    uint64_t received_bytes = 0;
    uint64_t sent_bytes = 0;
};

} // namespace riposte
