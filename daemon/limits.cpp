#include "daemon/limits.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include <sys/random.h>

namespace riposte {

LimitsConfig worker_share(const LimitsConfig& limits, uint32_t workers) {
    LimitsConfig share = limits;
    share.connections_max = (limits.connections_max + workers - 1) / workers;
    share.connections_per_source_max = (limits.connections_per_source_max + workers - 1) / workers;
    return share;
}

SourceTable::SourceTable(uint32_t connections_max)
    : entries_(std::bit_ceil(std::max<size_t>(connections_max, 1) * 2)), seed_(0) {
    // Without entropy the table still works; only who collides becomes predictable.
    if (getrandom(&seed_, sizeof seed_, GRND_NONBLOCK) != sizeof seed_)
        seed_ = reinterpret_cast<uintptr_t>(this);
}

size_t SourceTable::home(const SourceKey& key) const noexcept {
    uint64_t high = 0;
    uint64_t low = 0;
    std::memcpy(&high, key.data(), 8);
    std::memcpy(&low, &key[8], 8);
    uint64_t hash = seed_; // two rounds of the murmur3 finaliser
    for (uint64_t word : {high, low}) {
        hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
        hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ULL;
        hash ^= hash >> 33;
    }
    return hash & (entries_.size() - 1);
}

size_t SourceTable::find(const SourceKey& key) const noexcept {
    size_t place = home(key);
    while (entries_[place].connections > 0 && entries_[place].key != key)
        place = (place + 1) & (entries_.size() - 1);
    return place;
}

bool SourceTable::enter(const SourceKey& key, uint32_t max) noexcept {
    Entry& entry = entries_[find(key)];
    if (entry.connections >= max)
        return false;
    entry.key = key;
    ++entry.connections;
    return true;
}

void SourceTable::leave(const SourceKey& key) noexcept {
    size_t hole = find(key);
    assert(entries_[hole].connections > 0);
    if (--entries_[hole].connections > 0)
        return;
    // Close the gap: whatever probed past this place must still be found.
    size_t mask = entries_.size() - 1;
    for (size_t next = (hole + 1) & mask; entries_[next].connections > 0;
         next = (next + 1) & mask) {
        size_t distance = (next - home(entries_[next].key)) & mask;
        if (distance >= ((next - hole) & mask)) {
            entries_[hole] = entries_[next];
            entries_[next].connections = 0;
            hole = next;
        }
    }
}

} // namespace riposte
