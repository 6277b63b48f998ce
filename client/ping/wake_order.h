// Which of many lanes wakes next: a binary heap in which each lane knows its place, so that a lane
// whose time changes moves in logarithmic time. Pure. Times are of one clock, in nanoseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte::client {

class WakeOrder {
public:
    /// No lane wakes at first.
    explicit WakeOrder(size_t lanes) : times_(lanes, UINT64_MAX), places_(lanes, nowhere) {}

    /// The lane wakes at that time, and at no other. UINT64_MAX: it does not wake.
    void set(size_t lane, uint64_t at_ns);

    /// Does no lane wake?
    bool empty() const { return heap_.empty(); }
    /// The one that wakes first, unless empty().
    size_t next() const { return heap_.front(); }
    uint64_t next_ns() const { return empty() ? UINT64_MAX : times_[next()]; }

private:
    static constexpr size_t nowhere = SIZE_MAX;

    bool is_earlier(size_t place, size_t other) const {
        return times_[heap_[place]] < times_[heap_[other]];
    }
    void remove(size_t lane);
    void exchange(size_t place, size_t other);
    void raise(size_t place);
    void sink(size_t place);

    std::vector<uint64_t> times_; ///< by lane
    std::vector<size_t> places_;  ///< by lane: where it stands in the heap
    std::vector<size_t> heap_;    ///< lanes; none wakes before the one at (place - 1) / 2
};

} // namespace riposte::client
