#include "daemon/worker/listener_slots.h"

#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

constexpr int lent_fd = 9;

/// The listeners of a worker whose turns pass nothing to a backend.
struct Lent {
    explicit Lent(Transport transport = Transport::tcp) : transport_of_all(transport) {}

    std::vector<ListenerSpec> plan(const std::vector<uint64_t>& ids) const {
        std::vector<ListenerSpec> specs;
        for (const uint64_t id : ids)
            specs.push_back({.id = id, .fd = lent_fd, .transport = transport_of_all});
        return specs;
    }
    std::vector<Op> given() { return std::exchange(turn.ops, {}); }
    /// Ends the stream of this listener.
    ListenerSlot& end_stream(uint64_t id) {
        ListenerSlot& at = *listeners.find(id);
        at.armed = false;
        return at;
    }

    SystemHost host{};
    BufferPool streams{*BufferPool::create(1, 64)};
    DatagramPool datagrams{*DatagramPool::create(1, 64)};
    Turn turn{.host = host, .pools = {streams, datagrams}, .now_ms = 1000};
    Transport transport_of_all;
    ListenerSlots listeners{turn};
};

} // namespace

TEST_CASE("a planned listener is armed once, for its transport") {
    for (const Transport transport : {Transport::tcp, Transport::udp}) {
        Lent lent(transport);
        lent.listeners.apply(lent.plan({1}));
        const std::vector<Op> ops = lent.given();
        REQUIRE(ops.size() == 1);
        CHECK(
            (ops[0].kind == (transport == Transport::tcp ? OpKind::accept : OpKind::receive_from)));
        CHECK(ops[0].fd == lent_fd);
        lent.listeners.apply(lent.plan({1}));
        CHECK(lent.given().empty());
        CHECK(lent.listeners.find(1) != nullptr);
        CHECK(lent.listeners.find(2) == nullptr);
    }
}

TEST_CASE("a listener that the plan lacks is stopped, and settled when its stream has ended") {
    Lent lent;
    lent.listeners.apply(lent.plan({1, 2}));
    lent.given();
    ListenerSlot& gone = *lent.listeners.find(2);
    lent.listeners.apply(lent.plan({1}));
    const std::vector<Op> ops = lent.given();
    REQUIRE(ops.size() == 1);
    CHECK((ops[0].kind == OpKind::stop));
    CHECK((ops[0].target == OpKind::accept));
    CHECK((ops[0].token == Token{gone.slot, gone.generation}));
    CHECK(lent.listeners.find(2) == nullptr);
    CHECK(!lent.listeners.settled());
    gone.armed = false;
    lent.listeners.arm(gone);
    CHECK(lent.given().empty());
    lent.listeners.forget_if_done(gone);
    CHECK(lent.listeners.settled());
    CHECK(!gone.used);
}

TEST_CASE("a place is reused only when the last connection of its listener has closed") {
    Lent lent;
    lent.listeners.apply(lent.plan({1}));
    ListenerSlot& first = lent.end_stream(1);
    first.connections = 1;
    const uint32_t generation = first.generation;
    lent.listeners.apply(lent.plan({2}));
    CHECK(lent.listeners.find(2) != &first);
    CHECK(lent.listeners.settled()); // a connection is not in flight on the listener
    first.connections = 0;
    lent.listeners.apply(lent.plan({2, 3}));
    CHECK(lent.listeners.find(3) == &first);
    CHECK(first.generation == generation + 1);
}

TEST_CASE("a pause ends after its time, or when a descriptor is free again") {
    Lent lent;
    lent.listeners.apply(lent.plan({1}));
    lent.given();
    for (const bool fd_freed : {false, true}) {
        CHECK(lent.listeners.resume_ms() == TimerWheel::never);
        ListenerSlot& at = lent.end_stream(1);
        lent.listeners.pause(at);
        lent.listeners.arm(at);
        CHECK(lent.given().empty());
        CHECK(lent.listeners.resume_ms() == lent.turn.now_ms + ListenerSlots::pause_ms);
        lent.listeners.resume(false);
        CHECK(lent.given().empty());
        if (!fd_freed)
            lent.turn.now_ms += ListenerSlots::pause_ms;
        lent.listeners.resume(fd_freed);
        CHECK(lent.given().size() == 1);
    }
}

TEST_CASE("a listener that starves is armed when a datagram buffer has come back") {
    Lent lent(Transport::udp);
    lent.listeners.apply(lent.plan({1}));
    lent.given();
    BufferPool& pool = lent.datagrams.buffers();
    const BufferId taken = pool.take(Owner::worker);
    ListenerSlot& at = lent.end_stream(1);
    lent.listeners.starve(at);
    lent.listeners.arm(at);
    lent.listeners.wake_starved();
    CHECK(lent.given().empty());
    pool.move(taken, Owner::worker, Owner::pool);
    lent.listeners.wake_starved();
    CHECK(lent.given().size() == 1);
    lent.listeners.wake_starved();
    CHECK(lent.given().empty());
}

TEST_CASE("a drain stops each listener once") {
    Lent lent;
    lent.listeners.apply(lent.plan({1, 2}));
    lent.given();
    lent.end_stream(2);
    lent.listeners.leave_all();
    CHECK(lent.given().size() == 1);
    lent.listeners.leave_all();
    CHECK(lent.given().empty());
    CHECK(!lent.listeners.settled());
}
