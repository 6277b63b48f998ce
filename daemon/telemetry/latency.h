// How long replies took, from the time at which the worker learned of the arrival until the kernel
// had the reply: a histogram that one thread writes and any thread reads.
//
// Its bounds are those of Prometheus's native histograms of schema 1: each is the one before times
// the square root of 2, from a millionth of a second (2^-20) to 16 seconds, which places any
// quantile within a fifth. A bound belongs to the bucket below it ("le"). Times are whole
// nanoseconds; a bound is rounded down to one.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace riposte {

inline constexpr size_t latency_bounds = 49;
inline constexpr size_t latency_buckets = latency_bounds + 1; ///< the last one has no bound

/// 2^((index - 40) / 2) seconds.
constexpr double latency_bound_seconds(size_t index) {
    constexpr double root = 1.4142135623730951;
    double bound = index % 2 == 0 ? 1.0 : root;
    for (size_t i = index / 2; i < 20; ++i)
        bound /= 2;
    for (size_t i = 20; i < index / 2; ++i)
        bound *= 2;
    return bound;
}

/// The bucket of this many nanoseconds.
size_t latency_bucket(uint64_t ns) noexcept;

class Latency {
public:
    /// Adds `n` replies that took `ns` each. By the writing thread only.
    void add(uint64_t ns, uint64_t n = 1) noexcept {
        increase(buckets_[latency_bucket(ns)], n);
        increase(sum_ns_, ns * n);
    }

    uint64_t bucket(size_t index) const noexcept {
        return buckets_[index].load(std::memory_order_relaxed);
    }
    uint64_t sum_ns() const noexcept { return sum_ns_.load(std::memory_order_relaxed); }

private:
    static void increase(std::atomic<uint64_t>& value, uint64_t n) noexcept {
        value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }

    std::array<std::atomic<uint64_t>, latency_buckets> buckets_{};
    std::atomic<uint64_t> sum_ns_{0};
};

/// The sum of several histograms.
struct LatencyTotals {
    std::array<uint64_t, latency_buckets> buckets{};
    uint64_t sum_ns = 0;

    void add(const Latency& latency) noexcept;
    uint64_t count() const noexcept;
    /// The bound of the bucket in which the quantile lies, in seconds; the last bound for values
    /// beyond it, 0 for an empty histogram. 0 < `quantile` <= 1.
    double quantile_seconds(double quantile) const noexcept;
};

} // namespace riposte
