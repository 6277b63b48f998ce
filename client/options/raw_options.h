// Between the two halves of the command line: options.cpp splits it into words, options_COMMAND.cpp
// says what they mean. Values stand here as they were written; absent ones have not been given.
#pragma once

#include "client/options/options.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

using RawValue = std::optional<std::string>;

struct RawCommon {
    bool udp = false;
    bool ipv4 = false;
    bool ipv6 = false;
    RawValue timeout;
    RawValue source;
    RawValue color;
};

/// Where packets go; the source is in RawCommon.
struct RawPath {
    RawValue interface;
    RawValue mark;
    RawValue dscp;
    RawValue ttl;
    bool df = false;
};

struct RawSend {
    RawCommon common;
    RawPath path;
    RawValue endpoint;
    RawValue message;
    bool message_marked = false; ///< it stands behind --
    bool verbose = false;
    bool quiet = false;
    bool first = false;
    RawValue until;
    RawValue expect;
};

struct RawReport {
    bool json = false;
    bool json_lines = false;
    bool live = false;
    RawValue every;
    bool histogram = false;
    RawValue histogram_file;
    RawValue plot_file;
    RawValue fail_if;
};

struct RawPing {
    RawCommon common;
    std::vector<std::string> endpoints;
    RawValue count;
    RawValue interval;
    RawValue deadline;
    RawValue size;
    bool quiet = false;
    bool timestamps = false;
    bool reconnect = false;
    RawValue flows;
    bool mtu = false;
    RawValue targets;
    bool connect = false;
    bool all_addresses = false;
    bool alive = false;
    bool unreachable = false;
    RawValue resolve_every;
    RawValue key_file;
    RawValue ssid;
    RawPath path;
    RawReport report;
};

struct RawLoad {
    RawCommon common;
    RawValue endpoint;
    RawValue connections;
    RawValue duration;
    RawValue count;
    RawValue rate;
    RawValue size;
    RawValue depth;
    RawValue warmup;
    bool reconnect = false;
    bool no_verify = false;
    bool quiet = false;
    RawPath path;
    RawValue upload;
    RawValue download;
    RawValue bitrate;
    RawValue bytes;
    RawValue while_pinging;
    RawReport report;
};

struct RawStatus {
    RawCommon common;
    RawValue endpoint;
    RawValue interval;
    bool json = false;
    bool quiet = false;
    bool watch = false;
};

struct RawProbe {
    RawValue config;
    std::vector<std::string> targets; ///< may be given several times
    std::vector<std::string> listen;  ///< likewise
    bool check = false;
    bool list = false;
    RawValue duration;
    bool json = false;
    RawValue fail_if;
    RawValue color;
};

/// "localhost:7007" of "localhost" and "7007", if the second may be meant for the port of the
/// first, as in nc(1)'s command line; else empty.
std::string with_port(const std::string& endpoint, const std::string& word);

/// Options of ping that have no sense together, or not with its endpoints.
Result<void> check_ping(const PingOptions& ping, const RawPing& words, const CommonOptions& common);

Result<Options> read_send(const RawSend& words);
Result<Options> read_ping(const RawPing& words);
Result<Options> read_load(const RawLoad& words);
Result<Options> read_status(const RawStatus& words);
Result<Options> read_probe(const RawProbe& words);

/// The texts of --help: options_help.cpp, help_COMMAND.cpp.
extern const std::string_view root_help;
extern const std::string_view send_help;
extern const std::string_view ping_help;
extern const std::string_view load_help;
extern const std::string_view status_help;
extern const std::string_view probe_help;

} // namespace riposte::client
