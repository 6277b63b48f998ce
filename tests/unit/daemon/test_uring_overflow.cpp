// More completions at once than the ring's queue holds: the kernel keeps the rest
// (IORING_FEAT_NODROP), sets a flag, and delivers them when there is room again.
#include "daemon/io/uring_backend.h"
#include "tests/support/child.h"
#include "tests/support/skip.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>

using namespace riposte;
using namespace riposte::test;

namespace {

/// Room for twice as many descriptors as the queue has entries; "" or why not.
std::string make_room(rlim_t descriptors) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = std::min(limit.rlim_max, descriptors);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur >= descriptors ? ""
                                         : fmt::format(
                                               "skip: {} descriptors are needed, {} may be open",
                                               descriptors, limit.rlim_cur);
}

std::string close_all(UringBackend& backend, bool deferred) {
    const unsigned entries = backend.ring().cq.ring_entries;
    const unsigned count = 2 * entries;
    if (const std::string problem = make_room(count + 100); !problem.empty())
        return problem;
    std::vector<Op> ops;
    ops.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
        const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        ops.push_back({.kind = OpKind::close, .token = {i, 1}, .fd = fd});
    }
    std::vector<int> told(count, 0);
    std::array<Event, 256> events{};
    bool overflowed = false;
    std::span<const Op> given(ops);
    for (int turns = 0; turns < 10'000; ++turns) {
        const size_t have = backend.turn(given, events, {std::chrono::milliseconds(0)});
        if (!given.empty())
            overflowed = io_uring_cq_has_overflow(&backend.ring()) ||
                         io_uring_cq_ready(&backend.ring()) + have > entries;
        given = {};
        for (const Event& event : std::span(events).first(have)) {
            if (event.kind != OpKind::close || event.result != 0 || !event.last)
                return fmt::format("slot {} ended with {}", event.token.slot, event.result);
            ++told[event.token.slot];
        }
        if (have == 0)
            break;
    }
    if (!overflowed)
        return fmt::format("{} completions did not fill a queue of {}", count, entries);
    for (uint32_t i = 0; i < count; ++i)
        if (told[i] != 1)
            return fmt::format(
                "{}: {} of {} was reported {} times", deferred ? "deferred" : "as it comes", i,
                count, told[i]);
    return "";
}

std::string close_all(bool deferred) {
    return in_child([&]() -> std::string {
        auto streams = BufferPool::create(64, 4096);
        auto datagrams = DatagramPool::create(8);
        auto backend = UringBackend::open({*streams, *datagrams}, {deferred, true});
        return backend ? close_all(**backend, deferred) : "skip: " + backend.error().text;
    });
}

} // namespace

TEST_CASE("completions that do not fit the queue are delivered later, once") {
    for (const bool deferred : {true, false}) {
        CAPTURE(deferred);
        const std::string outcome = close_all(deferred);
        if (outcome.starts_with("skip: "))
            SKIP(outcome.substr(6));
        CHECK(outcome == "");
    }
}
