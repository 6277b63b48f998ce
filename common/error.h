// Errors of set-up, and the exit codes that they end in.
//
// Two classes of error, and no third: a fatal one is an `Error`, travels unchanged through
// `Result` to main, is printed once and becomes the exit code; an expected one (a peer that
// resets, a full table) is a plain -errno that its direct caller handles. Nothing of ours throws.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace riposte {

/// Exit codes of both programs; the numbers above 64 are those of sysexits(3).
enum class Exit : int {
    ok = 0,
    failed = 1,        ///< client: loss, refusal, timeout, wrong answer
    usage = 2,         ///< bad command line; client: any local error
    unavailable = 69,  ///< the demanded backend is not available (EX_UNAVAILABLE)
    os = 71,           ///< an operating system call failed (EX_OSERR)
    permission = 77,   ///< not permitted: a privileged port, an unreadable file (EX_NOPERM)
    config = 78,       ///< configuration file, inherited sockets (EX_CONFIG)
    interrupted = 130, ///< client: a second SIGINT or SIGTERM; 128 + SIGINT, as a shell shows it
};

/// A fatal error. `message` is one line: what, where (file:line:column, address, key), what to do.
struct Error {
    Exit exit;
    std::string message;
};

template<class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Exit exit, std::string message) {
    return std::unexpected(Error{exit, std::move(message)});
}

/// "not enough memory for WHAT: ...", Exit::os.
inline std::unexpected<Error> out_of_memory(const std::string& what) {
    return fail(
        Exit::os, "not enough memory for " + what +
                      ": raise the limit (MemoryMax=, ulimit -v), or lower 'connections'");
}

} // namespace riposte
