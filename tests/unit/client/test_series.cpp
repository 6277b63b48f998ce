#include "client/measure/series.h"
#include "tests/support/nanoseconds.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

using riposte::test::ms;
using riposte::test::second;
constexpr uint64_t day = 86'400 * second;

struct Sum {
    uint64_t count = 0, failures = 0, min_ns = UINT64_MAX, max_ns = 0;
};

Sum sum_of(const std::vector<Series::Column>& columns) {
    Sum sum;
    for (const Series::Column& column : columns) {
        sum.count += column.count;
        sum.failures += column.failures;
        if (column.count == 0)
            continue;
        sum.min_ns = std::min(sum.min_ns, column.min_ns);
        sum.max_ns = std::max(sum.max_ns, column.max_ns);
    }
    return sum;
}

/// All have the same width and follow each other from the start on.
void check_contiguous(const std::vector<Series::Column>& columns) {
    uint64_t start_ns = 0;
    for (const Series::Column& column : columns) {
        REQUIRE(column.start_ns == start_ns);
        REQUIRE(column.width_ns == columns.front().width_ns);
        start_ns += column.width_ns;
    }
}

bool is_near(uint64_t value, uint64_t exact) {
    const double distance = static_cast<double>(value) - static_cast<double>(exact);
    return std::abs(distance) <= static_cast<double>(exact) / 32;
}

} // namespace

TEST_CASE("a series without a record has no columns") {
    CHECK(Series(123).columns().empty());
}

TEST_CASE("durations go into the column of their time, counted from the start") {
    Series series(5 * second, 10 * ms);
    series.record(5 * second, 100);
    series.record(5 * second + 10 * ms - 1, 300);
    series.record(5 * second + 30 * ms, 7000);
    series.record_failure(5 * second + 31 * ms);
    const auto columns = series.columns();
    REQUIRE(columns.size() == 4);
    check_contiguous(columns);
    CHECK(columns[0].width_ns == 10 * ms);
    CHECK(columns[0].count == 2);
    CHECK(columns[0].failures == 0);
    CHECK(columns[0].min_ns == 100);
    CHECK(columns[0].max_ns == 300);
    CHECK(columns[3].count == 1);
    CHECK(columns[3].failures == 1);
    CHECK(columns[3].p50_ns == 7000);
    CHECK(columns[3].p99_ns == 7000);
    for (const size_t empty : {size_t{1}, size_t{2}}) {
        CHECK(columns[empty].count == 0);
        CHECK(columns[empty].min_ns == 0);
        CHECK(columns[empty].p50_ns == 0);
        CHECK(columns[empty].p99_ns == 0);
        CHECK(columns[empty].max_ns == 0);
    }
}

TEST_CASE("a time before the start counts as the start") {
    Series series(second);
    series.record(0, 5000);
    series.record_failure(second - 1);
    const auto columns = series.columns();
    REQUIRE(columns.size() == 1);
    CHECK(columns[0].count == 1);
    CHECK(columns[0].failures == 1);
}

TEST_CASE("failures alone make a column, without a duration") {
    Series series(0);
    series.record_failure(25 * ms);
    const auto columns = series.columns();
    REQUIRE(columns.size() == 3);
    CHECK(columns[2].failures == 1);
    CHECK(columns[2].count == 0);
    CHECK(columns[2].max_ns == 0);
}

TEST_CASE("if the columns are full, neighbours are merged and nothing is lost") {
    Series series(0, ms);
    for (uint64_t i = 0; i < time_columns_max; ++i)
        series.record(i * ms, 2000 + i);
    REQUIRE(series.columns().size() == time_columns_max);
    CHECK(series.columns().front().width_ns == ms);

    series.record(time_columns_max * ms, 1500);
    const auto columns = series.columns();
    check_contiguous(columns);
    REQUIRE(columns.size() == time_columns_max / 2 + 1);
    CHECK(columns.front().width_ns == 2 * ms);
    for (uint64_t i = 0; i < time_columns_max / 2; ++i) {
        REQUIRE(columns[i].count == 2);
        REQUIRE(columns[i].min_ns == 2000 + 2 * i);
        REQUIRE(columns[i].max_ns == 2000 + 2 * i + 1);
    }
    CHECK(columns.back().count == 1);
    CHECK(columns.back().min_ns == 1500);
}

TEST_CASE("an odd number of columns is halved without a loss") {
    Series series(0, ms);
    for (uint64_t i = 0; i < 7; ++i)
        series.record(i * ms, 4000);
    series.record_failure(6 * ms);
    series.record(time_columns_max * ms, 4000);
    const auto columns = series.columns();
    for (size_t i = 0; i < 3; ++i)
        CHECK(columns[i].count == 2);
    CHECK(columns[3].count == 1);
    CHECK(columns[3].failures == 1);
    CHECK(sum_of(columns).count == 8);
}

TEST_CASE("counts, failures and extremes of a long run are exact, whatever the order of times") {
    std::mt19937_64 random(42);
    std::uniform_int_distribution<uint64_t> at(0, 3600 * second);
    std::lognormal_distribution<double> duration(std::log(150'000.0), 1.0);
    Series series(0, 10 * ms);
    std::map<uint64_t, std::vector<uint64_t>> exact; // by time
    Sum expected;
    for (int i = 0; i < 40'000; ++i) {
        const uint64_t at_ns = at(random);
        if (i % 10 == 0) {
            series.record_failure(at_ns);
            ++expected.failures;
            continue;
        }
        const auto value_ns = static_cast<uint64_t>(duration(random));
        series.record(at_ns, value_ns);
        exact[at_ns].push_back(value_ns);
        ++expected.count;
        expected.min_ns = std::min(expected.min_ns, value_ns);
        expected.max_ns = std::max(expected.max_ns, value_ns);
    }
    const auto columns = series.columns();
    check_contiguous(columns);
    CHECK(columns.size() <= time_columns_max);
    CHECK(columns.size() > time_columns_max / 2);
    const Sum sum = sum_of(columns);
    CHECK(sum.count == expected.count);
    CHECK(sum.failures == expected.failures);
    CHECK(sum.min_ns == expected.min_ns);
    CHECK(sum.max_ns == expected.max_ns);

    for (const Series::Column& column : columns) {
        CAPTURE(column.start_ns);
        std::vector<uint64_t> values;
        const auto end = exact.lower_bound(column.start_ns + column.width_ns);
        for (auto each = exact.lower_bound(column.start_ns); each != end; ++each)
            values.insert(values.end(), each->second.begin(), each->second.end());
        REQUIRE(column.count == values.size());
        if (values.empty())
            continue;
        std::ranges::sort(values);
        CHECK(column.min_ns == values.front());
        CHECK(column.max_ns == values.back());
        CHECK(is_near(column.p50_ns, values[(values.size() + 1) / 2 - 1]));
        CHECK(is_near(column.p99_ns, values[(values.size() * 99 + 99) / 100 - 1]));
    }
}

TEST_CASE("percentiles are within 1/32 from 1 us to 18 minutes, else bounded by the extremes") {
    for (uint64_t value_ns = 1024; value_ns < (uint64_t{1} << 40); value_ns += value_ns / 50) {
        CAPTURE(value_ns);
        Series series(0);
        series.record(0, value_ns / 4);
        series.record(0, value_ns);
        series.record(0, value_ns * 4);
        CHECK(is_near(series.columns()[0].p50_ns, value_ns));
    }
    for (const uint64_t value_ns : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 40, UINT64_MAX}) {
        CAPTURE(value_ns);
        Series series(0);
        series.record(0, value_ns);
        const Series::Column column = series.columns()[0];
        CHECK(column.min_ns == value_ns);
        CHECK(column.p50_ns == value_ns);
        CHECK(column.p99_ns == value_ns);
        CHECK(column.max_ns == value_ns);
    }
}

TEST_CASE("the 99th percentile of a hundred values is the 99th, not the greatest") {
    Series series(0);
    for (int i = 0; i < 99; ++i)
        series.record(0, 50'000);
    series.record(0, second);
    CHECK(series.columns()[0].p99_ns < 60'000);
    series.record(0, second);
    CHECK(series.columns()[0].p99_ns > second / 2);
}

TEST_CASE("after a gap of days the columns are few, wide, and hold everything") {
    for (const uint64_t gap_ns : {day, 30 * day, 36'500 * day, UINT64_MAX}) {
        CAPTURE(gap_ns);
        Series series(0, 10 * ms);
        for (uint64_t i = 0; i < 1000; ++i)
            series.record(i * ms, 10'000);
        series.record_failure(gap_ns);
        series.record(gap_ns, 20'000);
        series.record(0, 30'000); // and back
        const auto columns = series.columns();
        check_contiguous(columns);
        CHECK(columns.size() <= time_columns_max);
        CHECK(columns.size() > time_columns_max / 2);
        CHECK(columns.front().count == 1001);
        CHECK(columns.back().count == 1);
        CHECK(columns.back().failures == 1);
        CHECK(sum_of(columns).max_ns == 30'000);
    }
}
