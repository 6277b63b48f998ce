// A reserved plan is applied without allocations; a failed reservation changes nothing.
#include "daemon/worker/worker.h"
#include "tests/support/failing_new.h"

#include <new>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

class MemoryClock final : public riposte::Host {
public:
    uint64_t now_ns() noexcept override { return 1'000'000'000; }
    int64_t wall_seconds() noexcept override { return 0; }
    uint64_t wall_ns() noexcept override { return 1'000'000'000; }
    SocketAddress peer_address(int) override { return {}; }
    uint32_t unacknowledged_bytes(int) noexcept override { return 0; }
};

/// Accepts every operation and never completes one.
class MemoryBackend final : public Backend {
public:
    MemoryBackend() : Backend(16) {}
    size_t turn(std::span<const Op> ops, std::span<Event>, Wait) noexcept override {
        given += ops.size();
        return 0;
    }
    void wake() noexcept override {}

    size_t given = 0;
};

ListenerSpec long_listener(uint64_t id, Transport transport) {
    return {
        .id = id,
        .fd = static_cast<int>(100 + id),
        .transport = transport,
        .kind = ServiceKind::echo,
        .service = make_service(ServiceKind::echo, {}),
        .label = "a label that is longer than what a string holds in itself"};
}

WorkerPlan small_plan() {
    WorkerPlan plan;
    plan.listeners = {long_listener(1, Transport::tcp)};
    plan.limits.connections_max = 10;
    return plan;
}

/// Larger in every respect in which a plan can grow.
WorkerPlan large_plan() {
    WorkerPlan plan;
    plan.listeners = {
        long_listener(2, Transport::tcp), long_listener(3, Transport::udp),
        long_listener(4, Transport::udp)};
    plan.limits.connections_max = 5'000;
    plan.limits.source_prefix_ipv4_bits = 16;
    plan.limits.when_full = WhenFull::close_idle;
    plan.datagrams.rate_exempt = {*parse_cidr("10.0.0.0/8"), *parse_cidr("2001:db8::/32")};
    plan.datagrams.port_exempt = {*parse_cidr("192.0.2.0/24")};
    plan.access_log.connections = true;
    plan.descriptors_max = 10'000;
    return plan;
}

struct MemorySubject {
    MemoryClock clock{};
    MemoryBackend backend{};
    BufferPool streams{*BufferPool::create(64, 4096)};
    DatagramPool datagrams{*DatagramPool::create(8)};
    Worker worker{clock, backend, {streams, datagrams}, small_plan()};
};

/// Reserves with at most this many allocations; true if they were enough.
bool reserve(Worker& worker, const WorkerPlan& plan, uint64_t allocations) {
    const test::FailAllocations fail(allocations);
    try {
        worker.reserve(plan);
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

} // namespace

TEST_CASE(
    "whichever allocation of a plan fails, the worker continues, and a reservation suffices") {
    uint64_t allocations = 0;
    for (bool reserved = false; !reserved; ++allocations) {
        REQUIRE(allocations < 1'000);
        CAPTURE(allocations);
        MemorySubject subject;
        const WorkerPlan plan = large_plan();
        reserved = reserve(subject.worker, plan, allocations);
        CHECK(subject.worker.turn());
        CHECK(subject.backend.given == 1); // its only listener
        if (!reserved) {
            subject.worker.apply(small_plan());
            CHECK(subject.worker.turn());
            CHECK(subject.backend.given == 1); // unchanged
            continue;
        }
        WorkerPlan given = plan;
        bool needed_more = false;
        try {
            const test::FailAllocations fail(0);
            subject.worker.apply(std::move(given));
        } catch (const std::bad_alloc&) {
            needed_more = true;
        }
        CHECK_FALSE(needed_more);
        CHECK(subject.worker.turn());
        CHECK(subject.backend.given == 5); // three are armed, one is stopped
    }
    CHECK(allocations > 10);
}
