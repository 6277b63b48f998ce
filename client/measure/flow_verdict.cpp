#include "client/measure/flow_verdict.h"

#include "client/measure/stable_order.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <utility>

namespace riposte::client {

namespace {

constexpr double alone_p_max = 0.01;
constexpr int bootstrap_draws = 1000;
constexpr uint64_t slower_share = 10; ///< a tenth of the others' median, at least
constexpr double slow_percent = 10;   ///< on a standing connection, the rest must be slower
constexpr uint64_t slower_ns_min = 100'000;
constexpr size_t rounds_max = 8; ///< groups that differ in how bad they are

struct Losses {
    uint64_t lost = 0;
    uint64_t sent = 0;

    Losses& operator+=(const Losses& other) {
        lost += other.lost;
        sent += other.sent;
        return *this;
    }
    double share() const {
        return sent == 0 ? 0 : static_cast<double>(lost) / static_cast<double>(sent);
    }
};

double x_log_x(uint64_t x) {
    return x == 0 ? 0 : static_cast<double>(x) * std::log(static_cast<double>(x));
}

/// The logarithm of the likelihood of these losses under their own share of loss.
double log_likelihood(const Losses& losses) {
    return x_log_x(losses.lost) + x_log_x(losses.sent - losses.lost) - x_log_x(losses.sent);
}

struct Cut {
    size_t at = 0;    ///< the first of the worse ones, by the share that they lost
    double ratio = 0; ///< logarithm of the likelihood ratio of two shares against one
};

/// The most likely cut of flows that are sorted by their share of loss.
Cut best_cut(std::span<const Losses> sorted) {
    Losses all;
    for (const Losses& each : sorted)
        all += each;
    const double one = log_likelihood(all);
    Cut best;
    Losses better;
    for (size_t at = 1; at < sorted.size(); at++) {
        better += sorted[at - 1];
        const Losses worse{.lost = all.lost - better.lost, .sent = all.sent - better.sent};
        const double ratio = log_likelihood(better) + log_likelihood(worse) - one;
        if (ratio > best.ratio)
            best = {.at = at, .ratio = ratio};
    }
    return best;
}

void sort_by_share(std::vector<Losses>& flows) {
    std::ranges::sort(flows, {}, &Losses::share);
}

/// Condition 1: does one share of loss for all never cut as well, drawn at random?
bool differ_together(const std::vector<Losses>& flows, double ratio) {
    Losses all;
    for (const Losses& each : flows)
        all += each;
    std::mt19937_64 random(all.sent * 1'000'003 + all.lost); // the same figures, the same verdict
    std::vector<Losses> drawn(flows.size());
    for (int draw = 0; draw < bootstrap_draws; draw++) {
        for (size_t i = 0; i < flows.size(); i++) {
            std::binomial_distribution<uint64_t> losses(flows[i].sent, all.share());
            drawn[i] = {.lost = losses(random), .sent = flows[i].sent};
        }
        sort_by_share(drawn);
        if (best_cut(drawn).ratio >= ratio)
            return false;
    }
    return true;
}

double log_choose(uint64_t n, uint64_t k) {
    const auto log_factorial = [](uint64_t x) {
        int sign = 0; // of gamma, which is positive here; lgamma(3) keeps it in a global
        return ::lgamma_r(static_cast<double>(x) + 1, &sign);
    };
    return log_factorial(n) - log_factorial(k) - log_factorial(n - k);
}

std::vector<uint16_t> ports_of(std::span<const FlowFigures* const> flows) {
    std::vector<uint16_t> ports;
    for (const FlowFigures* flow : flows)
        ports.push_back(flow->port);
    std::ranges::sort(ports);
    return ports;
}

Losses losses_of(const FlowFigures& flow) {
    return {.lost = flow.unanswered, .sent = flow.decided};
}

/// As far as they are independent of each other.
Losses independent_losses_of(const FlowFigures& flow) {
    if (!flow.failure_runs)
        return losses_of(flow);
    return {
        .lost = *flow.failure_runs, .sent = flow.decided - flow.unanswered + *flow.failure_runs};
}

Losses repairs_of(const FlowFigures& flow) {
    return {.lost = flow.repaired, .sent = flow.answered};
}

using Share = Losses (*)(const FlowFigures&);

using Flows = std::vector<const FlowFigures*>;

/// Those from `begin` on for which `is_taken` holds, which are taken out.
template<class Predicate>
Flows take_from(Flows& flows, size_t begin, const Predicate& is_taken) {
    Flows left(flows.begin(), flows.begin() + static_cast<ptrdiff_t>(begin));
    Flows taken;
    for (size_t i = begin; i < flows.size(); i++)
        (is_taken(flows[i]) ? taken : left).push_back(flows[i]);
    flows = std::move(left);
    return taken;
}

/// The worse flows of these, which are taken out; none if chance explains all.
Flows take_worse(Flows& flows, Share share_of) {
    sort_stably(flows, [=](const FlowFigures* flow) { return share_of(*flow).share(); });
    std::vector<Losses> sorted;
    for (const FlowFigures* flow : flows)
        sorted.push_back(share_of(*flow));
    const Cut cut = best_cut(sorted);
    if (cut.at == 0 || !differ_together(sorted, cut.ratio))
        return {};
    Losses better;
    for (size_t i = 0; i < cut.at; i++)
        better += sorted[i];
    const double p_max = alone_p_max / static_cast<double>(flows.size());
    const auto is_bad = [&](const FlowFigures* flow) {
        const Losses own = share_of(*flow);
        return own.share() > better.share() &&
               fisher_exact(own.lost, own.sent, better.lost, better.sent) < p_max;
    };
    return take_from(flows, cut.at, is_bad);
}

uint64_t median_of(const Histogram& rtt) {
    return rtt.percentile_ns(50);
}

/// How many are above it: those that share its bucket do not count.
uint64_t count_above(const Histogram& rtt, uint64_t value_ns) {
    const uint64_t from_ns = Histogram::bounds_of(Histogram::index_of(value_ns)).high_ns + 1;
    return rtt.count_between(from_ns, UINT64_MAX);
}

struct SlowFlows {
    Flows flows;
    uint64_t slower_ns = 0;
};

Histogram merged(std::span<const FlowFigures* const> flows) {
    Histogram all;
    for (const FlowFigures* flow : flows)
        all.merge(*flow->rtt);
    return all;
}

/// The slower flows of these, which are taken out.
SlowFlows take_slow(Flows& flows) {
    const auto median = [](const FlowFigures* flow) { return median_of(*flow->rtt); };
    sort_stably(flows, median);
    size_t at = 0;
    uint64_t widest = 0;
    for (size_t i = 1; i < flows.size(); i++)
        if (const uint64_t gap = median(flows[i]) - median(flows[i - 1]); gap > widest) {
            widest = gap;
            at = i;
        }
    if (at == 0)
        return {};
    const Histogram others = merged(std::span(flows).first(at));
    const uint64_t usual = median_of(others);
    const uint64_t others_above = count_above(others, usual);
    // The cut was chosen: as if each flow had been compared with each.
    const auto count = static_cast<double>(flows.size());
    const double p_max = alone_p_max / (count * count);
    const auto is_slow = [&](const FlowFigures* flow) {
        const uint64_t least = usual + std::max(usual / slower_share, slower_ns_min);
        const double slow_from = flow->failure_runs ? slow_percent : 50;
        return flow->rtt->percentile_ns(slow_from) >= least &&
               fisher_exact(
                   count_above(*flow->rtt, usual), flow->rtt->count(), others_above,
                   others.count()) < p_max;
    };
    SlowFlows slow{.flows = take_from(flows, at, is_slow), .slower_ns = 0};
    if (!slow.flows.empty())
        slow.slower_ns = median_of(merged(slow.flows)) - usual;
    return slow;
}

double percent(uint64_t part, uint64_t whole) {
    return whole == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(whole);
}

struct WorseFlows {
    std::vector<BadFlows> groups; ///< the worst first
    double others_percent = 0;
};

/// Groups of flows whose share is worse, until chance explains what is left.
/// `shown_of`: what is said of them.
WorseFlows find_worse(std::span<const FlowFigures> flows, Share share_of, Share shown_of) {
    WorseFlows worse;
    Flows left;
    for (const FlowFigures& flow : flows)
        if (share_of(flow).sent > 0)
            left.push_back(&flow);
    for (size_t round = 0; round < rounds_max && left.size() > 1; round++) {
        const Flows bad = take_worse(left, share_of);
        if (bad.empty())
            break;
        Losses losses;
        uint64_t refused = 0;
        for (const FlowFigures* flow : bad) {
            losses += shown_of(*flow);
            refused += flow->refused;
        }
        worse.groups.push_back(
            {.ports = ports_of(bad),
             .percent = percent(losses.lost, losses.sent),
             .refused_percent = percent(refused, losses.sent),
             .slower_ns = 0});
    }
    Losses others;
    for (const FlowFigures* flow : left)
        others += shown_of(*flow);
    worse.others_percent = percent(others.lost, others.sent);
    return worse;
}

std::vector<BadFlows> find_slow(std::span<const FlowFigures> flows) {
    std::vector<BadFlows> found;
    Flows left;
    for (const FlowFigures& flow : flows)
        if (flow.rtt != nullptr && !flow.rtt->empty())
            left.push_back(&flow);
    for (size_t round = 0; round < rounds_max && left.size() > 1; round++) {
        const SlowFlows slow = take_slow(left);
        if (slow.flows.empty())
            break;
        found.push_back({.ports = ports_of(slow.flows), .slower_ns = slow.slower_ns});
    }
    return found;
}

} // namespace

double fisher_exact(uint64_t lost, uint64_t sent, uint64_t others_lost, uint64_t others_sent) {
    const uint64_t all_lost = lost + others_lost;
    const uint64_t most = std::min(all_lost, sent);
    const double all = log_choose(sent + others_sent, all_lost);
    double p = 0;
    for (uint64_t k = lost; k <= most; k++)
        if (all_lost - k <= others_sent)
            p += std::exp(log_choose(sent, k) + log_choose(others_sent, all_lost - k) - all);
    return std::min(p, 1.0);
}

FlowVerdict judge_flows(std::span<const FlowFigures> flows) {
    WorseFlows lossy = find_worse(flows, independent_losses_of, losses_of);
    WorseFlows repairing = find_worse(flows, repairs_of, repairs_of);
    return {
        .lossy = std::move(lossy.groups),
        .others_loss_percent = lossy.others_percent,
        .repairing = std::move(repairing.groups),
        .others_repairs_percent = repairing.others_percent,
        .slow = find_slow(flows)};
}

} // namespace riposte::client
