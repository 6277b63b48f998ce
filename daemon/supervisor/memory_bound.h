// What the process comes to at most: its resident memory (VmRSS, proc(5)), when every slot is taken
// and every buffer full. Everything that grows with peers is made at start, so it can be added up
// from the configuration.
//
// Beside what is counted here by the size of each thing there are two figures that were measured:
// code, libraries, the main thread and what the allocator keeps, and what a worker's stack comes
// to; both are stated with room to spare (7 MiB and 12 KiB were seen). Rings are counted, though
// the kernel holds them, for they are mapped into the process.
//
// Not counted is what the kernel holds for the process without mapping it: sockets and their
// buffers, requests in flight, epoll's table. See riposted.toml(5), `connections`.
#pragma once

#include "daemon/config/config.h"

#include <cstdint>
#include <string>

namespace riposte {

/// How many descriptors the process is to be expected to have, with connections.
uint32_t descriptors_of(const Config& config) noexcept;

/// In bytes, of all workers together.
struct MemoryBound {
    uint64_t base = 0;             ///< code, libraries, the main thread
    uint64_t stacks = 0;           ///< of the workers
    uint64_t stream_buffers = 0;   ///< with what is kept about each
    uint64_t datagram_buffers = 0; ///< likewise
    uint64_t connections = 0;      ///< slots, timers, sources
    uint64_t backends = 0;         ///< the dearest that the configuration permits
    uint64_t listeners = 0;        ///< with the prefixes of their lists
    uint64_t rates = 0;            ///< of datagrams

    uint64_t total() const noexcept {
        return base + stacks + stream_buffers + datagram_buffers + connections + backends +
               listeners + rates;
    }
};

/// `workers` as they run, see worker_count().
MemoryBound memory_bound(const Config& config, uint32_t workers);

/// "at most 171 MiB with this configuration"
std::string describe(const MemoryBound& bound);

} // namespace riposte
