// Restricts the system calls of the running process to those that serving, a reload and a drain
// need. See seccomp(2).
//
// Installing the filter is the last step of the start; it covers all threads at once and cannot be
// undone. It limits an attacker who runs code in this process: that code cannot start a program,
// connect anywhere, write a file, get executable memory, inspect another process, or use parts of
// the kernel that a responder never needs. A refused call fails with EPERM, and the kernel's audit
// log names it.
//
// Operations of an io_uring bypass any such filter. So the ring has its own restrictions
// (io/uring_backend.h), set before this filter forbids the creation of another ring.
#pragma once

#include "common/reason.h"

#include <expected>

namespace riposte::sandbox {

/// What a daemon may need after its start, depending on its configuration.
struct Needs {
    bool read_files = false;     ///< a reload reads the configuration
    bool open_sockets = false;   ///< a reload opens listeners (never if they are inherited)
    bool notify_manager = false; ///< the service manager and the journal get AF_UNIX datagrams
    bool remove_sockets = false; ///< the daemon unlinks its unix sockets when it stops
    bool read_clock = false;     ///< a reflector says how far the clock may be from UTC
};

/// Installs the filter for every thread of the process, present and future. On an error
/// nothing has changed.
std::expected<void, Reason> seal(Needs needs);

} // namespace riposte::sandbox
