// The books of one target of a prober: what became of each probe, in a few KiB. Sans-I/O.
//
// Each probe is in `sent` from its sending on, and in exactly one result from the moment at which
// its fate is known; until then it waits. A ring remembers the last `window` probes, so that a
// duplicate or a late answer differs from a stray. A probe that falls out of it while it waits is
// lost: a window that holds twice what can wait at once makes that impossible. Times are of
// CLOCK_MONOTONIC, in nanoseconds.
#pragma once

#include "client/measure/outcome.h"
#include "client/probe/compact_histogram.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace riposte::client {

/// Twice as many as are sent within the timeout, as a power of two, at least 64.
size_t books_window(uint64_t interval_ns, uint64_t timeout_ns, size_t probes_at_once);

class TargetBooks {
    struct Probe {
        uint64_t sent_ns = 0;
        Outcome outcome = Outcome::pending;
        bool late_seen = false;
    };

public:
    TargetBooks(size_t window, uint64_t timeout_ns) : window_(window), timeout_ns_(timeout_ns) {}
    static constexpr size_t window_bytes(size_t window) { return window * sizeof(Probe); }

    /// A probe is about to be sent: its sequence number, from 1. First of all the one that falls
    /// out of the window is dealt with (displaced()).
    uint64_t send(uint64_t now_ns);
    /// The probe that the next send() displaces while it waits, which is lost by it.
    std::optional<uint64_t> displaced() const;

    /// Something other than an answer decides the probe: false, and no effect, unless it waits.
    bool decide(uint64_t sequence, Outcome outcome);

    struct Arrival {
        Outcome outcome = Outcome::pending; ///< of the probe because of it; pending: unchanged
        bool duplicate = false;
        bool reordered = false;
        bool late = false;
        uint64_t rtt_ns = 0; ///< if it decided
    };
    /// An answer came to a probe that is remembered: it is right, or damaged as `outcome` says. One
    /// that came after the timeout is late, and the probe lost, though decide() has not said so.
    Arrival answer(uint64_t sequence, Outcome outcome, uint64_t received_ns);

    bool remembers(uint64_t sequence) const { return find(sequence) != nullptr; }
    bool waits(uint64_t sequence) const;
    /// Of one that is remembered.
    uint64_t sent_ns(uint64_t sequence) const { return find(sequence)->sent_ns; }
    uint64_t last() const { return last_; }
    /// The oldest probe that may be remembered.
    uint64_t first_remembered() const {
        return last_ > window_.size() ? last_ - window_.size() + 1 : 1;
    }
    std::optional<uint64_t> oldest_waiting() const;

    const OutcomeCounts& counts() const { return counts_; }
    const CompactHistogram& rtt() const { return rtt_; }

private:
    const Probe* find(uint64_t sequence) const;
    Probe* find(uint64_t sequence);

    std::vector<Probe> window_; ///< by the low bits of the sequence number
    uint64_t timeout_ns_;
    uint64_t last_ = 0;
    uint64_t highest_answered_ = 0;
    OutcomeCounts counts_;
    CompactHistogram rtt_;
};

} // namespace riposte::client
