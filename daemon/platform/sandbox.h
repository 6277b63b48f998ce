// What the process may still ask the kernel for when it is up: as much as serving, a reload and a
// drain need, and nothing else. See seccomp(2).
//
// The filter is the last step of the start, for all threads at once and for good. It is there for
// the day on which somebody runs code of his own in here: he finds no way to start a program, to
// connect to anybody, to write a file, to get executable memory, to look into another process, or
// to the parts of the kernel that a responder never uses. What is refused fails with EPERM, and the
// kernel's audit log names it.
//
// io_uring is a way past any such filter, so the ring is limited on its own (io/uring_backend.h),
// before this one sees to it that there is no other ring.
#pragma once

#include <expected>
#include <string>

namespace riposte::sandbox {

/// What a daemon may have to do after its start that not every one has to.
struct Needs {
    bool read_files = false;     ///< a reload reads the configuration
    bool open_sockets = false;   ///< and opens listeners (never if they are inherited)
    bool tell_manager = false;   ///< the service manager and the journal, over AF_UNIX datagrams
    bool remove_sockets = false; ///< unix sockets of its own, at the end
};

/// Seals every thread of the process, and those to come. The error is the reason, for one line of
/// log: then nothing has changed.
std::expected<void, std::string> seal(Needs needs);

} // namespace riposte::sandbox
