#include "daemon/telemetry/latency.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace riposte {
namespace {

constexpr auto bounds_ns = [] {
    std::array<uint64_t, latency_bounds> bounds{};
    for (size_t i = 0; i < latency_bounds; ++i)
        bounds[i] = static_cast<uint64_t>(latency_bound_seconds(i) * 1e9);
    return bounds;
}();

/// For each number of significant bits, the bucket of the least such value: any other is at most
/// two bounds away.
constexpr auto first_of_width = [] {
    std::array<uint8_t, 65> first{};
    for (size_t width = 0; width < first.size(); ++width) {
        const uint64_t least = width == 0 ? 0 : uint64_t{1} << (width - 1);
        while (first[width] < latency_bounds && bounds_ns[first[width]] < least)
            ++first[width];
    }
    return first;
}();

} // namespace

size_t latency_bucket(uint64_t ns) noexcept {
    size_t bucket = first_of_width[static_cast<size_t>(std::bit_width(ns))];
    while (bucket < latency_bounds && bounds_ns[bucket] < ns)
        ++bucket;
    return bucket;
}

void LatencyTotals::add(const Latency& latency) noexcept {
    for (size_t i = 0; i < latency_buckets; ++i)
        buckets[i] += latency.bucket(i);
    sum_ns += latency.sum_ns();
}

uint64_t LatencyTotals::count() const noexcept {
    return std::accumulate(buckets.begin(), buckets.end(), uint64_t{0});
}

double LatencyTotals::quantile_seconds(double quantile) const noexcept {
    const uint64_t all = count();
    if (all == 0)
        return 0;
    const double rank = std::max(1.0, std::ceil(quantile * static_cast<double>(all)));
    uint64_t seen = 0;
    for (size_t i = 0; i < latency_bounds; ++i) {
        seen += buckets[i];
        if (static_cast<double>(seen) >= rank)
            return latency_bound_seconds(i);
    }
    return latency_bound_seconds(latency_bounds - 1);
}

} // namespace riposte
