// What passes between the daemon and its service manager: inherited sockets, readiness, status,
// watchdog, reload, stopping. See sd_listen_fds_with_names(3), sd_notify(3),
// sd_watchdog_enabled(3). Built without libsystemd, or started by hand, each of these does nothing
// and says so in its result.
#pragma once

#include "common/error.h"
#include "common/fd.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::systemd {

/// A socket that the service manager handed over, and its FileDescriptorName=.
struct InheritedSocket {
    Fd fd;
    std::string name;
};

/// Takes the descriptors of LISTEN_FDS, close-on-exec set, and clears the variables. Empty if there
/// are none. Malformed variables, or any at all in a build without libsystemd, are Exit::config.
Result<std::vector<InheritedSocket>> take_inherited_sockets();

/// WATCHDOG_USEC when meant for this process: the watchdog must be petted within this time.
std::optional<uint64_t> watchdog_interval_us();

// Each sends one datagram to NOTIFY_SOCKET if there is one.
void notify_ready(std::string_view status);
void notify_status(std::string_view status);
void notify_reloading(); ///< RELOADING=1 with MONOTONIC_USEC, as Type=notify-reload needs
void notify_stopping(std::string_view status);
void notify_watchdog();

} // namespace riposte::systemd
