// Tries forbidden calls from inside: in a child that has opened a backend and sealed itself as the
// daemon does.
#include "build_features.h"
#include "common/clock_error.h"
#include "common/fd.h"
#include "daemon/io/open_backend.h"
#include "daemon/listen/listen_socket.h"
#include "daemon/platform/sandbox.h"
#include "tests/support/accept_one.h"
#include "tests/support/child.h"
#include "tests/support/skip.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr sandbox::Needs everything{true, true, true};

/// One attempt: its name, and the result of a system call.
struct Attempt {
    std::string name;
    std::function<long()> call;
};

/// For every daemon, whatever its configuration.
const std::vector<Attempt>& forbidden() {
    static const std::vector<Attempt> attempts = {
        {"a new ring",
         [] {
             std::array<std::byte, 256> parameters{};
             return ::syscall(SYS_io_uring_setup, 4, parameters.data());
         }},
        {"a registration", [] { return ::syscall(SYS_io_uring_register, -1, 0, nullptr, 0); }},
        {"a unix stream", [] { return long{::socket(AF_UNIX, SOCK_STREAM, 0)}; }},
        {"a unix datagram socket", [] { return long{::socket(AF_UNIX, SOCK_DGRAM, 0)}; }},
        {"a netlink socket", [] { return long{::socket(AF_NETLINK, SOCK_RAW, 0)}; }},
        {"a packet socket", [] { return long{::socket(AF_PACKET, SOCK_DGRAM, 0)}; }},
        {"a crypto socket", [] { return long{::socket(AF_ALG, SOCK_SEQPACKET, 0)}; }},
        {"a virtual machine's socket", [] { return long{::socket(AF_VSOCK, SOCK_STREAM, 0)}; }},
        {"a raw socket", [] { return long{::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)}; }},
        {"a ping socket", [] { return long{::socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)}; }},
        {"an MPTCP socket", [] { return long{::socket(AF_INET, SOCK_STREAM, 262)}; }},
        {"a socket pair",
         [] {
             int pair[2];
             return long{::socketpair(AF_UNIX, SOCK_STREAM, 0, pair)};
         }},
        {"connect",
         [] {
             const sockaddr_in to{};
             return long{::connect(-1, reinterpret_cast<const sockaddr*>(&to), sizeof to)};
         }},
        {"execve", [] { return ::syscall(SYS_execve, nullptr, nullptr, nullptr); }},
        {"execveat", [] { return ::syscall(SYS_execveat, -1, nullptr, nullptr, nullptr, 0); }},
        {"openat2", [] { return ::syscall(SYS_openat2, -1, nullptr, nullptr, 0); }},
        {"open by handle", [] { return ::syscall(SYS_open_by_handle_at, -1, nullptr, 0); }},
        {"unlinkat", [] { return ::syscall(SYS_unlinkat, -1, nullptr, 0); }},
        {"renameat2", [] { return ::syscall(SYS_renameat2, -1, nullptr, -1, nullptr, 0); }},
        {"linkat", [] { return ::syscall(SYS_linkat, -1, nullptr, -1, nullptr, 0); }},
        {"fchmodat", [] { return ::syscall(SYS_fchmodat, -1, nullptr, 0); }},
        {"memfd_create", [] { return ::syscall(SYS_memfd_create, nullptr, 0); }},
        {"memory to execute",
         [] {
             void* const memory =
                 ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
             return memory == MAP_FAILED ? -1L : 0L;
         }},
        {"to make memory executable", [] { return long{::mprotect(nullptr, 0, PROT_EXEC)}; }},
        {"pkey_mprotect", [] { return ::syscall(SYS_pkey_mprotect, nullptr, 0, PROT_EXEC, -1); }},
        {"shmget", [] { return ::syscall(SYS_shmget, -1, 0, 0); }},
        {"process_vm_writev",
         [] { return ::syscall(SYS_process_vm_writev, 0, nullptr, 0, nullptr, 0, 0); }},
        {"pidfd_open", [] { return ::syscall(SYS_pidfd_open, ::getpid(), 0); }},
        {"a signal to another process", [] { return ::syscall(SYS_tgkill, 1, 1, 0); }},
        {"bpf", [] { return ::syscall(SYS_bpf, -1, nullptr, 0); }},
        {"perf_event_open", [] { return ::syscall(SYS_perf_event_open, nullptr, 0, -1, -1, 0); }},
        {"userfaultfd", [] { return ::syscall(SYS_userfaultfd, -1); }},
        {"keyctl", [] { return ::syscall(SYS_keyctl, -1, 0, 0, 0, 0); }},
        {"add_key", [] { return ::syscall(SYS_add_key, nullptr, nullptr, nullptr, 0, 0); }},
        {"mount", [] { return ::syscall(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr); }},
        {"unshare", [] { return ::syscall(SYS_unshare, -1); }},
        {"setns", [] { return ::syscall(SYS_setns, -1, 0); }},
        {"chroot", [] { return ::syscall(SYS_chroot, nullptr); }},
        {"personality", [] { return ::syscall(SYS_personality, 0xffffffff); }},
        {"setuid", [] { return ::syscall(SYS_setuid, -1); }},
        {"another filter", [] { return ::syscall(SYS_seccomp, -1, 0, nullptr); }},
        {"finit_module", [] { return ::syscall(SYS_finit_module, -1, nullptr, 0); }},
        {"dup", [] { return ::syscall(SYS_dup, -1); }},
        {"splice", [] { return ::syscall(SYS_splice, -1, nullptr, -1, nullptr, 0, 0); }},
        {"eventfd2", [] { return ::syscall(SYS_eventfd2, 0, -1); }},
        {"an ioctl that types", [] { return long{::ioctl(-1, TIOCSTI, "x")}; }},
        {"an option that is a program",
         [] { return long{::setsockopt(-1, SOL_SOCKET, SO_ATTACH_FILTER, nullptr, 0)}; }},
        {"an option of another level",
         [] { return long{::setsockopt(-1, IPPROTO_TCP, SO_LINGER, nullptr, 0)}; }},
        {"another upper layer",
         [] { return long{::setsockopt(-1, IPPROTO_TCP, TCP_ULP, "tls", 3)}; }},
#if !RIPOSTE_INSTRUMENTED // instrumentation needs these itself
        {"open to write",
         [] { return ::syscall(SYS_openat, AT_FDCWD, "/dev/null", O_WRONLY | O_CLOEXEC); }},
        {"open to read and write",
         [] { return ::syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC); }},
        {"open to create",
         [] { return ::syscall(SYS_openat, AT_FDCWD, "/nonexistent/a", O_RDONLY | O_CREAT, 0); }},
        {"open to truncate",
         [] { return ::syscall(SYS_openat, AT_FDCWD, "/nonexistent/a", O_RDONLY | O_TRUNC, 0); }},
        {"clone", [] { return ::syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0); }}, // else EINVAL
        {"prlimit64", [] { return ::syscall(SYS_prlimit64, 0, -1, nullptr, nullptr); }},
        {"clone3", [] { return ::syscall(SYS_clone3, nullptr, 0); }},
        {"ptrace", [] { return ::syscall(SYS_ptrace, -1, 0, 0, 0); }},
        {"process_vm_readv",
         [] { return ::syscall(SYS_process_vm_readv, 0, nullptr, 0, nullptr, 0, 0); }},
        {"kill", [] { return ::syscall(SYS_kill, ::getpid(), 0); }},
        {"prctl", [] { return ::syscall(SYS_prctl, -1, 0, 0, 0, 0); }},
        {"an fcntl that sends signals", [] { return long{::fcntl(-1, F_SETOWN, 1)}; }},
#endif
    };
    return attempts;
}

/// The names of the calls that did not fail with EPERM.
std::string not_refused(const std::vector<Attempt>& attempts) {
    std::string names;
    for (const Attempt& attempt : attempts) {
        errno = 0;
        const long result = attempt.call();
        if (result != -1 || errno != EPERM)
            names += fmt::format("{}: {}, errno {}; ", attempt.name, result, errno);
    }
    return names;
}

/// Seals the process as the daemon does, with a backend of this kind open. In a child.
std::string sealed(
    BackendChoice choice, sandbox::Needs needs, const std::function<std::string()>& body) {
    auto streams = BufferPool::create(64, 4096);
    auto datagrams = DatagramPool::create(8);
    if (!streams || !datagrams)
        return "no buffers";
    auto backend = open_backend(choice, {*streams, *datagrams});
    if (!backend)
        return "skip: " + backend.error().message;
    if (const auto done = sandbox::seal(needs); !done)
        return "skip: " + done.error().text;
    return body();
}

std::string sealed_child(
    BackendChoice choice, sandbox::Needs needs, const std::function<std::string()>& body) {
    return in_child([&] { return sealed(choice, needs, body); });
}

/// The needed calls that were refused.
std::string needed(const char* name, bool worked) {
    return worked ? "" : fmt::format("{}: errno {}; ", name, errno);
}

SocketAddress loopback(int family) {
    SocketAddress address;
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_addr = in6addr_loopback;
    if (family == AF_INET)
        std::memcpy(&address.storage, &v4, sizeof v4);
    else
        std::memcpy(&address.storage, &v6, sizeof v6);
    address.size = family == AF_INET ? sizeof v4 : sizeof v6;
    return address;
}

std::vector<BackendChoice> kinds() {
    return RIPOSTE_HAVE_IO_URING ? std::vector{BackendChoice::epoll, BackendChoice::io_uring}
                                 : std::vector{BackendChoice::epoll};
}

} // namespace

#define CHECK_SEALED(expression)                                                                   \
    do {                                                                                           \
        const std::string outcome = (expression);                                                  \
        if (outcome.starts_with("skip: "))                                                         \
            SKIP(outcome.substr(6));                                                               \
        CHECK(outcome == "");                                                                      \
    } while (false)

TEST_CASE("a sealed process is refused calls that it does not need, on both backends") {
    for (const BackendChoice choice : kinds()) {
        CAPTURE(to_string(choice));
        CHECK_SEALED(sealed_child(choice, everything, [] { return not_refused(forbidden()); }));
        CHECK_SEALED(sealed_child(choice, {}, [] { return not_refused(forbidden()); }));
    }
}

TEST_CASE("the attempts succeed without a seal") {
    const std::string found = in_child([] {
        const std::vector<Attempt>& all = forbidden();
        return not_refused({all.begin(), all.begin() + 3});
    });
    CHECK(found.find("a new ring: ") != std::string::npos);
    CHECK(found.find("a unix stream: ") != std::string::npos);
}

TEST_CASE("without a file no open is permitted, and without own listeners no socket") {
    const std::vector<Attempt> of_files = {
        {"open", [] { return long{::open("/dev/null", O_RDONLY | O_CLOEXEC)}; }}};
    const std::vector<Attempt> of_sockets = {
        {"a TCP socket", [] { return long{::socket(AF_INET, SOCK_STREAM, 0)}; }},
        {"a UDP socket", [] { return long{::socket(AF_INET6, SOCK_DGRAM, 0)}; }},
        {"bind", [] { return long{::bind(-1, nullptr, 0)}; }},
        {"listen", [] { return long{::listen(-1, 1)}; }}};
    const std::vector<Attempt> of_messages = {
        {"sendmsg", [] { return ::syscall(SYS_sendmsg, -1, nullptr, 0); }}};
    sandbox::Needs needs = everything;
    needs.read_files = RIPOSTE_INSTRUMENTED;
    if (!RIPOSTE_INSTRUMENTED)
        CHECK_SEALED(
            sealed_child(BackendChoice::epoll, needs, [&] { return not_refused(of_files); }));
    needs = everything;
    needs.open_sockets = false;
    CHECK_SEALED(
        sealed_child(BackendChoice::epoll, needs, [&] { return not_refused(of_sockets); }));
    needs = everything;
    needs.notify_manager = false;
    CHECK_SEALED(
        sealed_child(BackendChoice::epoll, needs, [&] { return not_refused(of_messages); }));
}

TEST_CASE("a daemon with a unix socket may remove a file by its path, but no directory") {
    CHECK_SEALED(sealed_child(BackendChoice::epoll, {.remove_sockets = true}, [] {
        errno = 0;
        ::unlinkat(AT_FDCWD, "/nonexistent/a", 0);
        std::string found = needed("unlinkat", errno == ENOENT);
        found += not_refused({
            {"rmdir", [] { return long{::unlinkat(AT_FDCWD, "/nonexistent/a", AT_REMOVEDIR)}; }},
            {"in a directory that is open", [] { return long{::unlinkat(0, "a", 0)}; }},
        });
        return found;
    }));
}

TEST_CASE("only a reflector that says how far its clock is off may ask for it") {
    CHECK_SEALED(sealed_child(BackendChoice::epoll, {.read_clock = true}, [] {
        const auto error = read_clock_error();
        // A container may refuse it as well; then nothing shows that the seal permits it.
        return needed("adjtimex", error || error.error() == EPERM);
    }));
    CHECK_SEALED(sealed_child(BackendChoice::epoll, everything, [] {
        return not_refused({{"adjtimex", [] {
                                 timex state{};
                                 return long{::adjtimex(&state)};
                             }}});
    }));
}

TEST_CASE("the time of day opens no file once it is sealed") {
    CHECK_SEALED(sealed_child(BackendChoice::epoll, {}, [] {
        errno = 0;
        const time_t now = 1'000'000'000;
        tm utc{};
        return needed("gmtime_r", ::gmtime_r(&now, &utc) != nullptr && errno == 0);
    }));
}

TEST_CASE("a sealed process can still reload") {
    CHECK_SEALED(sealed_child(BackendChoice::epoll, everything, [] {
        std::string missing =
            needed("open", Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get() >= 0);
        for (const Transport transport : {Transport::tcp, Transport::udp}) {
            const auto v4 = bind_socket({transport, loopback(AF_INET), false}, true);
            missing += needed("an IPv4 listener", v4.has_value());
            const auto v6 = bind_socket({transport, loopback(AF_INET6), true}, true);
            missing += needed(
                "an IPv6 listener",
                v6.has_value() || v6.error() == EADDRNOTAVAIL || v6.error() == EAFNOSUPPORT);
        }
        return missing;
    }));
}

TEST_CASE("a sealed process can reset a connection") {
    CHECK_SEALED(in_child([]() -> std::string {
        const auto listener = bind_socket({Transport::tcp, loopback(AF_INET), false}, false);
        const Fd peer(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const SocketAddress to = local_address(listener->get());
        if (::connect(peer.get(), to.get(), to.size) != 0)
            return "no connection";
        const Fd ours = test::accept_one(listener->get());
        if (const auto done = sandbox::seal({}); !done)
            return "skip: " + done.error().text;
        sockaddr nobody{};
        nobody.sa_family = AF_UNSPEC;
        std::string missing =
            needed("to dissolve", ::connect(ours.get(), &nobody, sizeof nobody.sa_family) == 0);
        char byte = 0;
        missing += needed("RST", ::recv(peer.get(), &byte, 1, 0) == -1 && errno == ECONNRESET);
        return missing;
    }));
}

TEST_CASE("an address of two bytes connects to no peer") {
    CHECK_SEALED(in_child([]() -> std::string {
        std::array<Fd, 3> sockets = {
            Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
            Fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
            Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0))};
        if (const auto done = sandbox::seal(everything); !done)
            return "skip: " + done.error().text;
        std::string found;
        for (const int family : {AF_INET, AF_INET6, AF_UNIX})
            for (const Fd& fd : sockets) {
                sockaddr to{};
                to.sa_family = static_cast<sa_family_t>(family);
                if (::connect(fd.get(), &to, sizeof to.sa_family) == 0)
                    found += fmt::format("family {}; ", family);
            }
        return found;
    }));
}

TEST_CASE("threads that already run are sealed too") {
    CHECK_SEALED(in_child([]() -> std::string {
        std::atomic<bool> runs{false}; // a thread's start makes calls, too: it must be over
        std::atomic<bool> go{false};
        std::string found;
        std::thread thread([&] {
            runs = true;
            runs.notify_all();
            go.wait(false);
            found = not_refused(forbidden());
        });
        runs.wait(false);
        const auto done = sandbox::seal(everything);
        go = true;
        go.notify_all();
        thread.join();
        return done ? found : "skip: " + done.error().text;
    }));
}

TEST_CASE("a broken invariant still ends a sealed process with SIGABRT") {
    const pid_t pid = ::fork();
    if (pid == 0) {
        const rlimit none{};
        ::setrlimit(RLIMIT_CORE, &none);
        ::signal(SIGABRT, SIG_DFL); // the test framework's handler would write a report
        ::_exit(sandbox::seal({}) ? (std::abort(), 0) : 77);
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        SKIP("seccomp is not available");
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGABRT);
}
