// Bytes in successive intervals of a run, from counters that only grow. Sans-I/O.
//
// An interval is as long as it was: a process that was stopped, or busy, samples late, and the
// interval then ends late as well, so that its rate is a rate all the same. Intervals are due at
// whole multiples of their length after the start; those that were slept through are not made up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace riposte::client {

/// Of a stream since it began.
struct RateSample {
    uint64_t bytes = 0;
    uint64_t retransmits = 0;
};

struct RateInterval {
    uint64_t begin_ns = 0; ///< since the start
    uint64_t end_ns = 0;   ///< more than `begin_ns`
    uint64_t bytes = 0;
    uint64_t retransmits = 0;

    bool operator==(const RateInterval&) const = default;
};

/// Bits (not bytes) a second; 0 of no time.
double bits_per_second(uint64_t bytes, uint64_t elapsed_ns);
inline double bits_per_second(const RateInterval& interval) {
    return bits_per_second(interval.bytes, interval.end_ns - interval.begin_ns);
}

class RateIntervals {
public:
    /// The most that are kept: of a longer run, neighbours are merged.
    static constexpr size_t kept_max = 3600;
    /// A rest shorter than this share of an interval is added to the one before it.
    static constexpr double rest_min = 0.1;

    /// `length_ns` is more than zero.
    explicit RateIntervals(uint64_t length_ns) : length_ns_(length_ns) {}

    void start(uint64_t now_ns, const RateSample& counted);
    /// When the next sample is due; UINT64_MAX before the start and after the last one.
    uint64_t next_ns() const { return next_ns_; }
    /// The interval that ends now; nothing if no time has passed since the last one ended.
    std::optional<RateInterval> sample(uint64_t now_ns, const RateSample& counted);
    /// The last sample, of an interval that need not be whole.
    void finish(uint64_t now_ns, const RateSample& counted);

    const std::vector<RateInterval>& kept() const { return kept_; }
    uint64_t bytes() const { return last_.bytes - first_.bytes; }
    uint64_t retransmits() const { return last_.retransmits - first_.retransmits; }
    uint64_t elapsed_ns() const { return last_ns_ - start_ns_; } ///< up to the last sample

private:
    RateInterval take(uint64_t now_ns, const RateSample& counted);
    void keep(const RateInterval& interval);

    uint64_t length_ns_;
    uint64_t start_ns_ = 0;
    uint64_t last_ns_ = 0;
    uint64_t next_ns_ = UINT64_MAX;
    RateSample first_;
    RateSample last_;
    std::vector<RateInterval> kept_;
    size_t together_ = 1; ///< intervals in one that is kept
    size_t in_last_ = 0;  ///< ... in the last one
};

} // namespace riposte::client
