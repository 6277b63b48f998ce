// The most resident memory (VmRSS, proc(5)) that the process can have, with every slot taken and
// every buffer full. Everything that grows with peers is allocated at start, so the configuration
// determines it.
//
// Most parts are computed from the sizes of objects. Two are measured: the base (code, libraries,
// the main thread, the allocator's reserve) and a worker's stack; both have ample room (7 MiB and
// 12 KiB were measured). Rings count although the kernel allocates them, because they are mapped
// into the process.
//
// Kernel memory that is not mapped into the process is not counted: sockets and their buffers,
// requests in flight, epoll's table. See riposted.toml(5), `connections`.
#pragma once

#include "daemon/config/config.h"

#include <cstdint>
#include <string>

namespace riposte {

/// How many descriptors the process may have, connections included.
uint32_t descriptors_of(const Config& config) noexcept;

/// In bytes, of all workers together.
struct MemoryBound {
    uint64_t base = 0;             ///< code, libraries, the main thread
    uint64_t stacks = 0;           ///< of the workers
    uint64_t stream_buffers = 0;   ///< with the records about each
    uint64_t datagram_buffers = 0; ///< likewise
    uint64_t connections = 0;      ///< slots, timers, sources
    uint64_t backends = 0;         ///< the largest that the configuration permits
    uint64_t listeners = 0;        ///< with the prefixes of their lists
    uint64_t rates = 0;            ///< the table of datagram rates
    uint64_t sessions = 0;         ///< of the service stamp

    uint64_t total() const noexcept {
        return base + stacks + stream_buffers + datagram_buffers + connections + backends +
               listeners + rates + sessions;
    }
};

/// `workers`: how many run, see worker_count().
MemoryBound memory_bound(const Config& config, uint32_t workers);

/// "at most 171 MiB with this configuration"
std::string describe(const MemoryBound& bound);

} // namespace riposte
