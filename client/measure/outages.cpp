#include "client/measure/outages.h"

#include <algorithm>
#include <cassert>

namespace riposte::client {

void Outages::due(uint64_t due_ns) {
    assert(probes_.empty() || probes_.back().due_ns < due_ns);
    probes_.push_back({due_ns, Outcome::pending});
}

void Outages::decide(uint64_t due_ns, Outcome outcome) {
    assert(outcome != Outcome::pending);
    const auto found = std::ranges::lower_bound(probes_, due_ns, {}, &Probe::due_ns);
    if (found == probes_.end() || found->due_ns != due_ns || found->outcome != Outcome::pending)
        return;
    found->outcome = outcome;
    while (!probes_.empty() && probes_.front().outcome != Outcome::pending) {
        take(probes_.front());
        probes_.pop_front();
    }
}

void Outages::finish() {
    for (const Probe& probe : probes_)
        if (probe.outcome != Outcome::pending)
            take(probe);
    probes_.clear();
}

/// The next one in the order of due times.
void Outages::take(const Probe& probe) {
    if (probe.outcome == Outcome::local)
        return;
    if (probe.outcome == Outcome::answered) {
        run_.ended_ns = probe.due_ns;
        end_run();
        return;
    }
    if (run_.probes == 0)
        run_.began_ns = probe.due_ns;
    run_.ended_ns = probe.due_ns;
    if (++run_.probes == probes_min)
        count_++;
}

void Outages::end_run() {
    run_.is_over = true;
    if (run_.probes > longest_.probes && run_.probes >= probes_min)
        longest_ = run_;
    if (keeps_list_ && run_.probes >= probes_min)
        keep(run_);
    run_ = {};
}

/// In place of the shortest, if there are too many.
void Outages::keep(const Outage& outage) {
    if (list_.size() >= listed_max) {
        const auto shortest = std::ranges::min_element(list_, {}, &Outage::probes);
        if (shortest->probes >= outage.probes)
            return;
        list_.erase(shortest);
    }
    list_.push_back(outage);
}

std::optional<Outage> Outages::longest() const {
    const Outage& longest = run_.probes > longest_.probes ? run_ : longest_;
    return longest.probes >= probes_min ? std::optional(longest) : std::nullopt;
}

std::vector<Outage> Outages::list() const {
    std::vector<Outage> all = list_;
    if (keeps_list_ && run_.probes >= probes_min)
        all.push_back(run_);
    return all;
}

} // namespace riposte::client
