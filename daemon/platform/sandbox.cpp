// The list of permitted system calls; every other call fails. It uses libseccomp's names, so that
// one list serves every architecture (a name that an architecture lacks is skipped there).
//
//   - Calls that are made for each request have no conditions on their arguments. The kernel has a
//     bitmap of such calls (5.11) and runs no filter for them; see seccomp_cache_prepare() in its
//     kernel/seccomp.c. Only rare calls have conditions.
//   - A filter sees numbers, not the memory that a pointer points to. So the size of the address
//     distinguishes calls of connect(2): the two bytes of AF_UNSPEC reset a connection
//     (common/reset.h), and every other family rejects an address that short.
//   - An `int` argument is compared in its own 32 bits: the kernel reads no more of it, and the
//     other bits of the register are undefined.
//   - A refused call fails with EPERM, as in the service's unit, and not with ENOSYS, for which the
//     C library would try a substitute.
//   - Calls that only a reload makes are permitted only where a reload can need them (Needs). Names
//     are looked up in files alone, because a name service would need a connection.
//   - Some calls of the C library are refused deliberately, because it copes: without a file, its
//     heap cannot read the kernel's overcommit policy and returns memory by madvise(2).
//   - A new system call that is made after the start must be added here; the integration tests run
//     with the filter, and `strace -f -Z` shows refused calls.

#include "daemon/platform/sandbox.h"

#include "build_features.h"

#if RIPOSTE_HAVE_SECCOMP

#include "common/text.h"

#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace riposte::sandbox {
namespace {

using Condition = scmp_arg_cmp;

/// Argument number `index`, an int, equals `value`.
constexpr Condition is(unsigned index, auto value) {
    return {index, SCMP_CMP_MASKED_EQ, UINT32_MAX, static_cast<uint32_t>(value)};
}
/// Argument number `index` has none of `bits` set.
constexpr Condition has_none_of(unsigned index, uint32_t bits) {
    return {index, SCMP_CMP_MASKED_EQ, bits, 0};
}
/// Argument number `index`, without `bits`, equals `value`.
constexpr Condition is_but_for(unsigned index, uint32_t bits, int value) {
    return {index, SCMP_CMP_MASKED_EQ, ~bits, static_cast<uint32_t>(value)};
}

// Calls of every daemon after its start. The 32-bit variant of a name follows the 64-bit one.
constexpr std::initializer_list<const char*> always = {
    // connections and datagrams
    "accept4", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "send", "sendto", "sendmmsg",
    "shutdown", "close", "read", "write", "writev", "getsockopt", "getsockname", "getpeername",
    // waiting
    "io_uring_enter", "epoll_ctl", "epoll_wait", "epoll_pwait", "poll", "ppoll", "ppoll_time64",
    "futex", "futex_time64", "restart_syscall", "sched_yield",
    // memory
    "brk", "munmap", "mremap", "madvise",
    // clocks, where the vDSO has none
    "clock_gettime", "clock_gettime64", "gettimeofday", "time",
    // signals, and the end, including abort(3) of a failed assertion
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "exit", "exit_group",
    // figures about the process, from files that are open already (process_figures.h)
    "pread64", "fstat", "fstat64", "newfstatat", "lseek", "_llseek", "getdents64",
    // the C library's own
    "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getuid32", "geteuid32",
    "getgid32", "getegid32", "getrandom", "sched_getaffinity", "sysinfo", "uname"};

constexpr std::initializer_list<const char*> with_files = {
    // the C library reads /etc/hosts with these
    "stat", "stat64", "fstatat64", "statx"};

constexpr std::initializer_list<const char*> with_manager = {"sendmsg", "pipe2"};

/// adjtimex(3) of the C library makes either of the two. Only a process with CAP_SYS_TIME can
/// change anything by them.
constexpr std::initializer_list<const char*> with_clock = {
    "adjtimex", "clock_adjtime", "clock_adjtime64"};

/// Additional calls of instrumented builds, which are for tests only: a sanitizer inspects its
/// process from another one, and coverage and profiles are written to files at the end.
constexpr std::initializer_list<const char*> instrumented = {
    // the process that searches for leaks
    "clone", "clone3", "ptrace", "wait4", "waitid", "kill", "process_vm_readv", "sigaltstack",
    "prctl", "getppid", "prlimit64", "mlock", "munlock", "pipe2", "nanosleep", "clock_nanosleep",
    // its threads
    "set_robust_list", "rseq",
    // maps and symbols to read, reports and profiles to write
    "open", "openat", "getdents", "getdents64", "readlink", "readlinkat", "getcwd", "stat", "fstat",
    "newfstatat", "statx", "lseek", "mkdir", "mkdirat", "ftruncate", "fcntl", "fcntl64"};

/// A socket option that is set after the start.
struct Option {
    int level;
    int name;
};
/// To end a connection, and for a listener, inherited or not, whose service or message changed.
constexpr std::initializer_list<Option> of_all = {
    {SOL_SOCKET, SO_LINGER},          {IPPROTO_TCP, TCP_DEFER_ACCEPT},
    {SOL_SOCKET, SO_TIMESTAMPNS},     {IPPROTO_UDP, UDP_GRO},
    {IPPROTO_IP, IP_PKTINFO},         {IPPROTO_IP, IP_RECVTTL},
    {IPPROTO_IP, IP_RECVTOS},         {IPPROTO_IP, IP_TTL},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO}, {IPPROTO_IPV6, IPV6_RECVHOPLIMIT},
    {IPPROTO_IPV6, IPV6_RECVTCLASS},  {IPPROTO_IPV6, IPV6_UNICAST_HOPS},
    {SOL_SOCKET, SO_TIMESTAMPING}};
constexpr std::initializer_list<Option> of_listeners = {
    {SOL_SOCKET, SO_REUSEADDR},   {SOL_SOCKET, SO_REUSEPORT}, {IPPROTO_IPV6, IPV6_V6ONLY},
    {IPPROTO_TCP, TCP_NODELAY},   {SOL_SOCKET, SO_BROADCAST}, {SOL_SOCKET, SO_RCVBUF},
    {SOL_SOCKET, SO_RCVBUFFORCE}, {SOL_SOCKET, SO_OOBINLINE}};
constexpr std::initializer_list<Option> of_messages = {
    {SOL_SOCKET, SO_SNDBUF}, {SOL_SOCKET, SO_SNDBUFFORCE}};

/// A filter under construction. It remembers the first rule that libseccomp rejects, and load()
/// returns that error.
class Filter {
public:
    Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(EPERM))) {}

    void allow(const char* name, std::initializer_list<Condition> conditions = {}) {
        if (!error_.empty())
            return;
        if (!context_)
            return fail("seccomp_init", ENOMEM);
        const int number = seccomp_syscall_resolve_name(name);
        if (number == __NR_SCMP_ERROR) // newer than this libseccomp
            return;
        const int result = seccomp_rule_add_array(
            context_.get(), SCMP_ACT_ALLOW, number, static_cast<unsigned>(conditions.size()),
            conditions.begin());
        if (result != 0)
            fail(name, -result);
    }

    void allow(std::initializer_list<const char*> names) {
        for (const char* name : names)
            allow(name);
    }

    void allow(std::initializer_list<Option> options) {
        for (const Option& option : options)
            allow("setsockopt", {is(1, option.level), is(2, option.name)});
    }

    void set(scmp_filter_attr attribute, uint32_t value) {
        if (!error_.empty() || !context_)
            return;
        const int result = seccomp_attr_set(context_.get(), attribute, value);
        if (result == -EOPNOTSUPP && attribute == SCMP_FLTATR_CTL_TSYNC)
            error_ = {
                .token = errno_name(EOPNOTSUPP),
                .text = "this kernel has no seccomp(2) for all threads, or a filter refuses it"};
        else if (result != 0 && result != -EOPNOTSUPP)
            fail("seccomp_attr_set", -result);
    }

    std::expected<void, Reason> load() {
        if (error_.empty()) {
            const int result = seccomp_load(context_.get());
            if (result != 0)
                fail("seccomp", -result);
        }
        if (!error_.empty())
            return std::unexpected(error_);
        return {};
    }

private:
    void fail(std::string_view what, int error) {
        error_ = {
            .token = errno_name(error), .text = fmt::format("{}: {}", what, errno_text(error))};
    }

    struct Release {
        void operator()(void* context) const { seccomp_release(context); }
    };
    std::unique_ptr<void, Release> context_;
    Reason error_;
};

void allow_socket(Filter& filter, int family, int type) {
    constexpr uint32_t flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    filter.allow("socket", {is(0, family), is_but_for(1, flags, type), is(2, 0)});
}

void allow_always(Filter& filter) {
    filter.allow(always);
    for (const char* name : {"mmap", "mmap2", "mprotect"})
        filter.allow(name, {has_none_of(2, PROT_EXEC)});
    filter.allow("tgkill", {is(0, ::getpid())}); // abort(3)
    filter.allow("connect", {is(2, sizeof(sa_family_t))});
    filter.allow(of_all);
    filter.allow("fcntl", {is(1, F_ADD_SEALS)}); // of the sessions that the next process continues
    // liburing unregisters the ring's descriptor when it closes a ring; that call is harmless. From
    // 2.4 on it names the ring by its registered index, with IORING_REGISTER_USE_REGISTERED_RING.
    // The constants do not come from <linux/io_uring.h>: in a source that includes it before
    // liburing's own copy, the first entry of io_uring_buf_ring lies eight bytes too far (its empty
    // struct has a size in C++).
    constexpr uint32_t use_registered_ring = uint32_t{1} << 31;
    constexpr int unregister_ring_fds = 21; // IORING_UNREGISTER_RING_FDS
    filter.allow("io_uring_register", {is_but_for(1, use_registered_ring, unregister_ring_fds)});
    filter.allow("ioctl", {is(1, SIOCOUTQ)});
}

void allow_files(Filter& filter) {
    constexpr uint32_t to_write = O_ACCMODE | O_CREAT | O_TRUNC;
    static_assert(O_RDONLY == 0);
    filter.allow(with_files);
    filter.allow("open", {has_none_of(1, to_write)});
    filter.allow("openat", {has_none_of(2, to_write)});
}

void allow_listeners(Filter& filter) {
    for (const int family : {AF_INET, AF_INET6})
        for (const int type : {SOCK_STREAM, SOCK_DGRAM})
            allow_socket(filter, family, type);
    filter.allow({"bind", "listen"});
    filter.allow(of_listeners);
    for (const int request : {SIOCGIFNAME, SIOCGIFINDEX}) // to resolve a zone: [fe80::1%eth0]
        filter.allow("ioctl", {is(1, request)});
}

void allow_manager(Filter& filter) {
    filter.allow(with_manager);
    filter.allow(of_messages);
}

/// Permits unlinking any file: a filter cannot see that the path is that of our own socket.
void allow_removal(Filter& filter) {
    filter.allow("unlinkat", {is(0, AT_FDCWD), is(2, 0)});
}

} // namespace

std::expected<void, Reason> seal(Needs needs) {
    ::tzset(); // gmtime_r(3) would open the zone's file at its first call
    Filter filter;
    filter.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM)); // 32-bit calls of a 64-bit process
    filter.set(SCMP_FLTATR_CTL_TSYNC, 1);
    filter.set(SCMP_FLTATR_CTL_LOG, 1);
    filter.set(SCMP_FLTATR_CTL_OPTIMIZE, 2); // binary search, for kernels without the bitmap
    filter.set(SCMP_FLTATR_API_SYSRAWRC, 1); // load() returns the kernel's own errors
    allow_always(filter);
    if (needs.read_files)
        allow_files(filter);
    if (needs.open_sockets)
        allow_listeners(filter);
    if (needs.notify_manager)
        allow_manager(filter);
    if (needs.remove_sockets)
        allow_removal(filter);
    if (needs.read_clock)
        filter.allow(with_clock);
    if (RIPOSTE_INSTRUMENTED)
        filter.allow(instrumented);
    return filter.load(); // also sets PR_SET_NO_NEW_PRIVS, which a process without privileges needs
}

} // namespace riposte::sandbox

#else

namespace riposte::sandbox {

std::expected<void, Reason> seal(Needs /*needs*/) {
    return std::unexpected(Reason{.token = "not_built", .text = "this build has no libseccomp"});
}

} // namespace riposte::sandbox

#endif
