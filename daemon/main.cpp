// riposted(8). Wires, and decides nothing: options -> configuration -> listeners -> workers ->
// readiness -> signals, until it has stopped.

#include "daemon/config.h"
#include "daemon/limits.h"
#include "daemon/log.h"
#include "daemon/log_failure.h"
#include "daemon/memory_bound.h"
#include "daemon/options.h"
#include "daemon/supervisor.h"

#include <cstdio>

namespace {

using namespace riposte;

int fail_with(const Error& error) {
    log_failure(log::Event::start_failed, "", error);
    return static_cast<int>(error.exit);
}

int print(const std::string& text) {
    return std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0
               ? static_cast<int>(Exit::os)
               : static_cast<int>(Exit::ok);
}

} // namespace

int main(int argc, char** argv) {
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

    log::set_level(config->log_level);
    auto supervisor = Supervisor::start(*options, *config);
    if (!supervisor)
        return fail_with(supervisor.error());
    return static_cast<int>((*supervisor)->run());
}
