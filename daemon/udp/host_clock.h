// The host's clock, for a service that measures.
#pragma once

#include "daemon/core/host.h"
#include "daemon/services/service.h"

#include <cstdint>

namespace riposte {

/// Asks the host for the clock's error at most once a second, which is how often the kernel changes
/// it, and only when the service wants to know it.
class HostClock final : public WallClock {
public:
    explicit HostClock(Host& host) noexcept : host_(host) {}

    uint64_t now_ns() const noexcept override { return host_.wall_ns(); }

    stamp::ErrorEstimate error_estimate() const noexcept override {
        const uint64_t now_ns = host_.now_ns();
        if (!asked_ || now_ns - asked_ns_ >= 1'000'000'000) {
            const ClockError error = host_.clock_error();
            estimate_ =
                stamp::estimate_of(error.error_ns, error.synchronized, stamp::TimeFormat::ntp);
            asked_ns_ = now_ns;
            asked_ = true;
        }
        return estimate_;
    }

private:
    Host& host_;
    mutable stamp::ErrorEstimate estimate_ = stamp::unknown_error;
    mutable uint64_t asked_ns_ = 0;
    mutable bool asked_ = false;
};

} // namespace riposte
