#include "client/measure/intervals.h"

#include <algorithm>
#include <utility>

namespace riposte::client {

void Durations::record(uint64_t value_ns, uint64_t times) {
    if (many_ == nullptr && few_.size() + times > exact_max) {
        many_ = std::make_unique<Histogram>();
        for (const uint64_t each : std::exchange(few_, {}))
            many_->record(each);
    }
    if (many_ != nullptr)
        many_->record(value_ns, times);
    else
        few_.insert(few_.end(), static_cast<size_t>(times), value_ns);
}

Histogram Durations::histogram() const {
    if (many_ != nullptr)
        return *many_;
    Histogram all;
    for (const uint64_t each : few_)
        all.record(each);
    return all;
}

/// The interval of that time; null: it was taken, or lies before the first.
Interval* Intervals::at(uint64_t at_ns) {
    if (at_ns < start_ns_ || at_ns < taken_until_ns_)
        return nullptr;
    if (!open_.empty() && at_ns >= open_.back().from_ns && at_ns < open_.back().to_ns)
        return &open_.back();
    auto found = std::ranges::upper_bound(open_, at_ns, {}, &Interval::to_ns);
    if (found == open_.end() || at_ns < found->from_ns) {
        const uint64_t from_ns = at_ns - (at_ns - start_ns_) % every_ns_;
        found =
            open_.insert(found, {.from_ns = from_ns, .to_ns = from_ns + every_ns_, .lanes = {}});
        found->lanes.resize(lanes_);
    }
    return &*found;
}

void Intervals::due(size_t lane, uint64_t due_ns, uint64_t count) {
    Interval* const interval = at(due_ns);
    if (interval == nullptr)
        return;
    interval->lanes[lane].counts.sent += count;
    interval->pending += count;
}

void Intervals::decide(
    size_t lane, uint64_t due_ns, Outcome outcome, uint64_t rtt_ns, uint64_t count) {
    Interval* const interval = at(due_ns);
    if (interval == nullptr || interval->pending < count)
        return;
    IntervalFigures& figures = interval->lanes[lane];
    for (uint64_t at = 0; at < count; at++)
        figures.counts.add(outcome);
    interval->pending -= count;
    if (outcome == Outcome::answered && rtt_ns > 0)
        figures.durations.record(rtt_ns, count);
}

void Intervals::arrived(size_t lane, uint64_t at_ns, uint64_t count) {
    Interval* const interval = at(at_ns);
    if (interval == nullptr)
        return;
    interval->lanes[lane].arrivals += count;
}

Interval Intervals::pop() {
    Interval interval = std::move(open_.front());
    open_.pop_front();
    taken_until_ns_ = interval.to_ns;
    return interval;
}

std::optional<Interval> Intervals::take(uint64_t now_ns, uint64_t next_due_ns) {
    if (open_.empty())
        return std::nullopt;
    const Interval& oldest = open_.front();
    const bool is_complete =
        now_ns >= oldest.to_ns && next_due_ns >= oldest.to_ns && oldest.pending == 0;
    const bool is_overdue = now_ns >= oldest.to_ns + patience_ns_ || open_.size() > open_max;
    if (!is_complete && !is_overdue)
        return std::nullopt;
    return pop();
}

std::optional<Interval> Intervals::take_last(uint64_t end_ns) {
    if (open_.empty())
        return std::nullopt;
    Interval interval = pop();
    interval.to_ns = std::clamp(end_ns, interval.from_ns, interval.to_ns);
    return interval;
}

uint64_t Intervals::next_ns() const {
    if (open_.empty())
        return UINT64_MAX;
    const Interval& oldest = open_.front();
    return oldest.pending == 0 ? oldest.to_ns : oldest.to_ns + patience_ns_;
}

} // namespace riposte::client
