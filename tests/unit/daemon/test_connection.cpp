#include "daemon/tcp/connection.h"
#include "daemon/tcp/connections.h"

#include <algorithm>

#include <doctest/doctest.h>

using namespace riposte;

namespace {

constexpr uint32_t window = 1000;

/// An open connection with a receive in flight and nothing else to do.
Connection open_connection() {
    Connection c;
    c.state = ConnectionState::open;
    c.receiving = true;
    return c;
}

Step next(const Connection& c) {
    return advance(c, window);
}

/// The kernel has 100 bytes for the peer, who takes none of them.
class StalledPeer final : public Host {
public:
    uint64_t now_ns() noexcept override { return 0; }
    int64_t wall_seconds() noexcept override { return 1; }
    SocketAddress peer_address(int) override { return {}; }
    uint32_t unacknowledged_bytes(int) noexcept override { return unacknowledged; }

    uint32_t unacknowledged = 100;
};

/// The connections of a worker, of which one is open, to an echo.
struct OpenConnection {
    OpenConnection() {
        at.socket.kind = ServiceKind::echo;
        at.socket.service = make_service(ServiceKind::echo, {});
        connections.accepted(9, at);
        token = turn.ops.at(0).token;
    }

    /// The end of the stream, or so many bytes of it.
    void arrive(uint32_t size) {
        const BufferId buffer = size > 0 ? streams.take(Owner::worker) : no_buffer;
        connections.handle({OpKind::receive, token, static_cast<int32_t>(size), buffer, size == 0});
    }

    StalledPeer environment{};
    BufferPool streams{*BufferPool::create(8, 64)};
    DatagramPool datagrams{*DatagramPool::create(1, 64)};
    Turn turn{.environment = environment, .pools = {streams, datagrams}, .now_ms = 1000};
    WorkerTelemetry telemetry{};
    Connections connections{
        turn, telemetry, {.connections_max = 1, .write_stall_timeout_ms = 10'000}, 1};
    ListenerSlot at{};
    Token token{};
};

} // namespace

TEST_CASE("a free slot has nothing to do") {
    CHECK(next(Connection{}) == Step::wait);
}

TEST_CASE("an open connection receives, and waits while it does") {
    Connection c = open_connection();
    CHECK(next(c) == Step::wait);
    c.receiving = false;
    CHECK(next(c) == Step::receive);
}

TEST_CASE("what is owed is sent, one send at a time") {
    Connection c = open_connection();
    c.owed.bytes = 10;
    CHECK(next(c) == Step::send);
    c.sending = true;
    CHECK(next(c) == Step::wait);
}

TEST_CASE("a stream is armed again when half of the window is free") {
    Connection c = open_connection();
    c.receiving = false;
    c.sending = true;
    c.owed.bytes = window / 2 + 1;
    CHECK(next(c) == Step::wait);
    c.owed.bytes = window / 2;
    CHECK(next(c) == Step::receive);
}

TEST_CASE("a starved connection neither receives nor asks its service") {
    for (auto member : {0, 1, 2}) {
        Connection c = open_connection();
        c.receiving = member != 0;
        c.generating = member == 1;
        c.farewell_due = member == 2;
        CHECK(next(c) != Step::wait);
        c.starved = true;
        CHECK(next(c) == Step::wait);
    }
}

TEST_CASE("a service that speaks by itself is asked when nothing is owed") {
    Connection c = open_connection();
    c.generating = true;
    CHECK(next(c) == Step::generate);
    c.owed.bytes = 1;
    CHECK(next(c) == Step::send);
    c.sending = true;
    CHECK(next(c) == Step::wait);
}

TEST_CASE("the service is told of the peer's FIN before ours follows") {
    Connection c = open_connection();
    c.receiving = false;
    c.peer_finished = c.farewell_due = true;
    CHECK(next(c) == Step::farewell);
    c.farewell_due = false;
    c.finish_requested = true;
    c.owed.bytes = 5;
    CHECK(next(c) == Step::send);
    c.sending = true;
    CHECK(next(c) == Step::wait);
    c.sending = false;
    c.owed.bytes = 0;
    CHECK(next(c) == Step::leave); // both sides are done: close sends our FIN
}

TEST_CASE("our FIN waits for what is owed, and input is read on meanwhile") {
    Connection c = open_connection();
    c.finish_requested = true;
    c.owed.bytes = 5;
    c.sending = true;
    CHECK(next(c) == Step::wait);
    c.receiving = false;
    CHECK(next(c) == Step::receive); // or the peer, busy writing, would never read
    c.owed.bytes = 0;
    c.sending = false;
    CHECK(next(c) == Step::finish);
}

TEST_CASE("a finishing connection drains its input to the peer's FIN") {
    Connection c = open_connection();
    c.state = ConnectionState::finishing;
    CHECK(next(c) == Step::wait);
    c.receiving = false;
    CHECK(next(c) == Step::receive);
    c.starved = true;
    CHECK(next(c) == Step::wait);
    c.starved = false;
    c.peer_finished = true;
    CHECK(next(c) == Step::leave);
}

TEST_CASE("a closing connection stops its stream once and closes when nothing is in flight") {
    Connection c = open_connection();
    c.state = ConnectionState::closing;
    CHECK(next(c) == Step::stop);
    c.stopping = true;
    CHECK(next(c) == Step::wait);
    c.receiving = c.stopping = false;
    c.sending = true;
    CHECK(next(c) == Step::wait);
    c.sending = false;
    CHECK(next(c) == Step::close);
    c.close_given = true;
    CHECK(next(c) == Step::wait);
}

TEST_CASE("a connection that is handed over stops to receive, sends what it owes, and goes") {
    Connection c = open_connection();
    c.handing_over = true;
    CHECK(next(c) == Step::stop);
    c.stopping = true;
    CHECK(next(c) == Step::wait);
    c.owed.bytes = window; // bytes that were on their way
    CHECK(next(c) == Step::send);
    c.sending = true;
    CHECK(next(c) == Step::wait);
    c.receiving = c.stopping = false;
    CHECK(next(c) == Step::wait);
    c.owed.bytes = window / 4; // a short send: no more is read, however little is owed
    CHECK(next(c) == Step::wait);
    c.sending = false;
    CHECK(next(c) == Step::send);
    c.owed.bytes = 0;
    CHECK(next(c) == Step::release);
}

TEST_CASE("one that never received is handed over at once, starved or not") {
    for (const bool starved : {false, true}) {
        Connection c = open_connection();
        c.receiving = false;
        c.handing_over = true;
        c.starved = starved;
        CHECK(next(c) == Step::release);
    }
}

TEST_CASE("whoever ends while it is to be handed over ends as always") {
    Connection c = open_connection();
    c.handing_over = c.stopping = true;
    c.finish_requested = true;
    CHECK(next(c) == Step::finish);

    c.finish_requested = false;
    c.receiving = c.stopping = false;
    c.peer_finished = c.farewell_due = true;
    CHECK(next(c) == Step::farewell);
    c.farewell_due = false;
    c.finish_requested = true;
    CHECK(next(c) == Step::leave);
}

TEST_CASE("one that is being released waits for nothing else") {
    Connection c = open_connection();
    c.state = ConnectionState::releasing;
    c.receiving = false;
    c.handing_over = true;
    CHECK(next(c) == Step::wait);
    c.owed.bytes = 1; // never so
    CHECK(next(c) == Step::wait);
}

TEST_CASE("an aborting connection waits for what was in flight, without stopping it") {
    Connection c = open_connection();
    c.state = ConnectionState::aborting;
    c.sending = true;
    CHECK(next(c) == Step::wait);
    c.receiving = false;
    CHECK(next(c) == Step::wait);
    c.sending = false;
    CHECK(next(c) == Step::close);
    c.close_given = true;
    CHECK(next(c) == Step::wait);
}

TEST_CASE_FIXTURE(OpenConnection, "a peer that takes nothing gets no more time by its FIN") {
    arrive(10);
    turn.now_ms += 5000;
    arrive(0);
    // What was echoed is still in flight; to look at the peer in between gives it no time, either.
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
    environment.unacknowledged = 0; // it waits for us, who have not had the time to send
    while (turn.now_ms < 60'000) {
        const uint64_t next_ms = connections.next_deadline_ms();
        REQUIRE(next_ms != TimerWheel::never);
        turn.now_ms = std::max(next_ms, turn.now_ms) + 900;
        connections.expire();
    }
    CHECK(telemetry.metrics.get(Counter::write_stall_timeouts) == 0);
    CHECK(telemetry.metrics.get(Counter::write_rates_low) == 0);
    // From when the kernel has something that it does not take, it has its time, and no more.
    environment.unacknowledged = 100;
    const uint64_t since_ms = turn.now_ms;
    while (telemetry.metrics.get(Counter::write_stall_timeouts) == 0) {
        const uint64_t next_ms = connections.next_deadline_ms();
        REQUIRE(next_ms <= since_ms + 10'000 + TimerWheel::tick_ms);
        turn.now_ms = std::max(next_ms, turn.now_ms);
        connections.expire();
    }
}
