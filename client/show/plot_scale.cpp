#include "client/show/plot_scale.h"

#include "client/show/figures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr double margin_below = 0.04;  ///< of what is shown
constexpr double margin_above = 0.10;  ///< there, marks have their label
constexpr double decades_min = 0.06;   ///< alike to 15%: as flat as it is
constexpr double equal_decades = 0.35; ///< up to here steps of equal width read better
constexpr double equal_steps_max = 9;
constexpr double label_distance = 0.07; ///< of the axis
constexpr double line_distance = 0.02;
constexpr uint64_t count_of_none = 5;
constexpr double nines_max = 9;

/// The 1, 2 or 5 times a power of ten that is at least `step`.
double round_step(double step) {
    const double power = std::pow(10, std::floor(std::log10(step)));
    for (const double factor : {1.0, 2.0, 5.0})
        if (power * factor >= step * (1 - 1e-9))
            return power * factor;
    return power * 10;
}

/// The least distance of two of them, and of the last to the first of the next decade.
double least_distance(std::span<const double> mantissas) {
    double least = 1;
    for (size_t i = 0; i < mantissas.size(); ++i) {
        const double next = i + 1 < mantissas.size() ? mantissas[i + 1] : 10;
        least = std::min(least, std::log10(next / mantissas[i]));
    }
    return least;
}

constexpr std::array<double, 9> every{1, 2, 3, 4, 5, 6, 7, 8, 9};
constexpr std::array<double, 9> many{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8};
constexpr std::array<double, 6> some{1, 1.5, 2, 3, 5, 7};
constexpr std::array<double, 3> few{1, 2, 5};
constexpr std::array<double, 1> one{1};

/// The first of them of which all are so far apart on an axis of so many decades; else the last.
std::span<const double> fitting(
    std::span<const std::span<const double>> sets, double decades, double distance) {
    for (const auto& mantissas : sets)
        if (least_distance(mantissas) / decades >= distance)
            return mantissas;
    return sets.back();
}

bool holds(std::span<const double> mantissas, double mantissa) {
    return std::ranges::any_of(
        mantissas, [&](double each) { return std::abs(each - mantissa) < 1e-9; });
}

} // namespace

LatencyScale::LatencyScale(uint64_t low_ns, uint64_t high_ns)
    : low_(std::log10(static_cast<double>(std::max(low_ns, uint64_t{1})))),
      high_(std::log10(static_cast<double>(std::max(high_ns, uint64_t{1})))) {
    const double missing = std::max(decades_min - (high_ - low_), 0.0);
    const double range = high_ - low_ + missing;
    low_ -= missing / 2 + margin_below * range;
    high_ += missing / 2 + margin_above * range;
}

double LatencyScale::place(double value_ns) const {
    return std::clamp((std::log10(std::max(value_ns, 1.0)) - low_) / (high_ - low_), 0.0, 1.0);
}

std::vector<Tick> LatencyScale::ticks() const {
    return high_ - low_ <= equal_decades ? equal_steps() : decades();
}

std::vector<Tick> LatencyScale::equal_steps() const {
    const double low_ns = std::pow(10, low_);
    const double high_ns = std::pow(10, high_);
    const double step_ns = std::max(round_step((high_ns - low_ns) / equal_steps_max), 1.0);
    std::vector<Tick> ticks;
    for (double step = std::ceil(low_ns / step_ns); step * step_ns <= high_ns; ++step)
        ticks.push_back({place(step * step_ns), short_duration(step * step_ns)});
    return ticks;
}

std::vector<Tick> LatencyScale::decades() const {
    constexpr std::array<std::span<const double>, 4> labelled{many, some, few, one};
    constexpr std::array<std::span<const double>, 3> fine{every, few, one};
    const double range = high_ - low_;
    const auto labels = fitting(labelled, range, label_distance);
    const auto lines = fitting(fine, range, line_distance);
    // Where even the labels of decades would touch, each second or third has one.
    const int stride = static_cast<int>(std::ceil(label_distance * range));
    std::vector<double> mantissas(labels.begin(), labels.end());
    for (const double each : lines)
        if (!holds(labels, each))
            mantissas.push_back(each);
    std::ranges::sort(mantissas);

    std::vector<Tick> ticks;
    const int last = static_cast<int>(std::floor(high_));
    for (int decade = std::max(static_cast<int>(std::floor(low_)), 0); decade <= last; ++decade) {
        for (const double mantissa : mantissas) {
            const double value_ns = mantissa * std::pow(10, decade);
            const double at = std::log10(value_ns);
            if (at < low_ || at > high_)
                continue;
            const bool has_label = holds(labels, mantissa) && decade % std::max(stride, 1) == 0;
            ticks.push_back({place(value_ns), has_label ? short_duration(value_ns) : ""});
        }
    }
    return ticks;
}

TimeScale::TimeScale(uint64_t end_ns)
    : end_ns_(static_cast<double>(std::max(end_ns, uint64_t{1}))) {
    constexpr double second = 1e9;
    if (end_ns_ < second) {
        unit_ns_ = 1e6;
        unit_ = "ms";
    } else if (end_ns_ <= 180 * second) {
        unit_ns_ = second;
        unit_ = "s";
    } else if (end_ns_ <= 180 * 60 * second) {
        unit_ns_ = 60 * second;
        unit_ = "min";
    } else {
        unit_ns_ = 3600 * second;
        unit_ = "h";
    }
}

double TimeScale::place(double at_ns) const {
    return std::clamp(at_ns / end_ns_, 0.0, 1.0);
}

std::vector<Tick> TimeScale::ticks() const {
    const double step = round_step(end_ns_ / unit_ns_ / 10);
    std::vector<Tick> ticks;
    for (int i = 0; i * step * unit_ns_ <= end_ns_ * (1 + 1e-9); ++i)
        ticks.push_back({place(i * step * unit_ns_), fmt::format("{:g}", i * step)});
    return ticks;
}

std::string TimeScale::title() const {
    return fmt::format("time since the start ({})", unit_);
}

// The greatest value is that of all percentiles from 1 - 1/count on, which has no end on this
// scale: it is drawn as far as half of that.
PercentileScale::PercentileScale(uint64_t count)
    : end_(std::log10(2 * static_cast<double>(count > 0 ? count : count_of_none))) {
    end_ = std::min(end_, nines_max + std::log10(2));
}

double PercentileScale::place(double fraction) const {
    if (fraction >= 1)
        return 1;
    return std::clamp(-std::log10(1 - fraction) / end_, 0.0, 1.0);
}

std::vector<Tick> PercentileScale::ticks() const {
    std::vector<Tick> ticks{{0, "0"}, {place(0.5), "50"}};
    if (end_ >= std::log10(4) && end_ <= 3)
        ticks.push_back({place(0.75), "75"});
    for (int nines = 1; nines <= end_; ++nines)
        ticks.push_back(
            {nines / end_,
             fmt::format("{:.{}f}", 100 - std::pow(10, 2 - nines), std::max(nines - 2, 0))});
    return ticks;
}

} // namespace riposte::client
