// Starts a program in a process of its own state: the tests start each riposted so.
//
//     launch [STEP]... -- PROGRAM [ARGUMENT]...
//
//     --limit RESOURCE SOFT HARD   setrlimit(2); RESOURCE is the number of the constant
//     --user ID                    this user and group, no further groups, no capabilities
//     --filter HEX                 a seccomp filter: struct sock_filter after struct sock_filter
//     --sockets COUNT NAMES        inherited sockets (3 to 2 + COUNT), by the protocol of
//                                  sd_listen_fds(3), whose variables name this process
//     --watchdog                   $WATCHDOG_PID is this process
//     --parent PID                 SIGKILL when that process ends, which must be the parent
//
// It carries out the steps in their order, closes every other descriptor, and executes the program.
// If a step fails, it says so on standard error and ends with status 121.
//
// A test process is large, and where page faults are expensive (User Mode Linux), a fork of it and
// the copies of what it then writes take a second. So it creates processes by posix_spawn(3), which
// copies nothing, and this program does what that cannot. It is linked statically, and creates
// nothing itself, for the same reason.

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

constexpr int status_failed = 121;
constexpr size_t statements_max = 256;
constexpr unsigned first_socket = 3;

unsigned sockets = 0;

[[noreturn]] void fail(const char* what, int error) {
    // Not a stream: it would allocate memory, which a limit may forbid.
    dprintf(2, "cannot start: %s: %s\n", what, strerrordesc_np(error));
    _exit(status_failed);
}

void require(bool good, const char* what) {
    if (!good)
        fail(what, errno);
}

uint64_t number(const char* text) {
    char* end = nullptr;
    errno = 0;
    const uint64_t value = std::strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        fail(text, EINVAL);
    return value;
}

void set_own_pid(const char* variable) {
    std::array<char, 24> text{};
    std::snprintf(text.data(), text.size(), "%d", getpid());
    require(setenv(variable, text.data(), 1) == 0, variable); // NOLINT(concurrency-mt-unsafe)
}

void limit(const char* resource, const char* soft, const char* hard) {
    const rlimit value{.rlim_cur = number(soft), .rlim_max = number(hard)};
    require(setrlimit(static_cast<__rlimit_resource>(number(resource)), &value) == 0, "setrlimit");
}

void become(const char* user) {
    const auto id = static_cast<uid_t>(number(user));
    require(setgroups(0, nullptr) == 0, "setgroups");
    require(setresgid(id, id, id) == 0, "setresgid");
    require(setresuid(id, id, id) == 0, "setresuid");
}

uint8_t hexadecimal(char digit) {
    constexpr std::string_view digits = "0123456789abcdef";
    const size_t value = digits.find(digit);
    if (value == std::string_view::npos)
        fail("--filter", EINVAL);
    return static_cast<uint8_t>(value);
}

void install_filter(std::string_view text) {
    std::array<sock_filter, statements_max> statements{};
    std::array<uint8_t, sizeof(statements)> bytes{};
    const size_t size = text.size() / 2;
    if (text.size() % (2 * sizeof(sock_filter)) != 0 || size > bytes.size())
        fail("--filter", EINVAL);
    for (size_t i = 0; i < size; ++i)
        bytes[i] =
            static_cast<uint8_t>(hexadecimal(text[2 * i]) << 4 | hexadecimal(text[2 * i + 1]));
    std::memcpy(statements.data(), bytes.data(), size);
    const sock_fprog program{
        .len = static_cast<unsigned short>(size / sizeof(sock_filter)),
        .filter = statements.data()};
    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
    require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "PR_SET_SECCOMP");
}

void inherit(const char* count, const char* names) {
    sockets = static_cast<unsigned>(number(count));
    // NOLINTBEGIN(concurrency-mt-unsafe)
    require(setenv("LISTEN_FDS", count, 1) == 0, "LISTEN_FDS");
    require(setenv("LISTEN_FDNAMES", names, 1) == 0, "LISTEN_FDNAMES");
    // NOLINTEND(concurrency-mt-unsafe)
    set_own_pid("LISTEN_PID");
}

/// Must come after become(), which takes the signal back.
void end_with(const char* parent) {
    require(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "PR_SET_PDEATHSIG");
    if (static_cast<uint64_t>(getppid()) != number(parent)) // it has ended before
        _exit(status_failed);
}

/// Carries out the step at the front of these words, and returns how many words it has.
size_t carry_out(char** words, size_t count) {
    const std::string_view name = words[0];
    if (name == "--limit" && count > 3) {
        limit(words[1], words[2], words[3]);
        return 4;
    }
    if (name == "--sockets" && count > 2) {
        inherit(words[1], words[2]);
        return 3;
    }
    if (name == "--watchdog") {
        set_own_pid("WATCHDOG_PID");
        return 1;
    }
    if (count < 2)
        fail(words[0], EINVAL);
    if (name == "--user")
        become(words[1]);
    else if (name == "--filter")
        install_filter(words[1]);
    else if (name == "--parent")
        end_with(words[1]);
    else
        fail(words[0], EINVAL);
    return 2;
}

} // namespace

int main(int argc, char** argv) {
    auto count = static_cast<size_t>(argc);
    size_t at = 1;
    while (at < count && std::string_view(argv[at]) != "--")
        at += carry_out(argv + at, count - at);
    if (at + 1 >= count)
        fail("no program", EINVAL);
    // Python ignores these, a shell does not.
    require(std::signal(SIGPIPE, SIG_DFL) != SIG_ERR, "SIGPIPE");
    require(std::signal(SIGXFSZ, SIG_DFL) != SIG_ERR, "SIGXFSZ");
    require(close_range(first_socket + sockets, ~0U, 0) == 0, "close_range");
    execv(argv[at + 1], argv + at + 1);
    fail(argv[at + 1], errno);
}
