#include "client/measure/linger.h"
#include "tests/support/nanoseconds.h"

#include <cstdint>

#include <doctest/doctest.h>

using riposte::client::linger_ns;
using riposte::test::ms;
using riposte::test::second;

TEST_CASE("on a fast path, a run waits a second for the last answers") {
    CHECK(linger_ns(5 * second, 1) == second);
    CHECK(linger_ns(5 * second, 30 * ms) == second);
    CHECK(linger_ns(5 * second, 250 * ms) == second);
}

TEST_CASE("on a slow path, a run waits four round trips for the last answers") {
    CHECK(linger_ns(5 * second, 251 * ms) == 1004 * ms);
    CHECK(linger_ns(5 * second, second) == 4 * second);
}

TEST_CASE("a run never waits for the last answers longer than the timeout") {
    CHECK(linger_ns(5 * second, 2 * second) == 5 * second);
    CHECK(linger_ns(200 * ms, 1) == 200 * ms);
    CHECK(linger_ns(200 * ms, 100 * ms) == 200 * ms);
    CHECK(linger_ns(UINT64_MAX, UINT64_MAX) == UINT64_MAX);
}

TEST_CASE("without any answer, a run waits a second for the last answers") {
    CHECK(linger_ns(5 * second, 0) == second);
    CHECK(linger_ns(200 * ms, 0) == 200 * ms);
}
