// riposted(8). Connects the parts and decides nothing: command line -> configuration -> supervisor,
// which runs until the daemon has stopped.

#include "common/standard_streams.h"
#include "common/text.h"
#include "daemon/config/config.h"
#include "daemon/config/options.h"
#include "daemon/log/log.h"
#include "daemon/log/log_failure.h"
#include "daemon/supervisor/memory_bound.h"
#include "daemon/supervisor/signals.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/supervisor/worker_count.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <new>

#include <fmt/format.h>

namespace {

using namespace riposte;

int fail_with(const Error& error) {
    log_failure(log::Event::start_failed, "", error);
    return static_cast<int>(error.exit);
}

int print(const std::string& text) {
    if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0)
        return static_cast<int>(Exit::ok);
    const int error = errno;
    if (error == EPIPE) { // the reader (`| head`) has closed its end: die by SIGPIPE as usual
        std::signal(SIGPIPE, SIG_DFL);
        std::raise(SIGPIPE);
    }
    return fail_with({Exit::os, fmt::format("standard output: {}", errno_text(error))});
}

/// Reports a failed allocation at the start as an error, with exit code and message.
Result<std::unique_ptr<Supervisor>> start(const Options& options, const Config& config) {
    try {
        return Supervisor::start(options, config);
    } catch (const std::bad_alloc&) {
        return out_of_memory("this configuration");
    }
}

int serve(const Options& options, const Config& config) {
    log::set_level(config.log_level);
    auto supervisor = start(options, config);
    if (!supervisor)
        return fail_with(supervisor.error());
    return static_cast<int>((*supervisor)->run());
}

} // namespace

int main(int argc, char** argv) {
    if (!reserve_standard_streams())
        return static_cast<int>(Exit::os);
    take_signals();
    log::open();
    auto options = parse_options(argc, argv);
    if (!options)
        return fail_with(options.error());
    if (const auto& answer = options->answer)
        return print(*answer);

    auto config = effective_config(*options);
    if (!config)
        return fail_with(config.error());
    if (options->print_config)
        return print(print_config(*config));
    if (options->check)
        return print(describe(memory_bound(*config, worker_count(config->workers))) + "\n");

    return serve(*options, *config);
}
