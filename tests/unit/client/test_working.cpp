// Responsiveness and added latency, against sums by hand.
#include "client/working/latency_under_load.h"
#include "client/working/while_pinging.h"
#include "client/working/working_metrics.h"

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

constexpr uint64_t millisecond = 1'000'000;

} // namespace

TEST_CASE("a trimmed mean leaves out what exceeds the percentile") {
    Histogram histogram;
    CHECK(trimmed_mean_ns(histogram, 95) == 0);
    histogram.record(10 * millisecond, 95);
    histogram.record(1000 * millisecond, 5);
    CHECK(trimmed_mean_ns(histogram, 95) == doctest::Approx(10 * millisecond).epsilon(0.005));
    CHECK(trimmed_mean_ns(histogram, 100) == doctest::Approx(59.5 * millisecond).epsilon(0.005));
    Histogram one;
    one.record(7 * millisecond);
    CHECK(trimmed_mean_ns(one, 95) == doctest::Approx(7 * millisecond));
}

TEST_CASE("responsiveness is round trips a minute, as the draft has it for TCP") {
    LatencyUnderLoad latency;
    CHECK_FALSE(responsiveness(latency).rpm());
    latency.working.rtt.record(100 * millisecond, 100);
    // Over UDP: the requests alone.
    CHECK(*responsiveness(latency).rpm() == doctest::Approx(600).epsilon(0.005));
    latency.working.connect.record(50 * millisecond, 100);
    // 60 s / mean(50 ms, 100 ms).
    CHECK(*responsiveness(latency).foreign == doctest::Approx(800).epsilon(0.005));
    CHECK(*responsiveness(latency).rpm() == doctest::Approx(800).epsilon(0.005));
    latency.loaded.record(150 * millisecond, 10);
    CHECK(*responsiveness(latency).loaded == doctest::Approx(400).epsilon(0.005));
    CHECK(*responsiveness(latency).rpm() == doctest::Approx(600).epsilon(0.005));
}

TEST_CASE("the added latency may be less than nothing, and needs both parts") {
    LatencyUnderLoad latency;
    latency.idle.rtt.record(20 * millisecond, 50);
    CHECK_FALSE(added_latency_ns(latency, 50));
    latency.working.rtt.record(15 * millisecond, 200);
    CHECK(*added_latency_ns(latency, 50) == doctest::Approx(-5.0 * millisecond).epsilon(0.01));
    CHECK_FALSE(added_latency_ns(latency, 99)); // 50 values have none
}

TEST_CASE("conditions on the two parts") {
    LatencyUnderLoad latency;
    latency.idle.rtt.record(20 * millisecond);
    latency.working.rtt.record(50 * millisecond, 3);
    const Metric idle{.kind = MetricKind::max, .since = Since::idle};
    const Metric working{.kind = MetricKind::percentile, .since = Since::working, .percentile = 99};
    CHECK(*working_metric(latency, idle) == doctest::Approx(0.02));
    CHECK(*working_metric(latency, working) == doctest::Approx(0.05).epsilon(0.005));
    CHECK(working_maximum_of(latency, working) == 3);
    CHECK(working_maximum_of(latency, {.kind = MetricKind::rpm}) == 0);
    CHECK_FALSE(working_metric(latency, {.kind = MetricKind::rate}));
    CHECK(
        *working_metric(latency, {.kind = MetricKind::rpm}) ==
        doctest::Approx(1200).epsilon(0.005));
}

TEST_CASE("the idle path is probed no longer than three seconds, and than the load lasts") {
    constexpr uint64_t second = 1'000'000'000;
    CHECK(idle_duration_ns(0) == 3 * second);
    CHECK(idle_duration_ns(60 * second) == 3 * second);
    CHECK(idle_duration_ns(second) == second);
    CHECK(idle_duration_ns(1) == second / 4);
}
