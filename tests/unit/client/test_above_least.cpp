#include "client/measure/above_least.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

/// Each percentile is within 0.4% of the exact one; the other figures are exact.
void check_exact(const std::vector<uint64_t>& values) {
    AboveLeast recorder;
    for (const uint64_t value : values)
        recorder.record(value);
    CHECK(recorder.count() == values.size());
    std::vector<uint64_t> sorted = values;
    std::ranges::sort(sorted);
    const Histogram found = recorder.histogram();
    REQUIRE(found.count() == values.size());
    CHECK(found.min_ns() == 0);
    CHECK(found.max_ns() == sorted.back() - sorted.front());
    for (const double percent : {10.0, 50.0, 95.0, 99.0}) {
        CAPTURE(percent);
        const auto rank =
            static_cast<size_t>(std::ceil(percent / 100 * static_cast<double>(sorted.size())));
        const auto exact = static_cast<double>(sorted[rank - 1] - sorted.front());
        CHECK(
            std::abs(static_cast<double>(found.percentile_ns(percent)) - exact) <=
            exact * 0.004 + 1);
    }
}

/// 100 ms plus at most 0.1 ms: 0.4% of the whole would be four times that.
std::vector<uint64_t> narrow(size_t count) {
    std::mt19937_64 random(5);
    std::vector<uint64_t> values(count);
    for (uint64_t& value : values)
        value = 100'000'000 + random() % 100'000;
    return values;
}

} // namespace

TEST_CASE("the excess over the least value has its own resolution, not that of the whole value") {
    for (const size_t count : {size_t{1}, size_t{2}, size_t{255}, size_t{256}, size_t{257}})
        check_exact(narrow(count));
    std::vector<uint64_t> later = narrow(50'000);
    *std::ranges::min_element(later) = 100'000'000; // recorded late
    std::ranges::iter_swap(std::ranges::min_element(later), later.end() - 1);
    check_exact(later);
}

TEST_CASE("a least value that is recorded late is the least of all") {
    AboveLeast recorder;
    for (uint64_t i = 0; i < 3000; i++)
        recorder.record(5'000'000 + i);
    recorder.record(1'000'000);
    const Histogram found = recorder.histogram();
    CHECK(found.count() == 3001);
    CHECK(found.min_ns() == 0);
    CHECK(found.max_ns() == 4'002'999);
    CHECK(found.mean_ns() == doctest::Approx((4'001'499.5 * 3000) / 3001));
    CHECK(AboveLeast().histogram().empty());
}
