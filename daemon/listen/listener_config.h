// The configuration of listeners.
#pragma once

#include "common/endpoint.h"
#include "daemon/acl/acl.h"
#include "daemon/services/service.h"

#include <cstdint>
#include <string>
#include <vector>

namespace riposte {

/// The largest limit on connections that can be configured.
inline constexpr uint32_t connections_most = 1'000'000;

/// One [[listen]] section of riposted.toml(5), or one --listen.
struct ListenerConfig {
    ServiceKind service = ServiceKind::hello;
    std::vector<Endpoint> addresses{}; ///< with transport: one without a scheme became two
    ServiceOptions options{};          ///< the service's own options (message)
    AclConfig acl{};                   ///< which peers may use it
    /// Peers whose questions to the service stamp may be shorter than an answer (TWAMP Light).
    std::vector<Cidr> twamp_light{};
    uint32_t connections_max = connections_most; ///< open at once on each of its TCP addresses
    std::string origin{}; ///< "riposted.toml:12:1", "--listen", "default": for errors
};

} // namespace riposte
