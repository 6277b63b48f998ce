#include "daemon/tcp/deadlines.h"
#include "tests/unit/daemon/tcp_support.h"

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::test;
using namespace riposte::deadlines;

namespace {

constexpr uint64_t deadlines_start_ms = 1'000'001;

constexpr TcpLimits timeouts{
    .first_byte_timeout_ms = 3'000,
    .idle_timeout_ms = 6'000,
    .write_stall_timeout_ms = 8'000,
    .write_rate_min = 0,
    .rate_window_ms = 50'000,
    .linger_timeout_ms = 500};

Connection pending_connection() {
    Connection c = opened_connection();
    set_pending(c, 100);
    CHECK(renew(c, timeouts, {.ms = deadlines_start_ms}) == 2'000);
    return c;
}

ReadVerdict look_at(Connection& c, uint32_t unacknowledged, uint64_t after_ms) {
    return judge_reading(c, timeouts, unacknowledged, deadlines_start_ms + after_ms);
}

} // namespace

TEST_CASE(
    "a silent peer has the first-byte timeout, and one that has sent bytes the idle timeout") {
    Connection c = opened_connection();
    CHECK(renew(c, timeouts, {.ms = deadlines_start_ms}) == 3'000);
    CHECK(c.progress_ms == deadlines_start_ms);
    c.heard = true;
    CHECK(renew(c, timeouts, {.ms = deadlines_start_ms + 1}) == 6'000);
    CHECK(c.progress_ms == deadlines_start_ms + 1);
}

TEST_CASE("a silent peer has the shorter of the first-byte and the idle timeout") {
    TcpLimits other = timeouts;
    other.idle_timeout_ms = 2'000;
    Connection c = opened_connection();
    CHECK_FALSE(first_byte_due(c, other));
    CHECK(renew(c, other, {.ms = deadlines_start_ms}) == 2'000);
    other.idle_timeout_ms = other.first_byte_timeout_ms;
    CHECK(first_byte_due(c, other));
}

TEST_CASE(
    "while a reply is pending, the peer is checked every quarter of the write-stall timeout") {
    for (auto reason : {0, 1, 2}) {
        CAPTURE(reason);
        Connection c = opened_connection();
        c.pending.bytes = reason == 0 ? 1 : 0;
        c.generating = reason == 1;
        c.farewell_due = reason == 2;
        c.unacknowledged = 7;
        CHECK(renew(c, timeouts, {.ms = deadlines_start_ms}) == 2'000);
        CHECK(c.unacknowledged == Connection::not_looked);
        CHECK(c.peer_reads.since_ms != 0);
    }
}

TEST_CASE("a short rate window is checked before a quarter of the write-stall timeout") {
    TcpLimits other = timeouts;
    other.rate_window_ms = 1'000;
    Connection c = opened_connection();
    c.generating = true;
    CHECK(renew(c, other, {.ms = deadlines_start_ms}) == 1'000);
}

TEST_CASE("when nothing is pending any more, the write-rate window is closed") {
    Connection c = pending_connection();
    c.pending = {};
    CHECK(renew(c, timeouts, {.ms = deadlines_start_ms}) == 3'000);
    CHECK(c.peer_reads.since_ms == 0);
}

TEST_CASE("after our FIN only the linger timeout applies") {
    Connection c = opened_connection();
    c.handing_off = true;
    c.finish();
    CHECK(renew(c, timeouts, {.ms = deadlines_start_ms, .draining = true}) == 500);
}

TEST_CASE("a connection that only waits for its handoff has no deadline") {
    Connection c = opened_connection();
    c.handing_off = true;
    CHECK(renew(c, timeouts, {.ms = deadlines_start_ms, .draining = true}) == std::nullopt);
    c.generating = true;
    CHECK(renew(c, timeouts, {.ms = deadlines_start_ms, .draining = true}) == 2'000);
}

TEST_CASE("a draining connection gets a moment of quiet, and none after the grace period") {
    Connection c = opened_connection();
    const Now drain{
        .ms = deadlines_start_ms, .draining = true, .drain_grace_ms = deadlines_start_ms + 1};
    CHECK(renew(c, timeouts, drain) == drain_quiet_ms);
    CHECK(renew(c, timeouts, {deadlines_start_ms + 1, true, deadlines_start_ms + 1}) == 0);
}

TEST_CASE("a check finds progress only relative to an earlier check") {
    Connection c = opened_connection();
    CHECK_FALSE(record_unacknowledged(c, 100, deadlines_start_ms));
    CHECK(c.unchanged_ms == deadlines_start_ms);
    CHECK_FALSE(record_unacknowledged(c, 100, deadlines_start_ms + 1));
    CHECK_FALSE(record_unacknowledged(c, 150, deadlines_start_ms + 2)); // more was sent
    CHECK(c.unchanged_ms == deadlines_start_ms);
    CHECK(record_unacknowledged(c, 149, deadlines_start_ms + 3));
    CHECK(c.unchanged_ms == deadlines_start_ms + 3);
}

TEST_CASE("a peer that reads nothing has its whole timeout and no more") {
    Connection c = pending_connection();
    for (const uint64_t after_ms : {2'000u, 4'000u, 6'000u}) {
        const ReadVerdict verdict = look_at(c, 100, after_ms);
        CHECK((verdict.reading == Reading::steadily));
        CHECK(verdict.next_look_ms == deadlines_start_ms + after_ms + 2'000);
    }
    CHECK((look_at(c, 100, 7'999).reading == Reading::steadily));
    CHECK((look_at(c, 100, 8'000).reading == Reading::not_at_all));
}

TEST_CASE("each byte that the peer acknowledges restarts its timeout") {
    Connection c = pending_connection();
    look_at(c, 100, 2'000);
    CHECK((look_at(c, 99, 7'999).reading == Reading::steadily));
    CHECK((look_at(c, 99, 15'998).reading == Reading::steadily));
    CHECK((look_at(c, 99, 15'999).reading == Reading::not_at_all));
}

TEST_CASE("the next check is never after the end of the timeout") {
    Connection c = pending_connection();
    CHECK(look_at(c, 100, 7'000).next_look_ms == deadlines_start_ms + 8'000);
}

TEST_CASE("a first check that is too late shows that this process was late") {
    Connection c = pending_connection();
    CHECK((look_at(c, 100, 9'000).reading == Reading::steadily));
    CHECK(c.progress_ms == deadlines_start_ms + 9'000);
    CHECK((look_at(c, 100, 17'000).reading == Reading::not_at_all));
}

TEST_CASE("a peer that has acknowledged everything is never stalled: it waits for us") {
    Connection c = pending_connection();
    for (uint64_t after_ms = 0; after_ms < 100'000; after_ms += 9'000)
        CHECK((look_at(c, 0, after_ms).reading == Reading::steadily));
}

TEST_CASE("a peer that reads below the rate reads too slowly") {
    TcpLimits other = timeouts;
    other.write_rate_min = 10;
    other.rate_window_ms = 4'000;
    Connection c = opened_connection();
    set_pending(c, 100);
    renew(c, other, {.ms = deadlines_start_ms});
    const auto judge = [&](uint32_t unacknowledged, uint64_t after_ms) {
        return judge_reading(c, other, unacknowledged, deadlines_start_ms + after_ms).reading;
    };
    CHECK((judge(1'000, 4'000) == Reading::steadily)); // only records what the kernel has
    CHECK((judge(960, 8'000) == Reading::steadily));
    CHECK((judge(921, 12'000) == Reading::too_slowly)); // 39 bytes in four seconds
}
