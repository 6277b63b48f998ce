// What `riposte probe` has measured at one moment: plain data, which does not change any more. The
// engine makes it on request; exporters and reports read it on any thread.
//
// All counters and histograms are cumulative: they begin at 0 when the prober (or the target in it)
// starts, and never fall while it runs. Neither a reload nor a change of the lists resets those of
// a target that stays. A target is its name and transport: other labels or another address make no
// new one.
//
// Each probe is counted in `counts.sent` when it is due and sent, and in exactly one result when
// its fate is known, so that at every moment
//     sent = decided() + undecided()
// where undecided() are those in flight (`riposte_probe_waiting`). Loss between two scrapes is the
// growth of some results by the growth of all: nothing in flight is lost. `counts.local` are probes
// that this machine did not send, which say nothing about the network.
//
// A target that its lists no longer name is not probed, and stays here, with `listed` false, for
// the time of grace, so that its last counts are scraped. A group stays as long as one of them.
#pragma once

#include "client/measure/outcome.h"
#include "client/probe/compact_histogram.h"
#include "client/probe/labels.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

enum class ProbeTransport : uint8_t { udp, tcp };

/// "udp": the value of the label `transport`.
std::string_view to_key(ProbeTransport transport);

/// A target's name and labels. Shared with the engine: it is replaced, never changed.
struct TargetIdentity {
    std::string name; ///< as the list says: "db7.example.net:7007"; the label `target`
    ProbeTransport transport = ProbeTransport::udp;
    Labels labels; ///< of the list, without the prefix `target_`
};

/// A histogram without the buckets before its first and after its last value.
struct HistogramFigures {
    uint64_t count = 0;
    uint64_t sum_ns = 0;
    size_t first = 0;             ///< which bucket of CompactHistogram `counts[0]` is
    std::vector<uint64_t> counts; ///< of each bucket by itself; empty: nothing was recorded

    HistogramFigures() = default;
    explicit HistogramFigures(const CompactHistogram& histogram);

    /// Of one bucket of CompactHistogram, whichever it is.
    uint64_t count_in(size_t bucket) const;
    /// How many values are not above the upper bound of that bucket (a classic bucket's `le`).
    uint64_t count_up_to(size_t bucket) const;
    /// Seconds: the upper bound of the bucket with the nearest-rank quantile, 0 <= q <= 1; nothing
    /// if nothing was recorded. Infinite where the values are above all bounds.
    std::optional<double> quantile(double q) const;
};

struct TargetFigures {
    std::shared_ptr<const TargetIdentity> who; ///< never null
    std::string address;   ///< that is probed: "192.0.2.7:7007"; empty: the name has none yet
    int ip_version = 0;    ///< 4 or 6; 0: there is no address
    bool listed = true;    ///< false: it has gone from the lists, and is in its time of grace
    double started_at = 0; ///< seconds since 1970: since when it is counted

    /// Also `duplicated`, `reordered` and `late`, which are no results; `stray` is of the prober.
    OutcomeCounts counts;
    /// Of the answered, from the actual time of sending to the kernel's time of the arrival.
    HistogramFigures rtt;
    /// TCP: of each connection that was made.
    HistogramFigures connect;
    uint64_t resolve_failures = 0; ///< lookups of the name that failed
};

/// The sums over targets that have the same values of `[export] group`.
struct GroupFigures {
    Labels labels; ///< of the group; a target without one of them has "" for it
    ProbeTransport transport = ProbeTransport::udp;
    double started_at = 0;
    size_t targets = 0; ///< listed now
    OutcomeCounts counts;
    HistogramFigures rtt;
};

/// A source of targets.
struct DiscoveryFigures {
    std::string source;      ///< "/etc/riposte/targets.d/*.json"
    uint64_t targets = 0;    ///< in the list that is in use
    double succeeded_at = 0; ///< seconds since 1970; 0: never
    uint64_t failures = 0;   ///< times that a list was not taken, and the one before was kept
    std::string last_error;  ///< of the latest attempt; empty: it succeeded
};

/// What of a target is exported.
enum class PairDetail : uint8_t { none, counters, histogram };

/// The prober's own state: is it the cause itself?
struct ProberFigures {
    double started_at = 0;     ///< seconds since 1970
    HistogramFigures lateness; ///< of each probe: actual less intended time of sending
    /// Probes that were due so long ago that they were left out: they are in no `sent`.
    uint64_t skipped = 0;
    uint64_t receive_overflow = 0; ///< datagrams that the kernel dropped, as a socket was full
    uint64_t stray = 0;            ///< datagrams that answer nothing that was asked
    double cpu_seconds = 0;        ///< of the process
    /// `[export] pair`, or less of it by `series_max`.
    PairDetail pair = PairDetail::histogram;
    bool series_limited = false; ///< `series_max` has lowered `pair`
};

struct FleetFigures {
    double at = 0;            ///< seconds since 1970
    uint64_t at_ns = 0;       ///< the same moment of CLOCK_MONOTONIC
    uint64_t interval_ns = 0; ///< between two probes of a target
    uint64_t timeout_ns = 0;
    ProberFigures prober;
    std::vector<TargetFigures> targets;      ///< by name, then by transport
    std::vector<GroupFigures> groups;        ///< by labels; none without `[export] group`
    std::vector<DiscoveryFigures> discovery; ///< in the order of the configuration
};

} // namespace riposte::client
