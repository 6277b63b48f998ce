// A line is a lead `a` at the first sample's time and a drift `b`. For a given drift the samples
// leave an interval of leads, from lowest(b) to highest(b); its width is concave in b, and so is
// highest(b) + b * t, the highest lead at the time t. Both are searched by thirds and halves. Only
// the corners of the convex hull of the points (T1, T2 - T1) from below, and of (T4, T3 - T4) from
// above, can decide, and they are few.
#include "client/stamp/clock_line.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <vector>

namespace riposte::client {

namespace {

constexpr int search_steps = 100;
constexpr double play_ns = 1; ///< of a clock that counts whole nanoseconds

struct HullPoint {
    double seconds;
    double ns;
};

double cross(const HullPoint& a, const HullPoint& b, const HullPoint& c) {
    return (b.seconds - a.seconds) * (c.ns - a.ns) - (b.ns - a.ns) * (c.seconds - a.seconds);
}

/// Adds a point, which is later than all before, to a hull from below (`side` 1) or above (-1).
void add_to_hull(std::vector<HullPoint>& hull, const HullPoint& point, double side) {
    if (!hull.empty() && hull.back().seconds == point.seconds) {
        if (side * (point.ns - hull.back().ns) >= 0)
            return;
        hull.pop_back();
    }
    while (hull.size() >= 2 && side * cross(hull[hull.size() - 2], hull.back(), point) <= 0)
        hull.pop_back();
    hull.push_back(point);
}

/// The argument of a function that rises and then falls at which it is greatest.
template<class Function>
double find_greatest(double low, double high, const Function& function) {
    for (int i = 0; i < search_steps; i++) {
        const double third = (high - low) / 3;
        (function(low + third) < function(high - third) ? low : high) =
            function(low + third) < function(high - third) ? low + third : high - third;
    }
    return (low + high) / 2;
}

class AllowedLines {
public:
    explicit AllowedLines(std::span<const ClockSample> samples)
        : begin_ns_(samples.front().local_ns), origin_ns_(samples.front().there_ns) {
        std::vector<HullPoint> answers;
        answers.reserve(samples.size());
        for (const ClockSample& sample : samples) {
            add_to_hull(above_, {seconds(sample.local_ns), since_origin(sample.there_ns)}, 1);
            answers.push_back(
                {seconds(sample.local_ns + sample.elapsed_ns), since_origin(-sample.back_ns)});
        }
        std::ranges::sort(answers, {}, &HullPoint::seconds);
        for (const HullPoint& answer : answers)
            add_to_hull(below_, answer, -1);
        end_seconds_ = above_.back().seconds;
        last_seconds_ = below_.back().seconds;
        const auto width = [this](double drift) { return highest(drift) - lowest(drift); };
        const double widest = find_greatest(-drift_max, drift_max, width);
        exists_ = width(widest) >= -play_ns;
        if (!exists_)
            return;
        least_drift_ = last_allowed(widest, -drift_max);
        greatest_drift_ = last_allowed(widest, drift_max);
    }

    bool exist() const { return exists_; }

    ClockLine line() const {
        const auto [low_begin, high_begin] = allowed(0);
        const auto [low_end, high_end] = allowed(end_seconds_);
        ClockLine line = {
            .begin_ns = begin_ns_,
            .end_ns = begin_ns_ + static_cast<uint64_t>(end_seconds_ * 1e9),
            .lead_begin_ns = (low_begin + high_begin) / 2,
            .lead_end_ns = (low_end + high_end) / 2,
            .bound_ns = std::max(high_begin - low_begin, high_end - low_end) / 2 + play_ns,
            .drift = (least_drift_ + greatest_drift_) / 2,
            .drift_bound = (greatest_drift_ - least_drift_) / 2};
        // The last answers arrive behind the last packet, and the other clock was read until then.
        const double lead_last =
            line.lead_at(begin_ns_ + static_cast<uint64_t>(last_seconds_ * 1e9));
        const auto [low_last, high_last] = allowed(last_seconds_);
        line.bound_ns = std::max(
            line.bound_ns, std::max(high_last - lead_last, lead_last - low_last) + play_ns);
        line.lead_begin_ns += static_cast<double>(origin_ns_);
        line.lead_end_ns += static_cast<double>(origin_ns_);
        return line;
    }

private:
    struct Interval {
        double low;
        double high;
    };

    double seconds(uint64_t local_ns) const {
        return static_cast<double>(local_ns - begin_ns_) / 1e9;
    }
    double since_origin(int64_t ns) const { return static_cast<double>(ns - origin_ns_); }

    double highest(double drift) const {
        double lead = std::numeric_limits<double>::infinity();
        for (const HullPoint& point : above_)
            lead = std::min(lead, point.ns - drift * point.seconds);
        return lead;
    }
    double lowest(double drift) const {
        double lead = -std::numeric_limits<double>::infinity();
        for (const HullPoint& point : below_)
            lead = std::max(lead, point.ns - drift * point.seconds);
        return lead;
    }

    /// From a drift that is allowed toward `limit`: the last one that is.
    double last_allowed(double allowed, double limit) const {
        if (highest(limit) >= lowest(limit))
            return limit;
        for (int i = 0; i < search_steps; i++) {
            const double middle = (allowed + limit) / 2;
            (highest(middle) >= lowest(middle) ? allowed : limit) = middle;
        }
        return limit;
    }

    /// The leads that any line has at that time.
    Interval allowed(double seconds) const {
        const auto high = [&](double drift) { return highest(drift) + drift * seconds; };
        const auto low = [&](double drift) { return -(lowest(drift) + drift * seconds); };
        return {
            .low = -low(find_greatest(least_drift_, greatest_drift_, low)),
            .high = high(find_greatest(least_drift_, greatest_drift_, high))};
    }

    uint64_t begin_ns_;
    int64_t origin_ns_;
    std::vector<HullPoint> above_;
    std::vector<HullPoint> below_;
    double end_seconds_ = 0;  ///< when the last packet left
    double last_seconds_ = 0; ///< when the last answer arrived
    bool exists_ = false;
    double least_drift_ = 0;
    double greatest_drift_ = 0;
};

} // namespace

double ClockLine::lead_at(uint64_t local_ns) const {
    if (end_ns == begin_ns)
        return lead_begin_ns;
    const double share = (static_cast<double>(local_ns) - static_cast<double>(begin_ns)) /
                         static_cast<double>(end_ns - begin_ns);
    return lead_begin_ns + share * (lead_end_ns - lead_begin_ns);
}

std::optional<ClockLine> fit_line(std::span<const ClockSample> samples) {
    assert(!samples.empty());
    const AllowedLines lines(samples);
    return lines.exist() ? std::optional(lines.line()) : std::nullopt;
}

bool has_line(std::span<const ClockSample> samples) {
    return AllowedLines(samples).exist();
}

} // namespace riposte::client
