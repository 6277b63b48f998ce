#include "client/load/load_schedule.h"

#include <algorithm>
#include <cassert>

namespace riposte::client {

LoadSchedule::LoadSchedule(const LoadPlan& plan)
    : plan_(plan), period_ns_(plan.rate ? 1e9 / *plan.rate : 0) {
    assert(!plan.rate || *plan.rate > 0);
}

void LoadSchedule::start(uint64_t now_ns) {
    base_ns_ = now_ns;
    measured_from_ns_ = now_ns + plan_.warmup_ns;
    if (plan_.duration_ns > 0)
        end_ns_ = measured_from_ns_ + plan_.duration_ns;
    advance(now_ns);
}

void LoadSchedule::enter(LoadPhase phase) {
    phase_ = phase;
    base_ns_ = measured_from_ns_;
    limit_ = plan_.count.value_or(UINT64_MAX);
    taken_ = due_ = seen_ = 0;
}

/// How many requests of this phase are intended at `now_ns` or before.
uint64_t LoadSchedule::fallen_due(uint64_t now_ns) const {
    if (now_ns < base_ns_)
        return 0;
    // The quotient may be off by one where it is nearly whole: the intended times decide.
    auto count = static_cast<uint64_t>(static_cast<double>(now_ns - base_ns_) / period_ns_) + 1;
    while (count > 0 && intended_ns(count - 1) > now_ns)
        count--;
    while (intended_ns(count) <= now_ns)
        count++;
    return count;
}

void LoadSchedule::advance(uint64_t now_ns) {
    blocked_ = due_ > taken_;
    if (phase_ == LoadPhase::warming_up && now_ns >= measured_from_ns_)
        enter(LoadPhase::measuring);
    if (phase_ == LoadPhase::over)
        return;
    if (is_open_loop()) {
        const uint64_t last_ns =
            phase_ == LoadPhase::warming_up ? measured_from_ns_ - 1 : end_ns_ - 1;
        due_ = std::min(fallen_due(std::min(now_ns, last_ns)), limit_);
        if (!blocked_) {
            seen_ = due_;
            seen_ns_ = now_ns;
        }
    }
    if (phase_ != LoadPhase::measuring)
        return;
    if (now_ns >= end_ns_)
        phase_ = LoadPhase::over;
    else if (taken_ == limit_)
        stop(now_ns);
}

void LoadSchedule::stop(uint64_t now_ns) {
    if (phase_ == LoadPhase::over)
        return;
    if (phase_ == LoadPhase::warming_up) {
        // Requests that are due in the warm-up are dropped.
        enter(LoadPhase::measuring);
        measured_from_ns_ = now_ns;
    }
    phase_ = LoadPhase::over;
    end_ns_ = now_ns;
}

void LoadSchedule::close() {
    assert(phase_ == LoadPhase::over);
    if (is_open_loop())
        unsent_ += due_ - taken_;
    due_ = taken_;
}

uint64_t LoadSchedule::next_phase_ns() const {
    switch (phase_) {
    case LoadPhase::warming_up:
        return measured_from_ns_;
    case LoadPhase::measuring:
        return end_ns_;
    case LoadPhase::over:
        break;
    }
    return UINT64_MAX;
}

uint64_t LoadSchedule::take(uint64_t wanted) {
    if (phase_ == LoadPhase::over)
        return 0;
    const uint64_t count = std::min(wanted, limit_ - taken_);
    taken_ += count;
    return count;
}

DueRequest LoadSchedule::take_due(uint64_t now_ns) {
    assert(due() > 0);
    const uint64_t index = taken_++;
    DueRequest request{.intended_ns = intended_ns(index)};
    const uint64_t behind_ns = now_ns - std::min(request.intended_ns, now_ns);
    if (!blocked_)
        request.lateness_ns = behind_ns;
    else if (index < seen_)
        request.lateness_ns =
            std::min(behind_ns, seen_ns_ - std::min(request.intended_ns, seen_ns_));
    request.wait_ns = behind_ns - request.lateness_ns;
    return request;
}

uint64_t LoadSchedule::next_untaken_ns() const {
    const bool is_over = phase_ == LoadPhase::over && taken_ >= due_;
    if (!is_open_loop() || is_over || taken_ >= limit_)
        return UINT64_MAX;
    return intended_ns(taken_);
}

uint64_t LoadSchedule::untaken_before(uint64_t ns) const {
    if (due() == 0 || ns <= base_ns_)
        return 0;
    const auto before = static_cast<uint64_t>(static_cast<double>(ns - base_ns_) / period_ns_) + 1;
    uint64_t end = std::clamp(before, taken_, due_);
    while (end > taken_ && intended_ns(end - 1) >= ns)
        end--;
    return end - taken_;
}

uint64_t LoadSchedule::next_due_ns() const {
    if (!is_open_loop() || phase_ == LoadPhase::over || due_ >= limit_)
        return UINT64_MAX;
    const uint64_t next_ns = intended_ns(due_);
    return next_ns < next_phase_ns() ? next_ns : UINT64_MAX;
}

} // namespace riposte::client
