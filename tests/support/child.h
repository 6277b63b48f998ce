// Parts of a test that change the state of the whole process (environment, standard error,
// descriptors 3 and up, user, limits) run in a child, which returns its findings as text.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace riposte::test {

/// Runs `body` in a child process and returns the string that it returns.
template<class Body>
std::string in_child(Body&& body) {
    int pipe_fds[2];
    if (::pipe2(pipe_fds, O_CLOEXEC) != 0)
        return "(pipe failed)";
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::close(pipe_fds[0]);
        // A high number, so that it does not collide with the child's use of low descriptors.
        const int result_fd = ::fcntl(pipe_fds[1], F_DUPFD_CLOEXEC, 100);
        ::close(pipe_fds[1]);
        const std::string result = std::forward<Body>(body)();
        for (std::string_view rest = result; !rest.empty();) {
            const ssize_t written = ::write(result_fd, rest.data(), rest.size());
            if (written <= 0)
                ::_exit(1);
            rest.remove_prefix(static_cast<size_t>(written));
        }
        ::_exit(0);
    }
    ::close(pipe_fds[1]);
    std::string result;
    char bytes[4096];
    ssize_t size = 0;
    while ((size = ::read(pipe_fds[0], bytes, sizeof bytes)) > 0)
        result.append(bytes, static_cast<size_t>(size));
    ::close(pipe_fds[0]);
    int status = 0;
    if (pid < 0 || ::waitpid(pid, &status, 0) != pid || status != 0)
        result += "(the child failed, status " + std::to_string(status) + ")";
    return result;
}

/// Call these only in a child, which has one thread.
inline void set_environment(const char* name, const std::string& value) {
    ::setenv(name, value.c_str(), 1); // NOLINT(concurrency-mt-unsafe)
}
inline void unset_environment(const char* name) {
    ::unsetenv(name); // NOLINT(concurrency-mt-unsafe)
}
inline bool has_environment(const char* name) {
    return std::getenv(name) != nullptr; // NOLINT(concurrency-mt-unsafe)
}

/// Behave as without a service manager, however the tests were started.
inline void forget_service_manager() {
    for (const char* name :
         {"JOURNAL_STREAM", "INVOCATION_ID", "NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS",
          "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_PID", "WATCHDOG_USEC", "FDSTORE"})
        unset_environment(name);
}

} // namespace riposte::test
