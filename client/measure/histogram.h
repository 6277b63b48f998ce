// A log-linear histogram of durations: bounded memory, at most 0.4% relative error, mergeable.
//
// Values below 128 ns have a bucket each; above, every octave [2^k, 2^(k+1)) is cut into 128 equal
// buckets, so that a bucket is at most 1/128 of its lower bound wide, and its middle is at most
// 1/256 from any value in it. The whole range of uint64_t fits into 58 x 128 buckets, so that
// nothing is ever out of range. Only the octaves that hold a value take memory, 256 bytes each,
// and recording allocates only for the first value of a new one: a program may have thousands of
// histograms. A bucket counts up to 65,535 by itself; what is beyond that stands in a short list,
// to which a bucket adds once in 65,536 values. Minimum, maximum, mean and standard deviation are
// kept beside the buckets, exactly.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte::client {

class Histogram {
public:
    static constexpr unsigned sub_bucket_bits = 7;
    static constexpr size_t bucket_count = (64 - sub_bucket_bits + 1) << sub_bucket_bits;

    /// Values from `low_ns` to `high_ns`, both included.
    struct Bucket {
        uint64_t low_ns;
        uint64_t high_ns;
        uint64_t count;
    };

    void record(uint64_t value_ns);
    /// The same value so many times.
    void record(uint64_t value_ns, uint64_t times);
    /// As if everything that `other` recorded had been recorded here.
    void merge(const Histogram& other);
    void clear();
    /// As if each value had been less by `base_ns`, which is at most the least; as fine as the
    /// buckets are here.
    Histogram less(uint64_t base_ns) const;
    /// As if each value had been more by `offset_ns`.
    Histogram more(uint64_t offset_ns) const;

    uint64_t count() const { return count_; }
    bool empty() const { return count_ == 0; }
    /// These are 0 when nothing was recorded.
    uint64_t min_ns() const;
    uint64_t max_ns() const { return max_ns_; }
    double mean_ns() const { return mean_ns_; }
    double stddev_ns() const; ///< of the population

    /// The nearest-rank percentile: the smallest recorded value that at least `percent` % of all
    /// values do not exceed, as its bucket's middle, never outside [min, max]. The least and the
    /// greatest value are exact. 0 <= percent <= 100; 0 when nothing was recorded.
    uint64_t percentile_ns(double percent) const;

    /// Do `count` values have that percentile? Up to the median one value is enough; above it, at
    /// least one value must lie beyond it by rank, or it would be the maximum under another name:
    /// count >= 1 / (1 - percent / 100), so that p95 takes 20 values, p99 100, p99.9 1,000. The
    /// 100th percentile is the maximum.
    static bool has_percentile(uint64_t count, double percent);
    bool has_percentile(double percent) const { return has_percentile(count_, percent); }

    /// How many values lie in the buckets from `low_ns`'s to `high_ns`'s.
    uint64_t count_between(uint64_t low_ns, uint64_t high_ns) const;

    /// The buckets that hold something, in ascending order.
    std::vector<Bucket> buckets() const;

    /// What it has allocated.
    size_t memory_bytes() const;

    static size_t index_of(uint64_t value_ns);
    static Bucket bounds_of(size_t index); ///< its count is 0

private:
    template<class Move>
    Histogram moved(Move move) const;

    static constexpr size_t octave = size_t{1} << sub_bucket_bits;
    static constexpr unsigned low_bits = 16; ///< of a bucket's count, in `low_`

    /// So many times 2^low_bits of a bucket's count.
    struct Carry {
        size_t index = 0;
        uint64_t high = 0;
    };

    /// The low bits of the bucket's count.
    uint16_t& low_at(size_t index) {
        const size_t block = blocks_[index >> sub_bucket_bits];
        return low_[(block != 0 ? block - 1 : make_room(index)) * octave + index % octave];
    }
    void add_one(size_t index) {
        if (++low_at(index) == 0) [[unlikely]]
            carry(index, 1);
    }
    void add(size_t index, uint64_t times);
    uint64_t count_at(size_t index) const;
    uint64_t carried(size_t index) const;
    template<class Use>
    void for_each_filled(Use use) const;
    size_t make_room(size_t index);
    void carry(size_t index, uint64_t high);

    /// By octave: one more than the place of its block in `low_`; 0: it has none.
    std::array<uint8_t, bucket_count / octave> blocks_{};
    std::vector<uint16_t> low_;
    std::vector<Carry> carries_; ///< by index, ascending
    uint64_t count_ = 0;
    uint64_t min_ns_ = UINT64_MAX;
    uint64_t max_ns_ = 0;
    double mean_ns_ = 0;     ///< Welford's running mean
    double squares_ns2_ = 0; ///< and sum of squared distances from it
};

} // namespace riposte::client
