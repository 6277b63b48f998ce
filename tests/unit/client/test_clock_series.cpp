// What packets say about two clocks (client/stamp): simulated clocks and ways, whose truth lies
// within the bounds that are printed.
#include "client/stamp/clock_series.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

constexpr double ms = 1e6;

/// A way, and two clocks: what is true.
struct TwoClocks {
    explicit TwoClocks(unsigned seed) : random(seed) {
        lead_ns = between(-1e12, 1e12);
        drift = between(-200'000, 200'000);
        there_least_ns = between(0.05 * ms, 20 * ms);
        back_least_ns = between(0.05 * ms, 20 * ms);
        jitter_ns = between(0, 5 * ms);
    }

    double between(double low, double high) {
        return std::uniform_real_distribution<>(low, high)(random);
    }
    double delay(double least_ns) {
        return least_ns + std::exponential_distribution<>(1)(random) * jitter_ns;
    }
    double round_trip_least() const { return there_least_ns + back_least_ns; }
    double lead_at(double local_ns) const { return lead_ns + drift * (local_ns / 1e9); }
    double lead_at(uint64_t local_ns) const { return lead_at(static_cast<double>(local_ns)); }

    /// A question at that time; what was true of it is noted.
    ClockSeries::Taken ask(uint64_t local_ns) {
        const double there_ns = std::round(delay(there_least_ns));
        const double back_ns = std::round(delay(back_least_ns));
        const double residence_ns = std::round(between(0, residence_max_ns));
        there.push_back(there_ns);
        back.push_back(back_ns);
        leads.push_back(lead_at(local_ns));
        // The other clock drifts while the packet is on its way, and while it waits there.
        const double arrives_ns = static_cast<double>(local_ns) + there_ns;
        const double leaves_ns = arrives_ns + residence_ns;
        return {
            .sequence = ++sequence,
            .sample = {
                .local_ns = local_ns,
                .elapsed_ns = static_cast<uint64_t>(there_ns + residence_ns + back_ns),
                .there_ns = std::llround(there_ns + lead_at(arrives_ns)),
                .back_ns = std::llround(back_ns - lead_at(leaves_ns))}};
    }

    std::mt19937 random;
    double lead_ns;
    double drift;
    double there_least_ns;
    double back_least_ns;
    double jitter_ns;
    double residence_max_ns = 0;
    uint64_t sequence = 0;
    std::vector<double> there, back, leads; ///< by sequence number less 1
};

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[(values.size() + 1) / 2 - 1];
}

void check_within(double found, double truth, double bound) {
    CHECK(std::abs(found - truth) <= bound + 3); // whole nanoseconds
}

/// The figures of a series, held against the truth of its samples.
void check_piece(const ClockPiece& piece, const TwoClocks& world) {
    REQUIRE(piece.first >= 1);
    const auto from = static_cast<std::ptrdiff_t>(piece.first - 1);
    const auto to = static_cast<std::ptrdiff_t>(piece.last);
    const std::vector there(world.there.begin() + from, world.there.begin() + to);
    const std::vector back(world.back.begin() + from, world.back.begin() + to);
    const double bound = piece.bound_ns;
    if (piece.basis == ClockBasis::round_trips) {
        check_within(piece.line.lead_begin_ns, world.leads[piece.first - 1], bound);
        check_within(piece.line.lead_end_ns, world.leads[piece.last - 1], bound);
    }
    check_within(piece.there.median_ns, median(there), bound);
    check_within(piece.back.median_ns, median(back), bound);
    check_within(piece.there.min_ns, std::ranges::min(there), bound);
    check_within(piece.back.min_ns, std::ranges::min(back), bound);
    check_within(piece.there.max_ns, std::ranges::max(there), bound);
    check_within(piece.back.max_ns, std::ranges::max(back), bound);
}

} // namespace

TEST_CASE("lead, drift and delays are within their bounds of the truth") {
    for (unsigned seed = 0; seed < 300; seed++) {
        CAPTURE(seed);
        TwoClocks world(seed);
        ClockSeries series;
        const int count = seed % 3 == 0 ? 10 : 1000;
        const auto pace_ns = static_cast<uint64_t>(seed % 2 == 0 ? 10'000'000 : 1'000'000'000);
        for (int i = 0; i < count; i++)
            series.take(world.ask(static_cast<uint64_t>(i + 1) * pace_ns));
        const ClockFigures figures = series.figures();
        REQUIRE(figures.pieces.size() == 1);
        CHECK(figures.steps.empty());
        const ClockPiece& piece = figures.pieces.front();
        CHECK(piece.samples == static_cast<uint64_t>(count));
        check_piece(piece, world);
        CHECK(std::abs(piece.line.drift - world.drift) <= piece.line.drift_bound);
        CHECK(figures.pdv_there.count() == static_cast<uint64_t>(count));
    }
}

TEST_CASE("a clock that drifts while packets wait for long is within the bounds too") {
    for (unsigned seed = 0; seed < 100; seed++) {
        CAPTURE(seed);
        TwoClocks world(seed);
        world.there_least_ns = world.between(0.02 * ms, 0.1 * ms);
        world.back_least_ns = world.between(0.02 * ms, 0.1 * ms);
        world.jitter_ns = seed % 2 == 0 ? 0 : 500 * ms;
        world.residence_max_ns = 2000 * ms;
        ClockSeries series;
        for (int i = 0; i < 200; i++)
            series.take(world.ask(static_cast<uint64_t>(i + 1) * 10'000'000));
        const ClockFigures figures = series.figures();
        REQUIRE(figures.pieces.size() == 1);
        check_piece(figures.pieces.front(), world);
    }
}

TEST_CASE("the bound is about half of the least round trip when there is jitter in both ways") {
    TwoClocks world(1);
    world.jitter_ns = 0.1 * ms;
    ClockSeries series;
    for (int i = 0; i < 5000; i++)
        series.take(world.ask(static_cast<uint64_t>(i + 1) * 10'000'000));
    const ClockPiece piece = series.figures().pieces.front();
    CHECK(piece.bound_ns > 0.49 * world.round_trip_least());
    CHECK(piece.bound_ns < 0.55 * world.round_trip_least());
    CHECK(piece.line.drift_bound < world.round_trip_least() / 50 * 1.1);
}

TEST_CASE("delay variation is free of the clocks' drift") {
    TwoClocks world(2);
    world.jitter_ns = 0;
    world.drift = 100'000;
    ClockSeries series;
    for (int i = 0; i < 100; i++)
        series.take(world.ask(static_cast<uint64_t>(i + 1) * 1'000'000'000));
    const ClockFigures figures = series.figures();
    CHECK(figures.pdv_there.max_ns() < 10'000); // the drift makes 10 ms
    CHECK(figures.pdv_back.max_ns() < 10'000);
}

TEST_CASE("a step of the other clock splits the series, and both parts are right") {
    for (unsigned seed = 0; seed < 300; seed++) {
        CAPTURE(seed);
        TwoClocks world(seed);
        ClockSeries series;
        const double sign = seed % 2 == 0 ? 1 : -1;
        const double step_ns = sign * (2.5 * world.round_trip_least() + 5 * world.jitter_ns);
        const int before = static_cast<int>(world.between(1, 500));
        for (int i = 0; i < 500; i++) {
            if (i == before)
                world.lead_ns += step_ns;
            series.take(world.ask(static_cast<uint64_t>(i + 1) * 10'000'000));
        }
        const ClockFigures figures = series.figures();
        REQUIRE(figures.pieces.size() >= 2);
        for (const ClockPiece& piece : figures.pieces)
            check_piece(piece, world);
        REQUIRE(!figures.steps.empty());
        CHECK(figures.steps.front().after <= static_cast<uint64_t>(before));
        CHECK(figures.steps.back().before > static_cast<uint64_t>(before));
        if (figures.steps.size() == 1) {
            const double bound =
                figures.pieces[0].bound_ns + figures.pieces[1].bound_ns + std::abs(world.drift) * 5;
            check_within(figures.steps.front().step_ns, step_ns, bound);
            CHECK(!figures.steps.front().is_ours);
        }
    }
}

TEST_CASE("a step of this machine's clock is none of the other's") {
    TwoClocks world(7);
    ClockSeries series;
    for (int i = 0; i < 100; i++) {
        if (i == 50)
            world.lead_ns -= 3e9; // ours is 3 s later from now on
        ClockSeries::Taken taken = world.ask(static_cast<uint64_t>(i + 1) * 10'000'000);
        taken.wall_ns = i < 50 ? 1000 : 3'000'001'000;
        series.take(taken);
    }
    const ClockFigures figures = series.figures();
    REQUIRE(figures.pieces.size() == 2);
    REQUIRE(figures.steps.size() == 1);
    CHECK(figures.steps.front().is_ours);
    CHECK(figures.steps.front().step_ns == 3e9);
    CHECK(figures.steps.front().after == 50);
    CHECK(figures.steps.front().before == 51);
    for (const ClockPiece& piece : figures.pieces)
        check_piece(piece, world);
}

TEST_CASE("with both clocks synchronized their errors are the bound, if they are less") {
    for (unsigned seed = 0; seed < 100; seed++) {
        CAPTURE(seed);
        TwoClocks world(seed);
        const uint64_t error_ns = seed % 2 == 0 ? 50'000 : 200'000'000;
        world.drift = 0;
        world.lead_ns = world.between(-1, 1) * 50'000;
        ClockSeries series;
        for (int i = 0; i < 100; i++) {
            ClockSeries::Taken taken = world.ask(static_cast<uint64_t>(i + 1) * 10'000'000);
            taken.error_ns = error_ns;
            series.take(taken);
        }
        const ClockPiece piece = series.figures().pieces.front();
        CHECK(!piece.contradicts);
        if (error_ns == 50'000 && piece.line.bound_ns > 50'000)
            CHECK(piece.basis == ClockBasis::synchronized);
        if (error_ns == 200'000'000)
            CHECK(piece.basis == ClockBasis::round_trips);
        check_piece(piece, world);
    }
}

TEST_CASE("clocks that claim to be synchronized and are not are found out") {
    TwoClocks world(3);
    world.drift = 0;
    world.lead_ns = 5e9;
    ClockSeries series;
    for (int i = 0; i < 100; i++) {
        ClockSeries::Taken taken = world.ask(static_cast<uint64_t>(i + 1) * 10'000'000);
        taken.error_ns = 1'000'000;
        series.take(taken);
    }
    const ClockPiece piece = series.figures().pieces.front();
    CHECK(piece.contradicts);
    CHECK(piece.basis == ClockBasis::round_trips);
    check_piece(piece, world);
}

TEST_CASE("a long run is summed up in blocks, in bounded memory") {
    TwoClocks world(4);
    ClockSeries series;
    for (int i = 0; i < 40'000; i++)
        series.take(world.ask(static_cast<uint64_t>(i + 1) * 1'000'000));
    const ClockFigures figures = series.figures();
    CHECK(figures.pieces.size() == 3);
    CHECK(figures.steps.empty());
    for (const ClockPiece& piece : figures.pieces)
        check_piece(piece, world);
    CHECK(figures.pdv_back.count() == 40'000);
}

TEST_CASE("answers that come out of order, and single ones, are no different") {
    TwoClocks world(5);
    std::vector<ClockSeries::Taken> all;
    all.reserve(200);
    for (int i = 0; i < 200; i++)
        all.push_back(world.ask(static_cast<uint64_t>(i + 1) * 10'000'000));
    ClockSeries in_order;
    ClockSeries shuffled;
    for (const ClockSeries::Taken& each : all)
        in_order.take(each);
    std::ranges::shuffle(all, world.random);
    for (const ClockSeries::Taken& each : all)
        shuffled.take(each);
    const ClockPiece one = in_order.figures().pieces.front();
    const ClockPiece other = shuffled.figures().pieces.front();
    CHECK(one.bound_ns == other.bound_ns);
    CHECK(one.there.median_ns == other.there.median_ns);
    ClockSeries single;
    single.take(all.front());
    CHECK(single.figures().pieces.front().samples == 1);
    CHECK(ClockSeries().figures().pieces.empty());
}
