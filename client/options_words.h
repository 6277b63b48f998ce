// Between the two halves of the command line: options.cpp splits it into words, options_read.cpp
// says what they mean. Values stand here as they were written; absent ones have not been given.
#pragma once

#include "client/options.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

using Word = std::optional<std::string>;

struct CommonWords {
    bool udp = false;
    bool ipv4 = false;
    bool ipv6 = false;
    Word timeout;
    Word source;
    Word color;
};

struct SendWords {
    CommonWords common;
    Word endpoint;
    Word message;
    bool message_marked = false; ///< it stands behind --
    bool verbose = false;
};

struct ReportWords {
    bool json = false;
    bool histogram = false;
    Word histogram_file;
    Word plot_file;
    Word fail_if;
};

struct PingWords {
    CommonWords common;
    std::vector<std::string> endpoints;
    Word count;
    Word interval;
    Word deadline;
    Word size;
    bool quiet = false;
    bool timestamps = false;
    bool reconnect = false;
    bool df = false;
    ReportWords report;
};

struct LoadWords {
    CommonWords common;
    Word endpoint;
    Word connections;
    Word duration;
    Word count;
    Word rate;
    Word size;
    Word depth;
    Word warmup;
    bool reconnect = false;
    bool no_verify = false;
    ReportWords report;
};

struct StatusWords {
    CommonWords common;
    Word endpoint;
    Word interval;
    bool json = false;
    bool watch = false;
};

/// "localhost:7007" of "localhost" and "7007", if the second may be meant for the port of the
/// first, as in nc(1)'s command line; else empty.
std::string with_port(const std::string& endpoint, const std::string& word);

Result<Options> read_send(const SendWords& words);
Result<Options> read_ping(const PingWords& words);
Result<Options> read_load(const LoadWords& words);
Result<Options> read_status(const StatusWords& words);

/// The texts of --help: options_help.cpp.
extern const std::string_view root_help;
extern const std::string_view send_help;
extern const std::string_view ping_help;
extern const std::string_view load_help;
extern const std::string_view status_help;

} // namespace riposte::client
