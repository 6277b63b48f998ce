#include "client/probe/compact_histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace riposte::client {

namespace {

constexpr size_t per_octave = CompactHistogram::buckets_per_octave;

/// 2^(i/8): the fractions of an octave.
constexpr std::array<double, per_octave> eighths{
    1.0,
    1.0905077326652577,
    1.189207115002721,
    1.2968395546510096,
    1.4142135623730951,
    1.5422108254079407,
    1.681792830507429,
    1.8340080864093424};

/// 2^(step/8 - 20), in seconds.
constexpr double bound_of(size_t step) {
    constexpr double lowest = 1.0 / (uint64_t{1} << -CompactHistogram::octave_lowest);
    return eighths[step % per_octave] * static_cast<double>(uint64_t{1} << (step / per_octave)) *
           lowest;
}

/// The greatest whole number of nanoseconds in each bounded bucket: a value, which is whole, is not
/// above a bound exactly if it is not above this.
constexpr auto greatest_ns = [] {
    std::array<uint64_t, CompactHistogram::bounded_buckets + 1> greatest{};
    for (size_t step = 0; step < greatest.size(); step++)
        greatest[step] = static_cast<uint64_t>(bound_of(step) * 1e9);
    return greatest;
}();

} // namespace

void CompactHistogram::merge(const CompactHistogram& other) {
    for (size_t bucket = 0; bucket < bucket_count; bucket++)
        counts_[bucket] += other.counts_[bucket];
    count_ += other.count_;
    sum_ns_ += other.sum_ns_;
}

size_t CompactHistogram::bucket_of(uint64_t value_ns) {
    const auto* const found = std::ranges::lower_bound(greatest_ns, value_ns);
    return static_cast<size_t>(found - greatest_ns.begin());
}

double CompactHistogram::upper_bound(size_t bucket) {
    return bucket == above_all ? std::numeric_limits<double>::infinity() : bound_of(bucket);
}

} // namespace riposte::client
