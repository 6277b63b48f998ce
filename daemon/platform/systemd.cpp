// The service manager's protocols, through libsystemd where the build has it.
//
// sd_listen_fds(3) returns -EINVAL for any fault in its variables, so they are checked here first,
// to name the variable and the value at fault. Variables for another process (by LISTEN_PID, in an
// inherited environment) are ignored, as sd_listen_fds(3) does.
//
// All functions use the environment, and run before threads start.

#include "daemon/platform/systemd.h"

#include "build_features.h"
#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#if RIPOSTE_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

namespace riposte::systemd {

namespace {

constexpr int first_fd = 3; // SD_LISTEN_FDS_START, part of the protocol
// More than any service manager passes, and small enough that first_fd + count does not overflow.
constexpr unsigned count_max = 65536;

std::optional<std::string> environment(const char* name) {
    const char* value = std::getenv(name); // NOLINT(concurrency-mt-unsafe): before threads start
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

void clear_environment() {
    for (const char* name : {"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"})
        ::unsetenv(name); // NOLINT(concurrency-mt-unsafe): before threads start
}

std::optional<unsigned> parse_number(std::string_view text) {
    unsigned number = 0;
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    const auto [rest, error] = std::from_chars(begin, end, number);
    if (error != std::errc() || rest != end)
        return std::nullopt;
    return number;
}

/// Refuses closed descriptors, before any is taken over, and sets close-on-exec on the others.
Result<void> check_descriptors(unsigned announced) {
    for (unsigned i = 0; i < announced; ++i) {
        const int fd = first_fd + static_cast<int>(i);
        const int flags = ::fcntl(fd, F_GETFD);
        if (flags < 0 || ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
            return fail(
                Exit::config,
                fmt::format("LISTEN_FDS={}: descriptor {} is not open", announced, fd));
    }
    return {};
}

#if RIPOSTE_HAVE_SYSTEMD

/// libsystemd unescapes the names, because the service manager escaped them by its rules.
Result<std::vector<std::string>> unescaped_names(unsigned announced) {
    char** names = nullptr;
    const int count = sd_listen_fds_with_names(0, &names);
    std::vector<std::string> result;
    for (char** name = names; name != nullptr && *name != nullptr; ++name) {
        result.emplace_back(*name);
        std::free(*name);
    }
    std::free(static_cast<void*>(names));
    if (count < 0 || result.size() != announced)
        return fail(
            Exit::config, fmt::format(
                              "LISTEN_FDS={} with LISTEN_FDNAMES={}: not understood: {}", announced,
                              escape(environment("LISTEN_FDNAMES").value_or("")),
                              count < 0 ? errno_text(-count) : "wrong number of names"));
    return result;
}

#else

Result<std::vector<std::string>> unescaped_names(unsigned announced) {
    return fail(
        Exit::config,
        fmt::format(
            "LISTEN_FDS={}: sockets were passed, but this build lacks libsystemd, which is "
            "needed to accept them",
            announced));
}

#endif

} // namespace

Result<unsigned> count_passed(const ListenVariables& variables, unsigned own_pid) {
    const auto& [pid, fds, names] = variables;
    if (!pid || !fds)
        return 0U;
    const auto pid_number = parse_number(*pid);
    if (!pid_number || *pid_number == 0)
        return fail(
            Exit::config,
            fmt::format(
                "LISTEN_PID={}: not a process id (the program that passes sockets sets it)",
                escape(*pid)));
    if (*pid_number != own_pid)
        return 0U;
    const auto count = parse_number(*fds);
    if (!count || *count > count_max)
        return fail(
            Exit::config,
            fmt::format(
                "LISTEN_FDS={}: not a number of sockets (0 to {})", escape(*fds), count_max));

    if (!names || *count == 0)
        return *count;
    const auto names_count = static_cast<size_t>(std::ranges::count(*names, ':')) + 1;
    if (names_count != *count)
        return fail(
            Exit::config, fmt::format(
                              "LISTEN_FDNAMES={}: {} name{} for LISTEN_FDS={}", escape(*names),
                              names_count, names_count == 1 ? "" : "s", *count));
    return *count;
}

std::vector<Reason> variables_for_other_processes() {
    const auto own_pid = static_cast<unsigned>(::getpid());
    std::vector<Reason> found;
    const auto check = [&](const char* pid_name, const char* what_name, std::string_view token,
                           std::string_view consequence) {
        const auto pid = environment(pid_name);
        const auto what = environment(what_name);
        const auto number = pid ? parse_number(*pid) : std::nullopt;
        if (what && number && *number != 0 && *number != own_pid)
            found.push_back(
                {std::string(token),
                 fmt::format(
                     "{}={} is for process {} ({}), but this is process {}: {}; start riposted "
                     "directly, or from a shell with exec",
                     what_name, escape(*what), *number, pid_name, own_pid, consequence)});
    };
    check("LISTEN_PID", "LISTEN_FDS", "sockets", "riposted inherits no socket");
    check("WATCHDOG_PID", "WATCHDOG_USEC", "watchdog", "riposted has no watchdog");
    return found;
}

Result<std::vector<InheritedSocket>> take_inherited_sockets() {
    const auto announced = count_passed(
        {.pid = environment("LISTEN_PID"),
         .fds = environment("LISTEN_FDS"),
         .names = environment("LISTEN_FDNAMES")},
        static_cast<unsigned>(::getpid()));
    if (!announced)
        return std::unexpected(announced.error());
    std::vector<InheritedSocket> sockets;
    if (*announced > 0) {
        const auto open = check_descriptors(*announced);
        if (!open)
            return std::unexpected(open.error());
        auto names = unescaped_names(*announced);
        if (!names)
            return std::unexpected(names.error());
        sockets.reserve(*announced);
        for (unsigned i = 0; i < *announced; ++i)
            sockets.push_back({Fd(first_fd + static_cast<int>(i)), std::move((*names)[i])});
    }
    clear_environment();
    return sockets;
}

std::optional<uint64_t> watchdog_interval_us() {
#if RIPOSTE_HAVE_SYSTEMD
    uint64_t interval_us = 0;
    if (sd_watchdog_enabled(0, &interval_us) > 0)
        return interval_us;
#endif
    return std::nullopt;
}

uint32_t parse_store_capacity(std::string_view text) {
    return std::min(parse_number(text).value_or(0), store_capacity_max);
}

uint32_t store_capacity() {
#if RIPOSTE_HAVE_SYSTEMD
    const auto capacity = environment("FDSTORE");
    const auto manager = environment("NOTIFY_SOCKET");
    if (capacity && manager && !manager->empty())
        return parse_store_capacity(*capacity);
#endif
    return 0;
}

} // namespace riposte::systemd
