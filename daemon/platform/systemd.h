// What the service manager passes to the daemon: inherited sockets, the watchdog's interval, how
// many descriptors may be stored. See sd_listen_fds_with_names(3), sd_watchdog_enabled(3). What the
// daemon tells it is in notifier.h. Built without libsystemd, or started by hand, each of these
// does nothing and says so in its result.
#pragma once

#include "common/error.h"
#include "common/fd.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::systemd {

/// A socket that the service manager handed over, and its FileDescriptorName=.
struct InheritedSocket {
    Fd fd;
    std::string name;
};

/// What the environment says of them; a variable that is not there is none.
struct ListenVariables {
    std::optional<std::string> pid;   ///< LISTEN_PID
    std::optional<std::string> fds;   ///< LISTEN_FDS
    std::optional<std::string> names; ///< LISTEN_FDNAMES
};

/// How many descriptors were passed to the process `own_pid`: the variables, each by itself and
/// held against each other. 0: none, or they are meant for another process. Pure.
Result<unsigned> count_passed(const ListenVariables& variables, unsigned own_pid);

/// A line for each thing that the environment offers to another process (LISTEN_PID, WATCHDOG_PID),
/// which somebody may miss here. It is passed over, as sd_listen_fds(3) and sd_watchdog_enabled(3)
/// do.
std::vector<std::string> passed_over();

/// Takes the descriptors of LISTEN_FDS, close-on-exec set, and clears the variables. Empty if there
/// are none. Malformed variables, or any at all in a build without libsystemd, are Exit::config.
Result<std::vector<InheritedSocket>> take_inherited_sockets();

/// WATCHDOG_USEC when meant for this process: the watchdog must be petted within this time.
std::optional<uint64_t> watchdog_interval_us();

// The file descriptor store, where descriptors wait for the next process of the service.

/// How many may be stored: FDSTORE= in the environment, from systemd 254 on set by the manager; 0
/// if it is not there, not a number, or there is nobody to tell. Never more than the environment of
/// the next process can name: 128 KiB (execve(2)), in which each has a name and a colon.
uint32_t store_capacity();
inline constexpr uint32_t store_capacity_max = 6000;
/// What FDSTORE= says, as store_capacity() takes it. Pure.
uint32_t parse_store_capacity(std::string_view text);

/// SCM_MAX_FD of unix(7).
inline constexpr size_t descriptors_per_message = 253;

} // namespace riposte::systemd
