#include "daemon/tcp/longest_waiting.h"

#include <algorithm>

namespace riposte {

bool LongestWaiting::may_look(uint32_t count, uint64_t now_ms) noexcept {
    constexpr uint32_t slots_per_ms = 2000;
    if (now_ms < look_ms_)
        return false;
    look_ms_ = now_ms + count / slots_per_ms;
    kept_ = next_ = 0;
    return true;
}

void LongestWaiting::keep(Candidate candidate) noexcept {
    auto* const begin = candidates_.begin();
    if (kept_ < kept_max) {
        candidates_[kept_++] = candidate;
        std::ranges::push_heap(begin, begin + kept_, {}, &Candidate::since_ms);
    } else if (candidate.since_ms < begin->since_ms) {
        std::ranges::pop_heap(begin, begin + kept_, {}, &Candidate::since_ms);
        candidates_[kept_max - 1] = candidate;
        std::ranges::push_heap(begin, begin + kept_, {}, &Candidate::since_ms);
    }
}

void LongestWaiting::sort() noexcept {
    auto* const begin = candidates_.begin();
    std::ranges::sort_heap(begin, begin + kept_, {}, &Candidate::since_ms);
}

} // namespace riposte
