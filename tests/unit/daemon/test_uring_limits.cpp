// No seccomp filter sees operations of a ring, so these tests ask the ring itself which ones it
// refuses. They run in a child, since the kernel destroys a ring later and then interrupts the
// thread that had it.
#include "daemon/io/uring_backend.h"
#include "daemon/platform/sandbox.h"
#include "tests/support/child.h"
#include "tests/support/patience.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr std::array operations = {IORING_OP_ACCEPT, IORING_OP_RECV,         IORING_OP_SEND,
                                   IORING_OP_CLOSE,  IORING_OP_ASYNC_CANCEL, IORING_OP_POLL_ADD};
/// From Linux 7.0 on: a no-op and a command that fill an entry of 128 bytes. Our ring has none of
/// these, so the kernel refuses them with EINVAL, before it looks at restrictions.
constexpr std::array<unsigned, 2> large_operations = {63, 64};
constexpr int no_completion = 1;

/// The result of one entry: on no descriptor, with no memory to read or write.
int result_of(io_uring& ring, unsigned opcode, unsigned flags = 0) {
    constexpr uint64_t ours = 0xabcdef;
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    if (entry == nullptr)
        return no_completion;
    io_uring_prep_rw(static_cast<int>(opcode), entry, -1, nullptr, 0, 0);
    entry->flags = static_cast<uint8_t>(flags);
    entry->user_data = ours;
    io_uring_submit(&ring);
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec limit{.tv_sec = test::patience_ms() / 1000, .tv_nsec = 0};
    while (io_uring_wait_cqe_timeout(&ring, &cqe, &limit) == 0) {
        const bool is_ours = cqe->user_data == ours;
        const int result = cqe->res;
        io_uring_cqe_seen(&ring, cqe);
        if (is_ours)
            return result;
    }
    return no_completion;
}

/// The result of `body` with the ring of the daemon's own backend.
template<class Body>
std::string with_ring(Body body) {
    return in_child([&]() -> std::string {
        auto streams = BufferPool::create(64, 4096);
        auto datagrams = DatagramPool::create(8);
        auto backend = UringBackend::open({*streams, *datagrams});
        if (!backend)
            return "skip: " + backend.error().text;
        if ((*backend)->unlimited().text.starts_with("io_uring_register: "))
            return "skip: " + (*backend)->unlimited().text;
        if (!(*backend)->unlimited().empty())
            return (*backend)->unlimited().text;
        return body((*backend)->ring());
    });
}

} // namespace

#define CHECK_RING(expression)                                                                     \
    do {                                                                                           \
        const std::string outcome = (expression);                                                  \
        if (outcome.starts_with("skip: "))                                                         \
            SKIP(outcome.substr(6));                                                               \
        CHECK(outcome == "");                                                                      \
    } while (false)

TEST_CASE("the ring refuses every operation that is not the backend's") {
    CHECK_RING(with_ring([](io_uring& ring) -> std::string {
        const std::unique_ptr<io_uring_probe, decltype(&io_uring_free_probe)> known(
            io_uring_get_probe(), &io_uring_free_probe);
        if (!known || known->last_op < IORING_OP_SOCKET)
            return "this kernel's operations are not known";
        std::string wrong;
        for (unsigned opcode = 0; opcode <= known->last_op; ++opcode) {
            const bool used = std::ranges::find(operations, opcode) != operations.end();
            const int result = result_of(ring, opcode);
            if (result == -EINVAL &&
                std::ranges::find(large_operations, opcode) != large_operations.end())
                continue;
            if (result == no_completion || (result == -EACCES) == used)
                wrong += fmt::format("{}: {}; ", opcode, result);
        }
        return wrong;
    }));
}

TEST_CASE("the ring refuses every flag but the one that chooses a buffer") {
    CHECK_RING(with_ring([](io_uring& ring) {
        std::string wrong;
        if (result_of(ring, IORING_OP_RECV, IOSQE_BUFFER_SELECT) != -EBADF)
            wrong = "choosing a buffer; ";
        for (const unsigned flag :
             {IOSQE_FIXED_FILE, IOSQE_IO_DRAIN, IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_ASYNC,
              IOSQE_CQE_SKIP_SUCCESS}) {
            const int result = result_of(ring, IORING_OP_RECV, flag);
            if (result != -EACCES)
                wrong += fmt::format("{}: {}; ", flag, result);
        }
        return wrong;
    }));
}

TEST_CASE("the ring refuses every registration") {
    CHECK_RING(with_ring([](io_uring& ring) {
        std::string wrong;
        const auto fd = static_cast<unsigned>(ring.ring_fd);
        for (unsigned opcode = 0; opcode <= IORING_REGISTER_PBUF_RING; ++opcode) {
            const int result = io_uring_register(fd, opcode, nullptr, 0);
            // The permitted one has been used up.
            const int refusal = opcode == IORING_REGISTER_ENABLE_RINGS ? -EBADFD : -EACCES;
            if (result != refusal)
                wrong += fmt::format("{}: {}; ", opcode, result);
        }
        return wrong;
    }));
}

TEST_CASE("the ring refuses registrations that would succeed without restrictions") {
    CHECK_RING(with_ring([](io_uring& ring) {
        std::string wrong;
        const auto fd = static_cast<unsigned>(ring.ring_fd);
        const auto refused = [&](const char* what, unsigned opcode, const void* argument,
                                 unsigned count) {
            const int result = io_uring_register(fd, opcode, argument, count);
            if (result != -EACCES)
                wrong += fmt::format("{}: {}; ", what, result);
        };
        const int no_file = -1;
        const std::array<unsigned, 2> workers = {0, 0};
        refused("a personality", IORING_REGISTER_PERSONALITY, nullptr, 0);
        refused("files", IORING_REGISTER_FILES, &no_file, 1);
        refused("numbers of workers", IORING_REGISTER_IOWQ_MAX_WORKERS, workers.data(), 2);
        return wrong;
    }));
}

TEST_CASE("a sealed process is refused every registration, also on the ring that it uses") {
    CHECK_RING(with_ring([](io_uring& ring) -> std::string {
        if (const auto done = sandbox::seal({}); !done)
            return "skip: " + done.error().text;
        std::string wrong;
        const auto fd = static_cast<unsigned>(ring.ring_fd);
        for (unsigned opcode = 0; opcode <= IORING_REGISTER_PBUF_RING; ++opcode) {
            const int result = io_uring_register(fd, opcode, nullptr, 0);
            // liburing needs this one when it closes a ring, so only the ring refuses it.
            const int refusal = opcode == IORING_UNREGISTER_RING_FDS ? -EACCES : -EPERM;
            if (result != refusal)
                wrong += fmt::format("{}: {}; ", opcode, result);
        }
        if (result_of(ring, IORING_OP_RECV) != -EBADF)
            wrong += "the ring does not work any more; ";
        return wrong;
    }));
}
