// How many connections each source has open.
#pragma once

#include "daemon/acl/source_key.h"
#include "daemon/tcp/tcp_limits.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte {

/// Addresses that agree in their first bits are one source: an IPv6 subnet has 2^64 of them.
struct SourcePrefixes {
    uint8_t ipv4_bits = 32;
    uint8_t ipv6_bits = 128;

    bool operator==(const SourcePrefixes&) const = default;
};

SourcePrefixes source_prefixes(const TcpLimits& limits) noexcept;

/// How many connections each source has open. Open addressing with linear probing in a table that
/// is fixed when it is made, at most half full, because it never holds more sources than there are
/// connections. Constant time, no allocation.
class SourceTable {
public:
    explicit SourceTable(uint32_t connections_max, SourcePrefixes prefixes = {});

    /// Counts one more connection of the source of this address, unless it has `max` already.
    bool enter(const SourceKey& address, uint32_t max) noexcept;
    void leave(const SourceKey& address) noexcept;

    SourcePrefixes prefixes() const noexcept { return prefixes_; }
    /// Was it made for at least so many connections, with these prefixes?
    bool suits(uint32_t connections_max, SourcePrefixes prefixes) const noexcept {
        return prefixes == prefixes_ && entries_.size() >= places(connections_max);
    }

    static uint64_t memory_bytes(uint32_t connections_max) noexcept {
        return places(connections_max) * sizeof(Entry);
    }

private:
    struct Entry {
        SourceKey key;
        uint32_t connections = 0; ///< 0: the place is free
    };

    static size_t places(uint32_t connections_max) noexcept;
    SourceKey source_of(const SourceKey& address) const noexcept;
    size_t home(const SourceKey& key) const noexcept;
    size_t find(const SourceKey& key) const noexcept; ///< its place, or the free one for it

    std::vector<Entry> entries_;
    SourcePrefixes prefixes_;
    uint64_t seed_; ///< secret: peers cannot choose which sources collide
};

} // namespace riposte
