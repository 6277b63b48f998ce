#include "daemon/telemetry/latency.h"

#include <cmath>

#include <doctest/doctest.h>

namespace riposte {
namespace {

uint64_t bound_ns(size_t index) {
    return static_cast<uint64_t>(latency_bound_seconds(index) * 1e9);
}

} // namespace

TEST_CASE("latency bounds grow by the square root of 2, from 2^-20 to 16 seconds") {
    CHECK(latency_bound_seconds(0) == std::ldexp(1.0, -20));
    CHECK(latency_bound_seconds(40) == 1.0);
    CHECK(latency_bound_seconds(latency_bounds - 1) == 16.0);
    for (size_t i = 1; i < latency_bounds; ++i)
        CHECK(
            latency_bound_seconds(i) / latency_bound_seconds(i - 1) ==
            doctest::Approx(std::sqrt(2.0)));
}

TEST_CASE("a latency at a bound is in the bucket below, one nanosecond more in the next") {
    CHECK(latency_bucket(0) == 0);
    CHECK(latency_bucket(1) == 0);
    for (size_t i = 0; i < latency_bounds; ++i) {
        CAPTURE(i);
        CHECK(latency_bucket(bound_ns(i)) == i);
        CHECK(latency_bucket(bound_ns(i) + 1) == i + 1);
    }
    CHECK(latency_bucket(UINT64_MAX) == latency_bounds);
}

TEST_CASE("latencies of several workers add up") {
    Latency a;
    Latency b;
    a.add(1000, 3);
    b.add(1000);
    b.add(2'000'000'000);
    LatencyTotals totals;
    totals.add(a);
    totals.add(b);
    CHECK(totals.count() == 5);
    CHECK(totals.sum_ns == 2'000'004'000);
    CHECK(totals.buckets[latency_bucket(1000)] == 4);
    CHECK(totals.buckets[latency_bucket(2'000'000'000)] == 1);
}

TEST_CASE("a quantile is the bound of its bucket") {
    Latency latency;
    LatencyTotals none;
    none.add(latency);
    CHECK(none.quantile_seconds(0.5) == 0);

    latency.add(1'000'000, 99);  // a millisecond
    latency.add(60'000'000'000); // a minute: beyond the last bound
    LatencyTotals totals;
    totals.add(latency);
    const double millisecond = latency_bound_seconds(latency_bucket(1'000'000));
    CHECK(millisecond >= 0.001);
    CHECK(millisecond <= 0.001 * std::sqrt(2.0));
    CHECK(totals.quantile_seconds(0.001) == millisecond);
    CHECK(totals.quantile_seconds(0.5) == millisecond);
    CHECK(totals.quantile_seconds(0.99) == millisecond);
    CHECK(totals.quantile_seconds(1.0) == 16.0);
}

} // namespace riposte
