// Something that is counted in the course of a run, in bounded memory however long it lasts.
//
// Time is cut into columns of equal width. When the last one is full, neighbours are merged and the
// width doubles, so that between half and all of the columns are in use.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte::client {

inline constexpr size_t time_columns_max = 256;

/// `Cell` is default-constructible: nothing; and has merge(const Cell&).
template<class Cell>
class TimeColumns {
public:
    /// `start_ns` on the clock that at() is given; `width_ns` of the first columns. They are
    /// reserved now, so that at() never allocates; those that time has not reached yet cost address
    /// space, no memory.
    TimeColumns(uint64_t start_ns, uint64_t width_ns) : start_ns_(start_ns), width_ns_(width_ns) {
        assert(width_ns > 0);
        cells_.reserve(time_columns_max);
    }

    /// The column of that moment, after as many doublings as it needs; a moment before the start is
    /// the start. A gap of days costs a doubling of the width for each factor of two, every one of
    /// which leaves half as many columns to merge.
    Cell& at(uint64_t at_ns) {
        const uint64_t since_ns = at_ns > start_ns_ ? at_ns - start_ns_ : 0;
        while (since_ns / width_ns_ >= time_columns_max)
            halve();
        const auto index = static_cast<size_t>(since_ns / width_ns_);
        if (index >= cells_.size())
            cells_.resize(index + 1);
        return cells_[index];
    }

    /// Up to the last one used, empty ones included; each begins where the one before it ends.
    const std::vector<Cell>& cells() const { return cells_; }
    uint64_t width_ns() const { return width_ns_; }

private:
    void halve() {
        const size_t left = (cells_.size() + 1) / 2;
        for (size_t index = 0; index < left; ++index) {
            if (index > 0)
                cells_[index] = cells_[2 * index];
            if (2 * index + 1 < cells_.size())
                cells_[index].merge(cells_[2 * index + 1]);
        }
        cells_.resize(left);
        width_ns_ *= 2;
    }

    uint64_t start_ns_;
    uint64_t width_ns_;
    std::vector<Cell> cells_;
};

} // namespace riposte::client
