// Why a datagram is dropped before its service is asked: the verdict of the access lists, of
// source_filter.h and of response_rate_limit.h. These decide and do not count; datagrams.cpp maps
// each reason to its counter.
#pragma once

#include <cstdint>

namespace riposte {

enum class DropReason : uint8_t {
    denied, ///< by 'allow' and 'deny'
    source_port,
    own_port,
    source_address,
    group, ///< sent to a broadcast or multicast address
    malformed,
    prefix_rate,
    crowded, ///< over the rate shared by prefixes that found no place in the table
    newcomer_rate,
    rate,
};

} // namespace riposte
