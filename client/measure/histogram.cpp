// The index of a value is its eight leading bits with the number of bits shifted out in front:
// the leading bit is always set, and counts as one step more of the shift, so that the indices of
// consecutive octaves follow each other without a gap. Values below 256 are not shifted at all.
#include "client/measure/histogram.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <utility>

namespace riposte::client {

namespace {

constexpr unsigned leading_bits = Histogram::sub_bucket_bits + 1;

uint64_t middle_of(const Histogram::Bucket& bucket) {
    return bucket.low_ns + (bucket.high_ns - bucket.low_ns) / 2;
}

/// The nearest rank, 1 to `count`. 99.9 % of 1000 is 999, although 99.9 is no binary fraction:
/// what is nearer to a whole number than the rounding of the product, is that number.
uint64_t rank_of(double percent, uint64_t count) {
    constexpr double rounding = 1e-15;
    const double exact = percent / 100 * static_cast<double>(count);
    const double whole = std::round(exact);
    const double rank = std::abs(exact - whole) <= exact * rounding ? whole : std::ceil(exact);
    if (rank >= static_cast<double>(count))
        return count;
    return std::max(static_cast<uint64_t>(std::max(rank, 1.0)), uint64_t{1});
}

} // namespace

size_t Histogram::index_of(uint64_t value_ns) {
    const auto bits = static_cast<unsigned>(std::bit_width(value_ns));
    const unsigned shift = bits > leading_bits ? bits - leading_bits : 0;
    return (size_t{shift} << sub_bucket_bits) + static_cast<size_t>(value_ns >> shift);
}

Histogram::Bucket Histogram::bounds_of(size_t index) {
    assert(index < bucket_count);
    const size_t block = index >> sub_bucket_bits;
    const size_t shift = block > 0 ? block - 1 : 0;
    const uint64_t leading = index - (shift << sub_bucket_bits);
    const uint64_t low_ns = leading << shift;
    return {.low_ns = low_ns, .high_ns = low_ns + ((uint64_t{1} << shift) - 1), .count = 0};
}

/// Gives the octave of `index` a block: its place.
size_t Histogram::make_room(size_t index) {
    const size_t place = low_.size() / octave;
    low_.reserve(low_.size() + octave); // no more than that, unlike resize()
    low_.resize(low_.size() + octave);
    blocks_[index >> sub_bucket_bits] = static_cast<uint8_t>(place + 1);
    return place;
}

void Histogram::carry(size_t index, uint64_t high) {
    const auto at = std::ranges::lower_bound(carries_, index, {}, &Carry::index);
    if (at != carries_.end() && at->index == index)
        at->high += high;
    else
        carries_.insert(at, {.index = index, .high = high});
}

uint64_t Histogram::carried(size_t index) const {
    const auto at = std::ranges::lower_bound(carries_, index, {}, &Carry::index);
    return at != carries_.end() && at->index == index ? at->high << low_bits : 0;
}

void Histogram::add(size_t index, uint64_t times) {
    uint16_t& low = low_at(index);
    const uint64_t sum = low + times;
    low = static_cast<uint16_t>(sum);
    if (const uint64_t high = sum >> low_bits; high > 0)
        carry(index, high);
}

uint64_t Histogram::count_at(size_t index) const {
    const size_t block = blocks_[index >> sub_bucket_bits];
    if (block == 0)
        return 0;
    const uint64_t low = low_[(block - 1) * octave + index % octave];
    return carries_.empty() ? low : low + carried(index);
}

/// In ascending order; `use` may raise the count that it is given.
template<class Use>
void Histogram::for_each_filled(Use use) const {
    for (size_t block = 0; block < blocks_.size(); ++block) {
        if (blocks_[block] == 0)
            continue;
        for (size_t index = block * octave; index < (block + 1) * octave; ++index)
            if (const uint64_t count = count_at(index); count > 0)
                use(index, count);
    }
}

size_t Histogram::memory_bytes() const {
    return low_.capacity() * sizeof(uint16_t) + carries_.capacity() * sizeof(Carry);
}

void Histogram::record(uint64_t value_ns) {
    add_one(index_of(value_ns));
    ++count_;
    min_ns_ = std::min(min_ns_, value_ns);
    max_ns_ = std::max(max_ns_, value_ns);
    const auto value = static_cast<double>(value_ns);
    const double distance = value - mean_ns_;
    // A product with the reciprocal: the slow division then waits for no earlier value.
    mean_ns_ += distance * (1 / static_cast<double>(count_));
    squares_ns2_ += distance * (value - mean_ns_);
}

void Histogram::record(uint64_t value_ns, uint64_t times) {
    if (times == 0)
        return;
    add(index_of(value_ns), times);
    count_ += times;
    min_ns_ = std::min(min_ns_, value_ns);
    max_ns_ = std::max(max_ns_, value_ns);
    const auto value = static_cast<double>(value_ns);
    const double distance = (value - mean_ns_) * static_cast<double>(times);
    mean_ns_ += distance * (1 / static_cast<double>(count_));
    squares_ns2_ += distance * (value - mean_ns_);
}

void Histogram::merge(const Histogram& other) {
    if (other.empty())
        return;
    // Chan's parallel form of the running variance.
    const auto here = static_cast<double>(count_);
    const auto there = static_cast<double>(other.count_);
    const double distance = other.mean_ns_ - mean_ns_;
    squares_ns2_ += other.squares_ns2_ + distance * distance * (here / (here + there)) * there;
    mean_ns_ += distance * (there / (here + there));
    count_ += other.count_;
    min_ns_ = std::min(min_ns_, other.min_ns_);
    max_ns_ = std::max(max_ns_, other.max_ns_);
    other.for_each_filled([&](size_t index, uint64_t count) { add(index, count); });
}

void Histogram::clear() {
    std::ranges::fill(low_, 0);
    carries_.clear();
    count_ = 0;
    min_ns_ = UINT64_MAX;
    max_ns_ = 0;
    mean_ns_ = 0;
    squares_ns2_ = 0;
}

/// All values moved by the same distance, which keeps their order.
template<class Move>
Histogram Histogram::moved(Move move) const {
    Histogram moved;
    if (empty())
        return moved;
    // The least and the greatest are known exactly, all others to their bucket.
    for (const Bucket& bucket : buckets()) {
        const uint64_t ends = (bucket.low_ns <= min_ns_ && min_ns_ <= bucket.high_ns ? 1U : 0U) +
                              (bucket.low_ns <= max_ns_ && max_ns_ <= bucket.high_ns ? 1U : 0U);
        const uint64_t middle_ns = std::clamp(middle_of(bucket), min_ns_, max_ns_);
        moved.add(index_of(move(middle_ns)), bucket.count - std::min(bucket.count, ends));
    }
    moved.add_one(index_of(move(min_ns_)));
    if (count_ > 1)
        moved.add_one(index_of(move(max_ns_)));
    moved.count_ = count_;
    moved.min_ns_ = move(min_ns_);
    moved.max_ns_ = move(max_ns_);
    moved.squares_ns2_ = squares_ns2_;
    return moved;
}

Histogram Histogram::less(uint64_t base_ns) const {
    assert(empty() || base_ns <= min_ns_);
    Histogram reduced = moved([=](uint64_t value_ns) { return value_ns - base_ns; });
    reduced.mean_ns_ = std::max(mean_ns_ - static_cast<double>(base_ns), 0.0);
    return reduced;
}

Histogram Histogram::more(uint64_t offset_ns) const {
    Histogram raised = moved([=](uint64_t value_ns) { return value_ns + offset_ns; });
    raised.mean_ns_ = empty() ? 0 : mean_ns_ + static_cast<double>(offset_ns);
    return raised;
}

uint64_t Histogram::min_ns() const {
    return empty() ? 0 : min_ns_;
}

double Histogram::stddev_ns() const {
    return empty() ? 0 : std::sqrt(squares_ns2_ / static_cast<double>(count_));
}

uint64_t Histogram::percentile_ns(double percent) const {
    assert(percent >= 0 && percent <= 100);
    if (empty())
        return 0;
    const uint64_t rank = rank_of(percent, count_);
    if (rank == 1)
        return min_ns_;
    if (rank == count_)
        return max_ns_;
    uint64_t seen = 0;
    for (size_t index = index_of(min_ns_); index < bucket_count; ++index) {
        seen += count_at(index);
        if (seen >= rank) {
            return std::clamp(middle_of(bounds_of(index)), min_ns_, max_ns_);
        }
    }
    assert(false && "the buckets hold count_ values");
    return max_ns_;
}

bool Histogram::has_percentile(uint64_t count, double percent) {
    constexpr double median = 50;
    if (count == 0)
        return false;
    return percent <= median || percent >= 100 || rank_of(percent, count) < count;
}

uint64_t Histogram::count_between(uint64_t low_ns, uint64_t high_ns) const {
    if (low_ns > high_ns)
        return 0;
    uint64_t sum = 0;
    const size_t last = index_of(high_ns);
    for (size_t index = index_of(low_ns); index <= last; ++index)
        sum += count_at(index);
    return sum;
}

std::vector<Histogram::Bucket> Histogram::buckets() const {
    std::vector<Bucket> filled;
    for_each_filled([&](size_t index, uint64_t count) {
        filled.push_back(bounds_of(index));
        filled.back().count = count;
    });
    return filled;
}

} // namespace riposte::client
