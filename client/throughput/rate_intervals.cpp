#include "client/throughput/rate_intervals.h"

#include <algorithm>
#include <cassert>

namespace riposte::client {

namespace {

constexpr double bits_per_byte = 8;

void extend(RateInterval& interval, const RateInterval& next) {
    interval.end_ns = next.end_ns;
    interval.bytes += next.bytes;
    interval.retransmits += next.retransmits;
}

} // namespace

double bits_per_second(uint64_t bytes, uint64_t elapsed_ns) {
    if (elapsed_ns == 0)
        return 0;
    return bits_per_byte * static_cast<double>(bytes) / (static_cast<double>(elapsed_ns) / 1e9);
}

void RateIntervals::start(uint64_t now_ns, const RateSample& counted) {
    start_ns_ = last_ns_ = now_ns;
    next_ns_ = now_ns + length_ns_;
    first_ = last_ = counted;
}

RateInterval RateIntervals::take(uint64_t now_ns, const RateSample& counted) {
    assert(counted.bytes >= last_.bytes && counted.retransmits >= last_.retransmits);
    const RateInterval interval{
        .begin_ns = last_ns_ - start_ns_,
        .end_ns = now_ns - start_ns_,
        .bytes = counted.bytes - last_.bytes,
        .retransmits = counted.retransmits - last_.retransmits};
    last_ns_ = now_ns;
    last_ = counted;
    next_ns_ = start_ns_ + ((now_ns - start_ns_) / length_ns_ + 1) * length_ns_;
    return interval;
}

std::optional<RateInterval> RateIntervals::sample(uint64_t now_ns, const RateSample& counted) {
    if (next_ns_ == UINT64_MAX || now_ns <= last_ns_)
        return std::nullopt;
    const RateInterval interval = take(now_ns, counted);
    keep(interval);
    return interval;
}

void RateIntervals::finish(uint64_t now_ns, const RateSample& counted) {
    const bool has_started = next_ns_ != UINT64_MAX;
    if (!has_started || now_ns <= last_ns_) {
        next_ns_ = UINT64_MAX;
        return;
    }
    const RateInterval rest = take(now_ns, counted);
    next_ns_ = UINT64_MAX;
    const auto length = static_cast<double>(rest.end_ns - rest.begin_ns);
    if (!kept_.empty() && length < rest_min * static_cast<double>(length_ns_))
        extend(kept_.back(), rest);
    else
        keep(rest);
}

void RateIntervals::keep(const RateInterval& interval) {
    if (!kept_.empty() && in_last_ < together_) {
        extend(kept_.back(), interval);
        in_last_++;
        return;
    }
    if (kept_.size() == kept_max) {
        for (size_t i = 0; i < kept_max / 2; i++) {
            kept_[i] = kept_[2 * i];
            extend(kept_[i], kept_[2 * i + 1]);
        }
        kept_.resize(kept_max / 2);
        together_ *= 2;
    }
    kept_.push_back(interval);
    in_last_ = 1;
}

} // namespace riposte::client
