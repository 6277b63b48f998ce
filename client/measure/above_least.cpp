#include "client/measure/above_least.h"

#include <algorithm>

namespace riposte::client {

void AboveLeast::record(uint64_t value_ns) {
    if (above_.empty() && first_.size() < first_max) {
        first_.reserve(first_max);
        first_.push_back(value_ns);
        return;
    }
    if (above_.empty()) {
        origin_ns_ = *std::ranges::min_element(first_);
        for (const uint64_t each : first_)
            above_.record(each - origin_ns_);
        first_ = {};
    }
    if (value_ns >= origin_ns_)
        above_.record(value_ns - origin_ns_);
    else
        below_.record(value_ns);
}

Histogram AboveLeast::histogram() const {
    Histogram all;
    if (above_.empty()) {
        const auto least = std::ranges::min_element(first_);
        for (const uint64_t each : first_)
            all.record(each - *least);
        return all;
    }
    if (below_.empty())
        return above_;
    all = below_.less(below_.min_ns());
    all.merge(above_.more(origin_ns_ - below_.min_ns()));
    return all;
}

} // namespace riposte::client
