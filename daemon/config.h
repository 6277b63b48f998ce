// The configuration: one validated, immutable value. Units are in the names, the unit last.
//
// Sources, the later ones win: the embedded default, the file (riposted.toml(5)), the flags
// (riposted(8)). Whatever is wrong is refused with file:line:column, what it is, and what would be
// right; nothing is ever guessed.
#pragma once

#include "common/endpoint.h"
#include "common/error.h"
#include "daemon/log.h"
#include "daemon/services/service.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace riposte {

enum class BackendChoice : uint8_t { automatic, io_uring, epoll };

std::string_view to_string(BackendChoice choice); ///< "auto", "io_uring", "epoll"

/// One [[listen]] section, or one --listen.
struct ListenConfig {
    ServiceKind service = ServiceKind::hello;
    std::vector<Endpoint> addresses; ///< transport always set: one without scheme became two
    ServiceOptions options;          ///< what the service can be told (message)
    std::string origin;              ///< "riposted.toml:12:1", "--listen", "default": for errors
};

struct LimitsConfig {
    uint32_t connections_max = 8192;            ///< open TCP connections of the process
    uint32_t connections_per_source_max = 1024; ///< of one peer address
    uint32_t idle_timeout_ms = 60'000;          ///< nothing arrived and nothing owed
    uint32_t write_stall_timeout_ms = 10'000;   ///< something owed and the peer takes nothing
    uint32_t linger_timeout_ms = 5'000;         ///< after our FIN, waiting for the peer's

    bool operator==(const LimitsConfig&) const = default;
};

struct Config {
    BackendChoice backend = BackendChoice::automatic;
    uint32_t workers = 1;      ///< as written; 0: one per CPU
    uint32_t busy_poll_us = 0; ///< a worker looks for work so long before it sleeps; 0: not at all
    uint32_t drain_timeout_ms = 5'000;
    LogLevel log_level = LogLevel::info;
    std::vector<ListenConfig> listen; ///< never empty once validated
    LimitsConfig limits;
};

/// hello on tcp://127.0.0.1:7001 and udp://127.0.0.1:7001.
Config default_config();

/// `name` stands before :line:column in messages. Exit::config on any fault.
Result<Config> parse_config(std::string_view toml, std::string_view name);

/// Reads and parses; a file that is not there or not readable is Exit::config / Exit::permission.
Result<Config> load_config(const std::string& path);

/// Refuses what no single key shows: the same address twice, too many of them, none at all. Called
/// by parse_config() and after the flags were applied.
Result<void> validate(const Config& config);

/// TOML that parse_config() reads back to an equal configuration.
std::string print_config(const Config& config);

} // namespace riposte
