#include "daemon/tcp/source_table.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include <sys/random.h>

namespace riposte {

SourcePrefixes source_prefixes(const TcpLimits& limits) noexcept {
    return {
        .ipv4_bits = static_cast<uint8_t>(limits.source_prefix_ipv4_bits),
        .ipv6_bits = static_cast<uint8_t>(limits.source_prefix_ipv6_bits)};
}

size_t SourceTable::places(uint32_t connections_max) noexcept {
    return std::bit_ceil(std::max<size_t>(connections_max, 1) * 2);
}

SourceTable::SourceTable(uint32_t connections_max, SourcePrefixes prefixes)
    : entries_(places(connections_max)), prefixes_(prefixes), seed_(0) {
    // Without entropy the table still works; only collisions become predictable.
    if (getrandom(&seed_, sizeof seed_, GRND_NONBLOCK) != sizeof seed_)
        seed_ = reinterpret_cast<uintptr_t>(this);
}

/// IPv4 stands behind 96 bits of its own, whichever its prefix: no IPv6 source is the same one.
SourceKey SourceTable::source_of(const SourceKey& address) const noexcept {
    if (is_ipv4(address))
        return first_bits(address, static_cast<uint8_t>(ipv4_offset_bits + prefixes_.ipv4_bits));
    return first_bits(address, prefixes_.ipv6_bits);
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

bool SourceTable::enter(const SourceKey& address, uint32_t max) noexcept {
    const SourceKey key = source_of(address);
    Entry& entry = entries_[find(key)];
    if (entry.connections >= max)
        return false;
    entry.key = key;
    ++entry.connections;
    return true;
}

void SourceTable::leave(const SourceKey& address) noexcept {
    size_t hole = find(source_of(address));
    assert(entries_[hole].connections > 0);
    if (--entries_[hole].connections > 0)
        return;
    // Close the gap: an entry that was placed past it must still be found.
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
