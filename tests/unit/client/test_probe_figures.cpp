// What a prober hands out: the compact histogram's buckets are Prometheus' own of schema 3, and its
// picture keeps every count.
#include "client/probe/figures.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include <doctest/doctest.h>

using namespace riposte::client;

TEST_CASE("a compact histogram has the buckets of a native histogram of schema 3") {
    CHECK(CompactHistogram::upper_bound(0) == std::exp2(-20));
    CHECK(CompactHistogram::upper_bound(160) == 1.0);
    CHECK(CompactHistogram::native_index(160) == 0);
    CHECK(CompactHistogram::upper_bound(192) == 16.0);
    CHECK(
        CompactHistogram::upper_bound(CompactHistogram::above_all) ==
        std::numeric_limits<double>::infinity());
    for (size_t bucket = 1; bucket <= CompactHistogram::bounded_buckets; bucket++)
        CHECK(
            CompactHistogram::upper_bound(bucket) ==
            doctest::Approx(std::exp2(CompactHistogram::native_index(bucket) / 8.0))
                .epsilon(1e-15));
}

TEST_CASE("a compact histogram's bucket holds its upper bound, and not its lower one") {
    CHECK(CompactHistogram::bucket_of(0) == 0);
    CHECK(CompactHistogram::bucket_of(953) == 0); // 2^-20 s is 953.67 ns
    CHECK(CompactHistogram::bucket_of(954) == 1);
    CHECK(CompactHistogram::bucket_of(1'000'000'000) == 160);
    CHECK(CompactHistogram::bucket_of(1'000'000'001) == 161);
    CHECK(CompactHistogram::bucket_of(16'000'000'000) == 192);
    CHECK(CompactHistogram::bucket_of(16'000'000'001) == CompactHistogram::above_all);
    CHECK(CompactHistogram::bucket_of(UINT64_MAX) == CompactHistogram::above_all);
    std::mt19937_64 random(20);
    for (int i = 0; i < 100'000; i++) {
        const uint64_t value_ns = random() >> (random() % 40 + 24);
        const size_t bucket = CompactHistogram::bucket_of(value_ns);
        const double seconds = static_cast<double>(value_ns) / 1e9;
        CAPTURE(value_ns);
        REQUIRE(seconds <= CompactHistogram::upper_bound(bucket));
        if (bucket > 0)
            REQUIRE(seconds > CompactHistogram::upper_bound(bucket - 1) * (1 - 1e-15));
    }
}

TEST_CASE("the picture of a compact histogram keeps every count") {
    CompactHistogram histogram;
    const HistogramFigures empty{histogram};
    CHECK(empty.count == 0);
    CHECK(empty.count_up_to(CompactHistogram::above_all) == 0);
    CHECK_FALSE(empty.quantile(0.5));

    std::mt19937_64 random(21);
    uint64_t sum_ns = 0;
    for (int i = 0; i < 10'000; i++) {
        const uint64_t value_ns = 100'000 + random() % 30'000'000;
        histogram.record(value_ns);
        sum_ns += value_ns;
    }
    CompactHistogram twice = histogram;
    twice.merge(histogram);
    const HistogramFigures figures{twice};
    CHECK(figures.count == 20'000);
    CHECK(figures.sum_ns == 2 * sum_ns);
    CHECK(figures.counts.front() > 0);
    CHECK(figures.counts.back() > 0);
    uint64_t up_to = 0;
    for (size_t bucket = 0; bucket < CompactHistogram::bucket_count; bucket++) {
        CHECK(figures.count_in(bucket) == twice.count_in(bucket));
        up_to += twice.count_in(bucket);
        CHECK(figures.count_up_to(bucket) == up_to);
    }
    CHECK(up_to == 20'000);
}

TEST_CASE("a quantile of a histogram's picture is the bound of the bucket that holds it") {
    CompactHistogram histogram;
    for (int i = 0; i < 99; i++)
        histogram.record(1'000'000'000);
    histogram.record(20'000'000'000);
    const HistogramFigures figures{histogram};
    CHECK(figures.quantile(0) == 1.0);
    CHECK(figures.quantile(0.5) == 1.0);
    CHECK(figures.quantile(0.99) == 1.0);
    CHECK(figures.quantile(1) == std::numeric_limits<double>::infinity());
}
