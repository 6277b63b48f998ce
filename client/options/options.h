// The command line of riposte(1): one subcommand each for what the client can do.
//
// What every subcommand takes is in CommonOptions; what only one takes is in its own struct, and
// the struct in `command` says which one was given. Everything is validated here: the commands
// never see an invalid endpoint, a zero timeout or an unset transport. By file: options.cpp splits
// the line into words; options_COMMAND.cpp says what they mean, with what is common to all of them
// in options_values.cpp, and where packets go in options_path.cpp; options_conditions.cpp says
// which conditions a command takes; help_COMMAND.cpp has the text of --help.
#pragma once

#include "client/measure/fail_if.h"
#include "client/measure/pattern.h"
#include "client/options/path_options.h"
#include "common/address.h"
#include "common/endpoint.h"
#include "common/error.h"
#include "common/http/address.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace riposte::client {

inline constexpr uint16_t default_port = 7001;

enum class Color : uint8_t { automatic, always, never };

struct CommonOptions {
    Family family = Family::any;
    uint32_t timeout_ms = 5000;
    Color color = Color::automatic;
    PathOptions path; ///< of status only the source, without a port
};

/// --help, --version: print it on standard output, exit 0.
struct Answer {
    std::string text;
};

/// Where an answer ends, if the peer does not end it, and what it must contain. At most one of the
/// first three is given.
struct AnswerRules {
    bool first = false;                  ///< the first bytes to arrive, or the first datagram
    std::optional<uint64_t> until_bytes; ///< at least 1
    std::optional<Pattern> until;
    std::optional<Pattern> expect; ///< alone, it ends the answer as well

    bool operator==(const AnswerRules&) const = default;
};

struct SendOptions {
    Endpoint endpoint;   ///< transport and port are always set
    std::string message; ///< unused with `message_from_input`
    bool message_from_input = false;
    bool verbose = false;
    bool quiet = false;      ///< the answer is not printed
    AnswerRules answer = {}; ///< over UDP one of them is always given
    std::string hint = {};   ///< the likely intent of an odd message; empty: none
};

/// How ping and load show what they measured.
struct ReportOptions {
    bool json = false;
    bool json_lines = false;          ///< what happens as lines of JSON, and the document last
    std::optional<uint32_t> every_ms; ///< --every: a line of figures for each interval
    bool live = false;                ///< a screen that shows what happens
    bool histogram = false;           ///< as a chart in the terminal
    std::string histogram_file;       ///< --hist: the distribution as a table; empty: none
    std::string plot_file;            ///< --plot: an SVG; empty: none
    FailIf fail_if;

    /// Is standard output nothing but JSON?
    bool is_json() const { return json || json_lines; }
};

inline constexpr uint32_t every_ms_min = 100;

/// The limits of the pace and the size: probe.h, ping_account.h.
inline constexpr uint64_t ping_interval_us_min = 100;
inline constexpr size_t ping_endpoints_max = 65'536; ///< ProberTag::endpoints_max
inline constexpr uint32_t ping_payload_bytes = 56;
inline constexpr uint32_t ping_flows_max = 256;
inline constexpr uint32_t flow_payload_bytes_max = 1200; ///< over TCP: one segment on any path
inline constexpr uint16_t flow_port_first = 41000;       ///< unless --source names one
inline constexpr uint32_t payload_bytes_max = 65507;     ///< UDP; TCP keeps to it, too, in ping

/// Of endpoints with the scheme stamp://.
struct StampOptions {
    std::vector<std::byte> key = {};    ///< the content of --key-file; empty: not authenticated
    std::optional<uint16_t> ssid = {};  ///< absent: a random one; 0: none
    std::optional<uint32_t> bytes = {}; ///< -s
};

/// The endpoints that ping prints, and nothing else.
enum class Listing : uint8_t { none, alive, unreachable };
/// Probes to each endpoint in a listing, unless -c or -w says otherwise.
inline constexpr uint64_t listing_count = 4;
/// More curves than that are no picture.
inline constexpr size_t ping_plotted_max = 256;

struct PingOptions {
    std::vector<Endpoint> endpoints; ///< at least one; transport and port are always set
    std::optional<uint64_t> count;   ///< of each endpoint, at least 1; absent: until interrupted
    uint64_t interval_us = 1'000'000;
    std::optional<uint32_t> deadline_ms;         ///< of the whole run
    uint32_t payload_bytes = ping_payload_bytes; ///< at least probe_header_bytes
    bool quiet = false;
    bool timestamps = false;    ///< -D: the time in front of each line
    bool reconnect = false;     ///< TCP: a connection for each probe
    bool mtu = false;           ///< UDP: search for the path MTU instead
    uint32_t flows = 0;         ///< local ports that take the probes in turn; 0: one, any
    bool connect = false;       ///< TCP: each probe is a connection, on which nothing is sent
    bool all_addresses = false; ///< of each name, as an endpoint each
    Listing listing = Listing::none;
    std::optional<uint32_t> resolve_every_ms; ///< names are looked up again after that time
    StampOptions stamp;
    ReportOptions report;
};

inline constexpr uint32_t load_connections_max = 100'000;
inline constexpr uint32_t load_depth_max = 4096;
inline constexpr uint32_t load_payload_bytes_max = 1 << 24; ///< TCP; UDP: payload_bytes_max

struct LoadOptions {
    Endpoint endpoint;             ///< transport and port are always set
    uint32_t connections = 10;     ///< sockets, with UDP
    uint32_t duration_ms = 10'000; ///< of the measured time; 0: until `count`, or interrupted
    std::optional<uint64_t> count; ///< measured requests, at least 1
    std::optional<double> rate;    ///< requests a second in total; absent: closed loop
    uint32_t payload_bytes = 64;   ///< at least 1, UDP probe_header_bytes
    uint32_t depth = 1;            ///< outstanding on each connection; default in open loop: 64
    uint32_t warmup_ms = 1000;
    bool reconnect = false; ///< TCP: a connection for each request (depth is 1)
    bool verify = true;
    bool quiet = false;                    ///< one line of results, no live line
    std::optional<Endpoint> while_pinging; ///< probed before the load and beside it
    ReportOptions report;
};

enum class Flow : uint8_t { upload, download };

/// A direction of `riposte load --upload --download`.
struct Direction {
    Flow flow = Flow::upload;
    Endpoint endpoint;        ///< transport and port are always set
    uint32_t chunk_bytes = 0; ///< of a write, or a datagram
};

struct ThroughputOptions {
    std::vector<Direction> directions; ///< an upload, a download, or both in this order
    uint32_t connections = 1;          ///< of each direction; sockets, with UDP
    uint32_t duration_ms = 10'000;     ///< of the measured time; 0: until `bytes`, or interrupted
    std::optional<uint64_t> bytes;     ///< of each direction
    std::optional<double> bitrate;     ///< bits a second, of what this machine sends
    uint32_t warmup_ms = 1000;
    std::optional<Endpoint> while_pinging; ///< probed before the load and beside it
    bool quiet = false;                    ///< a line of results for each direction, no intervals
    ReportOptions report;
};

/// Where a daemon's metrics may be asked for.
struct StatusPlace {
    std::string path;  ///< of a unix socket; empty: `endpoint` it is
    Endpoint endpoint; ///< transport (TCP) and port are always set then
};

inline constexpr uint16_t status_port = 9701;
inline constexpr const char* status_socket = "/run/riposte/metrics.sock";

struct StatusOptions {
    std::vector<StatusPlace> places; ///< at least one; the first that can be reached is asked
    bool usual_places = false;       ///< none was named, and these are where it usually is
    bool json = false;
    bool quiet = false; ///< only what the operator should look at
    bool watch = false;
    uint32_t interval_ms = 2000; ///< of --watch
};

inline constexpr const char* probe_config_file = "/etc/riposte/probe.toml";

enum class ProbeAction : uint8_t { run, check, list };

struct ProbeOptions {
    std::string config;              ///< a file; empty: none, the defaults
    std::vector<std::string> lists;  ///< --targets: patterns of files
    std::vector<HttpAddress> listen; ///< where figures are served; none: nowhere
    ProbeAction action = ProbeAction::run;
    std::optional<uint32_t> duration_ms; ///< --for; absent: until a signal
    bool json = false;
    FailIf fail_if;
};

struct Options {
    CommonOptions common;
    std::variant<
        Answer, SendOptions, PingOptions, LoadOptions, ThroughputOptions, StatusOptions,
        ProbeOptions>
        command;
};

/// Exit::usage with one clear line on any fault. Not thread-safe (arguments.h).
Result<Options> parse_options(int argc, const char* const* argv);

} // namespace riposte::client
