#include "daemon/config/stamp_clock.h"

#include "common/clock_error.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

namespace riposte {

namespace {

bool wants_clock(const ListenerConfig& listen) {
    return listen.service == ServiceKind::stamp && listen.options.stamp.clock == StampClock::system;
}

} // namespace

bool wants_system_clock(const Config& config) {
    return std::ranges::any_of(config.listen, wants_clock);
}

Result<void> check_stamp_clock(const Config& config) {
    const auto listen = std::ranges::find_if(config.listen, wants_clock);
    if (listen == config.listen.end())
        return {};
    const auto error = read_clock_error();
    if (error)
        return {};
    return fail(
        error.error() == EPERM ? Exit::permission : Exit::os,
        fmt::format(
            "{}: clock = \"system\": adjtimex: {}; permit this call (STAMP in riposted(8) has the "
            "drop-in for systemd) and restart, or write clock = \"unknown\"",
            listen->origin, errno_text(error.error())));
}

} // namespace riposte
