#include "client/probe/spread_schedule.h"

#include "client/probe/ring.h"

#include <algorithm>
#include <string>
#include <utility>

namespace riposte::client {

uint64_t SpreadSchedule::phase_of(
    std::string_view self, std::string_view target, uint64_t interval_ns) {
    return ring_place(std::string(self) + '\n' + std::string(target)) % interval_ns;
}

void SpreadSchedule::set(std::vector<Entry> entries, uint64_t now_ns) {
    // What is overdue stays so: the new cursor stands where the old one stood in time.
    const uint64_t from_ns = std::min(next_due_ns(), now_ns) - start_ns_;
    entries_ = std::move(entries);
    std::ranges::sort(
        entries_, {}, [](const Entry& entry) { return std::pair(entry.phase_ns, entry.slot); });
    cycle_ = from_ns / interval_ns_;
    const auto next =
        std::ranges::lower_bound(entries_, from_ns % interval_ns_, {}, &Entry::phase_ns);
    at_ = static_cast<size_t>(next - entries_.begin());
    if (at_ == entries_.size()) {
        at_ = 0;
        cycle_++;
    }
}

uint64_t SpreadSchedule::next_due_ns() const {
    return entries_.empty() ? UINT64_MAX
                            : start_ns_ + cycle_ * interval_ns_ + entries_[at_].phase_ns;
}

uint64_t SpreadSchedule::next_leave_ns() const {
    return entries_.empty() ? UINT64_MAX : std::max(next_due_ns(), allowed_at_ns_);
}

void SpreadSchedule::advance(uint64_t now_ns) {
    // Each takes half of its share of the interval from the bucket, which holds burst_ns.
    const uint64_t share_ns = interval_ns_ / (2 * entries_.size());
    allowed_at_ns_ = std::max(allowed_at_ns_, now_ns - std::min(now_ns, burst_ns)) + share_ns;
    if (++at_ < entries_.size())
        return;
    at_ = 0;
    cycle_++;
}

uint64_t SpreadSchedule::skip(uint64_t now_ns) {
    const uint64_t due_ns = next_due_ns();
    if (due_ns > now_ns || now_ns - due_ns < interval_ns_)
        return 0;
    const uint64_t cycles = (now_ns - due_ns) / interval_ns_;
    cycle_ += cycles;
    return cycles;
}

} // namespace riposte::client
