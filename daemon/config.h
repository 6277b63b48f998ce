// The configuration: one validated, immutable value. Units are in the names, the unit last.
//
// Sources, the later ones win: the embedded default, the file (riposted.toml(5)), the flags
// (riposted(8)). Whatever is wrong is refused with file:line:column, what it is, and what would be
// right; nothing is ever guessed.
#pragma once

#include "common/endpoint.h"
#include "common/error.h"
#include "daemon/access.h"
#include "daemon/cidr.h"
#include "daemon/log.h"
#include "daemon/scrape/scrape_address.h"
#include "daemon/services/service.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace riposte {

enum class BackendChoice : uint8_t { automatic, io_uring, epoll };

std::string_view to_string(BackendChoice choice); ///< "auto", "io_uring", "epoll"

/// What a limit on connections can be at most.
inline constexpr uint32_t connections_most = 1'000'000;

/// One [[listen]] section, or one --listen.
struct ListenConfig {
    ServiceKind service = ServiceKind::hello;
    std::vector<Endpoint> addresses{}; ///< transport always set: one without scheme became two
    ServiceOptions options{};          ///< what the service can be told (message)
    AccessConfig access{};             ///< who may use it
    uint32_t connections_max = connections_most; ///< open at once on each of its TCP addresses
    std::string origin{}; ///< "riposted.toml:12:1", "--listen", "default": for errors
};

/// What happens to a connection that comes when there are as many as there may be.
enum class WhenFull : uint8_t {
    refuse,
    close_idle, ///< it gets the place of whoever is idle for longest
};

std::string_view to_string(WhenFull when_full); ///< "refuse", "close_idle"

struct LimitsConfig {
    uint32_t connections_max = 8192;            ///< open TCP connections of the process
    uint32_t connections_per_source_max = 1024; ///< of one source
    uint32_t source_prefix_ipv4_bits = 32; ///< addresses that agree in so many bits are one source
    uint32_t source_prefix_ipv6_bits = 64;
    WhenFull when_full = WhenFull::refuse;    ///< at `connections_max`
    uint32_t first_byte_timeout_ms = 30'000;  ///< accepted, and nothing ever arrived
    uint32_t idle_timeout_ms = 60'000;        ///< nothing arrived and nothing owed
    uint32_t write_stall_timeout_ms = 10'000; ///< something owed and the peer takes nothing
    uint32_t rate_min = 0;                    ///< bytes a second, of who goes on sending; 0: any
    uint32_t write_rate_min = 100;            ///< bytes a second, of who is owed something; 0: any
    uint32_t rate_window_ms = 10'000;         ///< over which both are measured
    uint32_t linger_timeout_ms = 5'000;       ///< after our FIN, waiting for the peer's
    uint64_t buffer_memory_bytes = uint64_t{128} << 20; ///< stream buffers of the process

    bool operator==(const LimitsConfig&) const = default;
};

/// No less, for the largest datagram has so many.
inline constexpr uint64_t bytes_rate_min = 65'536;

/// Who can not be forged from outside: the kernel takes no such source from a network.
std::vector<Cidr> loopback_prefixes();

/// To whom, and how much, datagrams are answered; see reflection.h and rate_limit.h.
struct DatagramsConfig {
    uint32_t prefix_ipv4_bits = 24; ///< addresses that agree in so many bits share their rate
    uint32_t prefix_ipv6_bits = 56;
    uint64_t rate_per_prefix = 5'000; ///< answers a second
    uint64_t bytes_per_prefix = uint64_t{8} * 1024 * 1024;
    uint64_t rate = 100'000; ///< to all together
    uint64_t bytes = uint64_t{128} * 1024 * 1024;
    std::vector<Cidr> rate_exempt = loopback_prefixes();
    std::vector<Cidr> port_exempt{}; ///< may ask from ports below 1024
    /// May be sent more than they asked with. Loopback can not be forged from outside.
    std::vector<Cidr> longer_answers_to = loopback_prefixes();

    bool operator==(const DatagramsConfig&) const = default;
};

/// Where the daemon's own figures can be had; see scrape/scrape_server.h.
struct MetricsConfig {
    std::vector<ScrapeAddress> listen{}; ///< none: nowhere
    std::string origin{};                ///< "riposted.toml:12:1" of `listen`, for errors

    bool operator==(const MetricsConfig& other) const { return listen == other.listen; }
};

/// How much of a content the access log can show.
inline constexpr uint32_t access_log_bytes_max = 256;

/// What is told of single connections and datagrams; see access_log.h.
struct AccessLogConfig {
    bool connections = false;     ///< a line for each, at its end
    uint32_t datagrams_every = 0; ///< a line for one in so many; 0: for none
    uint32_t rate = 100;          ///< lines a second, at most
    uint32_t bytes = 32;          ///< of the content, at its front

    bool operator==(const AccessLogConfig&) const = default;
};

struct Config {
    BackendChoice backend = BackendChoice::automatic;
    uint32_t workers = 1;      ///< as written; 0: one per CPU
    uint32_t busy_poll_us = 0; ///< a worker looks for work so long before it sleeps; 0: not at all
    uint32_t drain_timeout_ms = 5'000;
    LogLevel log_level = LogLevel::info;
    std::vector<ListenConfig> listen; ///< never empty once validated
    LimitsConfig limits;
    DatagramsConfig datagrams;
    MetricsConfig metrics;
    AccessLogConfig access_log;
};

/// hello on tcp://127.0.0.1:7001 and udp://127.0.0.1:7001.
Config default_config();

/// Are the listeners those of default_config(), for want of others?
bool has_default_listeners(const Config& config);

/// `name` stands before :line:column in messages. Exit::config on any fault.
Result<Config> parse_config(std::string_view toml, std::string_view name);

/// Reads and parses; a file that is not there or not readable is Exit::config / Exit::permission.
Result<Config> load_config(const std::string& path);

/// Was the file changed within the last quarter of a second, so that whoever writes it may not have
/// come to its end? The clock of a file server may be two seconds ahead. Nanoseconds since 1970.
bool is_just_written(const std::string& path);
bool is_just_written(int64_t modified_ns, int64_t now_ns);

/// Refuses what no single key shows: the same address twice, too many of them, none at all. Called
/// by parse_config() and after the flags were applied.
Result<void> validate(const Config& config);

/// TOML that parse_config() reads back to an equal configuration.
std::string print_config(const Config& config);

} // namespace riposte
