// What the service manager passes to the daemon: inherited sockets, the watchdog's interval, the
// capacity of the descriptor store. See sd_listen_fds_with_names(3), sd_watchdog_enabled(3). For
// messages to the manager see supervisor/notifier.h. In a build without libsystemd, or without a
// service manager, the results are empty; each function says how.
#pragma once

#include "common/error.h"
#include "common/fd.h"
#include "common/reason.h"

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

/// The variables of the environment about inherited sockets; unset ones are empty.
struct ListenVariables {
    std::optional<std::string> pid;   ///< LISTEN_PID
    std::optional<std::string> fds;   ///< LISTEN_FDS
    std::optional<std::string> names; ///< LISTEN_FDNAMES
};

/// How many descriptors were passed to the process `own_pid`. Checks the variables, each on its own
/// and against the others. 0: none, or they are for another process. Pure.
Result<unsigned> count_passed(const ListenVariables& variables, unsigned own_pid);

/// A log line for each feature that the environment has for another process (LISTEN_PID,
/// WATCHDOG_PID), because an operator may expect it here. riposted ignores such variables, as
/// sd_listen_fds(3) and sd_watchdog_enabled(3) do.
std::vector<Reason> variables_for_other_processes();

/// Takes over the descriptors of LISTEN_FDS, sets close-on-exec, and clears the variables. Empty if
/// there are none. Malformed variables are Exit::config, and in a build without libsystemd so is
/// any passed socket.
Result<std::vector<InheritedSocket>> take_inherited_sockets();

/// WATCHDOG_USEC if it is for this process: the manager must be notified within this time.
std::optional<uint64_t> watchdog_interval_us();

// The file descriptor store, where descriptors wait for the next process of the service.

/// How many descriptors may be stored: FDSTORE= in the environment, which systemd sets from 254 on;
/// 0 if it is unset or not a number, or if there is no manager to notify. At most as many as the
/// environment of the next process can name: a variable has at most 128 KiB (execve(2)), and each
/// descriptor needs a name and a colon in it.
uint32_t store_capacity();
inline constexpr uint32_t store_capacity_max = 6000;
/// The capacity that store_capacity() reads from a value of FDSTORE=. Pure.
uint32_t parse_store_capacity(std::string_view text);

/// The most descriptors that one message can carry: SCM_MAX_FD of unix(7).
inline constexpr size_t descriptors_per_message = 253;

} // namespace riposte::systemd
