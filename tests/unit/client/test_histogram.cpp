// Compares every percentile of several distributions with exact sorting, from fixed seeds.
#include "client/measure/histogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

/// In thousandths of a percent, so that integers give the exact rank.
constexpr std::array<uint64_t, 11> percents_1000{0,     1000,  25000, 50000, 75000, 90000,
                                                 95000, 99000, 99900, 99990, 100000};

using Values = std::vector<uint64_t>;

double percent_of(uint64_t percent_1000) {
    return static_cast<double>(percent_1000) / 1000;
}

/// The exact value that percentile_ns() approximates.
uint64_t nearest_rank(const Values& sorted, uint64_t percent_1000) {
    const uint64_t rank = (percent_1000 * sorted.size() + 99'999) / 100'000;
    return sorted[std::max(rank, uint64_t{1}) - 1];
}

double relative_error(uint64_t value, uint64_t exact) {
    const double distance = static_cast<double>(std::max(value, exact) - std::min(value, exact));
    return distance / static_cast<double>(std::max(exact, uint64_t{1}));
}

Histogram recorded(const Values& values) {
    Histogram histogram;
    for (const uint64_t value : values)
        histogram.record(value);
    return histogram;
}

template<class Draw>
Values drawn(size_t count, uint64_t seed, Draw draw) {
    std::mt19937_64 random(seed);
    Values values(count);
    for (uint64_t& value : values)
        value = draw(random);
    return values;
}

/// Name and values.
std::vector<std::pair<std::string, Values>> distributions() {
    using Random = std::mt19937_64;
    const auto uniform = [](Random& random) {
        return std::uniform_int_distribution<uint64_t>(0, 50'000'000)(random);
    };
    const auto exponential = [](Random& random) {
        return static_cast<uint64_t>(std::exponential_distribution<double>(1 / 200'000.0)(random));
    };
    const auto bimodal = [](Random& random) {
        const bool far = std::uniform_int_distribution<int>(0, 199)(random) == 0;
        const double middle = far ? 2e9 : 80'000;
        return static_cast<uint64_t>(
            std::lognormal_distribution<double>(std::log(middle), 0.3)(random));
    };
    const auto tiny = [](Random& random) {
        return std::uniform_int_distribution<uint64_t>(0, 300)(random);
    };
    const auto huge = [](Random& random) {
        return std::uniform_int_distribution<uint64_t>(UINT64_MAX / 2, UINT64_MAX)(random);
    };
    // The same number of values in each octave, over the whole range of the type.
    const auto all_octaves = [](Random& random) { return random() >> (random() % 64); };
    return {
        {"uniform", drawn(50'000, 1, uniform)},
        {"exponential", drawn(50'000, 2, exponential)},
        {"bimodal with a far tail", drawn(50'000, 3, bimodal)},
        {"constant", Values(20'000, 123'456'789)},
        {"tiny", drawn(20'000, 4, tiny)},
        {"huge", drawn(20'000, 5, huge)},
        {"all octaves", drawn(50'000, 6, all_octaves)},
        {"a thousand", drawn(1000, 7, uniform)},
        {"seven", drawn(7, 8, uniform)},
        {"two", {5'000'000, 1'000'000}},
        {"the range's ends", {0, UINT64_MAX, 1, UINT64_MAX - 1}},
    };
}

bool same_buckets(const Histogram& a, const Histogram& b) {
    return std::ranges::equal(
        a.buckets(), b.buckets(), [](const Histogram::Bucket& x, const Histogram::Bucket& y) {
            return x.low_ns == y.low_ns && x.high_ns == y.high_ns && x.count == y.count;
        });
}

/// All integers are equal, the two moments to nine digits.
void check_same(const Histogram& a, const Histogram& b) {
    CHECK(a.count() == b.count());
    CHECK(a.min_ns() == b.min_ns());
    CHECK(a.max_ns() == b.max_ns());
    CHECK(same_buckets(a, b));
    for (const uint64_t percent : percents_1000)
        CHECK(a.percentile_ns(percent_of(percent)) == b.percentile_ns(percent_of(percent)));
    CHECK(std::abs(a.mean_ns() - b.mean_ns()) <= 1e-9 * b.mean_ns());
    CHECK(std::abs(a.stddev_ns() - b.stddev_ns()) <= 1e-9 * b.stddev_ns());
}

} // namespace

TEST_CASE("every percentile is within 0.4% of the nearest rank of the sorted values") {
    for (auto& [name, values] : distributions()) {
        CAPTURE(name);
        const Histogram histogram = recorded(values);
        std::ranges::sort(values);
        for (const uint64_t percent : percents_1000) {
            CAPTURE(percent);
            const uint64_t value = histogram.percentile_ns(percent_of(percent));
            CHECK(relative_error(value, nearest_rank(values, percent)) <= 0.004);
            CHECK(value >= values.front());
            CHECK(value <= values.back());
        }
        CHECK(histogram.percentile_ns(0) == values.front());
        CHECK(histogram.percentile_ns(100) == values.back());
    }
}

TEST_CASE("percentiles never fall when the percentage rises") {
    for (const auto& [name, values] : distributions()) {
        CAPTURE(name);
        const Histogram histogram = recorded(values);
        uint64_t last = 0;
        for (int permille = 0; permille <= 1000; ++permille) {
            const uint64_t value = histogram.percentile_ns(permille / 10.0);
            CHECK(value >= last);
            last = value;
        }
    }
}

TEST_CASE("a percentage that is not a binary fraction has the correct rank") {
    // 1 to 1000, below the width of any bucket that rounds: 99.9% of 1000 is the 999th, not the
    // 1000th, value.
    for (const uint64_t count : {1000U, 10'000U, 100'000U}) {
        CAPTURE(count);
        Histogram histogram;
        for (uint64_t i = 0; i < count - count / 1000; ++i)
            histogram.record(10);
        for (uint64_t i = 0; i < count / 1000; ++i)
            histogram.record(1'000'000);
        CHECK(histogram.percentile_ns(99.9) == 10);
        CHECK(histogram.percentile_ns(99.901) > 990'000);
    }
}

TEST_CASE("minimum, maximum, mean and standard deviation are those of the values themselves") {
    for (const auto& [name, values] : distributions()) {
        CAPTURE(name);
        const Histogram histogram = recorded(values);
        long double sum = 0;
        for (const uint64_t value : values)
            sum += static_cast<long double>(value);
        const auto count = static_cast<long double>(values.size());
        const long double mean = sum / count;
        long double squares = 0;
        for (const uint64_t value : values)
            squares +=
                (static_cast<long double>(value) - mean) * (static_cast<long double>(value) - mean);
        CHECK(histogram.count() == values.size());
        CHECK(histogram.min_ns() == std::ranges::min(values));
        CHECK(histogram.max_ns() == std::ranges::max(values));
        const auto exact_mean = static_cast<double>(mean);
        const auto exact_stddev = static_cast<double>(std::sqrt(squares / count));
        CHECK(std::abs(histogram.mean_ns() - exact_mean) <= 1e-9 * exact_mean);
        CHECK(std::abs(histogram.stddev_ns() - exact_stddev) <= 1e-9 * exact_stddev);
    }
}

TEST_CASE("the buckets cover the range of the type without a gap or an overlap") {
    uint64_t expected_low = 0;
    for (size_t index = 0; index < Histogram::bucket_count; ++index) {
        const Histogram::Bucket bucket = Histogram::bounds_of(index);
        REQUIRE(bucket.low_ns == expected_low);
        REQUIRE(bucket.high_ns >= bucket.low_ns);
        REQUIRE(Histogram::index_of(bucket.low_ns) == index);
        REQUIRE(Histogram::index_of(bucket.high_ns) == index);
        REQUIRE((bucket.high_ns - bucket.low_ns) * 128 <= bucket.low_ns);
        expected_low = bucket.high_ns + 1;
    }
    CHECK(expected_low == 0); // one beyond UINT64_MAX
    CHECK(Histogram::index_of(0) == 0);
    CHECK(Histogram::index_of(UINT64_MAX) == Histogram::bucket_count - 1);
}

TEST_CASE("merged histograms equal one that recorded everything") {
    const auto all = distributions();
    for (const auto& [name, values] : all) {
        CAPTURE(name);
        const auto third = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 3);
        Histogram merged = recorded(Values(values.begin(), third));
        merged.merge(recorded(Values(third, values.end())));
        check_same(merged, recorded(values));
    }
    Histogram merged;
    Values everything;
    for (const auto& [name, values] : all) {
        merged.merge(recorded(values));
        everything.insert(everything.end(), values.begin(), values.end());
    }
    check_same(merged, recorded(everything));
}

TEST_CASE("merging is associative, and an empty histogram changes nothing") {
    const auto all = distributions();
    const Histogram a = recorded(all[0].second);
    const Histogram b = recorded(all[1].second);
    const Histogram c = recorded(all[2].second);
    Histogram left = a;
    left.merge(b);
    left.merge(c);
    Histogram right = b;
    right.merge(c);
    Histogram a_and_right = a;
    a_and_right.merge(right);
    check_same(left, a_and_right);

    Histogram with_empty = a;
    with_empty.merge(Histogram());
    check_same(with_empty, a);
    Histogram from_empty;
    from_empty.merge(a);
    check_same(from_empty, a);
}

TEST_CASE("a histogram can be merged with itself") {
    const Values values{1, 1000, 1'000'000};
    Histogram histogram = recorded(values);
    histogram.merge(histogram);
    check_same(histogram, recorded({1, 1, 1000, 1000, 1'000'000, 1'000'000}));
}

TEST_CASE("an empty histogram returns 0 for everything") {
    const Histogram histogram;
    CHECK(histogram.empty());
    CHECK(histogram.count() == 0);
    CHECK(histogram.min_ns() == 0);
    CHECK(histogram.max_ns() == 0);
    CHECK(histogram.mean_ns() == 0);
    CHECK(histogram.stddev_ns() == 0);
    for (const uint64_t percent : percents_1000)
        CHECK(histogram.percentile_ns(percent_of(percent)) == 0);
    CHECK(histogram.count_between(0, UINT64_MAX) == 0);
    CHECK(histogram.buckets().empty());
}

TEST_CASE("of a single value every percentile is that value, exactly") {
    for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{987'654'321}, UINT64_MAX}) {
        CAPTURE(value);
        const Histogram histogram = recorded({value});
        for (const uint64_t percent : percents_1000)
            CHECK(histogram.percentile_ns(percent_of(percent)) == value);
        CHECK(histogram.mean_ns() == static_cast<double>(value));
        CHECK(histogram.stddev_ns() == 0);
    }
}

TEST_CASE("the filled buckets are listed in ascending order, with all records") {
    for (const auto& [name, values] : distributions()) {
        CAPTURE(name);
        const Histogram histogram = recorded(values);
        uint64_t sum = 0;
        uint64_t next = 0;
        for (const Histogram::Bucket& bucket : histogram.buckets()) {
            REQUIRE(bucket.low_ns >= next);
            REQUIRE(bucket.count > 0);
            sum += bucket.count;
            next = bucket.high_ns; // the last one ends at the maximum of the type
        }
        CHECK(sum == values.size());
        CHECK(histogram.count_between(0, UINT64_MAX) == values.size());
    }
}

TEST_CASE("values between two bounds are counted by whole buckets") {
    const Histogram histogram = recorded({10, 20, 30, 1000, 1001, 1008});
    CHECK(histogram.count_between(10, 30) == 3);
    CHECK(histogram.count_between(11, 29) == 1);
    CHECK(histogram.count_between(20, 20) == 1);
    CHECK(histogram.count_between(21, 29) == 0);
    // 1000 to 1003 is one bucket.
    CHECK(histogram.count_between(1003, 1003) == 2);
    CHECK(histogram.count_between(1004, 2000) == 1);
    CHECK(histogram.count_between(30, 10) == 0);
}

TEST_CASE("buckets count beyond what they hold by themselves") {
    Histogram one_by_one;
    for (int i = 0; i < 200'000; i++)
        one_by_one.record(i % 4 == 0 ? 5'000'000 : 7000);
    Histogram at_once;
    at_once.record(7000, 150'000);
    at_once.record(5'000'000, 50'000);
    CHECK(one_by_one.count_between(7000, 7000) == 150'000);
    CHECK(one_by_one.count_between(5'000'000, 5'000'000) == 50'000);
    CHECK(one_by_one.percentile_ns(75) == at_once.percentile_ns(75));
    CHECK(one_by_one.percentile_ns(75.1) == at_once.percentile_ns(75.1));
    Histogram merged = one_by_one;
    merged.merge(at_once);
    merged.record(7000, uint64_t{1} << 40);
    CHECK(merged.count_between(7000, 7000) == 300'000 + (uint64_t{1} << 40));
    CHECK(merged.count_between(5'000'000, 5'000'000) == 100'000);
    CHECK(merged.less(7000).count_between(0, 0) == 300'000 + (uint64_t{1} << 40));
    merged.clear();
    merged.record(7000);
    check_same(merged, recorded({7000}));
}

TEST_CASE("only octaves that hold a value take memory, however many values they hold") {
    constexpr size_t octave_bytes = 256;
    Histogram histogram;
    CHECK(histogram.memory_bytes() == 0);
    for (uint64_t value = 1'100'000; value < 2'000'000; value += 100) // one octave
        histogram.record(value);
    CHECK(histogram.memory_bytes() == octave_bytes);
    histogram.record(70);
    histogram.record(UINT64_MAX);
    CHECK(histogram.memory_bytes() == 3 * octave_bytes);
    for (unsigned bit = 0; bit < 64; bit++)
        histogram.record(uint64_t{1} << bit, 10);
    CHECK(histogram.memory_bytes() == 58 * octave_bytes);
}

TEST_CASE("a cleared histogram is as new") {
    Histogram histogram = recorded({1, 2, 3'000'000});
    histogram.clear();
    CHECK(histogram.empty());
    CHECK(histogram.min_ns() == 0);
    CHECK(histogram.max_ns() == 0);
    histogram.record(5000);
    check_same(histogram, recorded({5000}));
}

TEST_CASE("values minus the least one are as exact as their original buckets") {
    for (const auto& [name, values] : distributions()) {
        CAPTURE(name);
        const Histogram histogram = recorded(values);
        const uint64_t least = histogram.min_ns();
        const Histogram less = histogram.less(least);
        CHECK(less.count() == histogram.count());
        CHECK(less.min_ns() == 0);
        CHECK(less.max_ns() == histogram.max_ns() - least);
        CHECK(
            less.mean_ns() ==
            doctest::Approx(histogram.mean_ns() - static_cast<double>(least)).epsilon(1e-6));
        CHECK(less.stddev_ns() == histogram.stddev_ns());
        CHECK(less.count_between(0, UINT64_MAX) == histogram.count());
        Values sorted = values;
        std::ranges::sort(sorted);
        for (const uint64_t percent_1000 : percents_1000) {
            const uint64_t value = nearest_rank(sorted, percent_1000);
            const double found = static_cast<double>(less.percentile_ns(percent_of(percent_1000)));
            // Half a bucket in each of the two histograms.
            CHECK(
                std::abs(found - static_cast<double>(value - least)) <=
                static_cast<double>(value) / 128 + 1);
        }
    }
    CHECK(Histogram().less(0).empty());
    check_same(recorded({5000}).less(5000), recorded({0}));
}

TEST_CASE("a percentile exists where at least one value lies beyond it by rank") {
    for (const auto& [percent, least] : std::initializer_list<std::pair<double, uint64_t>>{
             {0, 1},
             {25, 1},
             {50, 1},
             {75, 4},
             {90, 10},
             {95, 20},
             {99, 100},
             {99.9, 1000},
             {99.99, 10'000},
             {99.999, 100'000},
             {100, 1}}) {
        CAPTURE(percent);
        CHECK_FALSE(Histogram::has_percentile(least - 1, percent));
        CHECK(Histogram::has_percentile(least, percent));
        CHECK(Histogram::has_percentile(least * 1000 + 7, percent));
    }
    Histogram histogram;
    histogram.record(5, 19);
    CHECK_FALSE(histogram.has_percentile(95));
    histogram.record(6);
    CHECK(histogram.has_percentile(95));
}
