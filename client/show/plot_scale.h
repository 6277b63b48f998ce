// The axes of the plot: what lies where, and which gridlines and labels help to read it. Places are
// fractions of the axis, 0 at its start, 1 at its end; what lies beyond is put at the end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace riposte::client {

struct Tick {
    double at;
    std::string label; ///< empty: a fine gridline only
};

/// Durations, logarithmic: a little more than from `low_ns` to `high_ns`. Labels carry their unit.
class LatencyScale {
public:
    LatencyScale(uint64_t low_ns, uint64_t high_ns);

    double place(double value_ns) const;
    std::vector<Tick> ticks() const; ///< ascending; none of the labels touches another

private:
    std::vector<Tick> equal_steps() const;
    std::vector<Tick> decades() const;

    double low_; ///< the decimal logarithms of the ends
    double high_;
};

/// Time since the start, linear, in the unit that suits.
class TimeScale {
public:
    explicit TimeScale(uint64_t end_ns);

    double place(double at_ns) const;
    std::vector<Tick> ticks() const;
    std::string title() const; ///< "time since the start (s)"

private:
    double end_ns_;
    double unit_ns_;
    std::string unit_;
};

/// Percentiles, by the logarithm of 1/(1 - p): each further nine is as wide as the one before it.
/// To where the greatest of `count` values stands, nine nines at most.
class PercentileScale {
public:
    explicit PercentileScale(uint64_t count);

    /// Of the value that `fraction` (0 to 1) of all do not exceed.
    double place(double fraction) const;
    std::vector<Tick> ticks() const;

private:
    double end_; ///< the decimal logarithm of the greatest 1/(1 - p)
};

} // namespace riposte::client
