// What the times of packets say about the two clocks and the two ways, over a whole run.
//
// Between steps of a clock the other one's lead is a line (clock_line.h). A step shows as samples
// through which no line passes: the series is split there. Where exactly the step was is not known:
// samples that fit what is before it and what is behind it are left out of both.
//
// A step that is smaller than the round trips around it may pass unseen; the programs that set
// clocks step them by 100 ms and more, and correct less by drifting.
//
// Memory is bounded: a series of block_max samples ends by itself, and another one begins.
#pragma once

#include "client/measure/histogram.h"
#include "client/measure/series.h"
#include "client/stamp/clock_line.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace riposte::client {

/// Delays of one direction; they are as uncertain as the clocks' lead is.
struct OneWayFigures {
    double min_ns = 0;
    double mean_ns = 0;
    double median_ns = 0;
    std::optional<double> p95_ns; ///< if there are enough samples
    std::optional<double> p99_ns;
    double max_ns = 0;
};

/// How the lead of the other clock is known.
enum class ClockBasis : uint8_t {
    round_trips,  ///< the bound is what the round trips leave open
    synchronized, ///< both ends say that they are, and their errors are the bound
};

/// One series.
struct ClockPiece {
    uint64_t samples = 0;
    uint64_t first = 0; ///< sequence numbers of its first sample and its last
    uint64_t last = 0;
    ClockLine line;
    ClockBasis basis = ClockBasis::round_trips;
    double bound_ns = 0;      ///< of every delay here
    bool contradicts = false; ///< both say that they are synchronized, and the round trips deny it
    OneWayFigures there;
    OneWayFigures back;
};

/// A step of a clock, found between two series.
struct ClockStep {
    uint64_t after = 0; ///< sequence numbers between which it is
    uint64_t before = 0;
    double step_ns = 0;
    bool is_ours = false; ///< of this machine's clock
};

/// All of it, as the reports show it.
struct ClockFigures {
    std::vector<ClockPiece> pieces; ///< in their order; at most pieces_max, the last ones
    std::vector<ClockStep> steps;   ///< likewise
    uint64_t steps_found = 0;
    Histogram pdv_there; ///< delay variation (RFC 5481): each delay less the least of its series
    Histogram pdv_back;
    std::optional<Series> there; ///< the same over time, after ClockSeries::keep_series()
    std::optional<Series> back;

    static constexpr size_t pieces_max = 64;

    void add(const ClockPiece& piece);
    void add(const ClockStep& step);
};

class ClockSeries {
public:
    struct Taken {
        uint64_t sequence = 0;
        ClockSample sample = {};
        /// How far T1 is ahead of CLOCK_MONOTONIC.
        int64_t wall_ns = 0;
        /// The errors that both ends state, if both say that they are synchronized.
        std::optional<uint64_t> error_ns = {};
    };

    /// The figures shall have series, which begin at that local time.
    void keep_series(uint64_t start_ns) {
        ended_.there.emplace(start_ns);
        ended_.back.emplace(start_ns);
    }
    /// Of a question's first answer.
    void take(const Taken& taken);

    ClockFigures figures() const;

private:
    struct Kept {
        uint64_t sequence;
        ClockSample sample;
        std::optional<uint64_t> error_ns;
    };

    static constexpr size_t block_max = 16'384;

    static void finish(std::vector<Kept> block, ClockFigures& figures);
    static ClockPiece describe(
        std::span<const Kept> kept, std::span<const ClockSample> samples, ClockFigures& figures);
    void end_block();

    std::vector<Kept> block_; ///< of the series that goes on
    ClockFigures ended_;
    std::optional<int64_t> wall_ns_; ///< of the last sample
    uint64_t last_sequence_ = 0;
};

} // namespace riposte::client
