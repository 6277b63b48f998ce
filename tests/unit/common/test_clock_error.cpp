#include "common/clock_error.h"

#include <doctest/doctest.h>

using namespace riposte;

TEST_CASE("a clock is synchronized while its maximum error is below 16 s") {
    CHECK(
        clock_error_of(15'999'999) == ClockError{.error_ns = 15'999'999'000, .synchronized = true});
    CHECK(
        clock_error_of(16'000'000) ==
        ClockError{.error_ns = 16'000'000'000, .synchronized = false});
    CHECK(clock_error_of(0) == ClockError{.error_ns = 0, .synchronized = true});
    CHECK(clock_error_of(-1) == ClockError{.error_ns = 0, .synchronized = true});
}

TEST_CASE("the kernel says how far the clock may be off, or that it may not be asked") {
    const auto error = read_clock_error();
    CHECK((error ? error->error_ns > 0 : error.error() != 0));
}
