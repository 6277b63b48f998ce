// A [[listen]] section of riposted.toml(5), or one --listen.
#pragma once

#include "common/endpoint.h"
#include "daemon/acl/acl.h"
#include "daemon/services/service.h"

#include <cstdint>
#include <string>
#include <vector>

namespace riposte {

/// What a limit on connections can be at most.
inline constexpr uint32_t connections_most = 1'000'000;

/// One [[listen]] section, or one --listen.
struct ListenerConfig {
    ServiceKind service = ServiceKind::hello;
    std::vector<Endpoint> addresses{}; ///< transport always set: one without scheme became two
    ServiceOptions options{};          ///< what the service can be told (message)
    AclConfig access{};                ///< who may use it
    uint32_t connections_max = connections_most; ///< open at once on each of its TCP addresses
    std::string origin{}; ///< "riposted.toml:12:1", "--listen", "default": for errors
};

} // namespace riposte
