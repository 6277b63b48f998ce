// The configuration: one validated, immutable value. Units are in the names, the unit last.
//
// Sources, the later ones win: the embedded default, the file (riposted.toml(5)), the flags
// (riposted(8)). A fault is refused with file:line:column, what is wrong, and what would be
// correct; nothing is ever guessed. schema.h has a row for each key.
#pragma once

#include "common/error.h"
#include "daemon/io/backend_choice.h"
#include "daemon/listen/listener_config.h"
#include "daemon/log/log.h"
#include "daemon/tcp/tcp_limits.h"
#include "daemon/telemetry/access_log.h"
#include "daemon/telemetry/metrics_config.h"
#include "daemon/udp/udp_limits.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte {

inline constexpr uint32_t workers_max = 256;
inline constexpr uint32_t busy_poll_us_max = 10'000;
/// Of all [[listen]] sections together; each is a socket per worker.
inline constexpr size_t listen_addresses_max = 1024;

struct Config {
    BackendChoice backend = BackendChoice::automatic;
    uint32_t workers = 1;      ///< as written; 0: one per CPU
    uint32_t busy_poll_us = 0; ///< how long a worker looks for work before it sleeps; 0: not at all
    uint32_t drain_timeout_ms = 5'000;
    LogLevel log_level = LogLevel::info;
    std::vector<ListenerConfig> listen; ///< never empty once validated
    TcpLimits limits;
    UdpLimits datagrams;
    MetricsConfig metrics;
    AccessLogConfig access_log;
};

/// hello on tcp://127.0.0.1:7001 and udp://127.0.0.1:7001.
Config default_config();

/// True if no listener is configured, so that those of default_config() run.
bool has_default_listeners(const Config& config);

/// Messages begin with `name`:line:column. Exit::config on any fault.
Result<Config> parse_config(std::string_view toml, std::string_view name);

/// Gives the addresses as they were written their transports: without a scheme, those that the
/// service speaks. Returns the first one that the service does not speak; nothing: all are good.
std::optional<Endpoint> set_transports(ListenerConfig& listen);
/// The message that refuses it.
std::string not_over_tcp(const Endpoint& endpoint, ServiceKind service);

/// Reads and parses. A missing file is Exit::config; a file that the daemon may not read is
/// Exit::permission.
Result<Config> load_config(const std::string& path);

/// True if the file changed within the last quarter of a second: a program may still be writing it.
/// The clock of a file server may be two seconds ahead. Nanoseconds since 1970.
bool is_just_written(const std::string& path);
bool is_just_written(int64_t modified_ns, int64_t now_ns);

/// Refuses faults that no single key shows: a duplicate address, too many addresses, no address.
/// parse_config() calls it, and effective_config() after it has applied the flags.
Result<void> validate(const Config& config);

/// TOML that parse_config() reads back to an equal configuration.
std::string print_config(const Config& config);

} // namespace riposte
