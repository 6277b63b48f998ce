#include "client/stamp/clock_series.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <utility>

namespace riposte::client {

namespace {

/// This machine's clocks are read within some microseconds of each other, unless it is very busy:
/// a larger difference is a step of CLOCK_REALTIME.
constexpr int64_t own_step_min_ns = 1'000'000;

/// The longest beginning of the samples through which a line passes; at least one.
size_t longest_beginning(std::span<const ClockSample> samples) {
    if (has_line(samples))
        return samples.size();
    size_t good = 1;
    size_t bad = samples.size();
    while (bad - good > 1) {
        const size_t middle = (good + bad) / 2;
        (has_line(samples.first(middle)) ? good : bad) = middle;
    }
    return good;
}

/// The first sample from which on a line passes through all up to the last one.
size_t longest_end(std::span<const ClockSample> samples) {
    size_t bad = 0;
    size_t good = samples.size() - 1;
    if (has_line(samples))
        return 0;
    while (good - bad > 1) {
        const size_t middle = (good + bad) / 2;
        (has_line(samples.subspan(middle)) ? good : bad) = middle;
    }
    return good;
}

/// The other clock was read when the packet arrived there, and drifted until then.
double delay_there(const ClockLine& line, const ClockSample& sample) {
    const auto shown = static_cast<double>(sample.there_ns);
    const double about = std::clamp(
        shown - line.lead_at(sample.local_ns), 0.0, static_cast<double>(sample.elapsed_ns));
    return shown - line.lead_at(sample.local_ns + static_cast<uint64_t>(about));
}

/// Likewise when the answer left there.
double delay_back(const ClockLine& line, const ClockSample& sample) {
    const auto shown = static_cast<double>(sample.back_ns);
    const uint64_t arrived_ns = sample.local_ns + sample.elapsed_ns;
    const double about =
        std::clamp(shown + line.lead_at(arrived_ns), 0.0, static_cast<double>(sample.elapsed_ns));
    return shown + line.lead_at(arrived_ns - static_cast<uint64_t>(about));
}

/// `values` is not empty; it is sorted.
OneWayFigures figures_of(std::vector<double>& values) {
    std::ranges::sort(values);
    const auto rank = [&](double percent) {
        const double place = std::ceil(static_cast<double>(values.size()) * percent / 100 - 1e-9);
        return values[static_cast<size_t>(std::max(place, 1.0)) - 1];
    };
    const auto percentile = [&](double percent) {
        return Histogram::has_percentile(values.size(), percent) ? std::optional(rank(percent))
                                                                 : std::nullopt;
    };
    double sum = 0;
    for (const double value : values)
        sum += value;
    return {
        .min_ns = values.front(),
        .mean_ns = sum / static_cast<double>(values.size()),
        .median_ns = rank(50),
        .p95_ns = percentile(95),
        .p99_ns = percentile(99),
        .max_ns = values.back()};
}

void record_above_least(const std::vector<double>& sorted, Histogram& histogram) {
    for (const double value : sorted)
        histogram.record(static_cast<uint64_t>(value - sorted.front()));
}

void record_series(
    std::span<const ClockSample> samples, const std::vector<double>& delays, double least_ns,
    std::optional<Series>& series) {
    if (!series)
        return;
    for (size_t at = 0; at < samples.size(); at++)
        series->record(samples[at].local_ns, static_cast<uint64_t>(delays[at] - least_ns));
}

/// What is ahead of ours by nothing, as far as both ends know.
bool may_be_zero(const ClockLine& line, double error_ns) {
    const auto is_near = [&](double lead) { return std::abs(lead) <= line.bound_ns + error_ns; };
    return is_near(line.lead_begin_ns) && is_near(line.lead_end_ns);
}

} // namespace

void ClockFigures::add(const ClockPiece& piece) {
    if (pieces.size() == pieces_max)
        pieces.erase(pieces.begin());
    pieces.push_back(piece);
}

void ClockFigures::add(const ClockStep& step) {
    if (steps.size() == pieces_max)
        steps.erase(steps.begin());
    steps.push_back(step);
    steps_found++;
}

void ClockSeries::take(const Taken& taken) {
    if (wall_ns_ && std::abs(taken.wall_ns - *wall_ns_) > own_step_min_ns) {
        end_block();
        ended_.add(ClockStep{
            .after = last_sequence_,
            .before = taken.sequence,
            .step_ns = static_cast<double>(taken.wall_ns - *wall_ns_),
            .is_ours = true});
    } else if (block_.size() >= block_max) {
        end_block();
    }
    wall_ns_ = taken.wall_ns;
    last_sequence_ = taken.sequence;
    block_.push_back(
        {.sequence = taken.sequence, .sample = taken.sample, .error_ns = taken.error_ns});
}

void ClockSeries::end_block() {
    finish(std::exchange(block_, {}), ended_);
}

ClockFigures ClockSeries::figures() const {
    ClockFigures figures = ended_;
    finish(block_, figures);
    return figures;
}

/// A series of samples through which a line passes.
ClockPiece ClockSeries::describe(
    std::span<const Kept> kept, std::span<const ClockSample> samples, ClockFigures& figures) {
    ClockPiece piece;
    piece.samples = kept.size();
    piece.first = kept.front().sequence;
    piece.last = kept.back().sequence;
    piece.line = fit_line(samples).value_or(ClockLine{});
    piece.bound_ns = piece.line.bound_ns;
    const bool both =
        std::ranges::all_of(kept, [](const Kept& each) { return each.error_ns.has_value(); });
    if (both) {
        uint64_t error_ns = 0;
        for (const Kept& each : kept)
            error_ns = std::max(error_ns, each.error_ns.value_or(0));
        const auto stated = static_cast<double>(error_ns);
        piece.contradicts = !may_be_zero(piece.line, stated);
        if (!piece.contradicts && stated <= piece.bound_ns) {
            piece.basis = ClockBasis::synchronized;
            piece.bound_ns = stated;
        }
    }
    std::vector<double> there;
    std::vector<double> back;
    for (const ClockSample& sample : samples) {
        if (piece.basis == ClockBasis::synchronized) {
            there.push_back(static_cast<double>(sample.there_ns));
            back.push_back(static_cast<double>(sample.back_ns));
            continue;
        }
        there.push_back(delay_there(piece.line, sample));
        back.push_back(delay_back(piece.line, sample));
    }
    const std::vector<double> there_in_order = there;
    const std::vector<double> back_in_order = back;
    piece.there = figures_of(there);
    piece.back = figures_of(back);
    record_series(samples, there_in_order, piece.there.min_ns, figures.there);
    record_series(samples, back_in_order, piece.back.min_ns, figures.back);
    record_above_least(there, figures.pdv_there);
    record_above_least(back, figures.pdv_back);
    return piece;
}

/// Splits the samples where no line passes, and adds what is between to the figures.
void ClockSeries::finish(std::vector<Kept> block, ClockFigures& figures) {
    std::ranges::sort(block, {}, [](const Kept& each) { return each.sample.local_ns; });
    std::vector<ClockSample> samples;
    samples.reserve(block.size());
    for (const Kept& each : block)
        samples.push_back(each.sample);
    const std::span<const ClockSample> all = samples;
    bool is_first = true;
    for (size_t begin = 0; begin < all.size();) {
        const size_t end = begin + longest_beginning(all.subspan(begin));
        // The step is behind the first sample that fits the one that does not fit here.
        const size_t sure =
            end == all.size() ? end : begin + longest_end(all.subspan(begin, end - begin + 1));
        if (sure > begin) {
            const ClockPiece piece = describe(
                std::span<const Kept>(block).subspan(begin, sure - begin),
                all.subspan(begin, sure - begin), figures);
            if (!is_first && !figures.pieces.empty()) {
                const ClockPiece& before = figures.pieces.back();
                figures.add(ClockStep{
                    .after = before.last,
                    .before = piece.first,
                    .step_ns = piece.line.lead_begin_ns - before.line.lead_end_ns});
            }
            figures.add(piece);
            is_first = false;
        }
        begin = end;
    }
}

} // namespace riposte::client
