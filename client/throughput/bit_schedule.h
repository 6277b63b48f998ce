// When datagrams are due at a bitrate: the k-th (from 0) at start + k * gap. Sans-I/O; times are of
// CLOCK_MONOTONIC in nanoseconds.
//
// A sender that was late catches up at most `backlog_ns`: what should have left before that never
// does, and is counted. A burst at the speed of the link would be another measurement.
#pragma once

#include <cmath>
#include <cstdint>

namespace riposte::client {

class BitSchedule {
public:
    static constexpr uint64_t backlog_ns = 50'000'000;

    BitSchedule(double bits_per_second, uint32_t datagram_bytes)
        : gap_ns_(8e9 * datagram_bytes / bits_per_second) {}

    void start(uint64_t now_ns) { start_ns_ = now_ns; }

    /// How many are due now and have not been sent. Those whose time is long over are given up.
    uint64_t due(uint64_t now_ns) {
        if (now_ns < start_ns_)
            return 0;
        const uint64_t by_now = count_until(now_ns);
        const uint64_t horizon_ns =
            now_ns - start_ns_ > backlog_ns ? now_ns - backlog_ns : start_ns_;
        const uint64_t too_late = horizon_ns > start_ns_ ? count_until(horizon_ns) : 0;
        if (too_late > done_) {
            missed_ += too_late - done_;
            done_ = too_late;
        }
        return by_now - done_;
    }
    void sent(uint64_t count) { done_ += count; }
    uint64_t next_due_ns() const {
        return start_ns_ + static_cast<uint64_t>(std::ceil(static_cast<double>(done_) * gap_ns_));
    }
    uint64_t missed() const { return missed_; }

private:
    uint64_t count_until(uint64_t now_ns) const {
        return static_cast<uint64_t>(static_cast<double>(now_ns - start_ns_) / gap_ns_) + 1;
    }

    double gap_ns_;
    uint64_t start_ns_ = 0;
    uint64_t done_ = 0; ///< sent or given up
    uint64_t missed_ = 0;
};

} // namespace riposte::client
