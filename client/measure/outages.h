// Outages: runs of probes without a correct answer, counted in the order in which the probes were
// due, whatever the order in which their outcomes become known. Sans-I/O.
//
// An outage is a run of at least two such probes, one after the other; it lasts from the time at
// which its first probe was due to the time at which the next answered one was due. Probes that
// this machine did not send say nothing about the network: they neither belong to a run nor end
// one. Nor do probes that are undecided when the measurement ends.
//
// A probe waits here until each earlier one is decided; only then is it known which run it belongs
// to. So the memory is that of the probes from the oldest pending one to the latest, which the
// timeout bounds. Times are of CLOCK_MONOTONIC, in nanoseconds.
#pragma once

#include "client/measure/outcome.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace riposte::client {

struct Outage {
    uint64_t began_ns = 0; ///< when its first probe was due
    /// When the next answered probe was due; while there is none, when its last probe was.
    uint64_t ended_ns = 0;
    uint64_t probes = 0;
    bool is_over = false;

    bool operator==(const Outage&) const = default;
};

class Outages {
public:
    static constexpr uint64_t probes_min = 2;
    static constexpr size_t listed_max = 256;

    /// list() has them, too: for a plot.
    void keep_list() { keeps_list_ = true; }

    /// A probe is due, later than all before it.
    void due(uint64_t due_ns);
    /// A probe that was due at that time has its outcome, which is not `pending`. No effect for a
    /// probe that due() did not announce, or that was decided already.
    void decide(uint64_t due_ns, Outcome outcome);
    /// The measurement is over: what is pending stays so.
    void finish();

    /// One that has not ended is counted.
    uint64_t count() const { return count_; }
    /// Of as many probes, the first one; nothing if there was no outage.
    std::optional<Outage> longest() const;
    /// In the order of their beginning; of more than `listed_max` about the longest.
    std::vector<Outage> list() const;

    /// Probes that are remembered.
    size_t waiting() const { return probes_.size(); }

private:
    struct Probe {
        uint64_t due_ns;
        Outcome outcome;
    };

    void take(const Probe& probe);
    void end_run();
    void keep(const Outage& outage);

    std::deque<Probe> probes_; ///< from the oldest pending one on, by time
    Outage run_;               ///< the current run, an outage or not yet; no probes: none
    uint64_t count_ = 0;
    Outage longest_; ///< of those that are over
    bool keeps_list_ = false;
    std::vector<Outage> list_; ///< of those that are over
};

} // namespace riposte::client
