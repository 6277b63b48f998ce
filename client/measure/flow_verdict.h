// Which flows of a bundle of paths are worse than the others: a router that spreads packets by
// their ports (ECMP, a link aggregate) sends each flow over one member, and a bad member shows as
// flows that lose more, or are slower, than the rest.
//
// The rule for loss. Flows are sorted by the share that they lost, and cut in two where a model of
// two shares of loss is most likely. Two conditions must hold for the worse ones to be named:
//   1. All together: the likelihood ratio of the two shares against one is greater than in 1,000 of
//      1,000 runs that are drawn at random with the same number of probes and one share of loss for
//      all flows (a parametric bootstrap, so that counts may be small). If there is no bad flow,
//      one is named in less than one run of a thousand.
//   2. Each by itself: Fisher's exact test against the better ones together, one-sided, with
//      p < 0.01 divided by the number of flows (Bonferroni). A flow that lost no more than chance
//      permits is not named beside those that did.
// Then the same is asked of the flows that are left, since members may differ in how bad they are.
// Losses that come in bursts do not deceive it: the probes of a burst take the flows in turn.
//
// The rule for latency. Flows are sorted by their medians and cut at the widest gap. A flow above
// it is named if Fisher's exact test, of how many of its round trips exceed the median of those
// below and how many of theirs do, has p < 0.01 divided by the number of pairs of flows, and if its
// median is greater by a tenth and by 100 us at least: less is how a machine treats its queues.
// Again until nothing is found. All flows are probed at the same times, so that a path which is
// slow for a while is so for all of them.
//
// TCP repairs what the network loses. There, the rule for loss is applied a second time, to answers
// during which something was repaired: a segment sent again, because it or its acknowledgement was
// lost, or one that arrived out of order, as those do that follow a lost one.
//
// On a standing connection probes do not fare independently: behind a lost segment all of them
// wait. There, a run of unanswered probes is one loss, and one more for each second that it lasts
// (RFC 6298: the longest first timeout), and a slow flow must be slow for nine tenths of its round
// trips.
#pragma once

#include "client/measure/histogram.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace riposte::client {

/// What is known of one flow.
struct FlowFigures {
    uint16_t port = 0;       ///< the local one
    uint64_t decided = 0;    ///< probes whose fate the network decided
    uint64_t unanswered = 0; ///< of these
    uint64_t refused = 0;    ///< of the unanswered
    uint64_t answered = 0;
    uint64_t repaired = 0; ///< TCP: answered, and something had to be repaired
    /// On a standing connection: the runs of unanswered probes, as above.
    std::optional<uint64_t> failure_runs = {};
    const Histogram* rtt = nullptr; ///< of the answered, not owned
};

/// Flows that stand out alike.
struct BadFlows {
    std::vector<uint16_t> ports; ///< ascending
    double percent = 0;          ///< lossy, repairing: of these flows together
    double refused_percent = 0;  ///< lossy: of it, the part that was refused
    uint64_t slower_ns = 0;      ///< slow: of their median, than that of the others
};

struct FlowVerdict {
    std::vector<BadFlows> lossy;     ///< the worst first
    double others_loss_percent = 0;  ///< of the flows that are in none of these
    std::vector<BadFlows> repairing; ///< over TCP, the worst first
    double others_repairs_percent = 0;
    std::vector<BadFlows> slow; ///< the slowest first
};

FlowVerdict judge_flows(std::span<const FlowFigures> flows);

/// The chance that a flow without a fault loses at least `lost` of `sent`, if together with others,
/// which lost `others_lost` of `others_sent`, it has one share of loss: Fisher's exact test.
double fisher_exact(uint64_t lost, uint64_t sent, uint64_t others_lost, uint64_t others_sent);

} // namespace riposte::client
