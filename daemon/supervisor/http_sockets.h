// The sockets on which the daemon serves its metrics: inherited from the service manager under the
// name "metrics", or bound here as [metrics] listen says. They stay open until the process ends; a
// reload does not change them.
#pragma once

#include "common/error.h"
#include "common/http/socket.h"
#include "daemon/platform/systemd.h"
#include "daemon/telemetry/metrics_config.h"

#include <cstddef>
#include <string_view>
#include <vector>

namespace riposte {

/// True for the FileDescriptorName= of a socket for metrics.
bool is_metrics_name(std::string_view name);

/// Takes the sockets named "metrics" out of `inherited`. A socket that is not a listening stream of
/// IPv4, IPv6 or AF_UNIX is refused (Exit::config).
Result<std::vector<HttpSocket>> take_http_sockets(std::vector<systemd::InheritedSocket>& inherited);

/// Binds all, or none. Call it before threads start: it changes the umask for a moment, so that all
/// users may connect to a unix socket.
Result<std::vector<HttpSocket>> bind_http_sockets(const MetricsConfig& config);

/// More are an error: the server polls each in turn.
inline constexpr size_t http_sockets_max = 64;

/// The inherited sockets; if there are none, those of the configuration.
Result<std::vector<HttpSocket>> open_http_sockets(
    const MetricsConfig& config, std::vector<systemd::InheritedSocket>& inherited);

} // namespace riposte
