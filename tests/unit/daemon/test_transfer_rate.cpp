#include "daemon/tcp/transfer_rate.h"
#include "tests/unit/daemon/tcp_support.h"

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::test;

namespace {

constexpr uint64_t rates_start_ms = 1001; // odd, like the start of every window

constexpr TcpLimits rate_limits{.rate_min = 100, .write_rate_min = 100, .rate_window_ms = 10'000};

bool sends_slowly(
    Connection& c, uint32_t size, uint64_t now_ms, const TcpLimits& of = rate_limits) {
    return transfer_rate::sends_too_slowly(c, of, size, now_ms);
}

/// Opens the write-rate window, with `kernel_has` bytes in the kernel.
Connection reading_connection(uint32_t kernel_has) {
    Connection c = opened_connection();
    CHECK(
        transfer_rate::open_read_window(c, rate_limits, rates_start_ms) ==
        rate_limits.rate_window_ms);
    c.unacknowledged = kernel_has;
    // The first window only records how much the kernel has.
    CHECK_FALSE(transfer_rate::reads_too_slowly(c, rate_limits, rates_start_ms + 10'000));
    return c;
}

} // namespace

TEST_CASE("the read rate is judged by the first arrival after its window") {
    Connection c = opened_connection();
    CHECK_FALSE(sends_slowly(c, 1, rates_start_ms));
    CHECK_FALSE(sends_slowly(c, 1, rates_start_ms + 9'998));
    CHECK(sends_slowly(c, 997, rates_start_ms + 10'000)); // 999 bytes in ten seconds
}

TEST_CASE("the arrival that ends a window counts, because we may have read it late") {
    Connection c = opened_connection();
    CHECK_FALSE(sends_slowly(c, 1, rates_start_ms));
    CHECK_FALSE(sends_slowly(c, 999, rates_start_ms + 10'000));
    // A new window, which does not include it.
    CHECK(sends_slowly(c, 999, rates_start_ms + 20'000));
}

TEST_CASE("a long pause counts against a peer that continues to send") {
    Connection c = opened_connection();
    CHECK_FALSE(sends_slowly(c, 1000, rates_start_ms));
    CHECK(sends_slowly(c, 1, rates_start_ms + 20'000));
}

TEST_CASE("without a required rate, none is too low") {
    constexpr TcpLimits none{.rate_min = 0, .write_rate_min = 0, .rate_window_ms = 10'000};
    Connection c = opened_connection();
    CHECK_FALSE(sends_slowly(c, 1, rates_start_ms, none));
    CHECK_FALSE(sends_slowly(c, 1, rates_start_ms + 100'000, none));
    CHECK(c.peer_sends.since_ms == 0);
}

TEST_CASE("a byte count stops at its maximum, and is then never too low") {
    uint32_t bytes = transfer_rate::bytes_max - 1;
    transfer_rate::add(bytes, 5);
    CHECK(bytes == transfer_rate::bytes_max);
    transfer_rate::add(bytes, 5);
    CHECK(bytes == transfer_rate::bytes_max);

    constexpr TcpLimits high{.rate_min = transfer_rate::bytes_max, .rate_window_ms = 10'000};
    Connection c = opened_connection();
    CHECK_FALSE(sends_slowly(c, transfer_rate::bytes_max, rates_start_ms, high));
    CHECK_FALSE(sends_slowly(c, 1, rates_start_ms + 10'000, high));
}

TEST_CASE("the clock of a window is never 0, which means that none is open") {
    CHECK(transfer_rate::window_clock_ms(0) == 1);
    CHECK(transfer_rate::window_clock_ms(uint64_t{1} << 32) == 1);
    CHECK(transfer_rate::window_clock_ms(1000) == 1001);
}

TEST_CASE("a window lasts across the end of the clock's low bits") {
    constexpr uint64_t late_ms = (uint64_t{1} << 32) - 5'001;
    Connection c = opened_connection();
    CHECK_FALSE(sends_slowly(c, 1, late_ms));
    CHECK_FALSE(sends_slowly(c, 1, late_ms + 9'990));
    CHECK(sends_slowly(c, 1, late_ms + 10'001));
}

TEST_CASE("the write-rate window is opened once, and has the time of its judgement") {
    Connection c = opened_connection();
    CHECK(transfer_rate::open_read_window(c, rate_limits, rates_start_ms) == 10'000);
    CHECK(transfer_rate::open_read_window(c, rate_limits, rates_start_ms + 4'000) == 6'000);
    CHECK(transfer_rate::open_read_window(c, rate_limits, rates_start_ms + 12'000) == 0);
}

TEST_CASE("the bytes that a peer has read are those sent minus those still in the kernel") {
    for (const bool slow : {false, true}) {
        CAPTURE(slow);
        Connection c = reading_connection(5'000);
        transfer_rate::count_sent(c, 2'000);
        c.unacknowledged = slow ? 6'001 : 6'000; // of 7,000
        CHECK(transfer_rate::reads_too_slowly(c, rate_limits, rates_start_ms + 20'000) == slow);
    }
}

TEST_CASE("a peer that has acknowledged everything does not read too slowly") {
    Connection c = reading_connection(5);
    c.unacknowledged = 0;
    CHECK_FALSE(transfer_rate::reads_too_slowly(c, rate_limits, rates_start_ms + 20'000));
}

TEST_CASE("a judgement that is much too late does not count against the peer") {
    for (const uint64_t late_ms : {4'998u, 5'002u}) {
        CAPTURE(late_ms);
        Connection c = reading_connection(5'000);
        CHECK(
            transfer_rate::reads_too_slowly(c, rate_limits, rates_start_ms + 20'000 + late_ms) ==
            (late_ms < 5'000));
    }
}

TEST_CASE("nothing is judged before the window ends, or if none is open") {
    Connection c = reading_connection(5'000);
    CHECK_FALSE(transfer_rate::reads_too_slowly(c, rate_limits, rates_start_ms + 19'998));
    c.peer_reads = {};
    CHECK_FALSE(transfer_rate::reads_too_slowly(c, rate_limits, rates_start_ms + 20'000));
}
