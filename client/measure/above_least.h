// Durations less the least of them (RFC 5481's packet delay variation), in fixed memory.
//
// The least is known only at the end, and a histogram of the durations themselves would be too
// coarse: 0.4% of a round trip may be as much as it varies. So the first values are kept as they
// are, and the later ones in a histogram of what they are above the least of the first: exact to
// 0.4% of that. The few that are less than that stand in a histogram of their own.
#pragma once

#include "client/measure/histogram.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte::client {

class AboveLeast {
public:
    void record(uint64_t value_ns);
    uint64_t count() const { return first_.size() + above_.count() + below_.count(); }
    /// Of all that was recorded, each less the least of them; empty if nothing was.
    Histogram histogram() const;

private:
    static constexpr size_t first_max = 256; ///< 2 KiB, from the first value on

    std::vector<uint64_t> first_; ///< as they are, as long as there are no more
    uint64_t origin_ns_ = 0;      ///< once there are more: the least of the first
    Histogram above_;             ///< less origin_ns_
    Histogram below_;             ///< as they are: less than origin_ns_
};

} // namespace riposte::client
