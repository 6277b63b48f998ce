// The bounds that a peer could push against, as one worker holds them.
//
// Limits of the process are shared out: with N workers, each holds a N-th (rounded up) of the
// connections and of the connections of one source. Which worker a connection comes to is the
// kernel's choice, so with several workers a source may be refused a little below its limit.
#pragma once

#include "daemon/config.h"
#include "daemon/source_key.h"

#include <cstdint>
#include <vector>

namespace riposte {

/// One worker's share of the limits of the process.
LimitsConfig worker_share(const LimitsConfig& limits, uint32_t workers);

/// How many connections each source has open. Open addressing with linear probing in a table that
/// is fixed when it is made, at most half full, because it never holds more sources than there are
/// connections. Constant time, no allocation.
class SourceTable {
public:
    explicit SourceTable(uint32_t connections_max);

    /// Counts one more connection of this source, unless it has `max` already.
    bool enter(const SourceKey& key, uint32_t max) noexcept;
    void leave(const SourceKey& key) noexcept;

private:
    struct Entry {
        SourceKey key;
        uint32_t connections = 0; ///< 0: the place is free
    };

    size_t home(const SourceKey& key) const noexcept;
    size_t find(const SourceKey& key) const noexcept; ///< its place, or the free one for it

    std::vector<Entry> entries_;
    uint64_t seed_; ///< peers do not choose who collides with whom
};

} // namespace riposte
