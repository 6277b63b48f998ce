// The names of services that may stand for a port: those of /etc/services (getservbyname(3), by
// nsswitch.conf), and where that does not know them, those that riposted serves.
#pragma once

#include "common/endpoint.h"

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace riposte::client {

/// A ServicePort for EndpointRules.
std::expected<uint16_t, std::string> service_port(std::string_view name, Transport transport);

} // namespace riposte::client
