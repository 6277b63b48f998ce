#include "client/measure/mtu_search.h"

#include <algorithm>

namespace riposte::client {

std::optional<uint32_t> MtuSearch::next() const {
    if (failed_ <= least_ || failed_ == passed_ + 1)
        return std::nullopt;
    if (passed_ == 0)
        return least_; // does anything pass?
    if (reported_ > passed_ && reported_ < failed_)
        return reported_;
    if (failed_ > most_)
        return most_;
    return passed_ + (failed_ - passed_) / 2;
}

void MtuSearch::passed(uint32_t size) {
    passed_ = std::max(passed_, size);
    if (passed_ < failed_)
        return;
    // It failed before, by bad luck or because the path was another one.
    failed_ = most_ + 1;
    limit_ = MtuLimit::none;
    reported_ = 0;
}

void MtuSearch::too_big(uint32_t size, uint32_t mtu, bool by_link) {
    const bool is_named = mtu >= least_ && mtu < size;
    if (is_named && mtu >= passed_)
        reported_ = mtu;
    fail_from(
        is_named ? std::max(mtu, passed_) + 1 : size, by_link ? MtuLimit::link : MtuLimit::router);
}

void MtuSearch::silent(uint32_t size) {
    fail_from(size, MtuLimit::silence);
}

void MtuSearch::fail_from(uint32_t size, MtuLimit limit) {
    if (size >= failed_)
        return;
    failed_ = std::max(size, passed_ + 1);
    limit_ = limit;
}

} // namespace riposte::client
