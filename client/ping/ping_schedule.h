// When the probes of one endpoint are due: start + k * interval, for k from 0, however late the
// loop is. Times are of CLOCK_MONOTONIC, in nanoseconds.
#pragma once

#include <cstdint>
#include <optional>

namespace riposte::client {

class PingSchedule {
public:
    /// The loop wakes that long before a probe is due, and stays awake until it is: waking up takes
    /// some 30 us, which would all be lateness.
    static constexpr uint64_t awake_before_ns = 60'000;

    /// `count` absent: without end. `interval_ns` is more than zero.
    PingSchedule(uint64_t start_ns, uint64_t interval_ns, std::optional<uint64_t> count)
        : next_ns_(start_ns), interval_ns_(interval_ns), left_(count.value_or(UINT64_MAX)) {}

    /// UINT64_MAX when all have been sent.
    uint64_t next_due_ns() const { return left_ == 0 ? UINT64_MAX : next_ns_; }
    /// When to wake for it; UINT64_MAX when all have been sent.
    uint64_t next_wake_ns() const { return left_ == 0 ? UINT64_MAX : next_ns_ - awake_before_ns; }
    /// The next one leaves.
    void advance() {
        next_ns_ += interval_ns_;
        if (left_ != UINT64_MAX)
            left_--;
    }
    /// Leaves out those that were due before `horizon_ns`, and says how many. They do not count as
    /// sent; the pace stays.
    uint64_t skip_before(uint64_t horizon_ns) {
        if (left_ == 0 || next_ns_ >= horizon_ns)
            return 0;
        const uint64_t skipped = (horizon_ns - next_ns_ - 1) / interval_ns_ + 1;
        next_ns_ += skipped * interval_ns_;
        return skipped;
    }
    /// None is due any more.
    void stop() { left_ = 0; }

private:
    uint64_t next_ns_;
    uint64_t interval_ns_;
    uint64_t left_;
};

} // namespace riposte::client
