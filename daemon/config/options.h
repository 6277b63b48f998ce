// The command line of riposted(8).
#pragma once

#include "common/error.h"
#include "daemon/config/config.h"

#include <optional>
#include <string>
#include <vector>

namespace riposte {

struct Options {
    std::string config_path; ///< empty: the embedded default
    bool check = false;
    bool print_config = false;
    std::optional<std::string> answer; ///< --help, --version: print it on stdout and exit 0
    std::optional<BackendChoice> backend;
    std::optional<uint32_t> workers;
    std::optional<LogLevel> log_level;
    std::vector<ListenerConfig> listen; ///< replaces the file's listeners if any is given
};

/// Exit::usage with one clear line on any fault. Not thread-safe (arguments.h).
Result<Options> parse_options(int argc, const char* const* argv);

/// The file (or the default) with the flags applied, validated. Also what a reload calls.
Result<Config> effective_config(const Options& options);

} // namespace riposte
