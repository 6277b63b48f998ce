#include "daemon/supervisor/reload_progress.h"

#include <cassert>
#include <utility>

namespace riposte {

bool ReloadProgress::request() noexcept {
    if (stopped_)
        return false;
    if (phase_ == Phase::preparing || phase_ == Phase::applying) {
        next_ = true;
        return false;
    }
    phase_ = Phase::idle; // a reread that was pending happens now
    deadline_us_.reset();
    return true;
}

bool ReloadProgress::reread(uint64_t now_us) noexcept {
    assert(phase_ == Phase::idle);
    if (rereads_ == rereads_max)
        return false;
    ++rereads_;
    phase_ = Phase::rereading;
    deadline_us_ = now_us + reread_pause_us;
    return true;
}

uint64_t ReloadProgress::prepare() noexcept {
    assert(phase_ == Phase::idle);
    phase_ = Phase::preparing;
    rereads_ = 0;
    return ++prepare_sequence_;
}

uint64_t ReloadProgress::apply() noexcept {
    assert(phase_ == Phase::preparing);
    phase_ = Phase::applying;
    return ++plan_sequence_;
}

void ReloadProgress::resend(uint64_t now_us) noexcept {
    assert(phase_ == Phase::applying);
    deadline_us_ = now_us + resend_pause_us;
}

void ReloadProgress::end() noexcept {
    phase_ = Phase::idle;
    rereads_ = 0;
    deadline_us_.reset();
}

bool ReloadProgress::take_next() noexcept {
    assert(phase_ == Phase::idle);
    return std::exchange(next_, false);
}

void ReloadProgress::stop() noexcept {
    stopped_ = true;
    next_ = false;
    if (phase_ != Phase::applying)
        end();
}

} // namespace riposte
