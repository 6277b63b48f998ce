// A histogram of durations in 1.5 KiB, whose buckets are those of a Prometheus native histogram of
// schema 3: eight an octave, so that a bucket's bounds differ by 9%. A prober holds one for each
// target. Counts only grow; nothing allocates.
//
// Bucket b, of 1 to 192, holds (2^((b-1)/8 - 20), 2^(b/8 - 20)] seconds: 0.95 us to 16 s. Bucket 0
// holds what is not above 2^-20 s (a native histogram's zero bucket, with that threshold), bucket
// 193 what is above 16 s. The native index of bucket b is b - 160. Every eighth bound is a power of
// two, so that classic buckets of schema 0 or 1 are sums of these.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace riposte::client {

class CompactHistogram {
public:
    static constexpr int schema = 3;
    static constexpr size_t buckets_per_octave = 8;
    static constexpr int octave_lowest = -20; ///< 2^-20 s
    static constexpr size_t octaves = 24;
    static constexpr size_t bounded_buckets = octaves * buckets_per_octave;
    static constexpr size_t bucket_count = bounded_buckets + 2;
    static constexpr size_t above_all = bounded_buckets + 1; ///< the bucket without an upper bound

    void record(uint64_t value_ns) {
        counts_[bucket_of(value_ns)]++;
        count_++;
        sum_ns_ += value_ns;
    }
    /// As if everything that `other` recorded had been recorded here.
    void merge(const CompactHistogram& other);

    uint64_t count() const { return count_; }
    uint64_t sum_ns() const { return sum_ns_; } ///< exact; wraps after 584 years
    uint64_t count_in(size_t bucket) const { return counts_[bucket]; }

    static size_t bucket_of(uint64_t value_ns);
    /// Seconds; infinite for `above_all`.
    static double upper_bound(size_t bucket);
    /// Of a bounded bucket: index i holds (2^((i-1)/8), 2^(i/8)] seconds.
    static int native_index(size_t bucket) {
        return static_cast<int>(bucket) + octave_lowest * static_cast<int>(buckets_per_octave);
    }

private:
    std::array<uint64_t, bucket_count> counts_{};
    uint64_t count_ = 0;
    uint64_t sum_ns_ = 0;
};

} // namespace riposte::client
