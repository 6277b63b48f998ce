#include "client/working/latency_under_load.h"

#include <algorithm>
#include <cmath>

namespace riposte::client {

namespace {

constexpr double trimmed_percentile = 95;
constexpr double minute_ns = 60e9;

std::optional<double> percentile_ns_of(const Histogram& histogram, double percentile) {
    if (histogram.empty() || !histogram.has_percentile(percentile))
        return std::nullopt;
    return static_cast<double>(histogram.percentile_ns(percentile));
}

std::optional<double> trips_a_minute(double trip_ns) {
    if (trip_ns <= 0)
        return std::nullopt;
    return minute_ns / trip_ns;
}

} // namespace

std::optional<double> added_latency_ns(const LatencyUnderLoad& latency, double percentile) {
    const auto idle = percentile_ns_of(latency.idle.rtt, percentile);
    const auto working = percentile_ns_of(latency.working.rtt, percentile);
    if (!idle || !working)
        return std::nullopt;
    return *working - *idle;
}

double trimmed_mean_ns(const Histogram& histogram, double percentile) {
    const double wanted = std::ceil(static_cast<double>(histogram.count()) * percentile / 100);
    double taken = 0;
    double sum_ns = 0;
    for (const Histogram::Bucket& bucket : histogram.buckets()) {
        const double count = std::min(static_cast<double>(bucket.count), wanted - taken);
        // The least and the greatest are known better than their buckets.
        const auto low = static_cast<double>(std::max(bucket.low_ns, histogram.min_ns()));
        const auto high = static_cast<double>(std::min(bucket.high_ns, histogram.max_ns()));
        sum_ns += count * (low + high) / 2;
        taken += count;
        if (taken >= wanted)
            break;
    }
    return taken > 0 ? sum_ns / taken : 0;
}

std::optional<double> Responsiveness::rpm() const {
    if (!foreign || !loaded)
        return foreign;
    return (*foreign + *loaded) / 2;
}

Responsiveness responsiveness(const LatencyUnderLoad& latency) {
    Responsiveness found;
    const ProbedLatency& working = latency.working;
    const double request_ns = trimmed_mean_ns(working.rtt, trimmed_percentile);
    if (working.rtt.empty())
        return found;
    const double handshake_ns =
        working.connect.empty() ? request_ns : trimmed_mean_ns(working.connect, trimmed_percentile);
    found.foreign = trips_a_minute((handshake_ns + request_ns) / 2);
    if (!latency.loaded.empty())
        found.loaded = trips_a_minute(trimmed_mean_ns(latency.loaded, trimmed_percentile));
    return found;
}

} // namespace riposte::client
