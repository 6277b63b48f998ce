// Sets a ring up, and finds out by trying what the kernel permits.
//
// The ring is created disabled. The buffers are registered first, then the restrictions, and only
// then is the ring enabled: from there on it accepts our operations and no registration. A probe
// verifies the restrictions, and the self-test uses the ring as the backend will. A new operation
// of the backend must be added to `operations_allowed`; otherwise it ends with -EACCES.

#include "common/text.h"
#include "daemon/io/uring_backend.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace riposte {
namespace {

constexpr std::array operations_allowed = {
    IORING_OP_ACCEPT, IORING_OP_RECV,         IORING_OP_SEND,
    IORING_OP_CLOSE,  IORING_OP_ASYNC_CANCEL, IORING_OP_POLL_ADD,
};
/// The permitted submission flags: those for fixed files, links and kernel threads are not among
/// them.
constexpr uint8_t flags_allowed = IOSQE_BUFFER_SELECT;

std::string likely_cause(int error) {
    rlimit limit{};
    switch (error) {
    case EPERM:
    case EACCES:
        return "a seccomp filter or kernel.io_uring_disabled forbids it";
    case ENOSYS:
        return "this kernel has no io_uring, or a seccomp filter hides it";
    case EINVAL:
        return "this kernel is older than 5.19";
    case ENOMEM:
        getrlimit(RLIMIT_MEMLOCK, &limit);
        if (limit.rlim_cur == RLIM_INFINITY)
            return "the system is out of memory";
        return fmt::format(
            "RLIMIT_MEMLOCK is {} KiB; raise LimitMEMLOCK= to 8M", limit.rlim_cur / 1024);
    default:
        return "";
    }
}

std::unexpected<Reason> denied(std::string_view call, int error) {
    std::string cause = likely_cause(error);
    return std::unexpected(Reason{
        .token = errno_name(error),
        .text =
            fmt::format("{}: {}{}{}", call, errno_text(error), cause.empty() ? "" : "; ", cause)});
}

} // namespace

std::expected<std::unique_ptr<UringBackend>, Reason> UringBackend::open(
    Pools pools, Features permitted) {
    std::unique_ptr<UringBackend> backend(new UringBackend(pools, permitted));
    auto done = backend->set_up();
    if (!done)
        return std::unexpected(done.error());
    return backend;
}

UringBackend::UringBackend(Pools pools, Features permitted)
    : Backend(stream_window_buffers), pools_(pools), permitted_(permitted),
      datagrams_(pools.datagrams) {}

UringBackend::~UringBackend() {
    if (ring_made_)
        io_uring_queue_exit(&ring_);
    if (buffer_ring_)
        ::munmap(buffer_ring_, buffer_ring_entries * sizeof(io_uring_buf));
    // Without the ring, the kernel uses none of the buffers any more.
    pools_.streams.reclaim(Owner::backend);
    pools_.datagrams.buffers().reclaim(Owner::backend);
}

std::expected<void, Reason> UringBackend::set_up() {
    if (auto done = set_up_ring(); !done)
        return done;
    if (auto done = set_up_buffer_ring(); !done)
        return done;
    if (auto done = restrict_and_enable(); !done)
        return done;
    if (auto done = self_test(); !done)
        return done;
    wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_)
        return denied("eventfd", errno);
    push_wake_poll();
    return {};
}

std::expected<void, Reason> UringBackend::set_up_ring() {
    // From the best down. SUBMIT_ALL: one bad entry does not stop the submission of the others.
    // DEFER_TASKRUN (6.1): completion work runs only in our calls and interrupts nothing else.
    // TASKRUN_FLAG: a flag in memory shows pending completion work. R_DISABLED: see
    // restrict_and_enable().
    constexpr unsigned common = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
                                IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED;
    constexpr std::array<unsigned, 2> choices = {
        common | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        common | IORING_SETUP_COOP_TASKRUN};
    int result = -EINVAL;
    for (unsigned flags : choices) {
        if ((flags & IORING_SETUP_DEFER_TASKRUN) != 0 && !permitted_.deferred_task_run)
            continue;
        unsigned shrink = 1;
        for (; submission_entries / shrink >= submission_entries_min; shrink *= 2) {
            io_uring_params params{};
            params.flags = flags;
            params.cq_entries = completion_entries / shrink;
            result = io_uring_queue_init_params(submission_entries / shrink, &ring_, &params);
            if (result != -ENOMEM)
                break;
        }
        deferred_ = (flags & IORING_SETUP_DEFER_TASKRUN) != 0;
        if (result != -EINVAL)
            break;
    }
    if (result != 0)
        return denied("io_uring_setup", -result);
    ring_made_ = true;
    io_uring_register_ring_fd(&ring_); // saves a reference count per call; optional
    return {};
}

// If <linux/io_uring.h> is included before liburing's own copy, this does not hold in C++.
static_assert(
    offsetof(io_uring_buf_ring, bufs) == 0, "the ring's tail lies within its first entry");

std::expected<void, Reason> UringBackend::set_up_buffer_ring() {
    // At most half of the pool: services that write first (chargen) need buffers, too.
    ring_buffers_max_ = std::max(std::min(buffer_ring_entries, pools_.streams.count() / 2), 1u);
    ring_buffers_target_ = std::min(ring_buffers_at_start, ring_buffers_max_);
    void* memory = ::mmap(
        nullptr, buffer_ring_entries * sizeof(io_uring_buf), PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return denied("mmap", errno);
    buffer_ring_ = static_cast<io_uring_buf_ring*>(memory);
    io_uring_buf_ring_init(buffer_ring_);
    // io_uring_setup_buf_ring() would do the following, but needs liburing 2.4.
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uintptr_t>(memory);
    registration.ring_entries = buffer_ring_entries;
    registration.bgid = buffer_ring_group;
    int result = io_uring_register_buf_ring(&ring_, &registration, 0);
    if (result != 0)
        return denied("io_uring_register_buf_ring", -result);
    refill();
    return {};
}

/// Uses io_uring_register() itself, because liburing 2.3 declares functions for both steps and
/// exports neither.
std::expected<void, Reason> UringBackend::restrict_and_enable() {
    std::array<io_uring_restriction, operations_allowed.size() + 2> restrictions{};
    for (size_t i = 0; i < operations_allowed.size(); ++i) {
        restrictions[i].opcode = IORING_RESTRICTION_SQE_OP;
        restrictions[i].sqe_op = operations_allowed[i];
    }
    // From Linux 7.0 on, registrations are restricted only if the list names one. It names the one
    // that follows below, which a ring accepts only once.
    restrictions[operations_allowed.size()].opcode = IORING_RESTRICTION_REGISTER_OP;
    restrictions[operations_allowed.size()].register_op = IORING_REGISTER_ENABLE_RINGS;
    restrictions.back().opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    restrictions.back().sqe_flags = flags_allowed;
    const auto fd = static_cast<unsigned>(ring_.ring_fd);
    int result = io_uring_register(
        fd, IORING_REGISTER_RESTRICTIONS, restrictions.data(), restrictions.size());
    if (result != 0) // the ring works anyway; the supervisor logs the consequence
        unlimited_ = {
            .token = errno_name(-result),
            .text = fmt::format("io_uring_register: {}", errno_text(-result))};
    result = io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    if (result != 0)
        return denied("io_uring_register", -result);
    if (unlimited_.empty())
        unlimited_ = probe_restrictions();
    return {};
}

/// Tries what the ring must refuse, and undoes it, because the meaning of restrictions may change
/// between kernels, as it did in 7.0. Returns what the ring accepted, if it did.
Reason UringBackend::probe_restrictions() {
    const auto fd = static_cast<unsigned>(ring_.ring_fd);
    const int personality = io_uring_register(fd, IORING_REGISTER_PERSONALITY, nullptr, 0);
    if (personality >= 0) {
        io_uring_register(
            fd, IORING_UNREGISTER_PERSONALITY, nullptr, static_cast<unsigned>(personality));
        return {
            .token = "personality",
            .text =
                "the kernel accepted the registration of a personality despite its restrictions"};
    }
    const int no_file = -1;
    if (io_uring_register(fd, IORING_REGISTER_FILES, &no_file, 1) >= 0) {
        io_uring_register(fd, IORING_UNREGISTER_FILES, nullptr, 0);
        return {
            .token = "files",
            .text = "the kernel accepted the registration of files despite its restrictions"};
    }
    io_uring_prep_nop(io_uring_get_sqe(&ring_));
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec second{.tv_sec = 1, .tv_nsec = 0};
    if (io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &second, nullptr) < 0 || cqe == nullptr)
        return {}; // the self-test reports it
    const int result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    if (result < 0)
        return {};
    return {
        .token = "operation",
        .text = "the kernel accepted a forbidden operation despite its restrictions"};
}

uint32_t UringBackend::operations() const noexcept {
    return unlimited_.empty() ? uint32_t{operations_allowed.size()} : 0;
}

int32_t UringBackend::try_receive(int fd, uint32_t cap, bool& ended) {
    push_receive({.kind = OpKind::receive, .fd = fd, .size = cap});
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec second{.tv_sec = 1, .tv_nsec = 0};
    int waited = io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &second, nullptr);
    if (waited < 0)
        return waited;
    int32_t result = cqe->res;
    ended = (cqe->flags & IORING_CQE_F_MORE) == 0;
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        pools_.streams.move(cqe->flags >> IORING_CQE_BUFFER_SHIFT, Owner::backend, Owner::pool);
        --ring_buffers_;
        refill();
    }
    io_uring_cqe_seen(&ring_, cqe);
    return result;
}

std::expected<void, Reason> UringBackend::self_test() {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return denied("socketpair", errno);
    Fd near(pair[0]);
    Fd far(pair[1]);
    // A capped multishot receive must end by itself when it reaches the cap; a kernel without caps
    // refuses it with EINVAL.
    for (bool capped : {true, false}) {
        if (capped && !permitted_.capped_receive)
            continue;
        capped_ = capped;
        bool ended = false;
        if (::write(far.get(), "x", 1) != 1)
            return denied("write", errno);
        int32_t result = try_receive(near.get(), 1, ended);
        if (result == 1 && ended)
            return {};
        if (result != -EINVAL)
            return denied("self-test of receive", result < 0 ? -result : EPROTO);
        char byte = 0;
        [[maybe_unused]] ssize_t n = ::read(near.get(), &byte, 1);
    }
    return denied("self-test of receive", EINVAL);
}

Reason UringBackend::lacking() const {
    Reason list;
    const auto add = [&](bool lacks, std::string_view token, std::string_view text) {
        if (!lacks)
            return;
        list.token += fmt::format("{}{}", list.empty() ? "" : ",", token);
        list.text += fmt::format("{}{}", list.empty() ? "" : ", ", text);
    };
    add(!deferred_, "deferred_task_run", "deferred task run");
    add(!capped_, "capped_receive", "capped multishot receive");
    return list;
}

} // namespace riposte
