// Has this machine room for so many endpoints? Asked before the first probe, because a run that
// meets a limit half-way measures nothing worth having.
#pragma once

#include "client/options/options.h"
#include "common/error.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace riposte::client {

struct MachineRoom {
    uint64_t descriptors = UINT64_MAX; ///< that a process may have
    uint64_t ports = UINT64_MAX;       ///< that the kernel chooses from
    uint64_t memory_bytes = UINT64_MAX;
};

/// What is to be measured.
struct Wanted {
    size_t endpoints = 0;
    size_t datagram_endpoints = 0; ///< of these, over UDP: each has a local port of its own
};

/// Raises the limit of descriptors as far as permitted. What is not known is UINT64_MAX.
MachineRoom find_room();

/// How many there are in the text of net.ipv4.ip_local_port_range (ip(7)).
uint64_t ports_in(std::string_view range);

/// Of the text of /proc/meminfo, what programs can still have without swapping (proc(5)).
uint64_t available_bytes(std::string_view meminfo);

/// What one endpoint takes in a long run, its sockets in the kernel included: a bound for usual
/// networks, since histograms grow with the range of what they see.
uint64_t endpoint_bytes(const PingOptions& options, uint32_t timeout_ms);

/// Exit::usage: there is no room, with the limit and what to do. Each endpoint has a descriptor for
/// each of its flows; with --reconnect each probe that waits has one, of which a single one shows
/// by its probes whether there is room.
Result<void> check_room(
    const PingOptions& options, uint32_t timeout_ms, const Wanted& wanted, const MachineRoom& room);

} // namespace riposte::client
