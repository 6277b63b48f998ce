// Sequence numbers that are few or stand in a row, as ranges.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

namespace riposte::client {

class SequenceSet {
public:
    /// One that is not in it yet.
    void add(uint64_t sequence) {
        auto after = std::ranges::upper_bound(ranges_, sequence, {}, &Range::first);
        if (after != ranges_.begin() && std::prev(after)->last + 1 == sequence)
            std::prev(after)->last = sequence;
        else
            after = std::next(ranges_.insert(after, {sequence, sequence}));
        if (after != ranges_.end() && after->first == sequence + 1) {
            std::prev(after)->last = after->last;
            ranges_.erase(after);
        }
    }

    /// How many are from `first` to `last`, both included; 0 if `last` is before `first`.
    uint64_t count(uint64_t first, uint64_t last) const {
        uint64_t found = 0;
        for (auto range = std::ranges::lower_bound(ranges_, first, {}, &Range::last);
             range != ranges_.end() && range->first <= last; ++range)
            found += std::min(range->last, last) - std::max(range->first, first) + 1;
        return found;
    }

    /// Those before `sequence` are not asked for any more.
    void forget_before(uint64_t sequence) {
        const auto kept = std::ranges::lower_bound(ranges_, sequence, {}, &Range::last);
        ranges_.erase(ranges_.begin(), kept);
    }

private:
    struct Range {
        uint64_t first;
        uint64_t last;
    };

    std::vector<Range> ranges_; ///< ascending, with gaps between them
};

} // namespace riposte::client
