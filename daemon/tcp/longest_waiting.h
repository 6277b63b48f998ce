// Which of many slots waits longest, without a list that every byte would have to keep in order.
//
// Now and then a look at all slots keeps the 256 that wait longest as candidates, the longest
// first. A slot that did something since is no candidate any more: the time since when it waits is
// another one. A slot that began to wait since waits less long than every candidate. So the first
// candidate that still holds is the longest of all slots, not only of those that were kept.
//
// A look costs a pass over the slots. The next one is not taken within a 2000th of a millisecond
// for each slot, which bounds the looks' share of the time to one or two hundredths, however few
// candidates they find and however often the caller asks; until then, there are none.
#pragma once

#include <array>
#include <cstdint>

namespace riposte {

class LongestWaiting {
public:
    static constexpr uint32_t kept_max = 256;
    static constexpr uint32_t none = UINT32_MAX;

    /// The longest waiting of `count` slots; `none` if there is none, or it is too early to look.
    /// `waits_since(slot)` is the time (ms) since when it waits, or `not_waiting`.
    static constexpr uint64_t not_waiting = UINT64_MAX;
    template<class WaitsSince>
    uint32_t longest(uint32_t count, uint64_t now_ms, const WaitsSince& waits_since) noexcept {
        for (;;) {
            while (next_ < kept_) {
                const Candidate& candidate = candidates_[next_++];
                if (candidate.slot < count && waits_since(candidate.slot) == candidate.since_ms)
                    return candidate.slot;
            }
            if (!may_look(count, now_ms))
                return none;
            for (uint32_t slot = 0; slot < count; ++slot)
                if (const uint64_t since_ms = waits_since(slot); since_ms != not_waiting)
                    keep({since_ms, slot});
            if (kept_ == 0)
                return none;
            sort();
        }
    }

private:
    struct Candidate {
        uint64_t since_ms = 0;
        uint32_t slot = 0;
    };

    bool may_look(uint32_t count, uint64_t now_ms) noexcept; ///< begins a look if so
    void keep(Candidate candidate) noexcept;                 ///< if it is among the longest
    void sort() noexcept;

    std::array<Candidate, kept_max> candidates_{}; ///< while looking, a heap: the shortest is first
    uint32_t kept_ = 0;
    uint32_t next_ = 0;
    uint64_t look_ms_ = 0; ///< no look before this time
};

} // namespace riposte
