#include "daemon/tcp/connection.h"
#include "daemon/tcp/engine.h"
#include "tests/unit/daemon/tcp_support.h"

#include <algorithm>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr uint32_t window = 1000;

/// An open connection with a receive in flight and nothing else to do.
Connection receiving_connection() {
    Connection c = opened_connection();
    c.begin_receive();
    return c;
}

Step next(const Connection& c) {
    return advance(c, window);
}

/// The kernel has 100 bytes for the peer, which reads none of them.
class StalledPeer final : public Host {
public:
    uint64_t now_ns() noexcept override { return 0; }
    int64_t wall_seconds() noexcept override { return 1; }
    uint64_t wall_ns() noexcept override { return 1'000'000'000; }
    SocketAddress peer_address(int) override { return {}; }
    uint32_t unacknowledged_bytes(int) noexcept override { return unacknowledged; }

    uint32_t unacknowledged = 100;
};

/// The connections of a worker; one is open, with the service echo.
struct OpenConnection {
    OpenConnection() {
        at.socket.kind = ServiceKind::echo;
        at.socket.service = make_service(ServiceKind::echo, {});
        connections.admit(9, at);
        token = turn.ops.at(0).token;
    }

    /// Receives the end of the stream, or this many bytes of it.
    void arrive(uint32_t size) {
        const BufferId buffer = size > 0 ? streams.take(Owner::worker) : no_buffer;
        connections.handle({OpKind::receive, token, static_cast<int32_t>(size), buffer, size == 0});
    }

    StalledPeer environment{};
    BufferPool streams{*BufferPool::create(8, 64)};
    DatagramPool datagrams{*DatagramPool::create(1, 64)};
    Turn turn{.host = environment, .pools = {streams, datagrams}, .now_ms = 1000};
    WorkerTelemetry telemetry{};
    Engine connections{
        turn, telemetry, {.connections_max = 1, .write_stall_timeout_ms = 10'000}, 1};
    ListenerSlot at{};
    Token token{};
};

} // namespace

TEST_CASE("a free slot has nothing to do") {
    CHECK(next(Connection{}) == Step::wait);
}

TEST_CASE("an open connection receives, and waits while it does") {
    Connection c = receiving_connection();
    CHECK(next(c) == Step::wait);
    c.end_receive();
    CHECK(next(c) == Step::receive);
}

TEST_CASE("pending bytes are sent, one send at a time") {
    Connection c = receiving_connection();
    set_pending(c, 10);
    CHECK(next(c) == Step::send);
    c.begin_send();
    CHECK(next(c) == Step::wait);
}

TEST_CASE("a stream is rearmed when half of the window is free") {
    Connection c = receiving_connection();
    c.end_receive();
    set_pending(c, window / 2 + 1);
    c.begin_send();
    CHECK(next(c) == Step::wait);
    set_pending(c, window / 2);
    CHECK(next(c) == Step::receive);
}

TEST_CASE("a starved connection neither receives nor calls its service") {
    for (auto member : {0, 1, 2}) {
        Connection c = receiving_connection();
        if (member == 0)
            c.end_receive();
        c.generating = member == 1;
        c.farewell_due = member == 2;
        CHECK(next(c) != Step::wait);
        c.starved = true;
        CHECK(next(c) == Step::wait);
    }
}

TEST_CASE("a service that sends unprompted is called when nothing is pending") {
    Connection c = receiving_connection();
    c.generating = true;
    CHECK(next(c) == Step::generate);
    set_pending(c, 1);
    CHECK(next(c) == Step::send);
    c.begin_send();
    CHECK(next(c) == Step::wait);
}

TEST_CASE("the service sees the peer's FIN before ours is sent") {
    Connection c = receiving_connection();
    c.end_receive();
    c.peer_finished = c.farewell_due = true;
    CHECK(next(c) == Step::farewell);
    c.farewell_due = false;
    c.finish_requested = true;
    set_pending(c, 5);
    CHECK(next(c) == Step::send);
    c.begin_send();
    CHECK(next(c) == Step::wait);
    c.end_send();
    set_pending(c, 0);
    CHECK(next(c) == Step::leave); // both sides are done: close sends our FIN
}

TEST_CASE("our FIN waits for pending bytes, and input is still read meanwhile") {
    Connection c = receiving_connection();
    c.finish_requested = true;
    set_pending(c, 5);
    c.begin_send();
    CHECK(next(c) == Step::wait);
    c.end_receive();
    CHECK(next(c) == Step::receive); // or a peer that only writes would never read
    c.end_send();
    set_pending(c, 0);
    CHECK(next(c) == Step::finish);
}

TEST_CASE("a finishing connection drains its input to the peer's FIN") {
    Connection c = receiving_connection();
    c.finish();
    CHECK(next(c) == Step::wait);
    c.end_receive();
    CHECK(next(c) == Step::receive);
    c.starved = true;
    CHECK(next(c) == Step::wait);
    c.starved = false;
    c.peer_finished = true;
    CHECK(next(c) == Step::leave);
}

TEST_CASE("a closing connection stops its stream once and closes when nothing is in flight") {
    Connection c = receiving_connection();
    c.leave();
    CHECK(next(c) == Step::stop);
    c.begin_stop();
    CHECK(next(c) == Step::wait);
    c.end_receive();
    CHECK(next(c) == Step::close);
    c.begin_close();
    CHECK(next(c) == Step::wait);
}

TEST_CASE("a connection that is handed off stops receiving, sends pending bytes, and leaves") {
    Connection c = receiving_connection();
    c.handing_off = true;
    CHECK(next(c) == Step::stop);
    c.begin_stop();
    CHECK(next(c) == Step::wait);
    set_pending(c, window); // bytes that were in flight
    CHECK(next(c) == Step::send);
    c.begin_send();
    CHECK(next(c) == Step::wait);
    c.end_receive();
    CHECK(next(c) == Step::wait);
    set_pending(c, window / 4); // a short send: nothing more is read, however little is pending
    CHECK(next(c) == Step::wait);
    c.end_send();
    CHECK(next(c) == Step::send);
    set_pending(c, 0);
    CHECK(next(c) == Step::release);
}

TEST_CASE("a connection that never received is handed off at once, starved or not") {
    for (const bool starved : {false, true}) {
        Connection c = receiving_connection();
        c.end_receive();
        c.handing_off = true;
        c.starved = starved;
        CHECK(next(c) == Step::release);
    }
}

TEST_CASE("a connection that ends before its handoff ends like any other") {
    Connection c = receiving_connection();
    c.handing_off = true;
    c.begin_stop();
    c.finish_requested = true;
    CHECK(next(c) == Step::finish);

    c.finish_requested = false;
    c.end_receive();
    c.peer_finished = c.farewell_due = true;
    CHECK(next(c) == Step::farewell);
    c.farewell_due = false;
    c.finish_requested = true;
    CHECK(next(c) == Step::leave);
}

TEST_CASE("a connection that is being released waits for nothing else") {
    Connection c = receiving_connection();
    c.end_receive();
    c.handing_off = true;
    c.release();
    CHECK(next(c) == Step::wait);
    set_pending(c, 1); // impossible here
    CHECK(next(c) == Step::wait);
}

TEST_CASE("an aborting connection waits for operations in flight, without stopping them") {
    Connection c = receiving_connection();
    set_pending(c, 10);
    c.begin_send();
    c.abort();
    CHECK(next(c) == Step::wait);
    c.end_receive();
    CHECK(next(c) == Step::wait);
    c.end_send();
    set_pending(c, 0);
    CHECK(next(c) == Step::close);
    c.begin_close();
    CHECK(next(c) == Step::wait);
}

TEST_CASE("a connection is aborted once, and not while its descriptor is being released") {
    Connection c = receiving_connection();
    CHECK(c.may_abort());
    c.abort();
    CHECK_FALSE(c.may_abort());

    c = receiving_connection();
    c.end_receive();
    c.release();
    CHECK_FALSE(c.may_abort());

    c = receiving_connection();
    c.end_receive();
    c.leave();
    CHECK(c.may_abort());
    c.begin_close();
    CHECK_FALSE(c.may_abort());
}

TEST_CASE("a reused slot keeps nothing of its last connection but the generation") {
    Connection c = receiving_connection();
    const uint32_t generation = c.generation;
    c.service = make_service(ServiceKind::echo, {});
    c.heard = true;
    c.evicted = true;
    c.starved = true;
    c.peer_finished = true;
    c.end_receive();
    c.leave();
    c.begin_close();
    c.end_close();
    c.vacate();
    CHECK(c.is_free());
    CHECK(!c.evicted);
    CHECK(!c.starved);
    CHECK(c.service == nullptr);
    c.open(10, {}, 7);
    CHECK(c.is_open());
    CHECK(c.generation == generation + 1);
    CHECK(c.fd == 10);
    CHECK(c.source_port == 7);
    CHECK(!c.heard);
    CHECK(!c.peer_finished);
}

TEST_CASE_FIXTURE(OpenConnection, "a peer that reads nothing gains no time by its FIN") {
    arrive(10);
    turn.now_ms += 5000;
    arrive(0);
    // The echo is still in flight; checking the peer meanwhile gives it no time, either.
    while (telemetry.metrics.get(Counter::write_stall_timeouts) == 0) {
        const uint64_t next_ms = connections.next_deadline_ms();
        REQUIRE(next_ms != TimerWheel::never);
        REQUIRE(next_ms <= 11'000 + TimerWheel::tick_ms);
        turn.now_ms = std::max(next_ms, turn.now_ms);
        connections.expire();
    }
    CHECK(turn.now_ms >= 11'000);
}

TEST_CASE_FIXTURE(
    OpenConnection, "a peer that has acknowledged everything is never cut off as stalled") {
    arrive(10);
    environment.unacknowledged = 0; // it waits for us: we have not sent yet
    while (turn.now_ms < 60'000) {
        const uint64_t next_ms = connections.next_deadline_ms();
        REQUIRE(next_ms != TimerWheel::never);
        turn.now_ms = std::max(next_ms, turn.now_ms) + 900;
        connections.expire();
    }
    CHECK(telemetry.metrics.get(Counter::write_stall_timeouts) == 0);
    CHECK(telemetry.metrics.get(Counter::write_rates_low) == 0);
    // Its time runs from when the kernel has bytes that it does not read.
    environment.unacknowledged = 100;
    const uint64_t since_ms = turn.now_ms;
    while (telemetry.metrics.get(Counter::write_stall_timeouts) == 0) {
        const uint64_t next_ms = connections.next_deadline_ms();
        REQUIRE(next_ms <= since_ms + 10'000 + TimerWheel::tick_ms);
        turn.now_ms = std::max(next_ms, turn.now_ms);
        connections.expire();
    }
}
