#include "client/probe/recent_results.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace riposte::client {

OutcomeCounts counts_since(const OutcomeCounts& now, const OutcomeCounts* before) {
    if (before == nullptr)
        return now;
    OutcomeCounts since;
    for (const auto count :
         {&OutcomeCounts::sent, &OutcomeCounts::answered, &OutcomeCounts::lost,
          &OutcomeCounts::corrupted, &OutcomeCounts::wrong_size, &OutcomeCounts::refused,
          &OutcomeCounts::unreachable, &OutcomeCounts::closed, &OutcomeCounts::too_big,
          &OutcomeCounts::local, &OutcomeCounts::duplicated, &OutcomeCounts::reordered,
          &OutcomeCounts::late})
        since.*count = now.*count - std::min(before->*count, now.*count);
    return since;
}

std::optional<double> quantile_since(
    const HistogramFigures& now, const HistogramFigures* before, double q) {
    if (before == nullptr)
        return now.quantile(q);
    const uint64_t count = now.count - std::min(before->count, now.count);
    if (count == 0)
        return std::nullopt;
    const auto rank =
        std::max(static_cast<uint64_t>(std::ceil(q * static_cast<double>(count))), uint64_t{1});
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < CompactHistogram::above_all; ++bucket) {
        const uint64_t in = now.count_in(bucket);
        seen += in - std::min(before->count_in(bucket), in);
        if (seen >= rank)
            return CompactHistogram::upper_bound(bucket);
    }
    return CompactHistogram::upper_bound(CompactHistogram::above_all);
}

std::shared_ptr<const FleetFigures> EarlierPicture::before(
    std::shared_ptr<const FleetFigures> now) {
    if (next_ && now->at_ns - next_->at_ns >= window_ns)
        earlier_ = std::exchange(next_, now);
    else if (!next_)
        next_ = std::move(now);
    return earlier_;
}

TargetIndex::TargetIndex(const FleetFigures* figures) {
    if (figures == nullptr)
        return;
    targets_.reserve(figures->targets.size());
    for (const TargetFigures& target : figures->targets)
        targets_.emplace(Key{target.who->name, target.who->transport}, &target);
}

const TargetFigures* TargetIndex::find(const TargetIdentity& who) const {
    const auto found = targets_.find({who.name, who.transport});
    return found == targets_.end() ? nullptr : found->second;
}

} // namespace riposte::client
