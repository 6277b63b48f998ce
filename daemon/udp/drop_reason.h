// Why a datagram is dropped before its service is called: the verdict of the access lists, of
// source_filter.h or of response_rate_limit.h. These decide and do not count; responder.cpp maps
// each reason to its counter.
#pragma once

#include <cstdint>

namespace riposte {

enum class DropReason : uint8_t {
    denied,         ///< by 'allow' and 'deny'
    source_port,    ///< 0, or a service's port
    own_port,       ///< from a port on which this daemon itself serves datagrams
    source_address, ///< not the address of a single other host
    group,          ///< sent to a broadcast or multicast address
    malformed,      ///< truncated, or from an address that is neither IPv4 nor IPv6
    prefix_rate,    ///< over the rate of its prefix
    crowded,        ///< over the rate shared by the prefixes without a place in the table
    newcomer_rate,  ///< over the rate shared by all new prefixes
    rate,           ///< over the total rate
};

} // namespace riposte
